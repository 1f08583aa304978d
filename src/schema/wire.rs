//! What an object is called, where it is and where vectors come from, as messages say it.

use super::{ObjectId, Provenance};
use crate::sky::Position;
use crate::wire::v1;

impl From<ObjectId> for v1::ObjectId {
    fn from(id: ObjectId) -> Self {
        let id = match id {
            ObjectId::Number(number) => v1::object_id::Id::Number(number),
            ObjectId::Text(text) => v1::object_id::Id::Text(text),
        };
        Self { id: Some(id) }
    }
}

impl From<Position> for v1::Position {
    fn from(position: Position) -> Self {
        Self { ra: position.ra().0, dec: position.dec().0 }
    }
}

impl From<Provenance> for v1::Provenance {
    fn from(provenance: Provenance) -> Self {
        let Provenance { encoder, weights_hash, preprocessing, pooling } = provenance;
        Self { encoder, weights_hash, preprocessing, pooling }
    }
}

impl From<v1::Provenance> for Provenance {
    fn from(provenance: v1::Provenance) -> Self {
        let v1::Provenance { encoder, weights_hash, preprocessing, pooling } = provenance;
        Self { encoder, weights_hash, preprocessing, pooling }
    }
}
