//! What each identity has taken, and whether it may take more.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use governor::clock::{Clock, MonotonicClock};
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota as Rate, RateLimiter};

use super::Limited;
use super::options::{Quota, QuotaOptions};

/// Identities that are known at once. Those that have taken nothing lately make room; where all have, newcomers share one account.
const ACCOUNTS_MAX: usize = 65_536;

/// The account that newcomers share when there is no room.
const SHARED: &str = "(everybody else)";

const MINUTE: Duration = Duration::from_mins(1);
const DAY_S: u64 = 86_400;

/// Rates of one identity that are kept.
const RATES_MAX: usize = 4;

/// Calls of one identity in a second that end something, and at once after a rest. They have a rate of their own.
const SAFETY_PER_S: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
const SAFETY_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);

/// What a call that may begin is told to wait where calls under way are in its way: nobody knows when they end.
const WHILE_UNDER_WAY: Duration = Duration::from_millis(100);

/// Quotas of one server. Clones are the same quotas.
#[derive(Debug, Clone)]
pub struct Quotas {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: QuotaOptions,
    accounts: RwLock<HashMap<Arc<str>, Arc<Account>>>,
    /// The system's own: the other clock of the library compares itself with it first, for up to 0.2 s.
    clock: MonotonicClock,
}

/// What one identity has taken. How much it may take is told anew with each call, since its groups may change.
#[derive(Debug)]
struct Account {
    name: Arc<str>,
    /// One for each rate that was asked for lately, the oldest first: who comes now with one group and now with another must
    /// not find a fresh one each time.
    rates: Mutex<Vec<(u32, u32, Requests)>>,
    /// Of calls that end something.
    safety: Requests,
    bytes_in: Meter,
    bytes_out: Meter,
    rows: Day,
    under_way: AtomicU32,
    last: Mutex<Instant>,
}

type Requests = RateLimiter<NotKeyed, InMemoryState, MonotonicClock>;

/// A call that may begin; it is under way until this is dropped.
#[derive(Debug)]
pub struct Pass {
    account: Arc<Account>,
    quota: Quota,
}

impl Quotas {
    /// Nobody has taken anything.
    pub fn new(options: QuotaOptions) -> Self {
        let inner = Inner { options, accounts: RwLock::default(), clock: MonotonicClock };
        Self { inner: Arc::new(inner) }
    }

    /// Whether somebody may make one more call now; counts it.
    ///
    /// # Errors
    /// The quota that is used up, and when it no longer is.
    pub fn check(&self, identity: &str, groups: &[String]) -> Result<Pass, Limited> {
        let (account, quota) = self.account(identity, groups);
        let who = |what: &str| format!("{identity} {what}");
        account.bytes_in.check(quota.bytes_in_per_min, MINUTE).map_err(|after| {
            Limited::new(
                "quotas.mib_in_per_min",
                after,
                who("has sent more than the quota of a minute"),
            )
        })?;
        account.bytes_out.check(quota.bytes_out_per_min, MINUTE).map_err(|after| {
            Limited::new(
                "quotas.mib_out_per_min",
                after,
                who("has read more than the quota of a minute"),
            )
        })?;
        account
            .rows
            .check(quota.rows_per_day, SystemTime::now())
            .map_err(|after| account.no_rows(after))?;
        let most = quota.calls_at_once;
        // Taken first and given back where it is too much: two at once cannot both take the last.
        let pass = Pass { account: Arc::clone(&account), quota };
        if account.under_way.fetch_add(1, Ordering::AcqRel) >= most && most > 0 {
            let what = who(&format!("has {most} calls under way"));
            return Err(Limited::new("quotas.calls_at_once", WHILE_UNDER_WAY, what));
        }
        account.request(&quota).map_err(|until| {
            let after = until.wait_time_from(self.inner.clock.now());
            let what = who("makes more calls than the quota of a second");
            Limited::new("quotas.requests_per_s", after, what)
        })?;
        Ok(pass)
    }

    /// The same for a call that must be possible when everything is used up, since it ends something or tells who somebody is.
    /// Such calls have a rate of their own.
    ///
    /// # Errors
    /// More of them than anybody needs.
    pub fn check_safety(&self, identity: &str, groups: &[String]) -> Result<Pass, Limited> {
        let (account, quota) = self.account(identity, groups);
        account.safety.check().map_err(|until| {
            let after = until.wait_time_from(self.inner.clock.now());
            let what = format!("{identity} makes more such calls than {SAFETY_PER_S} in a second");
            Limited::new("fixed", after, what)
        })?;
        account.under_way.fetch_add(1, Ordering::AcqRel);
        Ok(Pass { account, quota })
    }

    /// The account of somebody, and what he may take.
    fn account(&self, identity: &str, groups: &[String]) -> (Arc<Account>, Quota) {
        let accounts = self.inner.accounts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(identity) {
            return (Arc::clone(account), self.inner.options.of(identity, groups));
        }
        drop(accounts);
        let mut accounts = self.inner.accounts.write().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= ACCOUNTS_MAX && !accounts.contains_key(identity) {
            let now = Instant::now();
            accounts.retain(|_, account| !account.has_rested(now));
        }
        let is_full = accounts.len() >= ACCOUNTS_MAX;
        let is_shared = is_full && !accounts.contains_key(identity);
        let name = if is_shared { SHARED } else { identity };
        let quota = if is_shared {
            self.inner.options.default
        } else {
            self.inner.options.of(identity, groups)
        };
        if let Some(account) = accounts.get(name) {
            return (Arc::clone(account), quota);
        }
        let account = Arc::new(Account::new(Arc::from(name)));
        accounts.insert(Arc::clone(&account.name), Arc::clone(&account));
        (account, quota)
    }
}

impl Account {
    fn new(name: Arc<str>) -> Self {
        let safety = Rate::per_second(SAFETY_PER_S).allow_burst(SAFETY_BURST);
        Self {
            name,
            rates: Mutex::default(),
            safety: RateLimiter::direct_with_clock(safety, MonotonicClock),
            bytes_in: Meter::new(),
            bytes_out: Meter::new(),
            rows: Day::new(),
            under_way: AtomicU32::new(0),
            last: Mutex::new(Instant::now()),
        }
    }

    /// Counts one more call against the rate of a quota.
    ///
    /// # Errors
    /// The time until there may be one more.
    fn request(&self, quota: &Quota) -> Result<(), NotUntil<<MonotonicClock as Clock>::Instant>> {
        let Some(each_second) = NonZeroU32::new(quota.requests_per_s) else { return Ok(()) };
        let (rate, burst) = (quota.requests_per_s, quota.requests_burst);
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., requests)) = rates.iter().find(|kept| (kept.0, kept.1) == (rate, burst)) {
            return requests.check();
        }
        let allowed = NonZeroU32::new(burst).unwrap_or(each_second);
        let rate_allowed = Rate::per_second(each_second).allow_burst(allowed);
        let requests = RateLimiter::direct_with_clock(rate_allowed, MonotonicClock);
        let result = requests.check();
        if rates.len() >= RATES_MAX {
            rates.remove(0);
        }
        rates.push((rate, burst, requests));
        result
    }

    fn no_rows(&self, after: Duration) -> Limited {
        let what = format!("{} has been given all rows of the day's quota", self.name);
        Limited::new("quotas.rows_per_day", after, what)
    }

    /// Whether forgetting it changes nothing: no call is under way, and what it took no longer counts.
    fn has_rested(&self, now: Instant) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        self.under_way.load(Ordering::Acquire) == 0
            && now.duration_since(last) > MINUTE
            && self.rows.is_fresh(SystemTime::now())
    }
}

impl Pass {
    /// Whom it is for.
    pub fn identity(&self) -> &Arc<str> {
        &self.account.name
    }

    /// His share of the processors.
    pub fn weight(&self) -> u32 {
        self.quota.weight.max(1)
    }

    /// Counts bytes that came.
    pub fn bytes_in(&self, bytes: u64) {
        self.account.bytes_in.add(bytes, self.quota.bytes_in_per_min, MINUTE);
    }

    /// Counts bytes that went.
    pub fn bytes_out(&self, bytes: u64) {
        self.account.bytes_out.add(bytes, self.quota.bytes_out_per_min, MINUTE);
    }

    /// Counts rows that are about to be returned, as far as the day's quota goes.
    ///
    /// # Errors
    /// How many of them it covers, which are counted, and the quota.
    pub fn take_rows(&self, rows: u64) -> Result<(), (u64, Limited)> {
        let taken = self.account.rows.take(rows, self.quota.rows_per_day, SystemTime::now());
        taken.map_err(|(some, after)| (some, self.account.no_rows(after)))
    }

    /// Counts rows that were returned.
    pub fn rows(&self, rows: u64) {
        self.account.rows.add(rows, SystemTime::now());
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.account.under_way.fetch_sub(1, Ordering::AcqRel);
        *self.account.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A bucket that leaks: what was taken counts less and less. The call that makes it overflow is still served, since nobody knew.
#[derive(Debug)]
struct Meter {
    taken: Mutex<(f64, Instant)>,
}

impl Meter {
    fn new() -> Self {
        Self { taken: Mutex::new((0.0, Instant::now())) }
    }

    fn leak(&self, most: u64, window: Duration) -> std::sync::MutexGuard<'_, (f64, Instant)> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = now.duration_since(taken.1).as_secs_f64();
        taken.0 = (taken.0 - passed * most as f64 / window.as_secs_f64()).max(0.0);
        taken.1 = now;
        taken
    }

    fn add(&self, count: u64, most: u64, window: Duration) {
        if most > 0 {
            self.leak(most, window).0 += count as f64;
        }
    }

    /// # Errors
    /// The time until something may be taken again.
    fn check(&self, most: u64, window: Duration) -> Result<(), Duration> {
        if most == 0 {
            return Ok(());
        }
        let over = self.leak(most, window).0 - most as f64;
        if over < 0.0 { Ok(()) } else { Err(window.mul_f64((over + 1.0) / most as f64)) }
    }
}

/// What was taken since midnight, UTC.
#[derive(Debug)]
struct Day {
    day: AtomicU64,
    taken: AtomicU64,
}

impl Day {
    fn new() -> Self {
        Self { day: AtomicU64::new(0), taken: AtomicU64::new(0) }
    }

    /// Begins a new day where one has begun; the second of the day.
    fn turn(&self, now: SystemTime) -> u64 {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let day = seconds / DAY_S;
        // A clock that is set back does not give the same day twice.
        if self.day.fetch_max(day, Ordering::AcqRel) < day {
            self.taken.store(0, Ordering::Release);
        }
        seconds % DAY_S
    }

    fn add(&self, count: u64, now: SystemTime) {
        self.turn(now);
        self.taken.fetch_add(count, Ordering::AcqRel);
    }

    /// Adds as many as are left of a quota.
    ///
    /// # Errors
    /// How many that are, where it is fewer, and the time until there are more.
    fn take(&self, count: u64, quota: u64, now: SystemTime) -> Result<(), (u64, Duration)> {
        let second = self.turn(now);
        let left = |taken: u64| match quota {
            0 => count,
            most => count.min(most.saturating_sub(taken)),
        };
        let (after, before) = (Ordering::AcqRel, Ordering::Acquire);
        let add = |taken: u64| Some(taken.saturating_add(left(taken)));
        let taken = self.taken.fetch_update(after, before, add).unwrap_or_default();
        match left(taken) {
            some if some < count => Err((some, Duration::from_secs(DAY_S - second))),
            _ => Ok(()),
        }
    }

    fn check(&self, most: u64, now: SystemTime) -> Result<(), Duration> {
        let second = self.turn(now);
        let is_left = most == 0 || self.taken.load(Ordering::Acquire) < most;
        if is_left { Ok(()) } else { Err(Duration::from_secs(DAY_S - second)) }
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        self.turn(now);
        self.taken.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::QuotaChange;
    use super::*;

    fn quotas(change: impl FnOnce(&mut Quota)) -> Quotas {
        let mut options = QuotaOptions::default();
        change(&mut options.default);
        Quotas::new(options)
    }

    #[test]
    fn each_identity_has_its_own_rate_and_burst() {
        let quotas = quotas(|quota| (quota.requests_per_s, quota.requests_burst) = (1, 3));
        for identity in ["adam", "eve"] {
            for _ in 0..3 {
                quotas.check(identity, &[]).expect("within the burst");
            }
            let limited = quotas.check(identity, &[]).expect_err("a fourth at once");
            assert_eq!(limited.name, "quotas.requests_per_s");
            let after = limited.retry_after.expect("it says when");
            assert!(after > Duration::ZERO && after <= Duration::from_secs(1));
            assert!(
                limited.to_string().contains(identity)
                    && limited.to_string().contains(limited.name)
            );
        }
    }

    #[test]
    fn calls_under_way_are_given_back_and_refused_ones_are_not_counted() {
        let quotas = quotas(|quota| quota.calls_at_once = 2);
        let held: Vec<Pass> = (0..2).map(|_| quotas.check("adam", &[]).expect("two")).collect();
        for _ in 0..5 {
            assert_eq!(
                quotas.check("adam", &[]).expect_err("a third").name,
                "quotas.calls_at_once"
            );
        }
        quotas.check("eve", &[]).expect("another");
        drop(held);
        quotas.check("adam", &[]).expect("again");
    }

    #[test]
    fn bytes_leak_and_rows_end_with_the_day() {
        let quotas = quotas(|quota| (quota.bytes_out_per_min, quota.rows_per_day) = (60_000, 10));
        let pass = quotas.check("adam", &[]).expect("the first");
        pass.bytes_out(60_100);
        let limited = quotas.check("adam", &[]).expect_err("too much");
        assert_eq!(limited.name, "quotas.mib_out_per_min");
        let after = limited.retry_after.expect("it says when");
        assert!(after < Duration::from_millis(120), "{limited:?}");
        std::thread::sleep(after + Duration::from_millis(5));
        quotas.check("adam", &[]).expect("it has leaked").rows(10);
        assert_eq!(quotas.check("adam", &[]).expect_err("no rows").name, "quotas.rows_per_day");
        let (day, at) = (Day::new(), |seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        day.add(5, at(DAY_S * 9 + 100));
        assert_eq!(day.check(5, at(DAY_S * 9 + 200)), Err(Duration::from_secs(DAY_S - 200)));
        assert_eq!(day.check(5, at(DAY_S * 8)), Err(Duration::from_secs(DAY_S)));
        assert_eq!(day.check(5, at(DAY_S * 10)), Ok(()));
        assert_eq!(day.take(3, 5, at(DAY_S * 10)), Ok(()));
        assert_eq!(day.take(3, 5, at(DAY_S * 10)), Err((2, Duration::from_secs(DAY_S))));
        assert_eq!(day.take(1, 5, at(DAY_S * 10)), Err((0, Duration::from_secs(DAY_S))));
        assert_eq!(Day::new().take(1 << 40, 0, at(DAY_S)), Ok(()));
    }

    #[test]
    fn quotas_of_groups_count_from_the_call_on_that_comes_with_the_group() {
        let mut options = QuotaOptions::default();
        (options.default.rows_per_day, options.default.requests_per_s) = (10, 1);
        options.default.requests_burst = 2;
        let staff = QuotaChange {
            rows_per_day: Some(50),
            requests_per_s: Some(100),
            requests_burst: Some(100),
            ..QuotaChange::default()
        };
        options.groups.insert("staff".to_owned(), staff);
        let quotas = Quotas::new(options);
        let groups = ["staff".to_owned()];
        quotas.check("adam", &[]).expect("the first").rows(20);
        assert_eq!(quotas.check("adam", &[]).expect_err("too many").name, "quotas.rows_per_day");
        quotas.check("adam", &groups).expect("he is of the staff now").rows(30);
        let limited = quotas.check("adam", &groups).expect_err("what he took is not forgotten");
        assert_eq!(limited.name, "quotas.rows_per_day");
        // Coming now with one group and now with another opens no fresh account.
        let mut served = 0;
        for _ in 0..20 {
            served += usize::from(quotas.check("eve", &[]).is_ok());
            quotas.check("eve", &groups).expect("a hundred at once");
        }
        assert!(served <= 3, "{served}");
    }

    #[test]
    fn what_ends_something_is_served_when_everything_is_used_up_but_not_without_end() {
        let quotas = quotas(|quota| {
            (quota.rows_per_day, quota.requests_per_s, quota.requests_burst) = (10, 1, 1);
            quota.calls_at_once = 1;
        });
        let pass = quotas.check("adam", &[]).expect("the first");
        pass.rows(10);
        quotas.check("adam", &[]).expect_err("used up");
        let held: Vec<Pass> = (0..20)
            .map(|_| quotas.check_safety("adam", &[]).expect("served all the same"))
            .collect();
        assert_eq!(&**held[0].identity(), "adam");
        let served = (0..100).filter(|_| quotas.check_safety("adam", &[]).is_ok()).count();
        assert!(served < 30, "{served}");
    }

    #[test]
    fn no_number_of_identities_takes_all_memory() {
        let quotas = quotas(|quota| quota.calls_at_once = 1);
        let held: Vec<Pass> = (0..ACCOUNTS_MAX)
            .map(|number| quotas.check(&format!("peer {number}"), &[]).expect("its first"))
            .collect();
        let last = quotas.check("one more", &[]).expect("the shared account");
        assert_eq!(&**last.identity(), SHARED);
        assert!(quotas.check("and one more", &[]).is_err(), "it shares");
        drop((held, last));
        assert!(quotas.inner.accounts.read().expect("whole").len() <= ACCOUNTS_MAX + 1);
    }
}
