//! What may be asked at once, by whom, and who waits.
//!
//! [`AdmissionLayer`] stands before the services: it knows who calls, refuses calls beyond his [`Quotas`], counts bytes, and gives
//! up readers and senders that do not go on. A handler that is about to do something that takes time asks [`Admission`] for a
//! [`Turn`], with what it expects to cost. Queries run on one slot for each processor; long ones have slots of their own, so that
//! others are not stuck behind them; and what is answered in a fraction of a millisecond is answered without any slot, after
//! two comparisons. What takes little more, and is given a slot at once, is answered where it arrives, too. Who has to wait does so in an order that is fair among identities, and who would wait too long is told at once.
//! Where more is asked than can be done, who asks for more than he can have gets what others leave.
//!
//! - **ADM-1**: a refusal names the limit as the configuration calls it, and says when to try again, or that it does not help.
//! - **ADM-2**: nobody waits for his turn longer than `admission.wait_ms`, or than his own time allows.
//! - **ADM-3**: what runs and what is answered keeps within `admission.memory_mib`, as far as it was foreseen.

mod behind;
mod body;
mod caller;
mod cost;
mod lane;
mod layer;
mod limited;
mod memory;
mod options;
mod places;
mod quotas;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub(super) use caller::Caller;
pub(super) use cost::{Cost, Work};
pub(super) use layer::AdmissionLayer;
pub use limited::Limited;
pub(super) use memory::{Budget, Reserved};
pub use options::{AdmissionOptions, Quota, QuotaChange, QuotaOptions};
pub use quotas::{Pass, Quotas};

use crate::idle::Others;
use behind::Behind;
use cost::Experience;
use lane::{Ask, Kind, Lane, Sender, Slot};
use places::{Places, Taken};

/// Exports that run at once. They have places of their own, for one takes as long as its reader takes.
const EXPORTS_AT_ONCE: usize = 8;

/// Exports of one identity among them: others find places, whoever has come before.
const EXPORTS_EACH: usize = EXPORTS_AT_ONCE / 2;

/// Memory of an export: batches that are read, wait and are encoded, and messages on their way.
const EXPORT_BYTES: u64 = 32 << 20;

/// When it is worth to ask for an export again.
const EXPORT_RETRY: Duration = Duration::from_secs(5);

/// The longest that a query may be expected to take that is answered on a thread that serves calls.
const SHORT: Duration = Duration::from_millis(4);

/// The name under which the server does work of its own.
const SERVER: &str = "(the server)";

/// Decides which query runs now, waits, or is refused. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: AdmissionOptions,
    queries: Arc<Lane>,
    long: Arc<Lane>,
    behind: Behind,
    exports: Places,
    budget: Budget,
    experience: Experience,
}

/// A query that runs. Dropping it lets the next one begin.
#[derive(Debug)]
pub(super) struct Turn {
    slot: Slot,
    cost: Cost,
    /// How long it is expected to take, by what was learned of others like it.
    expected: Duration,
    memory: Option<Reserved>,
    inner: Arc<Inner>,
}

/// An export that runs. Dropping it lets the next one begin.
#[derive(Debug)]
pub(super) struct ExportTurn {
    _place: Taken,
    _memory: Reserved,
}

impl Admission {
    /// Nothing runs.
    pub(super) fn new(options: AdmissionOptions) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let running = options.running.unwrap_or(processors).max(1);
        let long = options.running_long.unwrap_or(running.div_ceil(2)).max(1);
        let inner = Inner {
            options,
            queries: Lane::new(Kind::Short, running, options.queue),
            long: Lane::new(Kind::Long, long, options.queue),
            behind: Behind::new(running),
            exports: Places::new(EXPORTS_AT_ONCE, EXPORTS_EACH),
            budget: Budget::new(options.memory_bytes),
            experience: Experience::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Memory of queries and messages.
    pub(super) fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    /// Whether a query that is answered where it arrives may be: not when it has already waited so long that nobody wants it.
    ///
    /// # Errors
    /// [`Limited`] by `admission.wait_ms`.
    pub(super) fn brief(&self, caller: Option<&Caller>) -> Result<(), Limited> {
        let Some(caller) = caller else { return Ok(()) };
        let (age, most) = (caller.age(), self.inner.options.wait_max);
        if age <= most && !caller.left().is_zero() {
            return Ok(());
        }
        let what = format!("the call has waited {:.2} s before anything began", age.as_secs_f64());
        Err(Limited::new("admission.wait_ms", Duration::from_millis(100), what))
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`Limited`] where the queue is full, the wait too long, or the memory used up.
    pub(super) async fn enter(&self, caller: Option<&Caller>, cost: Cost) -> Result<Turn, Limited> {
        let inner = &self.inner;
        let memory = inner.budget.take(cost.bytes)?;
        let expected = inner.experience.expected(&cost);
        let is_long = cost.work == Work::Job || expected >= inner.options.long;
        let lane = if is_long { &inner.long } else { &inner.queries };
        let sender = match caller {
            Some(caller) => {
                let pass = caller.pass();
                Sender { name: Arc::clone(pass.identity()), weight: pass.weight() }
            }
            None => Sender { name: Arc::from(SERVER), weight: 1 },
        };
        let left = caller.map_or(Duration::MAX, Caller::left);
        let may_give_way = !is_long && cost.may_give_way() && inner.behind.is_there();
        let wait_max = inner.options.wait_max;
        let ask = Ask { cost: expected, wait_max, left, may_give_way };
        let slot = lane.enter(sender, ask).await?;
        Ok(Turn { slot, cost, expected, memory: Some(memory), inner: Arc::clone(inner) })
    }

    /// A turn behind others.
    #[cfg(test)]
    pub(super) fn behind(&self, cost: Cost) -> Turn {
        let sender = Sender { name: Arc::from("greedy"), weight: 1 };
        let slot = self.inner.queries.begun_behind(sender);
        let expected = Duration::ZERO;
        Turn { slot, cost, expected, memory: None, inner: Arc::clone(&self.inner) }
    }

    /// Waits for a place among the exports.
    ///
    /// # Errors
    /// [`Limited`] where the wait is too long, or the memory used up.
    pub(super) async fn export(&self, caller: Option<&Caller>) -> Result<ExportTurn, Limited> {
        let inner = &self.inner;
        let left = caller.map_or(Duration::MAX, Caller::left);
        let server = Arc::from(SERVER);
        let place = inner.exports.take(caller.map_or(&server, |caller| caller.pass().identity()));
        match tokio::time::timeout(inner.options.wait_max.min(left), place).await {
            Ok(Ok(place)) => {
                Ok(ExportTurn { _place: place, _memory: inner.budget.take(EXPORT_BYTES)? })
            }
            Ok(Err(_)) | Err(_) => {
                let what = format!(
                    "{EXPORTS_EACH} exports of yours are under way, or {EXPORTS_AT_ONCE} of everybody"
                );
                Err(Limited::new("admission.wait_ms", EXPORT_RETRY, what))
            }
        }
    }
}

impl Turn {
    /// Whether its work may be done on a thread that serves calls: it is expected to take a few milliseconds at most, and need not
    /// give way.
    pub(super) fn is_short(&self) -> bool {
        !self.is_behind() && self.expected <= SHORT
    }

    /// Whether it runs behind others.
    pub(super) fn is_behind(&self) -> bool {
        self.slot.is_behind()
    }

    /// The threads on which it must run, if it runs behind others; they give way to all others.
    pub(super) fn threads(&self) -> Option<Handle> {
        self.is_behind().then(|| self.inner.behind.threads().cloned()).flatten()
    }

    /// Those whose way to memory its work would take, if it runs behind others.
    pub(super) fn others(&self) -> Option<Others> {
        self.slot.others()
    }

    /// Takes its memory, for an answer that outlives it.
    pub(super) fn take_memory(&mut self) -> Option<Reserved> {
        self.memory.take()
    }
}

impl AsRef<Self> for Turn {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // What runs behind others takes as long as they leave it to.
        if !self.slot.is_behind() {
            self.inner.experience.learn(&self.cost, self.slot.took());
        }
    }
}
