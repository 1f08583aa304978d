//! Who runs, who waits, and who is refused.

use super::*;

impl Lane {
    fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    fn running(&self) -> usize {
        self.state().running.len()
    }
}

fn sender(name: &str) -> Sender {
    Sender { name: Arc::from(name), weight: 1 }
}

fn ask(ms: u64) -> Ask {
    let long = Duration::from_mins(1);
    Ask { cost: Duration::from_millis(ms), wait_max: long, left: long, may_give_way: true }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_query_of_somebody_else_comes_before_the_many_of_one() {
    let lane = Lane::new(Kind::Short, 1, 1_000);
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
    let lane = Lane::new(Kind::Short, 1, 1_000);
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
    let lane = Lane::new(Kind::Short, 1, 4);
    let held = lane.enter(sender("a"), ask(1_000)).await.expect("free");
    let began = Instant::now();
    let hurried = Ask { left: Duration::from_millis(500), ..ask(10) };
    let limited = lane.enter(sender("b"), hurried).await.expect_err("no time");
    assert_eq!(limited.name, "admission.wait_ms");
    let after = limited.retry_after.expect("it says when");
    assert!(after >= Duration::from_millis(800), "{limited:?}");
    let impatient = Ask { wait_max: Duration::from_millis(100), ..ask(10) };
    assert!(lane.enter(sender("b"), impatient).await.is_err());
    assert!(began.elapsed() < Duration::from_millis(50));
    // The queue is full; another takes the place of the newest of whoever has most in it. (There has been too little for a
    // while, so that nothing is cut.)
    lane.state().shortage.lasts(Duration::from_mins(1));
    let mut full = several(&lane, "b", ask(1), 3);
    full.extend(several(&lane, "d", ask(1), 1));
    settle().await;
    assert_eq!(lane.enter(sender("b"), ask(1)).await.expect_err("full").name, "admission.queue");
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

/// As if somebody had asked for so much of late, and had it.
fn wanted(lane: &Lane, name: &str, seconds: f64) {
    let mut state = lane.state();
    let flow = state.flow(&sender(name));
    flow.asks(1, Duration::from_secs_f64(seconds));
    flow.used.add(seconds);
}

/// Queries of somebody, each a task, that end as soon as they have a slot.
fn several(
    lane: &Arc<Lane>,
    name: &'static str,
    ask: Ask,
    count: usize,
) -> Vec<tokio::task::JoinHandle<Result<(), Limited>>> {
    let enter = |_| {
        let lane = Arc::clone(lane);
        tokio::spawn(async move { lane.enter(sender(name), ask).await.map(drop) })
    };
    (0..count).map(enter).collect()
}

#[tokio::test]
async fn who_is_greedy_runs_behind_others_and_takes_no_slot() {
    let lane = Lane::new(Kind::Short, 2, 8);
    // Alone he has everything, and may fill the queue.
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(lane.enter(sender("hog"), ask(400)).await.expect("free"));
    }
    let waiting = several(&lane, "hog", ask(400), 8);
    settle().await;
    let limited = lane.enter(sender("hog"), ask(400)).await.expect_err("full");
    assert_eq!(limited.name, "admission.queue");
    assert_eq!(lane.waiting(), 8, "nobody gains from cutting them");
    let rare = tokio::spawn({
        let lane = Arc::clone(&lane);
        async move { lane.enter(sender("rare"), ask(10)).await }
    });
    settle().await;
    // What the hog has waiting is cut when somebody else comes, who does not wait for it.
    assert_eq!(lane.waiting(), 3);
    held.remove(0);
    let rare = rare.await.expect("no panic").expect("waits, since he asks for little");
    assert!(!rare.is_behind());
    lane.state().shortage.lasts(Duration::from_mins(1));
    // He has had more than his share: the rest of his is behind others, and the slots are theirs.
    wanted(&lane, "hog", 50.0);
    let behind = lane.enter(sender("hog"), ask(400)).await.expect("there is room behind");
    assert!(behind.is_behind());
    let limited = lane.enter(sender("hog"), ask(400)).await.expect_err("no more of it");
    assert!(limited.what.contains("your share"), "{limited}");
    drop((held, rare));
    let mut refused = 0;
    for task in waiting {
        refused += usize::from(task.await.expect("no panic").is_err());
    }
    assert_eq!((refused, lane.running(), lane.waiting()), (6, 0, 0));
    for _ in 0..3 {
        let slot = lane.enter(sender("rare"), ask(1)).await.expect("finds a slot");
        assert!(!slot.is_behind());
    }
    // What writes, or what would open something that others wait for, is never behind.
    let writes = Ask { may_give_way: false, ..ask(1) };
    assert!(!lane.enter(sender("hog"), writes).await.expect("a slot is free").is_behind());
    // Nobody else has asked for long: all of it is his again.
    lane.state().flows.retain(|name, _| &**name == "hog");
    let slot = lane.enter(sender("hog"), ask(1)).await.expect("is alone");
    assert!(!slot.is_behind());
    drop((slot, behind));
    assert_eq!((lane.running(), lane.state().behind), (0, 0));
    assert!(lane.state().flows.values().all(|flow| flow.running == 0));
}

#[tokio::test]
async fn who_asks_for_little_is_no_hog_however_many_ask_for_less() {
    let lane = Lane::new(Kind::Short, 2, 8);
    lane.state().shortage.lasts(Duration::from_mins(1));
    for number in 0..50 {
        wanted(&lane, &format!("light {number}"), 0.001);
    }
    wanted(&lane, "some", 0.4);
    wanted(&lane, "flood", 100.0);
    for _ in 0..2 {
        let slot = lane.enter(sender("flood"), ask(20)).await.expect("there is room behind");
        assert!(slot.is_behind());
        let slot = lane.enter(sender("some"), ask(20)).await.expect("a slot is free");
        assert!(!slot.is_behind());
    }
    // Two who flood beside one who does not are both behind him.
    wanted(&lane, "another", 100.0);
    assert!(lane.enter(sender("another"), ask(20)).await.expect("room").is_behind());
    assert!(lane.enter(sender("flood"), ask(20)).await.expect("room").is_behind());
}

#[tokio::test]
async fn of_equals_who_ask_for_too_much_only_those_wait_who_are_next() {
    let lane = Lane::new(Kind::Short, 2, 64);
    let names = ["a", "b", "c", "d"];
    let short = ask(2_000);
    let first = lane.enter(sender("a"), short).await.expect("free");
    let second = lane.enter(sender("b"), short).await.expect("free");
    names.iter().for_each(|name| wanted(&lane, name, 5.0));
    lane.state().shortage.lasts(Duration::from_mins(1));
    // No slot is free within a quarter of two seconds, and nobody is there who asks for less.
    for name in names {
        let limited = lane.enter(sender(name), short).await.expect_err("too much is asked");
        assert_eq!(limited.name, "admission.queue");
    }
    if let Some(end) = lane.state().running.values_mut().next() {
        *end = Instant::now() + Duration::from_millis(100);
    }
    let mut waiting = several(&lane, "c", short, 1);
    settle().await;
    assert_eq!(lane.waiting(), 1, "one slot is about to be free");
    assert!(lane.enter(sender("d"), short).await.is_err());
    // Who has asked for nothing of late waits as ever.
    waiting.extend(several(&lane, "e", short, 1));
    settle().await;
    assert_eq!(lane.waiting(), 2);
    drop((first, second));
    for task in waiting {
        task.await.expect("no panic").expect("served");
    }
}

#[tokio::test]
async fn the_more_ask_the_later_somebody_may_come_to_follow() {
    let lane = Lane::new(Kind::Short, 2, 64);
    let long = |lane: &Lane| lane.state().next(ask(400)).as_millis();
    assert_eq!(long(&lane), 100, "nobody else has asked");
    lane.state().asked.add(10.0);
    assert_eq!(long(&lane), 100);
    lane.state().asked.add(990.0);
    assert!((3..50).contains(&long(&lane)), "{}", long(&lane));
}

#[tokio::test]
async fn who_asks_for_a_little_more_than_he_can_have_is_not_swept_away_by_a_flood() {
    let lane = Lane::new(Kind::Short, 2, 64);
    lane.state().shortage.lasts(Duration::from_mins(1));
    wanted(&lane, "flood", 20.0);
    lane.state().flow(&sender("some")).asks(1, Duration::from_millis(1_200));
    assert!(lane.enter(sender("flood"), ask(20)).await.expect("room").is_behind());
    assert!(!lane.enter(sender("some"), ask(20)).await.expect("a slot is free").is_behind());
    // What writes has a slot, and leaves the other one.
    let writes = Ask { may_give_way: false, ..ask(20) };
    let held = lane.enter(sender("flood"), writes).await.expect("a slot is free");
    assert!(!held.is_behind());
    assert!(lane.enter(sender("flood"), writes).await.is_err());
}

#[tokio::test]
async fn who_runs_behind_knows_whether_others_have_half_of_the_processors() {
    let lane = Lane::new(Kind::Short, 3, 8);
    let behind = lane.begun_behind(sender("hog"));
    let others = behind.others().expect("it waits for them").are_busy;
    assert!(!others());
    let first = lane.enter(sender("a"), ask(1)).await.expect("free");
    assert!(first.others().is_none());
    assert!(!others());
    let second = lane.enter(sender("b"), ask(1)).await.expect("free");
    assert!(others());
    drop(first);
    assert!(!others());
    drop((second, behind));
    assert!(!others());
}

#[tokio::test]
async fn who_runs_behind_waits_for_others_as_long_as_his_caller_can() {
    let lane = Lane::new(Kind::Short, 2, 8);
    lane.state().shortage.lasts(Duration::from_mins(1));
    wanted(&lane, "hog", 50.0);
    wanted(&lane, "rare", 0.01);
    let patience = async |ask| {
        let slot = lane.enter(sender("hog"), ask).await.expect("there is room behind");
        slot.others().expect("it waits").patience.as_millis()
    };
    assert_eq!(patience(ask(5)).await, 40);
    assert_eq!(patience(ask(400)).await, 250);
    let left = Duration::from_millis(30);
    assert_eq!(patience(Ask { left, ..ask(20) }).await, 5);
}

#[tokio::test]
async fn nobody_who_asks_for_too_much_pushes_out_what_a_modest_one_has_waiting() {
    let lane = Lane::new(Kind::Short, 1, 64);
    let held = lane.enter(sender("a"), ask(2_000)).await.expect("free");
    lane.state().shortage.lasts(Duration::from_mins(1));
    let waiting = several(&lane, "modest", ask(1), 4);
    settle().await;
    assert_eq!(lane.waiting(), 4);
    // Had as much as nobody, and wants far too much.
    lane.state().flow(&sender("hungry")).asks(1, Duration::from_secs(50));
    assert!(lane.enter(sender("hungry"), ask(1)).await.is_err());
    assert_eq!(lane.waiting(), 4);
    drop(held);
    for task in waiting {
        task.await.expect("no panic").expect("served");
    }
}

#[tokio::test]
async fn one_who_is_in_a_hurry_costs_others_nothing() {
    let lane = Lane::new(Kind::Short, 1, 64);
    let held = lane.enter(sender("batch"), ask(400)).await.expect("free");
    let waiting = several(&lane, "batch", ask(400), 30);
    settle().await;
    let hurried = Ask { left: Duration::from_millis(5), ..ask(400) };
    let limited = lane.enter(sender("stranger"), hurried).await.expect_err("no time");
    assert_eq!((limited.name, lane.waiting()), ("admission.wait_ms", 30));
    assert!(!lane.state().shortage.is_there());
    // Beside others nobody has more than half of the queue.
    let more = several(&lane, "batch", ask(400), 4);
    settle().await;
    assert_eq!(lane.waiting(), 1);
    assert!(lane.state().shortage.is_there());
    drop(held);
    let mut refused = 0;
    for task in waiting.into_iter().chain(more) {
        refused += usize::from(task.await.expect("no panic").is_err());
    }
    assert_eq!((refused, lane.running(), lane.waiting()), (33, 0, 0));
}

#[tokio::test]
async fn of_long_ones_nobody_has_more_than_his_share_while_there_is_too_little() {
    let lane = Lane::new(Kind::Long, 2, 8);
    let long = Ask { may_give_way: false, ..ask(20_000) };
    let first = lane.enter(sender("a"), long).await.expect("free");
    wanted(&lane, "b", 1.0);
    let second = lane.enter(sender("a"), long).await.expect("nothing is short");
    drop(second);
    lane.state().shortage.lasts(Duration::from_mins(1));
    let limited = lane.enter(sender("a"), long).await.expect_err("has one of two");
    assert!(limited.what.contains("your share"), "{limited}");
    let other = lane.enter(sender("b"), long).await.expect("has none");
    drop((first, other));
    assert_eq!(lane.running(), 0);
}

#[tokio::test]
async fn places_of_those_who_go_are_free_and_waits_end() {
    let lane = Lane::new(Kind::Short, 1, 4);
    let held = lane.enter(sender("a"), ask(1)).await.expect("free");
    // Expected to end at once, it does not: the wait ends when it became too long.
    let soon = Ask { wait_max: Duration::from_millis(30), ..ask(1) };
    let limited = lane.enter(sender("b"), soon).await.expect_err("it waited");
    assert_eq!((limited.name, lane.waiting()), ("admission.wait_ms", 0));
    for _ in 0..10 {
        let gone = tokio::time::timeout(Duration::from_millis(1), lane.enter(sender("b"), ask(1)));
        assert!(gone.await.is_err());
    }
    assert_eq!(lane.waiting(), 0);
    drop(held);
    assert_eq!(lane.running(), 0);
    lane.enter(sender("b"), ask(1)).await.map(drop).expect("free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_slot_is_lost_or_doubled_whatever_callers_do() {
    let lane = Lane::new(Kind::Short, 3, 64);
    let at_once = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for number in 0..2_000_u64 {
        let (lane, at_once) = (Arc::clone(&lane), Arc::clone(&at_once));
        tasks.push(tokio::spawn(async move {
            // Half of the queries are of one sender.
            let name = format!("{}", (number % 7) * (number % 2));
            let enter = lane.enter(sender(&name), ask(number % 5));
            let patience = Duration::from_micros(number * 37 % 4_000);
            if let Ok(Ok(slot)) = tokio::time::timeout(patience, enter).await {
                let own = usize::from(!slot.is_behind());
                let beside = at_once.fetch_add(own, Ordering::SeqCst);
                assert!(beside + own <= 3, "{beside} beside");
                tokio::time::sleep(Duration::from_micros(number % 300)).await;
                at_once.fetch_sub(own, Ordering::SeqCst);
                drop(slot);
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!((lane.running(), lane.waiting(), lane.state().behind), (0, 0, 0));
    assert!(lane.state().flows.values().all(|flow| flow.waiting + flow.running == 0));
}
