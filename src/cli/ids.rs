//! Object ids as they are typed and printed.

use anyhow::{Context, Result};

use crate::wire::v1::object_id::Id;
use crate::wire::v1::{CollectionSchema, IdKind, ObjectId};

/// Reads an id of the collection's kind.
pub(super) fn parse_id(schema: &CollectionSchema, text: &str) -> Result<ObjectId> {
    let id = match schema.id_kind() {
        IdKind::Number => Id::Number(text.trim().parse().with_context(|| {
            format!("`{text}` is not an id of `{}`: its ids are whole numbers", schema.name)
        })?),
        IdKind::Text | IdKind::Unspecified => Id::Text(text.to_owned()),
    };
    Ok(ObjectId { id: Some(id) })
}

/// Reads several ids.
pub(super) fn parse_ids(schema: &CollectionSchema, texts: &[String]) -> Result<Vec<ObjectId>> {
    texts.iter().map(|text| parse_id(schema, text)).collect()
}

/// The text of an id; empty when the server sent none.
pub(super) fn id_text(id: Option<&ObjectId>) -> String {
    match id.and_then(|id| id.id.as_ref()) {
        Some(Id::Number(number)) => number.to_string(),
        Some(Id::Text(text)) => text.clone(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_no_id_of_a_numbered_collection() {
        let schema = CollectionSchema {
            name: "galaxies".to_owned(),
            id_kind: IdKind::Number.into(),
            ..CollectionSchema::default()
        };
        let id = parse_id(&schema, "-17").expect("a number");
        assert_eq!(id_text(Some(&id)), "-17");
        let error = parse_id(&schema, "NGC 1").expect_err("a word").to_string();
        assert!(error.contains("whole numbers") && error.contains("galaxies"), "{error}");
    }
}
