//! Bridges in the store.

use prost::Message;

use super::BridgeError;
use crate::learn::bridge::{Activation, BridgeMap, Layer, SideMap};
use crate::schema::{CollectionSchema, EmbeddingSpace};
use crate::wire::internal::{self, BridgeRecord, MapActivation, MapLayer};
use crate::wire::v1;

/// A bridge and what maps.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) bridge: v1::Bridge,
    pub(super) map: BridgeMap,
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let record = BridgeRecord {
            bridge: Some(self.bridge.clone()),
            from: Some(side_to_wire(&self.map.from)),
            to: Some(side_to_wire(&self.map.to)),
        };
        record.encode_to_vec()
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// [`BridgeError::Damaged`].
    pub(super) fn decode(name: &str, bytes: &[u8]) -> Result<Self, BridgeError> {
        let damaged = |reason: String| BridgeError::Damaged { name: name.to_owned(), reason };
        let record = BridgeRecord::decode(bytes).map_err(|error| damaged(error.to_string()))?;
        let bridge = record.bridge.ok_or_else(|| damaged("it says nothing".to_owned()))?;
        if bridge.spec.is_none() {
            return Err(damaged("it does not say what it joins".to_owned()));
        }
        let (Some(from), Some(to)) = (record.from, record.to) else {
            return Err(damaged("it has no map".to_owned()));
        };
        let map = BridgeMap {
            from: side_from_wire(from).map_err(damaged)?,
            to: side_from_wire(to).map_err(damaged)?,
        };
        map.check().map_err(|error| damaged(error.to_string()))?;
        Ok(Self { bridge, map })
    }

    /// Name of the space that it maps.
    pub(super) fn from(&self) -> &str {
        self.bridge.spec.as_ref().map_or("", |spec| spec.from.as_str())
    }

    /// Name of the space that it maps into.
    pub(super) fn to(&self) -> &str {
        self.bridge.spec.as_ref().map_or("", |spec| spec.to.as_str())
    }

    /// Why it must not be used with a collection as it is now.
    pub(super) fn stale(&self, schema: &CollectionSchema) -> Option<String> {
        let sides = [
            (self.from(), self.bridge.from_provenance.as_ref(), self.map.from.width),
            (self.to(), self.bridge.to_provenance.as_ref(), self.map.to.width),
        ];
        sides.into_iter().find_map(|(name, fitted, width)| {
            let Some(space) = schema.space(name) else {
                return Some(format!("its space `{name}` is gone"));
            };
            if fitted != Some(&space.provenance.clone().into()) {
                return Some(format!(
                    "its space `{name}` holds vectors of {} now",
                    space.provenance
                ));
            }
            (space.dimension != width)
                .then(|| format!("its space `{name}` has dimension {} now", space.dimension))
        })
    }

    /// The bridge as it is told, with why it is stale.
    pub(super) fn told(&self, schema: &CollectionSchema) -> v1::Bridge {
        v1::Bridge { stale: self.stale(schema).unwrap_or_default(), ..self.bridge.clone() }
    }

    /// Both spaces, as long as it is not stale.
    ///
    /// # Errors
    /// [`BridgeError::Stale`].
    pub(super) fn spaces<'schema>(
        &self,
        schema: &'schema CollectionSchema,
    ) -> Result<(&'schema EmbeddingSpace, &'schema EmbeddingSpace), BridgeError> {
        let spaces = schema.space(self.from()).zip(schema.space(self.to()));
        match (self.stale(schema), spaces) {
            (None, Some(spaces)) => Ok(spaces),
            (reason, _) => Err(BridgeError::Stale {
                name: self.bridge.name.clone(),
                reason: reason.unwrap_or_else(|| "a space of it is gone".to_owned()),
            }),
        }
    }
}

fn floats_to_bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect()
}

fn floats_from_bytes(bytes: &[u8]) -> Result<Vec<f64>, String> {
    if !bytes.len().is_multiple_of(4) {
        return Err(format!("{} bytes are no single-precision numbers", bytes.len()));
    }
    let (numbers, _) = bytes.as_chunks::<4>();
    Ok(numbers.iter().map(|number| f64::from(f32::from_le_bytes(*number))).collect())
}

fn side_to_wire(side: &SideMap) -> internal::SideMap {
    let layer = |layer: &Layer| MapLayer {
        inputs: layer.inputs as u32,
        outputs: layer.outputs as u32,
        weights: floats_to_bytes(&layer.weights),
        bias: floats_to_bytes(&layer.bias),
        activation: match layer.activation {
            Activation::None => MapActivation::Unspecified,
            Activation::Relu => MapActivation::Relu,
            Activation::Gelu => MapActivation::Gelu,
        }
        .into(),
    };
    internal::SideMap {
        width: side.width as u32,
        unit_input: side.unit_input,
        layers: side.layers.iter().map(layer).collect(),
        unit_output: side.unit_output,
    }
}

fn side_from_wire(side: internal::SideMap) -> Result<SideMap, String> {
    let layer = |layer: MapLayer| {
        let activation = match MapActivation::try_from(layer.activation) {
            Ok(MapActivation::Unspecified) => Activation::None,
            Ok(MapActivation::Relu) => Activation::Relu,
            Ok(MapActivation::Gelu) => Activation::Gelu,
            Err(_) => return Err(format!("activation {} is not known", layer.activation)),
        };
        let weights = floats_from_bytes(&layer.weights)?;
        let bias = floats_from_bytes(&layer.bias)?;
        let layer = Layer::new(layer.inputs as usize, weights, bias, activation);
        layer.map_err(|error| error.to_string())
    };
    Ok(SideMap {
        width: side.width as usize,
        unit_input: side.unit_input,
        layers: side.layers.into_iter().map(layer).collect::<Result<_, _>>()?,
        unit_output: side.unit_output,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let layer = Layer::new(2, vec![0.5, -1.0, 2.0, 0.25], vec![1.0, 0.0], Activation::Gelu)
            .expect("a layer");
        let from = SideMap { width: 2, unit_input: true, layers: vec![layer], unit_output: false };
        let spec = v1::BridgeSpec {
            from: "image".to_owned(),
            to: "spectrum".to_owned(),
            ..v1::BridgeSpec::default()
        };
        let bridge = v1::Bridge { name: "b".to_owned(), spec: Some(spec), ..v1::Bridge::default() };
        Record { bridge, map: BridgeMap { from, to: SideMap::identity(2) } }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let written = record();
        let read = Record::decode("b", &written.encode()).expect("whole");
        assert_eq!((&read.bridge, &read.map), (&written.bridge, &written.map));
        assert_eq!((read.from(), read.to()), ("image", "spectrum"));
    }

    #[test]
    fn damaged_bytes_are_told() {
        let bytes = record().encode();
        for length in 0..bytes.len() {
            let read = Record::decode("b", &bytes[..length]);
            assert!(matches!(read, Err(BridgeError::Damaged { .. })), "{length}");
        }
        let mut narrow = record();
        narrow.map.to = SideMap::identity(3);
        assert!(matches!(Record::decode("b", &narrow.encode()), Err(BridgeError::Damaged { .. })));
    }
}
