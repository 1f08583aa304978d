//! `sidereus access policy`.

use anyhow::{Context, Result};
use clap::Subcommand;

use super::{Client, done, moment, name};
use crate::cli::failure::of_status;
use crate::cli::render::{Cell, Format, Table, print_table, write_out};
use crate::wire::v1;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Restrict what a principal sees of a collection to some rows
    Set {
        /// user:NAME or group:NAME
        principal: String,
        /// Name of the collection
        collection: String,
        /// SQL condition on its columns, such as "release_date <= today"; who curates sees all rows
        #[arg(long = "where", value_name = "SQL")]
        predicate: String,
    },
    /// List row policies: all that you may see, or those for one collection
    List {
        /// Name of the collection
        collection: Option<String>,
    },
    /// Forget a row policy: the principal sees all rows again, where it may read
    Drop {
        /// user:NAME or group:NAME
        principal: String,
        /// Name of the collection
        collection: String,
    },
}

pub(super) async fn run(client: &Client, action: Action, format: Format) -> Result<()> {
    match action {
        Action::Set { principal, collection, predicate } => {
            let request = v1::SetRowPolicyRequest { principal, collection, predicate };
            let reply = client.access().set_row_policy(request).await;
            let reply = reply.map_err(|status| of_status(&status))?.into_inner();
            let (policy, undated) = (reply.policy, reply.undated_rows);
            let policy = policy.context("the server's answer lacks the policy")?;
            let v1::RowPolicy { principal, collection, predicate, .. } = policy;
            let mut line = format!(
                "{principal} sees the rows of {collection} for which {predicate}, unless another of its groups sees more"
            );
            if undated > 0 {
                line.push_str(&format!(
                    "; {undated} rows have no date (YYYY-MM-DD) in a column that it compares with today, and are not shown by that: \
                     write their dates so"
                ));
            }
            let facts = [
                ("principal", Cell::text(principal)),
                ("collection", Cell::text(collection)),
                ("where", Cell::text(predicate)),
                ("undated_rows", Cell::Count(undated)),
            ];
            done(&line, &facts, format)
        }
        Action::List { collection } => list(client, collection.unwrap_or_default(), format).await,
        Action::Drop { principal, collection } => {
            let request = v1::DropRowPolicyRequest {
                principal: principal.clone(),
                collection: collection.clone(),
            };
            let reply = client.access().drop_row_policy(request).await;
            reply.map_err(|status| of_status(&status))?;
            let line = format!("dropped the row policy of {principal} for {collection}");
            let facts =
                [("principal", Cell::text(principal)), ("collection", Cell::text(collection))];
            done(&line, &facts, format)
        }
    }
}

async fn list(client: &Client, collection: String, format: Format) -> Result<()> {
    let request = v1::ListRowPoliciesRequest { collection };
    let reply = client.access().list_row_policies(request).await;
    let policies = reply.map_err(|status| of_status(&status))?.into_inner().policies;
    if policies.is_empty() && format == Format::Table {
        return write_out("no row policies: who may read a collection sees all of it\n");
    }
    let mut table = Table::new(["principal", "collection", "where", "written", "by"]);
    for policy in &policies {
        table.push(vec![
            name(&policy.principal),
            name(&policy.collection),
            // Half a condition would say something else.
            name(&policy.predicate),
            moment(Some(policy.written), format),
            name(&policy.written_by),
        ]);
    }
    print_table(&table, format)
}
