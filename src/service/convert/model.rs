//! Models, and the payloads that a collection's columns make for them.

use std::collections::{BTreeMap, HashMap};

use crate::encoder::ModelInfo;
use crate::schema::{CollectionSchema, ColumnType, Modality, Object, Value};
use crate::service::RequestError;
use crate::wire::v1;

/// The only input of an image model.
const IMAGE_INPUT: &str = "image";

/// Writes what is known of a model.
pub(in crate::service) fn model_of(model: ModelInfo) -> v1::Model {
    v1::Model {
        id: model.id,
        modality: model.modality.0,
        dimension: u32::try_from(model.dimension).unwrap_or(u32::MAX),
        provenance: Some(v1::Provenance::from(model.provenance)),
        inputs: model.inputs,
        description: model.description,
        outputs: model.outputs.iter().map(Into::into).collect(),
    }
}

/// Where a model's input comes from: a column, or one element of a list column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) struct ColumnSource {
    place: usize,
    element: Option<usize>,
}

impl ColumnSource {
    /// Finds `column` or `column[element]`.
    fn find(schema: &CollectionSchema, written: &str) -> Option<Self> {
        let (place, element) = schema.column_element(written)?;
        Some(Self { place, element })
    }

    fn kind(self, schema: &CollectionSchema) -> ColumnType {
        schema.columns.get(self.place).map_or(ColumnType::Binary, |column| column.kind)
    }

    /// The number that an object has here; none for a null, a NaN or a list that is too short.
    fn number(self, object: &Object) -> Option<f64> {
        let value = object.columns.get(self.place)?;
        let number = match (value, self.element) {
            (Value::FloatList(values), Some(element)) => values.get(element).copied(),
            (value, None) => value.as_f64(),
            (_, Some(_)) => None,
        };
        number.filter(|number| !number.is_nan())
    }

    /// The list or number that an object has here; none for a null or an empty list.
    fn array(self, object: &Object) -> Option<v1::Array> {
        match (object.columns.get(self.place)?, self.element) {
            (Value::FloatList(values), None) if !values.is_empty() => {
                let length = u32::try_from(values.len()).ok()?;
                Some(array(vec![length], values.iter().map(|value| *value as f32)))
            }
            _ => Some(array(Vec::new(), std::iter::once(self.number(object)? as f32))),
        }
    }
}

fn array(shape: Vec<u32>, values: impl Iterator<Item = f32>) -> v1::Array {
    let float32 = values.flat_map(f32::to_le_bytes).collect();
    v1::Array { shape, float32, bands: Vec::new() }
}

/// How the objects of a collection become payloads of a model.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::service) struct InputMap {
    modality: String,
    sources: Sources,
    /// For each input of the model where it comes from; empty for those that are left out.
    columns: BTreeMap<String, String>,
}

/// What the inputs of an object were: another object with the same inputs has the same print.
pub(in crate::service) type Print = blake3::Hash;

#[derive(Debug, Clone, PartialEq)]
enum Sources {
    Image {
        place: usize,
    },
    Row(Vec<(String, ColumnSource)>),
    /// Lists become arrays along one axis, numbers arrays of one.
    Arrays(Vec<(String, ColumnSource)>),
}

impl InputMap {
    /// Matches a model's inputs with columns: by the given names, else by their own.
    ///
    /// An input that is mapped to an empty name is left out, and so is one that the model calls optional. Any other
    /// one without a column is refused, so that a misspelt band is never silently taken as unobserved.
    pub(in crate::service) fn new(
        schema: &CollectionSchema,
        model: &ModelInfo,
        mut given: HashMap<String, String>,
    ) -> Result<Self, RequestError> {
        let inputs = &model.inputs;
        let kind = match inputs.as_slice() {
            [only] if only == IMAGE_INPUT => InputKind::Image,
            _ if model.modality.0 == Modality::PHOTOMETRY => InputKind::Number,
            _ => InputKind::Array,
        };
        if let Some(unknown) = given.keys().find(|name| !inputs.contains(name)) {
            return Err(RequestError::UnknownInput {
                model: model.id.clone(),
                input: unknown.clone(),
                known: inputs.join(", "),
            });
        }
        let mut sources = Vec::with_capacity(inputs.len());
        let mut columns = BTreeMap::new();
        for input in inputs {
            let written = given.remove(input);
            let column = written.clone().unwrap_or_else(|| input.clone());
            let Some(source) = source(schema, model, input, written)? else {
                columns.insert(input.clone(), String::new());
                continue;
            };
            columns.insert(input.clone(), column);
            check_type(schema, input, source, kind)?;
            sources.push((input.clone(), source));
        }
        let is_list = |(_, source): &(String, ColumnSource)| {
            source.element.is_none() && source.kind(schema) == ColumnType::FloatList
        };
        let sources = match sources.first() {
            None => return Err(RequestError::NoInputs { model: model.id.clone() }),
            Some((_, source)) if source.kind(schema) == ColumnType::Binary => {
                Sources::Image { place: source.place }
            }
            Some(_) if sources.iter().any(is_list) => Sources::Arrays(sources),
            Some(_) => Sources::Row(sources),
        };
        Ok(Self { modality: model.modality.0.clone(), sources, columns })
    }

    /// For each input of the model where it comes from, as it would be given; empty for those that are left out.
    pub(in crate::service) fn columns(&self) -> &BTreeMap<String, String> {
        &self.columns
    }

    /// The print of an object's inputs, for as long as the map is the same; `None` when it has none of them.
    pub(in crate::service) fn print(&self, object: &Object) -> Option<Print> {
        let mut hasher = blake3::Hasher::new();
        let mut is_empty = true;
        let mut feed = |bytes: Option<&[u8]>| {
            is_empty &= bytes.is_none();
            // Told apart by their lengths, so that what follows is never taken for what came before.
            hasher.update(&bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_le_bytes());
            hasher.update(bytes.unwrap_or_default());
        };
        match &self.sources {
            Sources::Image { place } => match object.columns.get(*place) {
                Some(Value::Binary(bytes)) if !bytes.is_empty() => feed(Some(bytes)),
                _ => feed(None),
            },
            Sources::Row(sources) => {
                for (_, source) in sources {
                    let number = source.number(object).map(f64::to_le_bytes);
                    feed(number.as_ref().map(<[u8; 8]>::as_slice));
                }
            }
            Sources::Arrays(sources) => {
                for (_, source) in sources {
                    let array = source.array(object);
                    let is_list = array.as_ref().is_some_and(|array| !array.shape.is_empty());
                    feed(array.as_ref().map(|array| array.float32.as_slice()));
                    feed(is_list.then_some(&[][..]));
                }
            }
        }
        (!is_empty).then(|| hasher.finalize())
    }

    /// The payload of an object; `None` when it has none of the inputs.
    pub(in crate::service) fn payload(&self, object: &mut Object) -> Option<v1::Payload> {
        let content = match &self.sources {
            Sources::Image { place } => match object.columns.get_mut(*place)? {
                // The object is read for this alone, so its image need not be copied.
                Value::Binary(bytes) if !bytes.is_empty() => {
                    v1::payload::Content::Image(std::mem::take(bytes))
                }
                _ => return None,
            },
            Sources::Row(sources) => {
                let values: HashMap<String, f64> = sources
                    .iter()
                    .filter_map(|(input, source)| Some((input.clone(), source.number(object)?)))
                    .collect();
                if values.is_empty() {
                    return None;
                }
                v1::payload::Content::Row(v1::NamedValues { values })
            }
            Sources::Arrays(sources) => {
                let arrays: HashMap<String, v1::Array> = sources
                    .iter()
                    .filter_map(|(input, source)| Some((input.clone(), source.array(object)?)))
                    .collect();
                if arrays.is_empty() {
                    return None;
                }
                v1::payload::Content::Arrays(v1::NamedArrays { arrays })
            }
        };
        Some(v1::Payload { modality: self.modality.clone(), content: Some(content) })
    }
}

/// Where an input comes from; `None` when it is left out.
fn source(
    schema: &CollectionSchema,
    model: &ModelInfo,
    input: &str,
    written: Option<String>,
) -> Result<Option<ColumnSource>, RequestError> {
    let found = ColumnSource::find(schema, written.as_deref().unwrap_or(input));
    match (written, found) {
        (Some(written), _) if written.is_empty() => Ok(None),
        (_, Some(source)) => Ok(Some(source)),
        (Some(column), None) => {
            Err(RequestError::UnknownColumn { collection: schema.name.clone(), column })
        }
        (None, None) if model.optional_inputs.iter().any(|optional| optional == input) => Ok(None),
        (None, None) => Err(RequestError::UnmappedInput {
            model: model.id.clone(),
            input: input.to_owned(),
            collection: schema.name.clone(),
        }),
    }
}

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputKind {
    /// In a binary column (PNG, JPEG, or an .npy file of fluxes) or in a list.
    Image,
    /// In a column of numbers, or an element of a list.
    Number,
    /// In a list, or as a number.
    Array,
}

fn check_type(
    schema: &CollectionSchema,
    input: &str,
    source: ColumnSource,
    wanted: InputKind,
) -> Result<(), RequestError> {
    let kind = source.kind(schema);
    let is_list = kind == ColumnType::FloatList;
    let is_number = matches!(kind, ColumnType::Int64 | ColumnType::Float32 | ColumnType::Float64);
    let (fits, expected) = match (wanted, source.element) {
        (InputKind::Image, element) => {
            ((kind == ColumnType::Binary || is_list) && element.is_none(), "binary or float_list")
        }
        (_, Some(_)) => (is_list, "float_list"),
        (InputKind::Number, None) => {
            (is_number, "int64, float32 or float64 (or an element of a float_list, as COLUMN[0])")
        }
        (InputKind::Array, None) => (is_list || is_number, "float_list or a number"),
    };
    if fits {
        return Ok(());
    }
    let column = schema.columns.get(source.place);
    Err(RequestError::WrongInputType {
        input: input.to_owned(),
        expected,
        column: column.map(|column| column.name.clone()).unwrap_or_default(),
        given: kind.name(),
    })
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
