//! `sidereus access token`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::life::Life;
use super::{Client, done, moment, name};
use crate::access::utc;
use crate::cli::failure::{of_status, say};
use crate::cli::render::{Cell, Format, Json, Table, print_json, print_table, write_out};
use crate::wire::v1;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Make a token; it is printed once, alone on standard output
    Create(CreateWords),
    /// List tokens: your own, or as an administrator all
    List {
        /// Only those of one owner
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
        /// Those that were revoked or have expired, too
        #[arg(long)]
        all: bool,
    },
    /// Revoke a token: it opens nothing any more
    Revoke {
        /// Its id: the eight letters after sid_
        id: String,
    },
}

/// Words of `sidereus access token create`.
#[derive(Debug, Args)]
pub(super) struct CreateWords {
    /// Whose it will be: the name that roles, quotas and the audit log know
    pub(super) name: String,
    /// How long it lasts, such as 12h, 90d or 8w [default: that of the server]
    #[arg(long, value_name = "TIME")]
    pub(super) expires: Option<Life>,
    /// Groups that the owner becomes a member of
    #[arg(long = "groups", value_name = "G,H,...", value_delimiter = ',')]
    pub(super) groups: Vec<String>,
    /// Make it in the data directory of a stopped server instead
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
}

const NO_TOKEN: &str = "the server's answer lacks the token; is it of another version?";

pub(super) async fn run(client: &Client, action: Action, format: Format) -> Result<()> {
    match action {
        Action::Create(words) => {
            let seconds = words.expires.map_or(0, |life| life.seconds);
            let request =
                v1::CreateTokenRequest { owner: words.name, seconds, groups: words.groups };
            let reply = client.access().create_token(request).await;
            let reply = reply.map_err(|status| of_status(&status))?.into_inner();
            print_made(&reply.secret, &reply.token.context(NO_TOKEN)?, format)
        }
        Action::List { owner, all } => {
            let request = v1::ListTokensRequest { owner: owner.unwrap_or_default(), ended: all };
            let reply = client.access().list_tokens(request).await;
            let tokens = reply.map_err(|status| of_status(&status))?.into_inner().tokens;
            if tokens.is_empty() && format == Format::Table {
                return write_out("no tokens; `sidereus access token create NAME` makes one\n");
            }
            print_table(&table(&tokens, format), format)
        }
        Action::Revoke { id } => {
            // Somebody may give the beginning of the token itself.
            let id = id.strip_prefix("sid_").unwrap_or(&id).to_owned();
            let reply = client.access().revoke_token(v1::RevokeTokenRequest { id }).await;
            let token = reply.map_err(|status| of_status(&status))?.into_inner().token;
            let token = token.context(NO_TOKEN)?;
            let line = format!("token {} of {} opens nothing any more", token.id, token.owner);
            done(&line, &facts(&token, format), format)
        }
    }
}

/// Prints a new token: alone on standard output, so that a script can keep it, and what is said about it beside that.
pub(super) fn print_made(secret: &str, token: &v1::TokenInfo, format: Format) -> Result<()> {
    match format {
        Format::Json => {
            let members =
                facts(token, format).into_iter().map(|(name, cell)| (name, cell.to_json()));
            print_json(&Json::object(
                [("token", Cell::text(secret).to_json())].into_iter().chain(members),
            ))
        }
        Format::Table | Format::Csv => {
            write_out(&format!("{secret}\n"))?;
            say(&format!(
                "token {} of {}, until {}: keep it now, for it is shown only once",
                token.id,
                token.owner,
                utc(token.expires)
            ));
            Ok(())
        }
    }
}

fn facts(token: &v1::TokenInfo, format: Format) -> Vec<(&'static str, Cell)> {
    vec![
        ("id", name(&token.id)),
        ("owner", name(&token.owner)),
        ("created", moment(Some(token.created), format)),
        ("expires", moment(Some(token.expires), format)),
        ("in_force", Cell::Boolean(token.in_force)),
    ]
}

fn table(tokens: &[v1::TokenInfo], format: Format) -> Table {
    let mut table = Table::new(["id", "owner", "expires", "last used", "state", "created", "by"]);
    for token in tokens {
        let state = match (token.in_force, token.revoked) {
            (true, _) => "in force",
            (false, Some(_)) => "revoked",
            (false, None) => "expired",
        };
        table.push(vec![
            name(&token.id),
            name(&token.owner),
            moment(Some(token.expires), format),
            moment(token.last_used, format),
            Cell::text(state),
            moment(Some(token.created), format),
            name(&token.created_by),
        ]);
    }
    table
}
