//! One kind of queries: so many run at once, the others wait in an order that is fair to those who sent them.
//!
//! The order is that of start-time fair queueing (Goyal, Vin and Cheng 1996): every query has a tag, the virtual time at which it
//! would begin if its sender had a share of the processors of his own, and the lowest tag is next. Somebody who sends a
//! thousand queries gets tags far in the future; somebody who sends one gets the present.
//!
//! Where more is asked than can be done, the queue is short, and one slot is kept from whoever has more than his share: others,
//! who ask for less, find it free.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Limited;

/// Flows that are remembered although nothing of theirs waits.
const FLOWS_MAX: usize = 1_024;

/// After somebody was refused because the queue was full, it holds for so long no more than what begins next: where more come
/// than can be served, a longer queue only makes everybody wait.
const SHORT_FOR: Duration = Duration::from_secs(1);

/// When it is worth to ask again, at the soonest.
const SOON: Duration = Duration::from_millis(50);

/// What a query is expected to have left when it has taken longer than expected.
const OVERDUE: Duration = Duration::from_millis(1);

/// Who sends, and how much of the processors is his.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) name: Arc<str>,
    pub(super) weight: u32,
}

/// What a query asks of a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    /// Expected time.
    pub(super) cost: Duration,
    /// Longest wait of the configuration.
    pub(super) wait_max: Duration,
    /// Time until nobody waits for the answer any more.
    pub(super) left: Duration,
}

/// One kind of queries.
#[derive(Debug)]
pub(super) struct Lane {
    slots: usize,
    queue_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each of those that run is expected to end, by its number.
    running: HashMap<u64, Instant>,
    waiting: BTreeMap<Place, Waiting>,
    flows: HashMap<Arc<str>, Flow>,
    /// When somebody was refused because the queue was full.
    full: Option<Instant>,
    /// The virtual time, in nanoseconds: the tag of the query that began last.
    now: u64,
    numbers: u64,
}

/// Tag and number: the order of the queue.
type Place = (u64, u64);

#[derive(Debug)]
struct Waiting {
    sender: Sender,
    cost: Duration,
    grant: oneshot::Sender<Result<Slot, Limited>>,
}

/// What is known of somebody who sends queries.
#[derive(Debug, Default, Clone, Copy)]
struct Flow {
    /// Virtual time at which his next query may begin.
    next: u64,
    waiting: usize,
    running: usize,
    weight: u32,
    /// When he asked last.
    asked: Option<Instant>,
}

impl Flow {
    fn is_recent(&self) -> bool {
        self.running > 0 || self.asked.is_some_and(|asked| asked.elapsed() < SHORT_FOR)
    }
}

/// A query that runs: when this is dropped, the next one begins.
#[derive(Debug)]
pub(super) struct Slot {
    lane: Arc<Lane>,
    number: u64,
    sender: Sender,
    cost: Duration,
    began: Instant,
    is_armed: bool,
}

fn tag_length(cost: Duration, weight: u32) -> u64 {
    let nanos = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
    (nanos / u64::from(weight.max(1))).max(1)
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn flow(&mut self, sender: &Sender) -> &mut Flow {
        if self.flows.len() > FLOWS_MAX && !self.flows.contains_key(&sender.name) {
            let now = self.now;
            // Whose turn is now or was before is like somebody who was never seen.
            self.flows.retain(|_, flow| flow.waiting > 0 || flow.is_recent() || flow.next > now);
        }
        self.flows.entry(Arc::clone(&sender.name)).or_default()
    }

    /// The tag of a new query; what its sender sends next comes after it.
    fn tag(&mut self, sender: &Sender, cost: Duration) -> u64 {
        let now = self.now;
        let flow = self.flow(sender);
        let tag = flow.next.max(now);
        flow.next = tag.saturating_add(tag_length(cost, sender.weight));
        tag
    }

    /// Time until the processors have done what runs, and what waits before a place.
    fn backlog(&self, before: Place, slots: usize) -> Duration {
        let now = Instant::now();
        let left = |end: &Instant| end.saturating_duration_since(now).max(OVERDUE);
        let running: Duration = self.running.values().map(left).sum();
        let waiting: Duration = self.waiting.range(..before).map(|(_, waiting)| waiting.cost).sum();
        (running + waiting) / slots as u32
    }

    /// Takes a waiting query out, and gives its sender back what it was charged.
    fn withdraw(&mut self, place: Place) -> Option<Waiting> {
        let waiting = self.waiting.remove(&place)?;
        let length = tag_length(waiting.cost, waiting.sender.weight);
        if let Some(flow) = self.flows.get_mut(&waiting.sender.name) {
            flow.waiting -= 1;
            flow.next = flow.next.saturating_sub(length);
        }
        Some(waiting)
    }

    /// Whether there was lately more than could be done.
    fn is_short(&self) -> bool {
        self.full.is_some_and(|full| full.elapsed() < SHORT_FOR)
    }

    /// Forgets a query that ran.
    fn stop(&mut self, number: u64, sender: &Sender) {
        self.running.remove(&number);
        if let Some(flow) = self.flows.get_mut(&sender.name) {
            flow.running = flow.running.saturating_sub(1);
        }
    }

    /// The newest query of him who has most of them waiting, if those are more than `than`.
    fn hog(&self, than: usize) -> Option<Place> {
        let (name, flow) = self.flows.iter().max_by_key(|(_, flow)| flow.waiting)?;
        if flow.waiting <= than {
            return None;
        }
        let newest = self.waiting.iter().rev().find(|(_, waiting)| waiting.sender.name == *name);
        newest.map(|(place, _)| *place)
    }
}

impl Lane {
    pub(super) fn new(slots: usize, queue_max: usize) -> Arc<Self> {
        Arc::new(Self { slots: slots.max(1), queue_max, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    #[cfg(test)]
    fn running(&self) -> usize {
        self.state().running.len()
    }

    /// Waits for a slot. When the future is dropped, the place in the queue is given up.
    ///
    /// # Errors
    /// [`Limited`]: at once where the wait would be too long or the queue is full, later where it became too long.
    pub(super) async fn enter(self: &Arc<Self>, sender: Sender, ask: Ask) -> Result<Slot, Limited> {
        let (place, granted) = match self.arrive(sender, ask)? {
            Arrived::Runs(slot) => return Ok(slot),
            Arrived::Waits(place, granted) => (place, granted),
        };
        // Gives the place up when the caller goes away.
        let _left = Left { lane: self, place };
        match tokio::time::timeout(ask.wait_max.min(ask.left), granted).await {
            Ok(Ok(outcome)) => outcome,
            // The sender is dropped with the lane alone.
            Ok(Err(_)) => Err(too_long(ask, ask.wait_max)),
            Err(_) => Err(too_long(ask, ask.wait_max.min(ask.left))),
        }
    }

    /// How many may wait now.
    fn room(&self, state: &State) -> usize {
        if state.is_short() { self.slots.min(self.queue_max) } else { self.queue_max }
    }

    /// Whether somebody has his share already: then one slot is left to others, and he does not wait.
    fn has_share(&self, state: &State, sender: &Sender, is_free: bool) -> bool {
        if !state.is_short() {
            return false;
        }
        let recent = state.flows.iter().filter(|(_, flow)| flow.is_recent());
        let others = recent.filter(|(name, _)| **name != sender.name);
        let others: usize = others.map(|(_, flow)| flow.weight.max(1) as usize).sum();
        let Some(flow) = state.flows.get(&sender.name).filter(|_| others > 0) else { return false };
        let weight = sender.weight.max(1) as usize;
        let share = (self.slots * weight).div_ceil(weight + others);
        let most = if is_free { share.max(self.slots - 1) } else { share };
        flow.running + flow.waiting >= most
    }

    fn arrive(self: &Arc<Self>, sender: Sender, ask: Ask) -> Result<Arrived, Limited> {
        let mut state = self.state();
        let is_free = state.running.len() < self.slots && state.waiting.is_empty();
        let flow = state.flow(&sender);
        (flow.weight, flow.asked) = (sender.weight, Some(Instant::now()));
        if self.has_share(&state, &sender, is_free) {
            state.full = Some(Instant::now());
            let what = "more is asked than can be answered, and your share of it is under way";
            return Err(Limited::new("admission.queue", ask.cost.max(SOON), what.to_owned()));
        }
        if is_free {
            let tag = state.tag(&sender, ask.cost);
            state.now = state.now.max(tag);
            return Ok(Arrived::Runs(self.begin(&mut state, sender, ask.cost)));
        }
        let expected = state.flows.get(&sender.name).map_or(0, |flow| flow.next).max(state.now);
        let wait = state.backlog((expected, u64::MAX), self.slots);
        if wait > ask.wait_max || wait.saturating_add(ask.cost) > ask.left {
            return Err(too_long(ask, wait));
        }
        let mut pushed_out = None;
        if state.waiting.len() >= self.room(&state) {
            state.full = Some(Instant::now());
            let (own, waiting) = (state.flow(&sender).waiting, state.waiting.len());
            let full = || {
                let what = format!("{waiting} queries wait already");
                Limited::new("admission.queue", wait.max(SOON), what)
            };
            // Who has filled the queue makes room for those who have less in it.
            let hog = state.hog(own + 1).ok_or_else(full)?;
            pushed_out = state.withdraw(hog).map(|waiting| (waiting.grant, full()));
        }
        let place = (state.tag(&sender, ask.cost), state.number());
        let (grant, granted) = oneshot::channel();
        state.flow(&sender).waiting += 1;
        state.waiting.insert(place, Waiting { sender, cost: ask.cost, grant });
        drop(state);
        if let Some((grant, why)) = pushed_out {
            let _ = grant.send(Err(why));
        }
        Ok(Arrived::Waits(place, granted))
    }

    fn begin(self: &Arc<Self>, state: &mut State, sender: Sender, cost: Duration) -> Slot {
        let (number, began) = (state.number(), Instant::now());
        state.running.insert(number, began + cost);
        state.flow(&sender).running += 1;
        Slot { lane: Arc::clone(self), number, sender, cost, began, is_armed: true }
    }

    /// Ends a query, and begins those that now may.
    fn end(self: &Arc<Self>, number: u64, sender: &Sender, cost: Duration, took: Duration) {
        let mut state = self.state();
        state.stop(number, sender);
        // What was charged beforehand becomes what it took.
        let (charged, true_one) =
            (tag_length(cost, sender.weight), tag_length(took, sender.weight));
        if let Some(flow) = state.flows.get_mut(&sender.name) {
            flow.next = flow.next.saturating_sub(charged).saturating_add(true_one);
        }
        while state.running.len() < self.slots {
            let Some(((tag, _), waiting)) = state.waiting.pop_first() else { return };
            if let Some(flow) = state.flows.get_mut(&waiting.sender.name) {
                flow.waiting -= 1;
            }
            state.now = state.now.max(tag);
            let slot = self.begin(&mut state, waiting.sender, waiting.cost);
            if let Err(Ok(mut slot)) = waiting.grant.send(Ok(slot)) {
                // Its caller has just gone: the slot is free again.
                slot.is_armed = false;
                state.stop(slot.number, &slot.sender);
            }
        }
    }
}

enum Arrived {
    Runs(Slot),
    Waits(Place, oneshot::Receiver<Result<Slot, Limited>>),
}

fn too_long(ask: Ask, wait: Duration) -> Limited {
    let (wait_s, cost_s) = (wait.as_secs_f64(), ask.cost.as_secs_f64());
    let what = if ask.left.saturating_sub(ask.cost) < ask.wait_max {
        format!(
            "the query would wait about {wait_s:.2} s and take {cost_s:.2} s, and its caller waits {:.2} s",
            ask.left.as_secs_f64()
        )
    } else {
        format!(
            "the query would wait about {wait_s:.2} s, and {:.2} s is the longest",
            ask.wait_max.as_secs_f64()
        )
    };
    Limited::new("admission.wait_ms", wait.clamp(SOON, Duration::from_mins(1)), what)
}

/// A place in the queue that may have been given up.
struct Left<'a> {
    lane: &'a Lane,
    place: Place,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        let withdrawn = self.lane.state().withdraw(self.place);
        drop(withdrawn);
    }
}

impl Slot {
    /// How long it has run.
    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_armed {
            self.lane.end(self.number, &self.sender, self.cost, self.began.elapsed());
        }
    }
}

#[cfg(test)]
mod tests;
