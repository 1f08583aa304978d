//! What each identity has taken, and whether it may take more.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use governor::clock::{Clock, DefaultClock};
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Rate, RateLimiter};

use super::Limited;
use super::options::{Quota, QuotaOptions};

/// Identities that are known at once. Those that have taken nothing lately make room; where all have, newcomers share one account.
const ACCOUNTS_MAX: usize = 65_536;

/// The account that newcomers share when there is no room.
const SHARED: &str = "(everybody else)";

const MINUTE: Duration = Duration::from_mins(1);
const DAY_S: u64 = 86_400;

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
    clock: DefaultClock,
}

/// What one identity has taken.
#[derive(Debug)]
struct Account {
    name: Arc<str>,
    quota: Quota,
    requests: Option<RateLimiter<NotKeyed, InMemoryState, DefaultClock>>,
    bytes_in: Meter,
    bytes_out: Meter,
    rows: Day,
    under_way: AtomicU32,
    last: Mutex<Instant>,
}

/// A call that may begin; it is under way until this is dropped.
#[derive(Debug)]
pub struct Pass {
    account: Arc<Account>,
}

impl Quotas {
    /// Nobody has taken anything.
    pub fn new(options: QuotaOptions) -> Self {
        let inner = Inner { options, accounts: RwLock::default(), clock: DefaultClock::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Whether somebody may make one more call now; counts it.
    ///
    /// # Errors
    /// The quota that is used up, and when it no longer is.
    pub fn check(&self, identity: &str, groups: &[String]) -> Result<Pass, Limited> {
        let account = self.account(identity, groups);
        let who = |what: &str| format!("{identity} {what}");
        account.bytes_in.check(MINUTE).map_err(|after| {
            Limited::new(
                "quotas.mib_in_per_min",
                after,
                who("has sent more than the quota of a minute"),
            )
        })?;
        account.bytes_out.check(MINUTE).map_err(|after| {
            Limited::new(
                "quotas.mib_out_per_min",
                after,
                who("has read more than the quota of a minute"),
            )
        })?;
        account.rows.check(SystemTime::now()).map_err(|after| account.no_rows(after))?;
        let most = account.quota.calls_at_once;
        // Taken first and given back where it is too much: two at once cannot both take the last.
        let pass = Pass { account: Arc::clone(&account) };
        if account.under_way.fetch_add(1, Ordering::AcqRel) >= most && most > 0 {
            let what = who(&format!("has {most} calls under way"));
            return Err(Limited::new("quotas.calls_at_once", WHILE_UNDER_WAY, what));
        }
        if let Some(requests) = &account.requests
            && let Err(until) = requests.check()
        {
            let after = until.wait_time_from(self.inner.clock.now());
            let what = who("makes more calls than the quota of a second");
            return Err(Limited::new("quotas.requests_per_s", after, what));
        }
        Ok(pass)
    }

    fn account(&self, identity: &str, groups: &[String]) -> Arc<Account> {
        let accounts = self.inner.accounts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(identity) {
            return Arc::clone(account);
        }
        drop(accounts);
        let mut accounts = self.inner.accounts.write().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= ACCOUNTS_MAX && !accounts.contains_key(identity) {
            let now = Instant::now();
            accounts.retain(|_, account| !account.has_rested(now));
        }
        let is_full = accounts.len() >= ACCOUNTS_MAX;
        let name = if is_full { SHARED } else { identity };
        if let Some(account) = accounts.get(name) {
            return Arc::clone(account);
        }
        let quota = if is_full {
            self.inner.options.default
        } else {
            self.inner.options.of(identity, groups)
        };
        let account = Arc::new(Account::new(Arc::from(name), quota));
        accounts.insert(Arc::clone(&account.name), Arc::clone(&account));
        account
    }
}

impl Account {
    fn new(name: Arc<str>, quota: Quota) -> Self {
        let rate = NonZeroU32::new(quota.requests_per_s).map(|each_second| {
            let burst = NonZeroU32::new(quota.requests_burst).unwrap_or(each_second);
            Rate::per_second(each_second).allow_burst(burst)
        });
        Self {
            name,
            quota,
            requests: rate.map(RateLimiter::direct),
            bytes_in: Meter::new(quota.bytes_in_per_min),
            bytes_out: Meter::new(quota.bytes_out_per_min),
            rows: Day::new(quota.rows_per_day),
            under_way: AtomicU32::new(0),
            last: Mutex::new(Instant::now()),
        }
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
        self.account.quota.weight.max(1)
    }

    /// Counts bytes that came.
    pub fn bytes_in(&self, bytes: u64) {
        self.account.bytes_in.add(bytes, MINUTE);
    }

    /// Counts bytes that went.
    pub fn bytes_out(&self, bytes: u64) {
        self.account.bytes_out.add(bytes, MINUTE);
    }

    /// Counts rows that are about to be returned, as far as the day's quota goes.
    ///
    /// # Errors
    /// How many of them it covers, which are counted, and the quota.
    pub fn take_rows(&self, rows: u64) -> Result<(), (u64, Limited)> {
        let taken = self.account.rows.take(rows, SystemTime::now());
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
    most: u64,
    taken: Mutex<(f64, Instant)>,
}

impl Meter {
    fn new(most: u64) -> Self {
        Self { most, taken: Mutex::new((0.0, Instant::now())) }
    }

    fn leak(&self, window: Duration) -> std::sync::MutexGuard<'_, (f64, Instant)> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = now.duration_since(taken.1).as_secs_f64();
        taken.0 = (taken.0 - passed * self.most as f64 / window.as_secs_f64()).max(0.0);
        taken.1 = now;
        taken
    }

    fn add(&self, count: u64, window: Duration) {
        if self.most > 0 {
            self.leak(window).0 += count as f64;
        }
    }

    /// # Errors
    /// The time until something may be taken again.
    fn check(&self, window: Duration) -> Result<(), Duration> {
        if self.most == 0 {
            return Ok(());
        }
        let over = self.leak(window).0 - self.most as f64;
        if over < 0.0 { Ok(()) } else { Err(window.mul_f64((over + 1.0) / self.most as f64)) }
    }
}

/// What was taken since midnight, UTC.
#[derive(Debug)]
struct Day {
    most: u64,
    day: AtomicU64,
    taken: AtomicU64,
}

impl Day {
    fn new(most: u64) -> Self {
        Self { most, day: AtomicU64::new(0), taken: AtomicU64::new(0) }
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

    /// Adds as many as are left.
    ///
    /// # Errors
    /// How many that are, where it is fewer, and the time until there are more.
    fn take(&self, count: u64, now: SystemTime) -> Result<(), (u64, Duration)> {
        let second = self.turn(now);
        let left = |taken: u64| match self.most {
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

    fn check(&self, now: SystemTime) -> Result<(), Duration> {
        let second = self.turn(now);
        let is_left = self.most == 0 || self.taken.load(Ordering::Acquire) < self.most;
        if is_left { Ok(()) } else { Err(Duration::from_secs(DAY_S - second)) }
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        self.turn(now);
        self.taken.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
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
            assert!(
                limited.retry_after > Duration::ZERO
                    && limited.retry_after <= Duration::from_secs(1)
            );
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
        assert!(limited.retry_after < Duration::from_millis(120), "{limited:?}");
        std::thread::sleep(limited.retry_after + Duration::from_millis(5));
        quotas.check("adam", &[]).expect("it has leaked").rows(10);
        assert_eq!(quotas.check("adam", &[]).expect_err("no rows").name, "quotas.rows_per_day");
        let (day, at) = (Day::new(5), |seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        day.add(5, at(DAY_S * 9 + 100));
        assert_eq!(day.check(at(DAY_S * 9 + 200)), Err(Duration::from_secs(DAY_S - 200)));
        assert_eq!(day.check(at(DAY_S * 8)), Err(Duration::from_secs(DAY_S)));
        assert_eq!(day.check(at(DAY_S * 10)), Ok(()));
        assert_eq!(day.take(3, at(DAY_S * 10)), Ok(()));
        assert_eq!(day.take(3, at(DAY_S * 10)), Err((2, Duration::from_secs(DAY_S))));
        assert_eq!(day.take(1, at(DAY_S * 10)), Err((0, Duration::from_secs(DAY_S))));
        assert_eq!(Day::new(0).take(1 << 40, at(DAY_S)), Ok(()));
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
