//! Who runs, who waits, and who is refused.

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

#[tokio::test]
async fn who_has_his_share_leaves_a_slot_to_others_where_there_is_too_much() {
    let lane = Lane::new(2, 2);
    let mut held = Vec::new();
    for name in ["hog", "hog"] {
        held.push(lane.enter(sender(name), ask(1)).await.expect("free"));
    }
    let rare = tokio::spawn({
        let lane = Arc::clone(&lane);
        async move { lane.enter(sender("rare"), ask(1)).await }
    });
    settle().await;
    let waits = lane.enter(sender("hog"), ask(1));
    let waits = tokio::time::timeout(Duration::from_millis(5), waits).await;
    assert!(waits.is_err(), "there was room in the queue");
    lane.state().full = Some(Instant::now());
    let limited = lane.enter(sender("hog"), ask(1)).await.expect_err("has his share");
    assert_eq!(limited.name, "admission.queue");
    held.remove(0);
    let rare = rare.await.expect("no panic").expect("served");
    drop(rare);
    assert_eq!(lane.running(), 1);
    let limited = lane.enter(sender("hog"), ask(1)).await.expect_err("has his share");
    assert_eq!(limited.name, "admission.queue");
    lane.enter(sender("rare"), ask(1)).await.map(drop).expect("finds a slot");
    // Nobody else has asked for long: all of it is his.
    lane.state().flows.retain(|name, _| &**name == "hog");
    lane.enter(sender("hog"), ask(1)).await.map(drop).expect("is alone");
    drop(held);
    assert!(lane.state().flows.values().all(|flow| flow.running == 0));
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
    assert!(lane.state().flows.values().all(|flow| flow.waiting + flow.running == 0));
}
