//! Declaring that a space is filled as objects arrive: everything that can be wrong with it is found before.

use crate::encoder::{ModelInfo, ModelOutput};
use crate::schema::{AtIngest, CollectionSchema, EmbeddingSpace, SchemaError};
use crate::service::context::Context;
use crate::service::convert::InputMap;
use crate::service::{RequestError, ServiceError};

/// The declaration of a space with what was left open in it: the rest of its provenance, and the column of every input.
///
/// # Errors
/// When no model of the server makes what the space is declared to hold, or an input of it has no column.
pub(in crate::service) async fn declared(
    context: &Context,
    schema: &CollectionSchema,
    space: EmbeddingSpace,
) -> Result<EmbeddingSpace, ServiceError> {
    let Some(AtIngest { inputs }) = space.at_ingest.clone() else { return Ok(space) };
    let given = &space.provenance;
    if given.is_external() {
        let refused = SchemaError::AtIngestWithoutModel { space: space.name };
        return Err(RequestError::from(refused).into());
    }
    let model = context.encoder()?.model(&given.encoder).await?;
    let output = model.output(&given.pooling)?;
    let made = model.provenance_of(output);
    let agree = |given: &str, made: &str| given.is_empty() || given == made;
    if !agree(&given.weights_hash, &made.weights_hash)
        || !agree(&given.preprocessing, &made.preprocessing)
    {
        return Err(ServiceError::ModelChanged {
            space: space.name,
            expected: given.to_string(),
            given: made.to_string(),
        });
    }
    check_shape(&space, &model, output)?;
    let map = InputMap::new(schema, &model, inputs.into_iter().collect())?;
    let at_ingest = Some(AtIngest { inputs: map.columns().clone() });
    Ok(EmbeddingSpace { provenance: made, at_ingest, ..space })
}

fn check_shape(
    space: &EmbeddingSpace,
    model: &ModelInfo,
    output: &ModelOutput,
) -> Result<(), RequestError> {
    let different = |expected: String, given: String| RequestError::NotOfModel {
        space: space.name.clone(),
        model: model.id.clone(),
        expected,
        given,
    };
    if space.modality != model.modality {
        let of = |modality: &_| format!("vectors of modality `{modality}`");
        return Err(different(of(&model.modality), of(&space.modality)));
    }
    if (space.form, space.dimension) != (output.form, output.dimension) {
        let of = |form: crate::schema::SpaceForm, dimension: usize| {
            format!("{} of dimension {dimension}", form.plural())
        };
        return Err(different(of(output.form, output.dimension), of(space.form, space.dimension)));
    }
    Ok(())
}
