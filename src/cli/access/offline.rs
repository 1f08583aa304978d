//! Commands for a server that does not run: whoever may write its data directory may make administrators.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::life::Life;
use super::token::{self, CreateWords};
use crate::access::{AccessError, Registry, Secret, TokenInfo, system_clock};
use crate::cli::failure::say;
use crate::cli::render::Format;
use crate::engine::{Db, DbOptions};
use crate::wire::v1;

/// Who is told to have made what was made here.
const BY: &str = "the holder of the data directory";

/// Makes somebody an administrator and prints a token for him.
pub(super) async fn bootstrap(
    data: PathBuf,
    name: String,
    expires: Option<Life>,
    format: Format,
) -> Result<()> {
    let life = expires.map(|life| life.seconds);
    let told = format!("{name} administers the server of {}", data.display());
    let made = in_directory(data, move |registry| registry.bootstrap(&name, life)).await?;
    say(&told);
    print_made(&made, format)
}

/// Makes a token.
pub(super) async fn create_token(words: CreateWords, format: Format) -> Result<()> {
    let CreateWords { name, expires, groups, data } = words;
    let data = data.context("--data DIR is missing")?;
    let life = expires.map(|life| life.seconds);
    let made =
        in_directory(data, move |registry| registry.create_token(&name, life, &groups, BY)).await?;
    print_made(&made, format)
}

/// Works on the registry of a data directory that no server has open.
pub(in crate::cli) async fn in_directory<T: Send + 'static>(
    data: PathBuf,
    work: impl FnOnce(&Registry) -> Result<T, AccessError> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(move || -> Result<T> {
        // Nothing is built meanwhile.
        let db = Db::open(DbOptions { auto_index_rows: None, ..DbOptions::new(data) })?;
        Ok(work(&Registry::open(db, system_clock())?)?)
    });
    done.await?
}

fn print_made((secret, token): &(Secret, TokenInfo), format: Format) -> Result<()> {
    let told = v1::TokenInfo {
        id: token.id.clone(),
        owner: token.owner.clone(),
        created_by: token.created_by.clone(),
        created: token.created,
        expires: token.expires,
        revoked: token.revoked,
        last_used: token.last_used,
        in_force: true,
    };
    token::print_made(secret.reveal(), &told, format)
}
