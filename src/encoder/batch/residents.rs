//! Which networks are in memory.

use super::super::{Made, ModelOutput, NetworkError};
use super::metrics::Counters;
use super::{BatchedNetwork, Features};
use crate::schema::SpaceForm;

/// Networks within a budget of memory.
pub(super) struct Residents {
    networks: Vec<Resident>,
    memory_max: u64,
    clock: u64,
}

struct Resident {
    network: BatchedNetwork,
    /// When it was last asked, by a clock of turns.
    used: u64,
}

/// Why rows were not computed.
#[derive(Debug)]
pub(super) enum MakeError {
    /// The network cannot be brought into memory: fewer rows at once would not help.
    Load(String),
    /// It failed on these rows.
    Network(NetworkError),
}

impl Residents {
    pub(super) fn new(networks: Vec<BatchedNetwork>, memory_max: u64) -> Self {
        let networks = networks.into_iter().map(|network| Resident { network, used: 0 }).collect();
        Self { networks, memory_max, clock: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.networks.len()
    }

    /// Bytes of the networks that are in memory.
    pub(super) fn bytes(&self) -> u64 {
        let resident = self.networks.iter().filter(|each| each.network.network.is_some());
        resident.map(|each| each.network.bytes).sum()
    }

    /// Computes rows of one layout; the network is brought into memory first where it is not there.
    pub(super) fn make(
        &mut self,
        place: usize,
        output: usize,
        rows: &[&Features],
        counters: &Counters,
    ) -> Result<Vec<Made>, MakeError> {
        let failed = |reason: String| MakeError::Network(NetworkError { rows: rows.len(), reason });
        self.ensure(place, counters).map_err(MakeError::Load)?;
        let BatchedNetwork { network, outputs, .. } = &self.networks[place].network;
        let (Some(network), Some(wanted)) = (network, outputs.get(output)) else {
            return Err(failed(format!("it has no output {output}")));
        };
        let made = network.make(rows, output).map_err(MakeError::Network)?;
        if made.len() != rows.len() {
            return Err(failed(format!("{} results for {} rows", made.len(), rows.len())));
        }
        made.iter().try_for_each(|each| is_as_told(each, wanted)).map_err(failed)?;
        Ok(made)
    }

    fn ensure(&mut self, place: usize, counters: &Counters) -> Result<(), String> {
        self.clock += 1;
        self.networks[place].used = self.clock;
        if self.networks[place].network.network.is_some() {
            return Ok(());
        }
        let wanted = self.networks[place].network.bytes;
        while self.bytes() > 0 && self.bytes().saturating_add(wanted) > self.memory_max {
            let resident = self.networks.iter_mut().filter(|each| each.network.network.is_some());
            let Some(oldest) = resident.min_by_key(|each| each.used) else { break };
            oldest.network.network = None;
            counters.evicted(self.bytes());
        }
        let loaded = (self.networks[place].network.load)()
            .map_err(|reason| format!("it cannot be loaded: {reason}"))?;
        self.networks[place].network.network = Some(loaded);
        counters.loaded(self.bytes());
        Ok(())
    }
}

/// Whether a result is of the kind and length that the model told.
fn is_as_told(made: &Made, output: &ModelOutput) -> Result<(), String> {
    let told = output.dimension;
    match (made, output.form) {
        (Made::Vector(vector), SpaceForm::Vector) if vector.len() == told => Ok(()),
        (Made::Vector(vector), SpaceForm::Vector) => {
            Err(format!("{} components of vectors, expected {told}", vector.len()))
        }
        (Made::Tokens(tokens), SpaceForm::Tokens | SpaceForm::TokenIds) => {
            match tokens.runs.iter().find(|run| run.width as usize != told) {
                None => Ok(()),
                Some(run) => Err(format!("{} components of tokens, expected {told}", run.width)),
            }
        }
        _ => Err(format!("something else than {}", output.form.name())),
    }
}
