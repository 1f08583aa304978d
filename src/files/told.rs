//! What the columns of vectors in an exported file tell of their spaces.

use arrow::datatypes::{Field, Schema};

use super::assign::{VECTOR_PREFIX, VectorSource, VectorSpec};
use super::cast::column_kind;
use super::mapping::{Resolved, place_of};
use crate::schema::{CollectionSchema, ColumnType, EmbeddingSpace, Modality, Provenance};
use crate::vector::Metric;

/// Metadata keys of a provenance, in the order of its members.
pub const META_PROVENANCE: [&str; 4] = ["encoder", "weights_hash", "preprocessing", "pooling"];

const META_METRIC: &str = "metric";
const META_MODALITY: &str = "modality";

/// A space as the metadata of its column tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToldSpace {
    metric: Metric,
    pub(super) modality: Option<Modality>,
    /// External, where the file does not say who made the vectors.
    pub(super) provenance: Provenance,
}

impl ToldSpace {
    /// Reads the metadata of a column; `None` where it tells no metric.
    fn of(field: &Field) -> Option<Self> {
        let told = |key: &str| field.metadata().get(key).map(|text| text.trim().to_owned());
        let metric = told(META_METRIC)?.parse().ok()?;
        let modality = told(META_MODALITY).filter(|name| !name.is_empty()).map(Modality);
        let [encoder, weights_hash, preprocessing, pooling] =
            META_PROVENANCE.map(|key| told(key).unwrap_or_default());
        let provenance = match encoder.is_empty() {
            true => Provenance::external(),
            false => Provenance { encoder, weights_hash, preprocessing, pooling },
        };
        Some(Self { metric, modality, provenance })
    }
}

/// The spaces that are asked for, with what the file tells of them, and those that it tells of by itself: columns
/// `vector.<space>` of lists of numbers with a metric. A metric that was chosen is that of all of them.
pub(super) fn with_told(
    file: &Schema,
    resolved: &Resolved,
    asked: &[VectorSpec],
    chosen: Option<Metric>,
    collection: Option<&CollectionSchema>,
) -> Vec<VectorSpec> {
    let mut specs = asked.to_vec();
    let mut taken: Vec<usize> = resolved.named.iter().map(|(_, picked)| picked.place).collect();
    for spec in &mut specs {
        let VectorSource::Column(column) = &spec.source else { continue };
        // What is wrong with the name is said when the file is matched with the collection.
        let Ok(Some(place)) = place_of(file, column, &spec.space) else { continue };
        taken.push(place);
        spec.told = ToldSpace::of(file.field(place));
    }
    for (place, field) in file.fields().iter().enumerate() {
        let Some(space) = field.name().strip_prefix(VECTOR_PREFIX) else { continue };
        let is_asked = specs.iter().any(|spec| spec.space.eq_ignore_ascii_case(space));
        let has_place = |collection: &CollectionSchema| {
            collection.space(space).is_some_and(EmbeddingSpace::holds_vectors)
        };
        let is_list = column_kind(field.data_type()) == Some(ColumnType::FloatList);
        if taken.contains(&place) || is_asked || !is_list || !collection.is_none_or(has_place) {
            continue;
        }
        if let Some(told) = ToldSpace::of(field) {
            specs.push(VectorSpec {
                space: space.to_owned(),
                source: VectorSource::Column(field.name().clone()),
                metric: told.metric,
                told: Some(told),
            });
        }
    }
    for spec in &mut specs {
        let told = spec.told.as_ref().map(|told| told.metric);
        spec.metric = chosen.or(told).unwrap_or(spec.metric);
    }
    specs
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::DataType;

    use super::*;
    use crate::files::Mapping;

    fn file() -> Schema {
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let about =
            [("metric", "l2"), ("modality", "photometry"), ("encoder", "m"), ("pooling", "mean")];
        let about = about.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
        let list =
            |name: &str| Field::new(name, DataType::FixedSizeList(Arc::clone(&item), 4), true);
        Schema::new(vec![
            Field::new("object_id", DataType::Int64, true),
            Field::new("ra", DataType::Float64, true),
            Field::new("dec", DataType::Float64, true),
            list("vector.colours").with_metadata(about),
            list("vector.silent"),
        ])
    }

    fn told(asked: &[VectorSpec], chosen: Option<Metric>) -> Vec<VectorSpec> {
        let file = file();
        let resolved = Mapping::default().resolve(&file).expect("resolves");
        with_told(&file, &resolved, asked, chosen, None)
    }

    #[test]
    fn a_column_that_tells_its_space_is_one() {
        let specs = told(&[], None);
        assert_eq!(specs.len(), 1);
        assert_eq!((specs[0].space.as_str(), specs[0].metric), ("colours", Metric::L2));
        let told = specs[0].told.clone().expect("told");
        assert_eq!(told.modality, Some(Modality("photometry".to_owned())));
        assert_eq!(
            (told.provenance.encoder.as_str(), told.provenance.pooling.as_str()),
            ("m", "mean")
        );
    }

    #[test]
    fn what_is_asked_for_comes_first_and_a_chosen_metric_holds() {
        let asked = VectorSpec::parse("mine=vector.colours", Metric::Cosine).expect("sound");
        let specs = told(std::slice::from_ref(&asked), None);
        assert_eq!(specs.len(), 1);
        assert_eq!((specs[0].space.as_str(), specs[0].metric), ("mine", Metric::L2));
        assert_eq!(told(&[asked], Some(Metric::Ip))[0].metric, Metric::Ip);
    }
}
