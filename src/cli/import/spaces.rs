//! Embedding spaces that an import adds to a collection.

use anyhow::{Context, Result, bail};

use super::Request;
use crate::cli::client::Client;
use crate::cli::failure::{of_status, say};
use crate::cli::schema_file;
use crate::config::distance;
use crate::files::{Import, VectorSpec};
use crate::schema::CollectionSchema;
use crate::wire::v1::AddSpaceRequest;

/// Adds the spaces of `--vectors` that a collection does not have yet.
pub(super) async fn add_missing_spaces(
    client: &Client,
    request: &Request,
    table: &Import,
    mut schema: CollectionSchema,
) -> Result<CollectionSchema> {
    let known = |spec: &VectorSpec| schema.space(&spec.space).map(|space| space.metric);
    let mut known_vectors = request.vectors.iter().filter_map(|spec| Some((spec, known(spec)?)));
    if let Some(asked) = request.metric
        && let Some((spec, metric)) = known_vectors.find(|(_, metric)| *metric != asked)
    {
        bail!(
            "vectors of the space `{}` are compared by {metric}, not {asked}; leave out --metric, or give these vectors a space of another name",
            spec.space
        );
    }
    if request.vectors.iter().all(|spec| known(spec).is_some()) {
        return Ok(schema);
    }
    for space in table.infer_schema(&schema.name)?.schema.spaces {
        if schema.space(&space.name).is_some() {
            continue;
        }
        if let Some(known) = schema.spaces.iter().find(|known| is_slip(&known.name, &space.name)) {
            bail!(
                "`{}` has no space `{}`; do you mean `{}`? To have both, give the new one a name that is less like it",
                schema.name,
                space.name,
                known.name
            );
        }
        let added = AddSpaceRequest {
            collection: schema.name.clone(),
            space: Some(schema_file::space_to_wire(&space)),
        };
        let reply =
            client.collections().add_space(added).await.map_err(|status| of_status(&status))?;
        let changed = reply.into_inner().collection.and_then(|collection| collection.schema);
        schema =
            schema_file::from_wire(&changed.context("the server did not say what it changed")?)?;
        say(&format!(
            "note: added the space `{}` ({} dimensions, {})",
            space.name, space.dimension, space.metric
        ));
    }
    Ok(schema)
}

/// Whether a name is so like a known one that it is more likely a slip than a name of its own. Numbers tell names apart.
fn is_slip(known: &str, name: &str) -> bool {
    let letters = |name: &str| name.replace(|each: char| each.is_ascii_digit(), "");
    let (shorter, longer) = (known.chars().count(), name.chars().count());
    let (shorter, longer) = (shorter.min(longer), shorter.max(longer));
    // Of two or three letters one makes another word, but for one that was left out.
    let allowed = usize::from(shorter < longer && longer > 2);
    letters(known) != letters(name)
        && distance(known, name) <= (name.chars().count() / 4).min(2).max(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_another_name() {
        for (known, name) in [("photometry", "photometri"), ("image", "images"), ("emb", "em")] {
            assert!(is_slip(known, name), "{known} {name}");
        }
        for (known, name) in
            [("v", "w"), ("v", "vw"), ("g", "r"), ("clip_v1", "clip_v2"), ("spectrum", "spectra")]
        {
            assert!(!is_slip(known, name), "{known} {name}");
        }
    }
}
