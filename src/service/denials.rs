//! Refused calls that come in numbers: the first ones are written down one by one, and the rest as a sum.
//!
//! Nobody needs a role, or even a token, to be refused, and each entry takes a place on the disk and a wait for it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::audit::{Decision, Entry};

/// Refused calls of one caller within a minute that are written one by one.
const SINGLE_MAX: u64 = 20;

/// The same of all callers together.
const SINGLE_TOTAL_MAX: u64 = 1_000;

/// Callers that are told apart at once.
const CALLERS_MAX: usize = 4_096;

const MINUTE: Duration = Duration::from_mins(1);

/// The caller for those who are not told apart.
const OTHERS: &str = "(others)";

/// The method of an entry that stands for several calls.
const SEVERAL: &str = "(several)";

/// What was refused within the last minute.
#[derive(Debug, Default)]
pub(super) struct Denials {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    callers: HashMap<String, Run>,
    /// When the minute of the total began, and what was written one by one since.
    total: Option<(Instant, u64)>,
}

/// Refused calls of one caller within a minute.
#[derive(Debug)]
struct Run {
    began: Instant,
    single: u64,
    /// Those that were not written, and the last of them.
    more: u64,
    last: Option<Entry>,
}

impl Denials {
    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic elsewhere left are counts as good as any other.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the entry of a refused call, and gives back what is to be written: itself, or a sum that has become due, or nothing
    /// yet. `caller` is what tells callers apart: a name, or the network that a stranger comes from.
    pub(super) fn take(&self, caller: &str, entry: Entry, now: Instant) -> Vec<Entry> {
        let mut state = self.state();
        let mut due = Vec::new();
        let is_new = !state.callers.contains_key(caller);
        let key = if is_new && state.callers.len() >= CALLERS_MAX { OTHERS } else { caller };
        let total = match state.total {
            Some((began, count)) if now.duration_since(began) < MINUTE => (began, count),
            _ => (now, 0),
        };
        let run = state.callers.entry(key.to_owned()).or_insert_with(|| Run::new(now));
        if now.duration_since(run.began) >= MINUTE {
            due.extend(std::mem::replace(run, Run::new(now)).sum(key, now));
        }
        let is_single = run.single < SINGLE_MAX && total.1 < SINGLE_TOTAL_MAX;
        if is_single {
            run.single += 1;
            due.push(entry);
        } else {
            run.more += 1;
            run.last = Some(entry);
        }
        state.total = Some((total.0, total.1 + u64::from(is_single)));
        due
    }

    /// Sums that are due, or all of them at the end; callers that have been quiet for a minute are forgotten.
    pub(super) fn sums(&self, now: Instant, all: bool) -> Vec<Entry> {
        let mut state = self.state();
        let is_due = |run: &Run| all || now.duration_since(run.began) >= MINUTE;
        let over = state.callers.extract_if(|_, run| is_due(run));
        over.filter_map(|(caller, run)| run.sum(&caller, now)).collect()
    }
}

impl Run {
    fn new(began: Instant) -> Self {
        Self { began, single: 0, more: 0, last: None }
    }

    /// The entry for those that were not written; `None` where all were.
    fn sum(self, caller: &str, now: Instant) -> Option<Entry> {
        let last = self.last?;
        let Decision::Denied { reason } = &last.decision else { return None };
        let duration = now.duration_since(self.began);
        let (more, seconds) = (self.more, duration.as_secs_f64());
        let reason = format!("{more} more refused calls in {seconds:.0} s; of the last: {reason}");
        let is_known = !last.identity.is_empty() && caller != OTHERS;
        Some(Entry {
            at: SystemTime::now().checked_sub(duration).unwrap_or_else(SystemTime::now),
            identity: if is_known { last.identity } else { String::new() },
            proof: if is_known { last.proof } else { String::new() },
            peer: if is_known { last.peer } else { caller.to_owned() },
            verb: SEVERAL.to_owned(),
            collection: None,
            role: None,
            decision: Decision::Denied { reason },
            code: last.code,
            rows: 0,
            bytes: 0,
            duration,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(identity: &str) -> Entry {
        Entry {
            at: SystemTime::now(),
            identity: identity.to_owned(),
            proof: String::new(),
            peer: "192.0.2.7:4711".to_owned(),
            verb: "/a.B/C".to_owned(),
            collection: None,
            role: None,
            decision: Decision::Denied { reason: "no token".to_owned() },
            code: "UNAUTHENTICATED".to_owned(),
            rows: 0,
            bytes: 0,
            duration: Duration::ZERO,
        }
    }

    fn reason(entry: &Entry) -> &str {
        match &entry.decision {
            Decision::Denied { reason } => reason,
            Decision::Allowed => "",
        }
    }

    #[test]
    fn the_first_are_written_and_the_rest_is_one_line_a_minute() {
        let (denials, began) = (Denials::default(), Instant::now());
        let take = |seconds: u64| {
            let now = began + Duration::from_secs(seconds);
            denials.take("192.0.2.7", entry(""), now)
        };
        let written: usize = (0..1_254).map(|_| take(1).len()).sum();
        assert_eq!(written, 20);
        assert!(denials.sums(began + Duration::from_secs(30), false).is_empty(), "not yet");
        let due = take(62);
        assert_eq!(due.len(), 2, "the sum of the last minute, and the first of this one");
        assert_eq!(reason(&due[0]), "1234 more refused calls in 61 s; of the last: no token");
        assert_eq!((due[0].peer.as_str(), due[0].verb.as_str()), ("192.0.2.7", SEVERAL));
        for _ in 0..25 {
            take(63);
        }
        let sums = denials.sums(began + Duration::from_secs(70), true);
        assert_eq!(sums.len(), 1);
        assert!(reason(&sums[0]).starts_with("6 more refused calls"), "{sums:?}");
        assert!(denials.sums(began + Duration::from_secs(500), true).is_empty(), "told once");
    }

    #[test]
    fn callers_do_not_hide_one_another_and_no_number_of_them_fills_the_disk() {
        let (denials, now) = (Denials::default(), Instant::now());
        for _ in 0..30 {
            denials.take("192.0.2.7", entry(""), now);
        }
        let own = denials.take("eve", entry("eve"), now);
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].identity, "eve");
        let callers = 0..3 * CALLERS_MAX;
        let single = callers.map(|number| denials.take(&format!("{number}"), entry(""), now).len());
        assert_eq!(single.sum::<usize>() as u64, SINGLE_TOTAL_MAX - SINGLE_MAX - 1);
        assert!(denials.state().callers.len() <= CALLERS_MAX + 1);
        let later = now + MINUTE;
        let sums = denials.sums(later, false);
        assert!(sums.iter().any(|sum| sum.peer == OTHERS), "others are summed, too");
        assert!(denials.state().callers.is_empty());
        assert_eq!(denials.take("eve", entry("eve"), later).len(), 1, "a new minute");
    }

    #[test]
    fn a_sum_of_somebody_who_is_known_names_him() {
        let (denials, now) = (Denials::default(), Instant::now());
        for _ in 0..30 {
            denials.take("eve", entry("eve"), now);
        }
        let sums = denials.sums(now, true);
        assert_eq!((sums.len(), sums[0].identity.as_str()), (1, "eve"));
        assert_eq!(sums[0].peer, "192.0.2.7:4711");
    }
}
