//! Every object of a collection, page by page.

use anyhow::Result;

use crate::cli::client::Client;
use crate::cli::search::ask;
use crate::wire::v1::object_id::Id;
use crate::wire::v1::{Hit, ObjectId, SearchRequest};

/// Objects listed by one request.
const PAGE_ROWS: u32 = 5_000;

/// Shows every object for which the request's predicate is true, in the order of ids. The request names the collection, the
/// predicate and what is wanted of each object.
pub(super) async fn every(
    client: &Client,
    request: SearchRequest,
    mut visit: impl FnMut(Hit) -> Result<()>,
) -> Result<()> {
    let mut after: Option<ObjectId> = None;
    loop {
        let predicate = match (&after, request.predicate.as_str()) {
            (None, predicate) => predicate.to_owned(),
            (Some(id), "") => beyond(id),
            (Some(id), predicate) => format!("({predicate}) AND {}", beyond(id)),
        };
        let page = SearchRequest { predicate, k: PAGE_ROWS, ..request.clone() };
        let hits = ask(client, page).await?.hits;
        after = hits.last().and_then(|hit| hit.id.clone());
        let is_last = hits.len() < PAGE_ROWS as usize;
        hits.into_iter().try_for_each(&mut visit)?;
        if is_last || after.is_none() {
            return Ok(());
        }
    }
}

/// The predicate of everything behind an id, in the order of ids.
fn beyond(id: &ObjectId) -> String {
    format!("object_id > {}", literal(id))
}

/// The predicate of one object.
pub(super) fn only(id: &ObjectId) -> String {
    format!("object_id = {}", literal(id))
}

fn literal(id: &ObjectId) -> String {
    match &id.id {
        Some(Id::Number(number)) => number.to_string(),
        Some(Id::Text(text)) => format!("'{}'", text.replace('\'', "''")),
        None => "NULL".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_on_behind_the_last_id() {
        let id = |id| ObjectId { id: Some(id) };
        assert_eq!(beyond(&id(Id::Number(-5))), "object_id > -5");
        assert_eq!(only(&id(Id::Text("O'Neil".to_owned()))), "object_id = 'O''Neil'");
    }
}
