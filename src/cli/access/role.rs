//! `sidereus access grant`, `revoke` and `grants`.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::{Client, done, moment, name};
use crate::cli::failure::{of_status, say};
use crate::cli::render::{Cell, Format, Table, print_table, write_out};
use crate::wire::v1;

pub(super) async fn give(
    client: &Client,
    request: v1::GiveRoleRequest,
    format: Format,
) -> Result<()> {
    let reply = client.access().give_role(request).await.map_err(|status| of_status(&status))?;
    let reply = reply.into_inner();
    let given = reply.given.context("the server's answer lacks the role")?;
    let v1::RoleGiven { principal, role, collection, .. } = given;
    if !reply.exists {
        say(&format!("note: there is no collection {collection} yet"));
    }
    if role != "curate" && role != "administer" {
        tell_of_policies(client, &principal, &collection).await;
    }
    let line = format!("{principal} may {role} {}", on(&collection));
    let facts = [
        ("principal", Cell::text(principal)),
        ("role", Cell::text(role)),
        ("collection", Cell::text(collection)),
        ("exists", Cell::Boolean(reply.exists)),
    ];
    done(&line, &facts, format)
}

/// Says that somebody sees rows now that a policy hides from others: he sees all, where he may read by a role without a policy.
async fn tell_of_policies(client: &Client, principal: &str, collection: &str) {
    // A role on everything may be given where there are no collections yet.
    let named = if collection == "*" { "" } else { collection };
    let request = v1::ListRowPoliciesRequest { collection: named.to_owned() };
    // Who may give roles and not see policies is told nothing of them.
    let Ok(reply) = client.access().list_row_policies(request).await else { return };
    let policies = reply.into_inner().policies;
    let collections = |own: bool| {
        let those = policies.iter().filter(move |policy| (policy.principal == principal) == own);
        those.map(|policy| policy.collection.as_str()).collect::<BTreeSet<_>>()
    };
    for restricted in collections(false).difference(&collections(true)) {
        say(&format!(
            "note: row policies hide rows of {restricted} from others, and not from {principal}, who has none: \
             `sidereus access policy set {principal} {restricted} --where SQL` restricts what is seen by this role"
        ));
    }
}

pub(super) async fn take(
    client: &Client,
    request: v1::TakeRoleRequest,
    format: Format,
) -> Result<()> {
    let v1::TakeRoleRequest { principal, collection } = request.clone();
    let reply = client.access().take_role(request).await.map_err(|status| of_status(&status))?;
    let role = reply.into_inner().role;
    let line = format!("{principal} may no longer {role} {}", on(&collection));
    let facts = [
        ("principal", Cell::text(principal)),
        ("role", Cell::text(role)),
        ("collection", Cell::text(collection)),
    ];
    done(&line, &facts, format)
}

pub(super) async fn list(client: &Client, collection: String, format: Format) -> Result<()> {
    let reply = client.access().list_roles(v1::ListRolesRequest { collection }).await;
    let roles = reply.map_err(|status| of_status(&status))?.into_inner().roles;
    if roles.is_empty() && format == Format::Table {
        return write_out(
            "no roles; `sidereus access grant PRINCIPAL ROLE COLLECTION` gives one\n",
        );
    }
    print_table(&table(&roles, format), format)
}

pub(super) fn table(roles: &[v1::RoleGiven], format: Format) -> Table {
    let mut table = Table::new(["principal", "role", "collection", "given", "by"]);
    for role in roles {
        table.push(vec![
            name(&role.principal),
            Cell::text(&role.role),
            name(&role.collection),
            moment(Some(role.given), format),
            name(&role.given_by),
        ]);
    }
    table
}

/// What a role is on, in a sentence.
fn on(collection: &str) -> String {
    match collection {
        "*" => "every collection and the server".to_owned(),
        collection => collection.to_owned(),
    }
}
