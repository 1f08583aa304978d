//! One kind of queries: so many run at once, the others wait in an order that is fair to those who sent them.
//!
//! The order is that of start-time fair queueing (Goyal, Vin and Cheng 1996): every query has a tag, the virtual time at which it
//! would begin if its sender had a share of the processors of his own, and the lowest tag is next. Somebody who sends a
//! thousand queries gets tags far in the future; somebody who sends one gets the present.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Limited;

/// Flows that are remembered although nothing of theirs waits.
const FLOWS_MAX: usize = 1_024;

/// After somebody was refused because the queue was full, it is short for so long: where more come than can be served, a long
/// queue only makes everybody wait.
const SHORT_FOR: Duration = Duration::from_secs(1);

/// The part of the queue that is left then.
const SHORT: usize = 16;

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
            self.flows.retain(|_, flow| flow.waiting > 0 || flow.next > now);
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
        let is_short = state.full.is_some_and(|full| full.elapsed() < SHORT_FOR);
        if is_short {
            (self.queue_max / SHORT).max(self.slots * 2).min(self.queue_max)
        } else {
            self.queue_max
        }
    }

    fn arrive(self: &Arc<Self>, sender: Sender, ask: Ask) -> Result<Arrived, Limited> {
        let mut state = self.state();
        if state.running.len() < self.slots && state.waiting.is_empty() {
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
                Limited::new("admission.queue", wait.max(Duration::from_millis(50)), what)
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
        Slot { lane: Arc::clone(self), number, sender, cost, began, is_armed: true }
    }

    /// Ends a query, and begins those that now may.
    fn end(self: &Arc<Self>, number: u64, sender: &Sender, cost: Duration, took: Duration) {
        let mut state = self.state();
        state.running.remove(&number);
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
                state.running.remove(&slot.number);
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
    Limited::new(
        "admission.wait_ms",
        wait.clamp(Duration::from_millis(50), Duration::from_mins(1)),
        what,
    )
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
mod tests {
    use super::*;

    fn sender(name: &str) -> Sender {
        Sender { name: Arc::from(name), weight: 1 }
    }

    fn ask(ms: u64) -> Ask {
        let long = Duration::from_secs(60);
        Ask { cost: Duration::from_millis(ms), wait_max: long, left: long }
    }

    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_query_of_somebody_else_comes_before_the_many_of_one() {
        let lane = Lane::new(1, 1_000);
        let first = lane.enter(sender("hog"), ask(10)).await.expect("free");
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (name, count) in [("hog", 100), ("one", 2), ("other", 2)] {
            for _ in 0..count {
                let (lane, order) = (Arc::clone(&lane), Arc::clone(&order));
                tasks.push(tokio::spawn(async move {
                    let slot = lane.enter(sender(name), ask(10)).await.expect("its turn");
                    order.lock().expect("whole").push(name);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    drop(slot);
                }));
                settle().await;
            }
        }
        drop(first);
        for task in tasks {
            task.await.expect("no panic");
        }
        let order = order.lock().expect("whole");
        let last = order.iter().rposition(|name| *name != "hog").expect("there");
        assert!(last < 10, "{:?}", &order[..12]);
        assert_eq!((order.len(), lane.running(), lane.waiting()), (104, 0, 0));
    }

    #[tokio::test]
    async fn weights_are_shares() {
        let lane = Lane::new(1, 1_000);
        let first = lane.enter(sender("first"), ask(10)).await.expect("free");
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for _ in 0..60 {
            for weight in [1, 3] {
                let (lane, order) = (Arc::clone(&lane), Arc::clone(&order));
                let sender = Sender { name: Arc::from(format!("{weight}")), weight };
                tasks.push(tokio::spawn(async move {
                    let mut slot = lane.enter(sender, ask(10)).await.expect("its turn");
                    order.lock().expect("whole").push(weight);
                    // As if it had taken what was expected.
                    slot.began = Instant::now().checked_sub(Duration::from_millis(10)).expect("up");
                }));
                settle().await;
            }
        }
        drop(first);
        for task in tasks {
            task.await.expect("no panic");
        }
        let order = order.lock().expect("whole");
        let light = order[..40].iter().filter(|weight| **weight == 1).count();
        assert!((8..=12).contains(&light), "{light} of 40");
    }

    #[tokio::test]
    async fn who_would_wait_too_long_is_told_at_once() {
        let lane = Lane::new(1, 4);
        let held = lane.enter(sender("a"), ask(1_000)).await.expect("free");
        let began = Instant::now();
        let hurried = Ask { left: Duration::from_millis(500), ..ask(10) };
        let limited = lane.enter(sender("b"), hurried).await.expect_err("no time");
        assert_eq!(limited.name, "admission.wait_ms");
        assert!(limited.retry_after >= Duration::from_millis(800), "{limited:?}");
        let impatient = Ask { wait_max: Duration::from_millis(100), ..ask(10) };
        assert!(lane.enter(sender("b"), impatient).await.is_err());
        assert!(began.elapsed() < Duration::from_millis(50));
        // The queue is full of one's own; another takes the place of his newest.
        let full: Vec<_> = (0..4)
            .map(|_| {
                let lane = Arc::clone(&lane);
                tokio::spawn(async move { lane.enter(sender("b"), ask(1)).await.map(drop) })
            })
            .collect();
        settle().await;
        assert_eq!(
            lane.enter(sender("b"), ask(1)).await.expect_err("full").name,
            "admission.queue"
        );
        let other = Arc::clone(&lane);
        let other = tokio::spawn(async move { other.enter(sender("c"), ask(1)).await.map(drop) });
        settle().await;
        drop(held);
        other.await.expect("no panic").expect("served");
        let mut refused = 0;
        for task in full {
            refused += usize::from(task.await.expect("no panic").is_err());
        }
        assert_eq!((refused, lane.running(), lane.waiting()), (1, 0, 0));
    }

    #[tokio::test]
    async fn places_of_those_who_go_are_free_and_waits_end() {
        let lane = Lane::new(1, 4);
        let held = lane.enter(sender("a"), ask(1)).await.expect("free");
        // Expected to end at once, it does not: the wait ends when it became too long.
        let soon = Ask { wait_max: Duration::from_millis(30), ..ask(1) };
        let limited = lane.enter(sender("b"), soon).await.expect_err("it waited");
        assert_eq!((limited.name, lane.waiting()), ("admission.wait_ms", 0));
        for _ in 0..10 {
            let gone =
                tokio::time::timeout(Duration::from_millis(1), lane.enter(sender("b"), ask(1)));
            assert!(gone.await.is_err());
        }
        assert_eq!(lane.waiting(), 0);
        drop(held);
        assert_eq!(lane.running(), 0);
        lane.enter(sender("b"), ask(1)).await.map(drop).expect("free");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_slot_is_lost_or_doubled_whatever_callers_do() {
        let lane = Lane::new(3, 64);
        let at_once = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for number in 0..2_000_u64 {
            let (lane, at_once) = (Arc::clone(&lane), Arc::clone(&at_once));
            tasks.push(tokio::spawn(async move {
                let name = format!("{}", number % 7);
                let enter = lane.enter(sender(&name), ask(number % 5));
                let patience = Duration::from_micros(number * 37 % 4_000);
                if let Ok(Ok(slot)) = tokio::time::timeout(patience, enter).await {
                    let beside = at_once.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    assert!(beside < 3, "{beside} beside");
                    tokio::time::sleep(Duration::from_micros(number % 300)).await;
                    at_once.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(slot);
                }
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!((lane.running(), lane.waiting()), (0, 0));
        assert!(lane.state().flows.values().all(|flow| flow.waiting == 0));
    }
}
