//! The models of several hosts as if they were one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::client::{ModelInfo, ModelList};
use super::EncoderError;
use crate::schema::Provenance;
use crate::wire::v1::EncoderMetrics;

/// The model of an id.
pub(super) fn find<'a>(list: &'a ModelList, id: &str) -> Option<&'a ModelInfo> {
    list.models.iter().find(|model| model.id == id)
}

/// Whether two hosts make the same of the same inputs. A sentence for people may differ.
pub(super) fn agree(first: &ModelInfo, second: &ModelInfo) -> bool {
    ModelInfo { description: String::new(), ..first.clone() }
        == ModelInfo { description: String::new(), ..second.clone() }
}

/// Whether vectors come from the same weights, of whichever output they are.
pub(super) fn same_weights(first: &Provenance, second: &Provenance) -> bool {
    let apart = |given: &Provenance| Provenance { pooling: String::new(), ..given.clone() };
    apart(first) == apart(second)
}

/// Every model as the first host that serves it does; hosts that disagree with it, and models that a host cannot serve, are
/// among the broken, with the host's name.
pub(super) fn merged(lists: &[(&str, Arc<ModelList>)]) -> ModelList {
    let mut models: BTreeMap<&str, (&str, &ModelInfo)> = BTreeMap::new();
    let mut broken = Vec::new();
    for (host, list) in lists {
        for model in &list.models {
            let (decides, first) = *models.entry(&model.id).or_insert((host, model));
            if !agree(first, model) {
                broken.push((model.id.clone(), disagreement(host, model, decides, first)));
            }
        }
        let named = |(id, reason): &(String, String)| (id.clone(), format!("{host}: {reason}"));
        broken.extend(list.broken.iter().map(named));
    }
    broken.sort();
    let of_host = |(host, list): &(&str, Arc<ModelList>)| {
        let named = |metrics: &EncoderMetrics| EncoderMetrics {
            host: (*host).to_owned(),
            ..metrics.clone()
        };
        list.metrics.iter().map(named).collect::<Vec<_>>()
    };
    let metrics = lists.iter().flat_map(of_host).collect();
    let models = models.into_values().map(|(_, model)| model.clone()).collect();
    ModelList { models, broken, metrics }
}

fn disagreement(host: &str, model: &ModelInfo, decides: &str, first: &ModelInfo) -> String {
    let difference = if model.provenance == first.provenance {
        "has another description there".to_owned()
    } else {
        format!("is {} there, not {}", model.provenance, first.provenance)
    };
    format!(
        "host {host} is not asked for it, because it {difference} as on host {decides}; give both the same folder"
    )
}

/// What is said of a model that nobody serves.
pub(in crate::encoder) fn unknown(list: ModelList, id: &str) -> EncoderError {
    let broken = list.broken.into_iter().find(|(name, _)| name == id);
    let reason = if let Some((_, why)) = broken {
        format!("model `{id}` cannot be served: {why}")
    } else {
        let ids: Vec<_> = list.models.iter().map(|model| format!("`{}`", model.id)).collect();
        let ids = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
        format!("no model `{id}`; the encoder serves {ids}")
    };
    EncoderError::UnknownModel { reason }
}
