//! The schema of a collection as a TOML file, and as the server wants it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::schema::{
    AtIngest, CollectionSchema, Column, ColumnType, EmbeddingSpace, IdKind, Modality, Provenance,
    SpaceForm, SpaceId,
};
use crate::vector::Metric;
use crate::wire::v1;

/// What to say about a schema that this program cannot read.
const UNKNOWN: &str = "the server is of another version than this program";

/// A schema file:
///
/// ```toml
/// id = "number"                 # or "text"
/// description = "Galaxies with spectroscopic redshifts"
/// [[column]]
/// name = "z"
/// type = "float64"              # boolean int64 float32 float64 text binary float_list
/// unit = ""
/// ucd = "src.redshift"
/// description = "spectroscopic redshift"
/// [[space]]
/// name = "image"
/// modality = "image"
/// form = "vector"               # or tokens, token-ids
/// dimension = 1280              # 0, or left out, for token ids
/// metric = "cosine"             # or l2, ip
/// shared = "astroclip"          # where the models of several spaces were trained so that their vectors can be compared
/// encode_at_ingest = true       # the server encodes objects as they arrive
/// inputs = { image = "cutout" } # model input = "column", where their names differ
/// provenance = { encoder = "efficientnet-lite0" } # the model; needed with encode_at_ingest
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaFile {
    id: IdName,
    #[serde(default)]
    description: String,
    #[serde(default, rename = "column")]
    columns: Vec<ColumnEntry>,
    #[serde(default, rename = "space")]
    spaces: Vec<SpaceEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum IdName {
    Number,
    Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnEntry {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    ucd: String,
    #[serde(default)]
    description: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpaceEntry {
    name: String,
    modality: String,
    #[serde(default)]
    form: Option<String>,
    #[serde(default)]
    dimension: usize,
    metric: String,
    #[serde(default)]
    encode_at_ingest: bool,
    #[serde(default)]
    inputs: BTreeMap<String, String>,
    #[serde(default)]
    provenance: Option<ProvenanceEntry>,
    #[serde(default)]
    shared: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvenanceEntry {
    encoder: String,
    #[serde(default)]
    weights_hash: String,
    #[serde(default)]
    preprocessing: String,
    #[serde(default)]
    pooling: String,
}

/// Reads and checks a schema file for a collection of that name.
pub(super) fn read(path: &Path, name: &str) -> Result<CollectionSchema> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the schema file {}", path.display()))?;
    parse(&text, name).with_context(|| format!("schema file {}", path.display()))
}

fn parse(text: &str, name: &str) -> Result<CollectionSchema> {
    let file: SchemaFile = toml::from_str(text)?;
    let schema = CollectionSchema {
        name: name.to_owned(),
        id_kind: match file.id {
            IdName::Number => IdKind::Number,
            IdName::Text => IdKind::Text,
        },
        columns: file.columns.into_iter().map(column).collect::<Result<_>>()?,
        spaces: file.spaces.into_iter().map(space).collect::<Result<_>>()?,
        description: file.description,
    };
    schema.validate()?;
    Ok(schema)
}

fn column(entry: ColumnEntry) -> Result<Column> {
    let kind: ColumnType = entry
        .kind
        .parse()
        .map_err(|reason| anyhow::anyhow!("column `{}`: {reason}", entry.name))?;
    Ok(Column {
        name: entry.name,
        kind,
        unit: entry.unit,
        ucd: entry.ucd,
        description: entry.description,
    })
}

fn space(entry: SpaceEntry) -> Result<EmbeddingSpace> {
    let metric: Metric = entry.metric.parse().with_context(|| format!("space `{}`", entry.name))?;
    let form = match entry.form.as_deref() {
        None => SpaceForm::Vector,
        Some(name) => {
            name.parse().map_err(|reason| anyhow::anyhow!("space `{}`: {reason}", entry.name))?
        }
    };
    if !entry.encode_at_ingest && !entry.inputs.is_empty() {
        bail!(
            "space `{}`: `inputs` say what is encoded at ingest; add `encode_at_ingest = true`",
            entry.name
        );
    }
    let at_ingest = entry.encode_at_ingest.then_some(AtIngest { inputs: entry.inputs });
    let provenance = entry.provenance.map_or_else(Provenance::external, |given| Provenance {
        encoder: given.encoder,
        weights_hash: given.weights_hash,
        preprocessing: given.preprocessing,
        pooling: given.pooling,
    });
    Ok(EmbeddingSpace {
        id: SpaceId(0),
        name: entry.name,
        modality: Modality(entry.modality),
        form,
        dimension: entry.dimension,
        metric,
        provenance,
        shared: entry.shared,
        at_ingest,
    })
}

/// The schema as a message.
pub(super) fn to_wire(schema: &CollectionSchema) -> v1::CollectionSchema {
    let id_kind = match schema.id_kind {
        IdKind::Number => v1::IdKind::Number,
        IdKind::Text => v1::IdKind::Text,
    };
    v1::CollectionSchema {
        name: schema.name.clone(),
        id_kind: id_kind.into(),
        columns: schema.columns.iter().map(column_to_wire).collect(),
        spaces: schema.spaces.iter().map(space_to_wire).collect(),
        description: schema.description.clone(),
    }
}

fn column_to_wire(column: &Column) -> v1::Column {
    let kind = match column.kind {
        ColumnType::Boolean => v1::ColumnType::Boolean,
        ColumnType::Int64 => v1::ColumnType::Int64,
        ColumnType::Float32 => v1::ColumnType::Float32,
        ColumnType::Float64 => v1::ColumnType::Float64,
        ColumnType::Text => v1::ColumnType::Text,
        ColumnType::Binary => v1::ColumnType::Binary,
        ColumnType::FloatList => v1::ColumnType::FloatList,
    };
    v1::Column {
        name: column.name.clone(),
        r#type: kind.into(),
        unit: column.unit.clone(),
        ucd: column.ucd.clone(),
        description: column.description.clone(),
    }
}

/// A space as a message.
pub(super) fn space_to_wire(space: &EmbeddingSpace) -> v1::EmbeddingSpace {
    let inputs = space.at_ingest.as_ref();
    let inputs = inputs.map(|at_ingest| at_ingest.inputs.clone().into_iter().collect());
    v1::EmbeddingSpace {
        name: space.name.clone(),
        modality: space.modality.0.clone(),
        dimension: space.dimension as u32,
        metric: metric_to_wire(space.metric).into(),
        provenance: Some(v1::Provenance {
            encoder: space.provenance.encoder.clone(),
            weights_hash: space.provenance.weights_hash.clone(),
            preprocessing: space.provenance.preprocessing.clone(),
            pooling: space.provenance.pooling.clone(),
        }),
        form: v1::SpaceForm::from(space.form).into(),
        shared: space.shared.clone().unwrap_or_default(),
        encode_at_ingest: space.at_ingest.is_some(),
        inputs: inputs.unwrap_or_default(),
    }
}

/// The name of what a space holds.
pub(super) fn form_name(form: v1::SpaceForm) -> &'static str {
    SpaceForm::from(form).name()
}

/// A metric as a message.
pub(super) fn metric_to_wire(metric: Metric) -> v1::Metric {
    match metric {
        Metric::Cosine => v1::Metric::Cosine,
        Metric::L2 => v1::Metric::L2,
        Metric::Ip => v1::Metric::Ip,
    }
}

/// The schema of a message. Space numbers are the places in it, for a client never sees the server's.
pub(super) fn from_wire(schema: &v1::CollectionSchema) -> Result<CollectionSchema> {
    let id_kind = match schema.id_kind() {
        v1::IdKind::Number => IdKind::Number,
        v1::IdKind::Text => IdKind::Text,
        v1::IdKind::Unspecified => bail!("{UNKNOWN}: the kind of ids"),
    };
    let columns = schema.columns.iter().map(|column| {
        let kind = column_type_name(column.r#type()).parse();
        Ok(Column {
            name: column.name.clone(),
            kind: kind.map_err(|reason| anyhow::anyhow!("{UNKNOWN}: {reason}"))?,
            unit: column.unit.clone(),
            ucd: column.ucd.clone(),
            description: column.description.clone(),
        })
    });
    let spaces = schema.spaces.iter().zip(0_u32..).map(|(space, place)| {
        let provenance = space.provenance.clone().unwrap_or_default();
        Ok(EmbeddingSpace {
            id: SpaceId(place),
            name: space.name.clone(),
            modality: Modality(space.modality.clone()),
            form: space.form().into(),
            dimension: space.dimension as usize,
            metric: metric_name(space.metric()).parse().context(UNKNOWN)?,
            provenance: Provenance {
                encoder: provenance.encoder,
                weights_hash: provenance.weights_hash,
                preprocessing: provenance.preprocessing,
                pooling: provenance.pooling,
            },
            shared: (!space.shared.is_empty()).then(|| space.shared.clone()),
            at_ingest: space
                .encode_at_ingest
                .then(|| AtIngest { inputs: space.inputs.clone().into_iter().collect() }),
        })
    });
    Ok(CollectionSchema {
        name: schema.name.clone(),
        id_kind,
        columns: columns.collect::<Result<_>>()?,
        spaces: spaces.collect::<Result<_>>()?,
        description: schema.description.clone(),
    })
}

/// The name of a column type as schema files write it.
pub(super) fn column_type_name(kind: v1::ColumnType) -> &'static str {
    match kind {
        v1::ColumnType::Unspecified => "unknown",
        v1::ColumnType::Boolean => ColumnType::Boolean.name(),
        v1::ColumnType::Int64 => ColumnType::Int64.name(),
        v1::ColumnType::Float32 => ColumnType::Float32.name(),
        v1::ColumnType::Float64 => ColumnType::Float64.name(),
        v1::ColumnType::Text => ColumnType::Text.name(),
        v1::ColumnType::Binary => ColumnType::Binary.name(),
        v1::ColumnType::FloatList => ColumnType::FloatList.name(),
    }
}

/// The name of a metric as schema files write it.
pub(super) fn metric_name(metric: v1::Metric) -> &'static str {
    match metric {
        v1::Metric::Unspecified => "unknown",
        v1::Metric::Cosine => "cosine",
        v1::Metric::L2 => "l2",
        v1::Metric::Ip => "ip",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        id = "text"
        [[column]]
        name = "z"
        type = "float64"
        ucd = "src.redshift"
        [[space]]
        name = "image"
        modality = "image"
        dimension = 3
        metric = "cosine"
        shared = "both"
        [[space]]
        name = "made"
        modality = "image"
        dimension = 3
        metric = "l2"
        encode_at_ingest = true
        inputs = { z = "z", y = "" }
        provenance = { encoder = "m" }
        [[space]]
        name = "spectrum"
        modality = "spectrum"
        dimension = 3
        metric = "cosine"
        shared = "Both"
        [[space]]
        name = "states"
        modality = "image"
        form = "tokens"
        dimension = 768
        metric = "cosine"
        [[space]]
        name = "codes"
        modality = "image"
        form = "token-ids"
        metric = "cosine"
    "#;

    #[test]
    fn a_schema_file_says_everything() {
        let schema = parse(TEXT, "galaxies").expect("a schema");
        assert_eq!(schema.name, "galaxies");
        assert_eq!(schema.id_kind, IdKind::Text);
        assert_eq!(schema.columns[0].ucd, "src.redshift");
        assert!(schema.spaces[0].provenance.is_external());
        let forms: Vec<SpaceForm> = schema.spaces.iter().map(|space| space.form).collect();
        let vector = SpaceForm::Vector;
        assert_eq!(forms, [vector, vector, vector, SpaceForm::Tokens, SpaceForm::TokenIds]);
        assert!(schema.spaces[0].shares_with(&schema.spaces[2]));
        assert!(!schema.spaces[0].shares_with(&schema.spaces[1]));
        let message = to_wire(&schema);
        assert_eq!(message.spaces[0].metric(), v1::Metric::Cosine);
        assert!(message.spaces[1].encode_at_ingest && !message.spaces[0].encode_at_ingest);
        assert_eq!(message.spaces[1].inputs["z"], "z");
        assert_eq!(message.columns[0].r#type(), v1::ColumnType::Float64);
        let mut schema = schema;
        for (space, place) in schema.spaces.iter_mut().zip(0..) {
            space.id = SpaceId(place);
        }
        assert_eq!(from_wire(&message).expect("as it was"), schema);
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, wanted) in [
            ("float64", "real", "float_list"),
            ("\"cosine\"", "\"cos\"", "cosine, l2 or ip"),
            ("dimension = 3", "dimension = 0", "dimension 0"),
            ("dimension = 768", "", "dimension 0"),
            ("shared = \"Both\"", "shared = \"b c\"", "shared space"),
            (
                "spectrum\"\n        dimension = 3",
                "spectrum\"\n        dimension = 4",
                "differ in dimension",
            ),
            ("\"tokens\"", "\"token-ids\"", "its dimension must be 0, not 768"),
            ("\"tokens\"", "\"words\"", "vector, tokens or token-ids"),
            ("ucd", "uct", "uct"),
            ("encode_at_ingest = true", "", "add `encode_at_ingest = true`"),
            ("provenance = { encoder = \"m\" }", "", "made elsewhere"),
            ("z = \"z\", y", "z = \"zz\", y", "`zz`, which is no column"),
            ("\"z\"", "\"dec\"", "built in"),
        ] {
            let error = parse(&TEXT.replace(from, to), "galaxies").expect_err(to);
            let error = format!("{error:#}");
            assert!(error.contains(wanted), "{error}");
        }
    }
}
