//! How examples, and several terms, are taken together, as messages say it.

use crate::query::{Diversity, Fusion, Method, Missing};
use crate::service::RequestError;
use crate::wire::v1;

/// How several terms become one order.
pub(super) fn fusion(value: i32) -> Result<Fusion, RequestError> {
    use v1::Fusion as Wire;
    match Wire::try_from(value) {
        Ok(Wire::Unspecified) => Ok(Fusion::Distances),
        Ok(Wire::Weighted) => Ok(Fusion::Weighted),
        Ok(Wire::ReciprocalRank) => Ok(Fusion::ReciprocalRank),
        Ok(Wire::Max) => Ok(Fusion::Max),
        Ok(Wire::Min) => Ok(Fusion::Min),
        Err(_) => Err(RequestError::UnknownEnum { field: "fusion", value }),
    }
}

/// What becomes of objects that lack a vector.
pub(super) fn missing(value: i32) -> Result<Missing, RequestError> {
    use v1::Missing as Wire;
    match Wire::try_from(value) {
        Ok(Wire::Unspecified | Wire::Require) => Ok(Missing::Require),
        Ok(Wire::Neutral) => Ok(Missing::Neutral),
        Err(_) => Err(RequestError::UnknownEnum { field: "missing", value }),
    }
}

/// How examples become a distance.
pub(super) fn method(value: i32) -> Result<Method, RequestError> {
    use v1::ExampleMethod as Wire;
    match Wire::try_from(value) {
        Ok(Wire::Unspecified) => Ok(Method::Automatic),
        Ok(Wire::Centroid) => Ok(Method::Centroid),
        Ok(Wire::Rocchio) => Ok(Method::Rocchio),
        Ok(Wire::MaxSim) => Ok(Method::MaxSim),
        Ok(Wire::Probe) => Ok(Method::Probe),
        Err(_) => Err(RequestError::UnknownEnum { field: "terms.method", value }),
    }
}

/// How much hits should differ.
pub(super) fn diversity(given: &v1::Diversity) -> Result<Diversity, RequestError> {
    let v1::Diversity { share, candidates } = *given;
    if !share.is_finite() {
        return Err(RequestError::NotFinite { field: "diversity.share", value: share });
    }
    Ok(Diversity { share, candidates: candidates as usize })
}

/// A radius on the sky, in degrees.
pub(super) fn angle(field: &'static str, given: Option<f64>) -> Result<Option<f64>, RequestError> {
    match given {
        Some(value) if !value.is_finite() => Err(RequestError::NotFinite { field, value }),
        given => Ok(given),
    }
}
