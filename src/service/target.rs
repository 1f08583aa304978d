//! Which collection a request reads: the one that it names, or a release of it. The only place that knows how releases are
//! kept.

use super::ServiceError;
use super::context::Context;
use crate::engine::EngineError;
use crate::schema::split_release;
use crate::wire::v1;

/// A request that reads a collection or a release of it.
pub(super) trait Targeted {
    /// The fields with the names of the collection and the release.
    fn target(&mut self) -> (&mut String, &mut String);
}

macro_rules! targeted {
    ($($request:ident by $field:ident),* $(,)?) => {
        $(impl Targeted for v1::$request {
            fn target(&mut self) -> (&mut String, &mut String) {
                (&mut self.$field, &mut self.release)
            }
        })*
    };
}

targeted! {
    SearchRequest by collection,
    GetObjectsRequest by collection,
    CountObjectsRequest by collection,
    FindOutliersRequest by collection,
    GetIndexStatusRequest by collection,
    ListProbesRequest by collection,
    GetProbeRequest by collection,
    ListBridgesRequest by collection,
    GetBridgeRequest by collection,
    GetCollectionRequest by name,
    FlightExport by collection,
}

impl Context {
    /// Has a request name the collection that it reads: that of its release, where it names one.
    ///
    /// # Errors
    /// [`EngineError::NoRelease`], [`EngineError::Withdrawn`] with the reason, and [`EngineError::NoCollection`] for a name
    /// that only the database itself gives.
    pub(super) fn targeted<R: Targeted>(&self, mut request: R) -> Result<R, ServiceError> {
        let (collection, release) = request.target();
        *collection = target(self, std::mem::take(collection), release)?;
        release.clear();
        Ok(request)
    }
}

/// Name of the collection that holds `collection`, or its `release` where that is not empty.
fn target(context: &Context, collection: String, release: &str) -> Result<String, ServiceError> {
    if split_release(&collection).is_some() {
        return Err(EngineError::NoCollection { name: collection }.into());
    }
    if release.is_empty() {
        return Ok(collection);
    }
    Ok(context.db.released(&collection, release)?)
}
