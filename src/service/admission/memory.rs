//! Memory of queries under way, told beforehand.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Limited;

/// The limit in the configuration.
const NAME: &str = "admission.memory_mib";

/// Part of the machine's memory that queries may take where nothing is said.
const PART: u64 = 4;

/// What is assumed where the machine does not tell.
const UNKNOWN: u64 = 4 << 30;

/// A budget of bytes that is shared by everything under way.
#[derive(Debug, Clone)]
pub(in crate::service) struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    most: u64,
    taken: AtomicU64,
}

/// Some bytes of the budget, given back when dropped.
#[derive(Debug)]
pub(in crate::service) struct Reserved {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of so many bytes, or of a part of the machine's memory.
    pub(super) fn new(bytes: Option<u64>) -> Self {
        let most = bytes.unwrap_or_else(|| machine_bytes().unwrap_or(UNKNOWN) / PART);
        Self { inner: Arc::new(Inner { most, taken: AtomicU64::new(0) }) }
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// [`Limited`] where they are not there.
    pub(in crate::service) fn take(&self, bytes: u64) -> Result<Reserved, Limited> {
        let mut reserved = Reserved { budget: self.clone(), bytes: 0 };
        reserved.grow(bytes)?;
        Ok(reserved)
    }

    #[cfg(test)]
    fn taken(&self) -> u64 {
        self.inner.taken.load(Ordering::Acquire)
    }
}

impl Reserved {
    /// Takes more.
    pub(in crate::service) fn grow(&mut self, bytes: u64) -> Result<(), Limited> {
        let Inner { most, taken } = &*self.budget.inner;
        let before = taken.fetch_add(bytes, Ordering::AcqRel);
        if before.saturating_add(bytes) > *most {
            taken.fetch_sub(bytes, Ordering::AcqRel);
            let mib = |bytes: u64| (bytes as f64 / f64::from(1 << 20)).ceil();
            let whole = self.bytes.saturating_add(bytes);
            let (needs, more, budget) = (mib(whole), mib(bytes), mib(*most));
            // What would not fit alone is never served; the caller is to ask for less, not again.
            return Err(if whole > *most {
                let what = format!(
                    "the call needs {needs} MiB of the {budget} that all queries together may have; ask for fewer hits or columns"
                );
                Limited::for_ever(NAME, what)
            } else {
                let what = format!(
                    "the call needs {more} MiB, and queries under way hold {} of {budget}",
                    mib(before)
                );
                Limited::new(NAME, Duration::from_millis(500), what)
            });
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Bytes that are taken.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back what is more than this.
    pub(in crate::service) fn shrink(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.budget.inner.taken.fetch_sub(less, Ordering::AcqRel);
        self.bytes -= less;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// Memory of the machine, or of the control group that we are confined to.
fn machine_bytes() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse().ok());
    Some(group.map_or(kib << 10, |group: u64| group.min(kib << 10)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let budget = Budget::new(Some(100));
        let mut first = budget.take(60).expect("there");
        let refused = budget.take(41).expect_err("not there");
        assert_eq!((refused.name, budget.taken()), (NAME, 60));
        assert!(refused.retry_after.is_some_and(|time| time < Duration::from_secs(10)));
        assert_eq!(budget.take(101).expect_err("never there").retry_after, None);
        first.shrink(10);
        let second = budget.take(90).expect("there");
        assert!(first.grow(1).is_err());
        drop((first, second));
        assert_eq!(budget.taken(), 0);
        assert!(machine_bytes().is_some_and(|bytes| bytes > 1 << 27));
    }
}
