//! When vectors of two spaces can be compared: the one place that decides it.
//!
//! Vectors have a distance within one space; between spaces that a schema declares shared, because their models were trained
//! together; and between spaces that a fitted bridge joins. All others have none, whatever their dimensions are.

use std::sync::Arc;

use super::record::Record;
use super::{BridgeError, Bridges, Kept};
use crate::engine::CollectionView;
use crate::query::{Carry, Crossing};
use crate::schema::{CollectionSchema, EmbeddingSpace};

/// Why vectors of two spaces can be compared.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    /// They are of one space.
    Same,
    /// Both spaces were declared to share one of this name.
    Shared(String),
    /// A bridge joins them.
    Bridge(Arc<Record>),
}

/// Finds the rule by which vectors of one space can be compared with those of another.
///
/// # Errors
/// [`BridgeError::NotComparable`] where there is none, and what would make one; [`BridgeError::SeveralBridges`],
/// [`BridgeError::NoBridge`], [`BridgeError::OtherSpaces`] and [`BridgeError::Stale`] for bridges that cannot be meant.
pub(super) fn rule(
    schema: &CollectionSchema,
    kept: &Kept,
    from: &EmbeddingSpace,
    to: &EmbeddingSpace,
    named: &str,
) -> Result<Rule, BridgeError> {
    let joins = |record: &&Arc<Record>| {
        record.from().eq_ignore_ascii_case(&from.name) && record.to().eq_ignore_ascii_case(&to.name)
    };
    if !named.is_empty() {
        let record = find(schema, kept, named)?;
        if !joins(&record) {
            return Err(BridgeError::OtherSpaces {
                name: record.bridge.name.clone(),
                from: record.from().to_owned(),
                to: record.to().to_owned(),
                asked_from: from.name.clone(),
                asked_to: to.name.clone(),
            });
        }
        record.spaces(schema)?;
        return Ok(Rule::Bridge(Arc::clone(record)));
    }
    if from.id == to.id {
        return Ok(Rule::Same);
    }
    if from.shares_with(to) {
        return Ok(Rule::Shared(from.shared.clone().unwrap_or_default()));
    }
    let found: Vec<&Arc<Record>> = kept.records.iter().filter(joins).collect();
    match found.as_slice() {
        [only] => {
            only.spaces(schema)?;
            Ok(Rule::Bridge(Arc::clone(only)))
        }
        // What a damaged one joins is not known: it may be the one that is meant.
        [] => match kept.damaged.first() {
            Some((name, _)) => kept.check(name).and(Err(not_comparable(schema, kept, from, to))),
            None => Err(not_comparable(schema, kept, from, to)),
        },
        several => {
            let names: Vec<&str> =
                several.iter().map(|record| record.bridge.name.as_str()).collect();
            Err(BridgeError::SeveralBridges {
                from: from.name.clone(),
                to: to.name.clone(),
                names: names.join(", "),
            })
        }
    }
}

/// The bridge of a name.
pub(super) fn find<'a>(
    schema: &CollectionSchema,
    kept: &'a Kept,
    name: &str,
) -> Result<&'a Arc<Record>, BridgeError> {
    kept.check(name)?;
    let found = kept.records.iter().find(|record| record.bridge.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| BridgeError::NoBridge {
        collection: schema.name.clone(),
        name: name.to_owned(),
    })
}

fn not_comparable(
    schema: &CollectionSchema,
    kept: &Kept,
    from: &EmbeddingSpace,
    to: &EmbeddingSpace,
) -> BridgeError {
    let back = kept.records.iter().find(|record| {
        record.from().eq_ignore_ascii_case(&to.name) && record.to().eq_ignore_ascii_case(&from.name)
    });
    let hint = match back {
        Some(record) => format!(
            " (bridge `{}` leads the other way, and a bridge is for one way)",
            record.bridge.name
        ),
        None => "; spaces of models that were trained together are declared with `shared = \"NAME\"` in the schema".to_owned(),
    };
    BridgeError::NotComparable {
        collection: schema.name.clone(),
        from: from.name.clone(),
        to: to.name.clone(),
        hint,
    }
}

/// A bridge at work.
#[derive(Debug)]
struct Across(Arc<Record>);

impl Carry for Across {
    fn carry(&self, vector: &[f32]) -> Result<Vec<f32>, String> {
        self.0.map.from.apply_stored(vector).map_err(|error| error.to_string())
    }
}

impl Bridges {
    /// How vectors of one space are searched in another.
    ///
    /// # Errors
    /// As `rule`, and [`BridgeError::LeadsElsewhere`] for a bridge into a space of its own.
    pub fn crossing(
        &self,
        view: &CollectionView,
        from: &EmbeddingSpace,
        to: &EmbeddingSpace,
        named: &str,
    ) -> Result<Crossing, BridgeError> {
        let schema = view.schema();
        let kept = self.kept(view)?;
        let (rule, carry): (String, Option<Arc<dyn Carry>>) =
            match rule(schema, &kept, from, to, named)? {
                Rule::Same => ("the same space".to_owned(), None),
                Rule::Shared(name) => (format!("declared to share `{name}`"), None),
                Rule::Bridge(record) => {
                    if !record.map.leads_into_target() {
                        return Err(BridgeError::LeadsElsewhere {
                            collection: schema.name.clone(),
                            name: record.bridge.name.clone(),
                            from: record.from().to_owned(),
                            to: record.to().to_owned(),
                        });
                    }
                    (told(&record), Some(Arc::new(Across(record))))
                }
            };
        Ok(Crossing { space: from.name.clone(), rule, carry })
    }
}

/// A bridge in a line, with what it reached on objects that it had not seen.
fn told(record: &Record) -> String {
    let bridge = &record.bridge;
    let recalls: Vec<String> = bridge
        .metrics
        .iter()
        .filter(|metric| metric.name.starts_with("recall@"))
        .map(|metric| {
            let chance = metric.chance.map(|chance| format!(", by chance {chance:.4}"));
            format!(
                "{} {:.4} [{:.4}, {:.4}]{}",
                metric.name,
                metric.value,
                metric.low,
                metric.high,
                chance.unwrap_or_default()
            )
        })
        .collect();
    format!(
        "bridge `{}` version {}, fitted on {} objects; on {} others: {}",
        bridge.name,
        bridge.version,
        bridge.n_train,
        bridge.n_test,
        recalls.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::bridge::{BridgeMap, SideMap};
    use crate::schema::{IdKind, Modality, Provenance, SpaceForm, SpaceId};
    use crate::vector::Metric;
    use crate::wire::v1;

    fn space(id: u32, name: &str, shared: Option<&str>) -> EmbeddingSpace {
        EmbeddingSpace {
            id: SpaceId(id),
            name: name.to_owned(),
            modality: Modality(name.to_owned()),
            form: SpaceForm::Vector,
            dimension: 2,
            metric: Metric::Cosine,
            provenance: Provenance { encoder: name.to_owned(), ..Provenance::default() },
            shared: shared.map(str::to_owned),
            at_ingest: None,
        }
    }

    fn schema() -> CollectionSchema {
        CollectionSchema {
            name: "sky".to_owned(),
            id_kind: IdKind::Number,
            columns: Vec::new(),
            spaces: vec![
                space(1, "image", Some("towers")),
                space(2, "spectrum", Some("Towers")),
                space(3, "photometry", None),
            ],
            description: String::new(),
        }
    }

    fn bridge(name: &str, from: &str, to: &str) -> Arc<Record> {
        let made_by = |name: &str| {
            let space = schema().space(name).cloned();
            space.map(|space| space.provenance.into())
        };
        let spec =
            v1::BridgeSpec { from: from.to_owned(), to: to.to_owned(), ..Default::default() };
        let bridge = v1::Bridge {
            name: name.to_owned(),
            from_provenance: made_by(from),
            to_provenance: made_by(to),
            spec: Some(spec),
            ..v1::Bridge::default()
        };
        let map = BridgeMap { from: SideMap::identity(2), to: SideMap::identity(2) };
        Arc::new(Record { bridge, map })
    }

    fn ruled(
        schema: &CollectionSchema,
        records: &[Arc<Record>],
        [from, to, named]: [&str; 3],
    ) -> Result<Rule, BridgeError> {
        let of = |name: &str| schema.space(name).expect("there").clone();
        let kept = Kept { records: records.to_vec(), damaged: Vec::new() };
        rule(schema, &kept, &of(from), &of(to), named)
    }

    #[test]
    fn one_space_shared_spaces_and_bridges_are_compared_and_nothing_else() {
        let schema = schema();
        let one = [bridge("b", "photometry", "image")];
        let names = |from, to, named| ruled(&schema, &one, [from, to, named]);
        assert!(matches!(names("image", "image", ""), Ok(Rule::Same)));
        assert!(
            matches!(names("image", "spectrum", ""), Ok(Rule::Shared(name)) if name == "towers")
        );
        for named in ["", "B"] {
            assert!(matches!(names("photometry", "image", named), Ok(Rule::Bridge(_))));
        }
        let refused = |from, to, named| names(from, to, named).expect_err("refused").to_string();
        assert!(refused("photometry", "spectrum", "").contains("sidereus bridge fit sky --from"));
        assert!(refused("image", "photometry", "").contains("the other way"));
        assert!(refused("photometry", "image", "c").contains("no bridge `c`"));
        assert!(refused("image", "spectrum", "b").contains("leads from `photometry` into `image`"));
        let two = [bridge("b", "photometry", "image"), bridge("c", "photometry", "image")];
        let error = ruled(&schema, &two, ["photometry", "image", ""]).expect_err("two");
        assert!(error.to_string().contains("(b, c)"));
        assert!(ruled(&schema, &two, ["photometry", "image", "c"]).is_ok());
    }

    #[test]
    fn a_damaged_bridge_is_in_the_way_only_where_it_may_be_meant() {
        let schema = schema();
        let kept = Kept {
            records: vec![bridge("b", "photometry", "image")],
            damaged: vec![("torn".to_owned(), "it has no map".to_owned())],
        };
        let of = |name: &str| schema.space(name).expect("there").clone();
        let ruled = |from, to, named| rule(&schema, &kept, &of(from), &of(to), named);
        assert!(matches!(ruled("image", "spectrum", ""), Ok(Rule::Shared(_))));
        assert!(matches!(ruled("image", "image", ""), Ok(Rule::Same)));
        for named in ["", "b"] {
            assert!(matches!(ruled("photometry", "image", named), Ok(Rule::Bridge(_))));
        }
        for (to, named) in [("image", "TORN"), ("spectrum", "")] {
            let error = ruled("photometry", to, named).expect_err("damaged");
            assert!(matches!(error, BridgeError::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn a_bridge_of_other_vectors_is_stale() {
        let mut schema = schema();
        let records = [bridge("b", "photometry", "image")];
        schema.spaces[2].provenance.encoder = "another".to_owned();
        let error = ruled(&schema, &records, ["photometry", "image", ""]).expect_err("stale");
        assert!(matches!(error, BridgeError::Stale { .. }), "{error}");
        assert!(error.to_string().contains("another"), "{error}");
        assert!(!records[0].told(&schema).stale.is_empty());
    }
}
