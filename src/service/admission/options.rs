//! Sizes of quotas and of what runs at once.

use std::collections::BTreeMap;
use std::time::Duration;

/// What one identity may take. A number of 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Calls that may begin in a second, in the long run.
    pub requests_per_s: u32,
    /// Calls that may begin at once after a rest.
    pub requests_burst: u32,
    /// Bytes of requests in a minute.
    pub bytes_in_per_min: u64,
    /// Bytes of answers in a minute.
    pub bytes_out_per_min: u64,
    /// Calls that are under way at once.
    pub calls_at_once: u32,
    /// Rows that are returned in a day (UTC).
    pub rows_per_day: u64,
    /// Share of the processors among all who wait, as a weight.
    pub weight: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            requests_per_s: 20_000,
            requests_burst: 40_000,
            bytes_in_per_min: 64 << 30,
            bytes_out_per_min: 64 << 30,
            calls_at_once: 256,
            rows_per_day: 1_000_000_000,
            weight: 1,
        }
    }
}

/// What differs from the default for somebody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaChange {
    /// As in [`Quota`].
    pub requests_per_s: Option<u32>,
    /// As in [`Quota`].
    pub requests_burst: Option<u32>,
    /// As in [`Quota`].
    pub bytes_in_per_min: Option<u64>,
    /// As in [`Quota`].
    pub bytes_out_per_min: Option<u64>,
    /// As in [`Quota`].
    pub calls_at_once: Option<u32>,
    /// As in [`Quota`].
    pub rows_per_day: Option<u64>,
    /// As in [`Quota`].
    pub weight: Option<u32>,
}

impl QuotaChange {
    fn over(self, quota: Quota) -> Quota {
        Quota {
            requests_per_s: self.requests_per_s.unwrap_or(quota.requests_per_s),
            requests_burst: self.requests_burst.unwrap_or(quota.requests_burst),
            bytes_in_per_min: self.bytes_in_per_min.unwrap_or(quota.bytes_in_per_min),
            bytes_out_per_min: self.bytes_out_per_min.unwrap_or(quota.bytes_out_per_min),
            calls_at_once: self.calls_at_once.unwrap_or(quota.calls_at_once),
            rows_per_day: self.rows_per_day.unwrap_or(quota.rows_per_day),
            weight: self.weight.unwrap_or(quota.weight),
        }
    }

    /// The more generous of two, field by field; what one of them does not name it leaves to the other.
    fn or(self, other: Self) -> Self {
        fn more<T: Ord + Copy + Default>(one: Option<T>, other: Option<T>) -> Option<T> {
            match (one, other) {
                // None at all is the most generous.
                (Some(one), Some(other)) if one == T::default() || other == T::default() => {
                    Some(T::default())
                }
                (one, other) => one.max(other),
            }
        }
        Self {
            requests_per_s: more(self.requests_per_s, other.requests_per_s),
            requests_burst: more(self.requests_burst, other.requests_burst),
            bytes_in_per_min: more(self.bytes_in_per_min, other.bytes_in_per_min),
            bytes_out_per_min: more(self.bytes_out_per_min, other.bytes_out_per_min),
            calls_at_once: more(self.calls_at_once, other.calls_at_once),
            rows_per_day: more(self.rows_per_day, other.rows_per_day),
            weight: self.weight.max(other.weight),
        }
    }
}

/// Quotas of everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuotaOptions {
    /// Of everybody who is not named.
    pub default: Quota,
    /// Of members of groups; who is in several has the most generous of each.
    pub groups: BTreeMap<String, QuotaChange>,
    /// Of single identities; they come before those of their groups.
    pub identities: BTreeMap<String, QuotaChange>,
}

impl QuotaOptions {
    /// The quota of somebody.
    pub(super) fn of(&self, identity: &str, groups: &[String]) -> Quota {
        let of_groups = groups.iter().filter_map(|group| self.groups.get(group)).copied();
        let quota = match of_groups.reduce(QuotaChange::or) {
            Some(change) => change.over(self.default),
            None => self.default,
        };
        self.identities.get(identity).map_or(quota, |change| change.over(quota))
    }
}

/// What runs at once, and what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionOptions {
    /// Queries that run at once; `None` for one a processor.
    pub running: Option<usize>,
    /// Long ones that run at once beside them; `None` for half as many.
    pub running_long: Option<usize>,
    /// Expected time from which a query is a long one.
    pub long: Duration,
    /// Queries that wait, of each kind.
    pub queue: usize,
    /// Longest wait; who would have to wait longer, or longer than his time allows, is refused at once.
    pub wait_max: Duration,
    /// Memory of queries under way and their answers, in bytes; `None` for a quarter of the machine's.
    pub memory_bytes: Option<u64>,
    /// After so long without progress the reader of an answer, or the sender of a request, is given up.
    pub stall: Duration,
}

impl Default for AdmissionOptions {
    fn default() -> Self {
        Self {
            running: None,
            running_long: None,
            long: Duration::from_secs(2),
            queue: 64,
            wait_max: Duration::from_secs(30),
            memory_bytes: None,
            stall: Duration::from_mins(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_generous_group_counts_and_the_own_quota_before_it() {
        let change = |requests, rows| QuotaChange {
            requests_per_s: requests,
            rows_per_day: rows,
            ..QuotaChange::default()
        };
        let mut options = QuotaOptions::default();
        options.groups.insert("staff".to_owned(), change(Some(50), Some(10)));
        options.groups.insert("pipeline".to_owned(), change(Some(70), Some(0)));
        options.identities.insert("eve".to_owned(), change(Some(1), None));
        let groups = ["everyone", "staff", "pipeline"].map(str::to_owned);
        let quota = options.of("adam", &groups);
        assert_eq!((quota.requests_per_s, quota.rows_per_day), (70, 0));
        assert_eq!(quota.calls_at_once, Quota::default().calls_at_once);
        let quota = options.of("eve", &groups[..2]);
        assert_eq!((quota.requests_per_s, quota.rows_per_day), (1, 10));
        assert_eq!(options.of("nobody", &[]), Quota::default());
    }
}
