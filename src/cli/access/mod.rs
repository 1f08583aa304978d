//! `sidereus access`: who may do what, and who sees which rows.

mod group;
mod life;
mod offline;
mod policy;
mod role;
mod token;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use self::life::Life;
pub(super) use self::offline::in_directory;
use super::client::{Client, ClientArguments};
use super::failure::{of_status, say};
use super::render::{Cell, Format, Json, print_facts, print_json, print_table, write_out};
use crate::access::utc;
use crate::wire::v1;

/// Words of `sidereus access`.
#[derive(Debug, Args)]
pub(super) struct AccessArguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show how the server knows you, and your roles
    Whoami,
    /// Make the first administrator, with a token, in the data directory of a stopped server
    Bootstrap {
        /// Data directory of the server; made when it does not exist
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Name of the administrator
        #[arg(long, default_value = "admin")]
        name: String,
        /// How long the token lasts, such as 12h, 90d or 8w [default: 90d]
        #[arg(long, value_name = "TIME")]
        expires: Option<Life>,
    },
    /// Make, list and revoke API tokens
    Token {
        #[command(subcommand)]
        action: token::Action,
    },
    /// Make, list and drop groups
    Group {
        #[command(subcommand)]
        action: group::Action,
    },
    /// Give a principal a role on a collection, in place of the one that it has there
    Grant {
        /// user:NAME or group:NAME; group:everyone is everybody who shows who he is
        principal: String,
        /// read, annotate, ingest, curate or administer; each includes those before it
        role: String,
        /// Name of the collection, or '*' for every collection and the server itself
        collection: String,
    },
    /// Take the role away that a principal has on a collection
    Revoke {
        /// user:NAME or group:NAME
        principal: String,
        /// Name of the collection, or '*'
        collection: String,
    },
    /// List roles: all that you may see, or those on one collection
    Grants {
        /// Name of the collection, or '*'
        collection: Option<String>,
    },
    /// Write, list and drop row policies, which restrict what a principal sees of a collection
    Policy {
        #[command(subcommand)]
        action: policy::Action,
    },
}

/// Runs `sidereus access`.
pub(super) async fn run(arguments: AccessArguments) -> Result<()> {
    let format = arguments.client.format;
    // Two of the commands are for a server that does not run.
    let action = match arguments.action {
        Action::Bootstrap { data, name, expires } => {
            return offline::bootstrap(data, name, expires, format).await;
        }
        Action::Token { action: token::Action::Create(words) } if words.data.is_some() => {
            return offline::create_token(words, format).await;
        }
        other => other,
    };
    let shows_certificate = arguments.client.shows_certificate();
    let client = arguments.client.connect().await?;
    match action {
        Action::Whoami => whoami(&client, shows_certificate, format).await,
        // Answered above.
        Action::Bootstrap { .. } => Ok(()),
        Action::Token { action } => token::run(&client, action, format).await,
        Action::Group { action } => group::run(&client, action, format).await,
        Action::Grant { principal, role, collection } => {
            let request = v1::GiveRoleRequest { principal, role, collection };
            role::give(&client, request, format).await
        }
        Action::Revoke { principal, collection } => {
            role::take(&client, v1::TakeRoleRequest { principal, collection }, format).await
        }
        Action::Grants { collection } => {
            role::list(&client, collection.unwrap_or_default(), format).await
        }
        Action::Policy { action } => policy::run(&client, action, format).await,
    }
}

async fn whoami(client: &Client, shows_certificate: bool, format: Format) -> Result<()> {
    let reply = client.access().who_am_i(v1::WhoAmIRequest {}).await;
    let who = reply.map_err(|status| of_status(&status))?.into_inner();
    let facts = [
        ("name", name(&who.name)),
        ("groups", name(&who.groups.join(", "))),
        ("shown by", Cell::text(&who.proof)),
        ("id", name(&who.proof_id)),
        ("expires", moment(who.expires, format)),
    ];
    let roles = role::table(&who.roles, format);
    if shows_certificate && who.proof != "certificate" {
        say(
            "note: the server does not know you by your certificate: its settings name no authority of client certificates \
             (tls.client_ca), or your token came first",
        );
    }
    match format {
        Format::Json => {
            let groups = || who.groups.iter().map(|group| name(group).to_json()).collect();
            let members = facts.iter().map(|(fact, cell)| match *fact {
                "groups" => ("groups".to_owned(), Json::List(groups())),
                fact => (fact.replace(' ', "_"), cell.to_json()),
            });
            print_json(&Json::object(members.chain([("roles".to_owned(), roles.to_json())])))
        }
        Format::Csv => print_facts(&facts, format),
        Format::Table => {
            let told: Vec<_> = facts.into_iter().filter(|(_, cell)| *cell != Cell::Null).collect();
            print_facts(&told, format)?;
            match (who.proof.as_str(), who.roles.is_empty()) {
                ("open", _) => {
                    write_out("this server asks nobody who he is: you may do everything\n")
                }
                (_, true) => write_out("no roles: ask an administrator for one\n"),
                (_, false) => {
                    write_out("\n")?;
                    print_table(&roles, format)
                }
            }
        }
    }
}

/// A name, which is told whole even in a table: cut, it could be that of another.
fn name(text: &str) -> Cell {
    if text.is_empty() { Cell::Null } else { Cell::Id(text.to_owned()) }
}

/// A moment: for people as a date, for programs in seconds since 1970.
fn moment(seconds: Option<u64>, format: Format) -> Cell {
    match (seconds, format) {
        (None, _) => Cell::Null,
        (Some(seconds), Format::Table) => Cell::text(utc(seconds)),
        (Some(seconds), Format::Json | Format::Csv) => Cell::Count(seconds),
    }
}

/// Says in one line what was done, or gives programs the facts.
fn done(line: &str, facts: &[(&str, Cell)], format: Format) -> Result<()> {
    match format {
        Format::Table => write_out(&format!("{line}\n")),
        Format::Json | Format::Csv => print_facts(facts, format),
    }
}
