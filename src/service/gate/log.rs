//! The log as a watch: what was refused, and why.

use super::call::{CallBegins, CallEnded, Decision, Watch};

/// Writes calls to the log: those of known people that were refused for whoever reads it every day, others in detail. Strangers
/// could fill the log.
#[derive(Debug)]
pub(in crate::service) struct LogCalls;

impl Watch for LogCalls {
    fn begins(&self, call: &CallBegins<'_>) -> Result<(), tonic::Status> {
        let CallBegins { method, grant, request_bytes, .. } = call;
        tracing::trace!(method, identity = grant.identity.name, request_bytes, "call begins");
        Ok(())
    }

    fn ended(&self, call: &CallEnded<'_>) {
        let identity = call.identity.map(|identity| &*identity.name);
        let peer = call.peer.map(|peer| peer.address);
        let CallEnded { method, collection, code, reason, rows, duration, .. } = call;
        match (call.decision, identity) {
            (Decision::Refused, Some(identity)) => {
                tracing::info!(method, identity, collection, ?peer, ?code, reason, "call refused");
            }
            (Decision::Refused, None) => {
                tracing::debug!(method, ?peer, ?code, reason, "call of a stranger refused");
            }
            (Decision::Allowed, _) => {
                tracing::debug!(method, identity, collection, ?code, rows, ?duration, "call ended");
            }
        }
    }
}
