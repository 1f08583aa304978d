//! `sidereus access group`.

use anyhow::{Context, Result};
use clap::Subcommand;

use super::{Client, done, name};
use crate::cli::failure::of_status;
use crate::cli::render::{Cell, Format, Json, Table, print_json, print_table, write_out};
use crate::wire::v1;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Make a group, or give it other members
    Set {
        /// Name of the group
        name: String,
        /// Names of its members, all of them
        members: Vec<String>,
    },
    /// List all groups
    List,
    /// Forget a group; roles and policies that name it stay
    Drop {
        /// Name of the group
        name: String,
    },
}

pub(super) async fn run(client: &Client, action: Action, format: Format) -> Result<()> {
    match action {
        Action::Set { name, members } => {
            let reply = client.access().set_group(v1::SetGroupRequest { name, members }).await;
            let group = reply.map_err(|status| of_status(&status))?.into_inner().group;
            let group = group.context("the server's answer lacks the group")?;
            let count = group.members.len();
            let line = match count {
                1 => format!("group {} has 1 member", group.name),
                _ => format!("group {} has {count} members", group.name),
            };
            let facts = [("group", Cell::text(group.name)), ("members", Cell::Count(count as u64))];
            done(&line, &facts, format)
        }
        Action::List => list(client, format).await,
        Action::Drop { name } => {
            let request = v1::DropGroupRequest { name: name.clone() };
            client.access().drop_group(request).await.map_err(|status| of_status(&status))?;
            done(&format!("dropped group {name}"), &[("dropped", Cell::text(name))], format)
        }
    }
}

async fn list(client: &Client, format: Format) -> Result<()> {
    let reply = client.access().list_groups(v1::ListGroupsRequest {}).await;
    let groups = reply.map_err(|status| of_status(&status))?.into_inner().groups;
    if format == Format::Json {
        let groups = groups.iter().map(|group| {
            let members = group.members.iter().map(|name| Cell::text(name).to_json());
            Json::object([
                ("group", Cell::text(&group.name).to_json()),
                ("members", Json::List(members.collect())),
            ])
        });
        return print_json(&Json::List(groups.collect()));
    }
    if groups.is_empty() && format == Format::Table {
        return write_out("no groups; `sidereus access group set NAME MEMBER...` makes one\n");
    }
    let mut table = Table::new(["group", "count", "members"]);
    for group in &groups {
        table.push(vec![
            name(&group.name),
            Cell::Count(group.members.len() as u64),
            Cell::text(group.members.join(", ")),
        ]);
    }
    print_table(&table, format)
}
