//! Who changes a session of labelling: one request at a time, and others at other sessions beside it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// The turns of sessions, by name.
///
/// Sessions of one name in different collections take turns as well: a request may leave the collection out.
#[derive(Debug, Default)]
pub(super) struct Turns {
    by_name: Mutex<HashMap<String, Arc<Turn<()>>>>,
}

impl Turns {
    /// Waits for the turn of a session, which ends with the guard: from before the session is read until it has been written
    /// back.
    pub(super) async fn of(&self, session: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
            // Turns that nobody has or waits for are made again when they are wanted.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(session.to_lowercase()).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_session_is_changed_by_one_at_a_time_and_others_beside_it() {
        let turns = Turns::default();
        let first = turns.of("rings").await;
        assert!(turns.of("Rings").now_or_never().is_none(), "of the same session");
        let other = turns.of("lenses").now_or_never();
        assert!(other.is_some(), "of another one");
        drop(first);
        assert!(turns.of("RINGS").now_or_never().is_some());
        drop(other);
        drop(turns.of("third").await);
        assert_eq!(turns.by_name.lock().expect("not poisoned").len(), 1, "those in use are kept");
    }
}
