//! What lies around every service of a server.

use std::sync::Arc;

use tonic::transport::server::Router;
use tower::layer::util::{Identity, Stack};

use super::admission::{AdmissionLayer, Quotas};
use super::auditing::{AuditLayer, Auditor};
use super::context::Context;
use super::gate::{Authority, GateLayer, LogCalls, OpenAuthority, RegistryAuthority, Watch};
use super::readiness::Readiness;
use super::server::ServiceOptions;
use super::telemetry::CallLayer;
use crate::access::Registry;

/// The services behind all of it.
pub(super) type LayeredRouter =
    Router<Stack<AdmissionLayer, Stack<GateLayer, Stack<AuditLayer, Stack<CallLayer, Identity>>>>>;

/// What lies around every service, the outermost first.
pub(super) struct Layers {
    pub(super) calls: CallLayer,
    pub(super) audit: AuditLayer,
    pub(super) gate: GateLayer,
    pub(super) admission: AdmissionLayer,
}

/// Makes them for a server.
pub(super) fn layers(
    options: &ServiceOptions,
    context: &Context,
    registry: Registry,
    auditor: Option<&Auditor>,
    readiness: &Readiness,
) -> Layers {
    let authority: Arc<dyn Authority> = match options.authentication {
        Some(_) => Arc::new(RegistryAuthority::new(registry)),
        None => Arc::new(OpenAuthority::new()),
    };
    let mut watches: Vec<Arc<dyn Watch>> = vec![Arc::new(LogCalls)];
    watches.extend(auditor.map(|auditor| -> Arc<dyn Watch> { Arc::new(auditor.clone()) }));
    let (quotas, admission) = (Quotas::new(options.quotas.clone()), context.admission.clone());
    let admission = AdmissionLayer::new(quotas, admission, &context.limits);
    Layers {
        calls: CallLayer::new(context.metrics.clone(), readiness.clone()),
        audit: AuditLayer::new(auditor.map(|auditor| auditor.log().clone())),
        gate: GateLayer::new(authority, admission.clone(), Arc::from(watches), &context.limits),
        admission,
    }
}
