//! What one writer has sent and what was acknowledged, and the states in which its objects may be.

use std::collections::BTreeMap;

use sidereus::wire::v1;

use super::steps::{Done, State, apply, wire_object};

/// Objects by id, as a server tells them.
pub(super) type Found = BTreeMap<i64, v1::Object>;

/// The books of a writer. Steps are sent and written in order, and each is written whole or not at all: what is there is the
/// state after one of the steps from the last acknowledged to the last sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    writer: u64,
    /// The last step that was acknowledged, or found after a kill.
    pub(super) settled: u64,
    /// The last step that was there at the last check.
    pub(super) checked: u64,
    /// The state after the settled step.
    pub(super) state: State,
    /// The last step that was sent.
    pub(super) sent: u64,
    /// The collection's version of the last step that said one.
    pub(super) version: u64,
}

impl Ledger {
    /// Books of a writer that has not written.
    pub(super) fn new(writer: u64) -> Self {
        Self { writer, ..Self::default() }
    }

    /// Notes that the next step is being sent, and tells its number.
    pub(super) fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    /// Notes an answer, which must be that of the next step and say what the step did.
    pub(super) fn acknowledge(&mut self, step: u64, told: Done) -> Result<(), String> {
        let (writer, expected) = (self.writer, self.settled + 1);
        if step != expected || step > self.sent {
            return Err(format!("writer {writer} was told of step {step} instead of {expected}"));
        }
        let done = apply(&mut self.state, writer, step);
        self.settled = step;
        if told == done {
            Ok(())
        } else {
            Err(format!("step {step} of writer {writer} did {done:?}, and its answer is {told:?}"))
        }
    }

    /// The step up to `sent` whose state was found.
    ///
    /// # Errors
    /// How what was found differs from each state that it may be.
    pub(super) fn step_of(&self, found: &Found, sent: u64) -> Result<(u64, State), String> {
        let mut state = self.state.clone();
        let mut said = Vec::new();
        for step in self.settled..=sent {
            if step > self.settled {
                apply(&mut state, self.writer, step);
            }
            match difference(&state, found) {
                None => return Ok((step, state)),
                Some(difference) => said.push(format!("not at step {step}: {difference}")),
            }
        }
        let Self { writer, settled, .. } = self;
        let said = said.join("; ");
        Err(format!("writer {writer}, acknowledged to step {settled}, sent to {sent}: {said}"))
    }

    /// Goes on from what was found after a kill.
    pub(super) fn settle(&mut self, step: u64, state: State) {
        (self.settled, self.sent, self.checked) = (step, step, step);
        self.state = state;
    }
}

/// How what was found differs from a state; `None` when it does not.
fn difference(state: &State, found: &Found) -> Option<String> {
    let expected = state.iter().filter_map(|(id, held)| {
        let expected = wire_object(*id, held);
        match found.get(id) {
            Some(found) if *found == expected => None,
            Some(found) => Some(format!("{id} is {found:?} instead of {expected:?}")),
            None => Some(format!("{id}, which is {expected:?}, is lost")),
        }
    });
    let phantoms = found.iter().filter(|(id, _)| !state.contains_key(*id));
    let phantoms = phantoms.map(|(id, found)| format!("{id} should not be there: {found:?}"));
    let differing: Vec<String> = expected.chain(phantoms).collect();
    let first = differing.first()?;
    Some(format!("{} objects of {} differ, the first: {first}", differing.len(), state.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Books of a writer with two steps that were acknowledged and two that were not, and the states after all of them.
    fn books() -> (Ledger, Vec<Found>) {
        let mut ledger = Ledger::new(1);
        let mut state = State::new();
        let mut found = Vec::new();
        for step in 1..=4 {
            let done = apply(&mut state, 1, step);
            assert_eq!(ledger.send(), step);
            if step <= 2 {
                ledger.acknowledge(step, done).expect("as it did");
            }
            found.push(state.iter().map(|(id, held)| (*id, wire_object(*id, held))).collect());
        }
        (ledger, found)
    }

    #[test]
    fn states_from_the_acknowledged_to_the_sent_are_known() {
        let (ledger, found) = books();
        for step in 2..=4 {
            let (known, state) = ledger.step_of(&found[step - 1], 4).expect("may be");
            assert!(known == step as u64 && state.len() == found[step - 1].len());
        }
        let lost = ledger.step_of(&found[0], 4).expect_err("an acknowledged step is lost");
        assert!(lost.contains("not at step 2") && lost.contains("objects of"), "{lost}");
        ledger.step_of(&found[3], 3).expect_err("the last was not sent by then");
    }

    #[test]
    fn single_objects_that_are_lost_or_phantoms_or_of_half_a_step_are_seen() {
        let (ledger, found) = books();
        let id = *found[1].keys().next_back().expect("an object");
        let mut lost = found[1].clone();
        lost.remove(&id);
        ledger.step_of(&lost, 4).expect_err("an object is lost");
        let mut phantom = found[1].clone();
        phantom.insert(5_000, found[1][&id].clone());
        ledger.step_of(&phantom, 4).expect_err("a phantom");
        let mut half = found[1].clone();
        let of_next = found[2].iter().find(|(id, object)| found[1].get(id) != Some(object));
        let (id, object) = of_next.expect("a step changes something");
        half.insert(*id, object.clone());
        ledger.step_of(&half, 4).expect_err("half a step");
        let mut altered = found[1].clone();
        let vectors = altered.values_mut().find_map(|object| object.vectors.get_mut("v"));
        vectors.expect("a vector").values[3] += 1e-6;
        ledger.step_of(&altered, 4).expect_err("another vector");
    }

    #[test]
    fn wrong_answers_are_seen() {
        let (mut ledger, _) = books();
        let done = Done::default();
        assert!(ledger.acknowledge(4, done).expect_err("out of order").contains("instead of 3"));
        assert!(ledger.acknowledge(3, done).expect_err("did nothing").contains("its answer"));
    }
}
