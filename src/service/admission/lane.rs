//! One kind of queries: so many run at once, the others wait in an order that is fair to those who sent them.
//!
//! The order is that of start-time fair queueing (Goyal, Vin and Cheng 1996): every query has a tag, the virtual time at which it
//! would begin if its sender had a share of the processors of his own, and the lowest tag is next. Somebody who sends a
//! thousand queries gets tags far in the future; somebody who sends one gets the present.
//!
//! Where more is asked than can be done, waiting makes nobody sooner. Some ask for no more than they can have beside the others
//! (in shares that are fair in the sense of max-min: what one does not want is there for the rest); they wait as ever. Of all
//! others only he waits whose slot is about to be free. Who asks for more, and has had more than an equal share while others who
//! ask for far less have not, gets what is left: his queries run behind all others, on threads that give way, and take no slot.

mod flow;
mod shortage;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Limited;
use crate::idle::Others;
use flow::{Flow, Meter, tag_length};
use shortage::{Shortage, Standing, standing};

/// Flows that are remembered although nothing of theirs waits.
const FLOWS_MAX: usize = 1_024;

/// Whoever asked within so long counts among those who ask.
const LATELY: Duration = Duration::from_secs(1);

/// A slot that will be free within this part of a query's time, or so soon, is waited for, whatever there is: with nobody to
/// follow it would stand empty.
const NEXT: f64 = 0.25;
const NEXT_LEAST: Duration = Duration::from_millis(5);

/// Where so many will ask until a slot is free, it is not waited for: one of those who come later follows, and waits less.
const COMERS: f64 = 3.0;

/// When it is worth to ask again, at the soonest.
const SOON: Duration = Duration::from_millis(50);

/// How long work behind others waits for them at most, in all: so many times of what it is expected to take, and no longer than
/// this. It holds memory meanwhile, and somebody waits for it, too.
const PATIENCE: u32 = 8;
const PATIENCE_MAX: Duration = Duration::from_millis(250);

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
    /// Whether it may run on threads that give way: it reads only, and makes nothing that others wait for.
    pub(super) may_give_way: bool,
}

/// How long the queries of a lane are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Many of them end in a second: what somebody takes is measured by time.
    Short,
    /// Seconds or more: what somebody takes is counted by queries.
    Long,
}

/// One kind of queries.
#[derive(Debug)]
pub(super) struct Lane {
    slots: usize,
    queue_max: usize,
    kind: Kind,
    /// Queries that have a slot, for those behind them, which look at every block of rows.
    running: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each of those that run is expected to end, by its number.
    running: HashMap<u64, Instant>,
    /// Queries that run behind the others.
    behind: usize,
    waiting: BTreeMap<Place, Waiting>,
    flows: HashMap<Arc<str>, Flow>,
    /// Queries a second that are asked for, but for those that run behind others.
    asked: Meter,
    shortage: Shortage,
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

/// A query that runs: when this is dropped, the next one begins.
#[derive(Debug)]
pub(super) struct Slot {
    lane: Arc<Lane>,
    number: u64,
    sender: Sender,
    cost: Duration,
    began: Instant,
    /// How long it waits for others, if it runs behind them.
    behind: Option<Duration>,
    is_armed: bool,
}

/// Whoever is told that he must go, and why.
type PushedOut = Vec<(oneshot::Sender<Result<Slot, Limited>>, Limited)>;

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn flow(&mut self, sender: &Sender) -> &mut Flow {
        if self.flows.len() > FLOWS_MAX && !self.flows.contains_key(&sender.name) {
            let (now, instant) = (self.now, Instant::now());
            // Whose turn is now or was before is like somebody who was never seen.
            self.flows
                .retain(|_, flow| flow.waiting > 0 || flow.is_recent(instant) || flow.next > now);
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

    /// How soon a slot must be free to be waited for, whatever there is.
    fn next(&self, ask: Ask) -> Duration {
        let longest = ask.cost.mul_f64(NEXT).max(NEXT_LEAST);
        let comers = Duration::try_from_secs_f64(COMERS / self.asked.rate(Instant::now()));
        comers.map_or(longest, |comers| comers.min(longest))
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

    /// Forgets a query that ran.
    fn stop(&mut self, slot: &Slot) {
        if slot.behind.is_some() {
            self.behind -= 1;
        } else {
            self.running.remove(&slot.number);
        }
        if let Some(flow) = self.flows.get_mut(&slot.sender.name) {
            flow.running = flow.running.saturating_sub(1);
        }
    }

    /// The newest query of him who has most of them waiting for his weight, if those are more than `than`.
    fn hog(&self, than: usize) -> Option<Place> {
        let by_weight = |flow: &Flow, other: &Flow| flow.waiting * other.weight.max(1) as usize;
        let most = |left: &Flow, right: &Flow| by_weight(left, right).cmp(&by_weight(right, left));
        let (name, flow) = self.flows.iter().max_by(|(_, left), (_, right)| most(left, right))?;
        if flow.waiting <= than {
            return None;
        }
        let newest = self.waiting.iter().rev().find(|(_, waiting)| waiting.sender.name == *name);
        newest.map(|(place, _)| *place)
    }
}

impl Lane {
    pub(super) fn new(kind: Kind, slots: usize, queue_max: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: slots.max(1),
            queue_max,
            kind,
            running: AtomicUsize::new(0),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether one more query may wait.
    fn has_room(&self, state: &State, ask: Ask, standing: Standing, own: usize) -> bool {
        let waiting = state.waiting.len();
        if waiting >= self.queue_max {
            return false;
        }
        match standing {
            Standing::Alone => true,
            // Half of the queue is left to others where there are any.
            _ if own * 2 > self.queue_max => false,
            Standing::Modest => true,
            Standing::Hungry | Standing::Greedy => {
                let soon = Instant::now() + state.next(ask);
                waiting < state.running.values().filter(|end| **end <= soon).count()
            }
        }
    }

    /// From now on there is more than can be done. Those who have several queries waiting keep as many as there are slots, in all.
    fn falls_short(&self, state: &mut State, why: &Limited) -> PushedOut {
        let mut pushed_out = PushedOut::new();
        if state.shortage.begins() {
            while state.waiting.len() > self.slots {
                let Some(waiting) = state.hog(1).and_then(|hog| state.withdraw(hog)) else { break };
                pushed_out.push((waiting.grant, why.clone()));
            }
        }
        pushed_out
    }

    fn arrive(self: &Arc<Self>, sender: Sender, ask: Ask) -> Result<Arrived, Limited> {
        let mut state = self.state();
        let own = state.flow(&sender).waiting;
        let is_short = state.shortage.is_there();
        let is_told = is_short || own * 2 > self.queue_max;
        // By what was asked before: one query that is alone makes nobody greedy, however long it takes.
        let standing = if is_told { standing(self, &state, &sender) } else { Standing::Modest };
        state.flow(&sender).asks(sender.weight, ask.cost);
        if is_short && standing == Standing::Greedy {
            if ask.may_give_way {
                return self.behind(&mut state, sender, ask);
            }
            let runs = state.flows.get(&sender.name).is_some_and(|flow| flow.running > 0);
            if self.kind == Kind::Long || (runs && state.running.len() + 1 >= self.slots) {
                return Err(has_share(ask));
            }
        }
        state.asked.add(1.0);
        if state.running.len() < self.slots && state.waiting.is_empty() {
            let tag = state.tag(&sender, ask.cost);
            state.now = state.now.max(tag);
            return Ok(Arrived::Runs(self.begin(&mut state, sender, ask.cost, None)));
        }
        let expected = state.flows.get(&sender.name).map_or(0, |flow| flow.next).max(state.now);
        let wait = state.backlog((expected, u64::MAX), self.slots);
        if wait > ask.wait_max || wait.saturating_add(ask.cost) > ask.left {
            return Err(too_long(ask, wait));
        }
        let mut pushed_out = PushedOut::new();
        if !self.has_room(&state, ask, standing, own) {
            let what = format!(
                "more is asked than can be answered, and {} queries wait already",
                state.waiting.len()
            );
            let full = Limited::new("admission.queue", wait.max(SOON), what);
            // Who has filled the queue makes room for those who have less in it, and ask for little.
            let makes_room = matches!(standing, Standing::Alone | Standing::Modest);
            let hog = makes_room.then(|| state.hog(own + 1)).flatten();
            let hog = hog.and_then(|hog| state.withdraw(hog));
            if standing != Standing::Alone {
                pushed_out = self.falls_short(&mut state, &full);
            }
            match hog {
                Some(waiting) => pushed_out.push((waiting.grant, full)),
                None => {
                    drop(state);
                    tell(pushed_out);
                    return Err(full);
                }
            }
        }
        let place = (state.tag(&sender, ask.cost), state.number());
        let (grant, granted) = oneshot::channel();
        state.flow(&sender).waiting += 1;
        state.waiting.insert(place, Waiting { sender, cost: ask.cost, grant });
        drop(state);
        tell(pushed_out);
        Ok(Arrived::Waits(place, granted))
    }

    /// Lets a query run behind the others, if there are not too many of those already.
    fn behind(
        self: &Arc<Self>,
        state: &mut State,
        sender: Sender,
        ask: Ask,
    ) -> Result<Arrived, Limited> {
        if ask.cost > ask.left {
            return Err(too_long(ask, Duration::ZERO));
        }
        let (behind, running) = (state.behind, state.running.len());
        if running + behind < self.slots || behind < self.slots.div_ceil(2) {
            // Half of the time that its caller has left for waiting: others slow it down later, too.
            let patience =
                ask.cost.saturating_mul(PATIENCE).min(ask.left.saturating_sub(ask.cost) / 2);
            let patience = Some(patience.min(PATIENCE_MAX));
            return Ok(Arrived::Runs(self.begin(state, sender, ask.cost, patience)));
        }
        state.shortage.goes_on();
        Err(has_share(ask))
    }

    fn begin(
        self: &Arc<Self>,
        state: &mut State,
        sender: Sender,
        cost: Duration,
        behind: Option<Duration>,
    ) -> Slot {
        let (number, began) = (state.number(), Instant::now());
        if behind.is_some() {
            state.behind += 1;
        } else {
            state.running.insert(number, began + cost);
            self.tell(state);
        }
        let flow = state.flow(&sender);
        flow.running += 1;
        flow.used.add(cost.as_secs_f64());
        Slot { lane: Arc::clone(self), number, sender, cost, began, behind, is_armed: true }
    }

    #[cfg(test)]
    pub(super) fn begun_behind(self: &Arc<Self>, sender: Sender) -> Slot {
        self.begin(
            &mut self.state(),
            sender,
            Duration::from_millis(1),
            Some(Duration::from_mins(1)),
        )
    }

    /// Ends a query, and begins those that now may.
    fn end(self: &Arc<Self>, slot: &Slot, took: Duration) {
        let mut state = self.state();
        state.stop(slot);
        if let Some(flow) = state.flows.get_mut(&slot.sender.name) {
            flow.took(slot, took);
        }
        while state.running.len() < self.slots {
            let Some(((tag, _), waiting)) = state.waiting.pop_first() else { break };
            if let Some(flow) = state.flows.get_mut(&waiting.sender.name) {
                flow.waiting -= 1;
            }
            state.now = state.now.max(tag);
            let slot = self.begin(&mut state, waiting.sender, waiting.cost, None);
            if let Err(Ok(mut slot)) = waiting.grant.send(Ok(slot)) {
                // Its caller has just gone: the slot is free again.
                slot.is_armed = false;
                state.stop(&slot);
            }
        }
        self.tell(&mut state);
    }

    /// Tells who has to know how many queries have slots.
    fn tell(&self, state: &mut State) {
        self.running.store(state.running.len(), Ordering::Relaxed);
        state.shortage.slots(state.running.len() < self.slots);
    }
}

/// Tells those who were pushed out. Not to be called while the lane is locked.
fn tell(pushed_out: PushedOut) {
    for (grant, why) in pushed_out {
        let _ = grant.send(Err(why));
    }
}

enum Arrived {
    Runs(Slot),
    Waits(Place, oneshot::Receiver<Result<Slot, Limited>>),
}

fn has_share(ask: Ask) -> Limited {
    let what = "more is asked than can be answered, and your share of it is under way";
    Limited::new("admission.queue", ask.cost.max(SOON), what)
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
    /// Whether it runs behind the others.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Whether queries with slots have half of the processors or more, and how long it waits for those, if it runs behind them.
    pub(super) fn others(&self) -> Option<Others> {
        self.behind.map(|patience| {
            let lane = Arc::clone(&self.lane);
            let are_busy = Box::new(move || lane.running.load(Ordering::Relaxed) * 2 >= lane.slots);
            Others { are_busy, patience }
        })
    }

    /// How long it has run.
    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_armed {
            self.lane.end(self, self.began.elapsed());
        }
    }
}

#[cfg(test)]
mod tests;
