//! Who makes or prunes snapshots in a place: a file there for each.
//!
//! Both put their own file first and look for those of the other kind after, so that of two who begin at once at least one
//! sees the other, and gives way. While the work goes on, its file is written anew every half minute with the time of that.
//! One that has not been for ten minutes is what a crash left, and nobody minds it any more; whoever was held up for half as
//! long gives up instead of going on, since others may not have minded him.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::error::BackupError;
use super::remote::Remote;
use crate::clock::now_ms;

const FOLDER: &str = "under-way";

/// What a file says before the time at which it was written, in milliseconds since 1970.
const ALIVE: &str = "alive ";

/// How often a file is written anew.
const BEAT: Duration = Duration::from_secs(30);

/// After so many milliseconds without a sign of life nobody minds a file any more: ten minutes.
pub(super) const STALE_MS: u64 = 10 * 60_000;

/// After so many, whoever wrote it gives up.
const LOST_MS: u64 = STALE_MS / 2;

/// The same for a file that tells no time, as programs wrote them that gave no further sign: a day from its beginning.
const SILENT_STALE_MS: u64 = 86_400_000;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// A snapshot is made.
    Made,
    /// Objects are pruned.
    Pruned,
}

impl Doing {
    fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Pruned => "pruned",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Made => Self::Pruned,
            Self::Pruned => Self::Made,
        }
    }
}

/// How far the last sign of life is back.
#[derive(Debug)]
struct Pulse {
    last_ms: AtomicU64,
    is_lost: AtomicBool,
}

impl Pulse {
    /// Notes a sign of life. One that comes too late does not count: others may have begun meanwhile.
    fn beat(&self, now: u64) {
        let before = self.last_ms.swap(now, Ordering::AcqRel);
        if now.saturating_sub(before) > LOST_MS {
            self.is_lost.store(true, Ordering::Release);
        }
    }

    fn is_sound(&self, now: u64) -> bool {
        let silent = now.saturating_sub(self.last_ms.load(Ordering::Acquire));
        !self.is_lost.load(Ordering::Acquire) && silent <= LOST_MS
    }
}

/// One's own file. It goes when this is dropped or ended, and ten minutes after a crash it counts no more.
pub(super) struct UnderWay {
    pulse: Arc<Pulse>,
    doing: Doing,
    /// Dropped for the end.
    end: oneshot::Sender<()>,
    beating: JoinHandle<Result<(), BackupError>>,
}

impl UnderWay {
    /// # Errors
    /// [`BackupError::Busy`] when the other is done there.
    pub(super) async fn begin(
        place: &Remote,
        doing: Doing,
        who: &str,
    ) -> Result<Self, BackupError> {
        let now = now_ms();
        let name = format!("{FOLDER}/{}-{now}-{who}", doing.word());
        put(place, &name, now).await?;
        let pulse =
            Arc::new(Pulse { last_ms: AtomicU64::new(now), is_lost: AtomicBool::new(false) });
        let (end, ended) = oneshot::channel();
        let beating = tokio::spawn(beat(place.clone(), name, Arc::clone(&pulse), ended));
        let own = Self { pulse, doing, end, beating };
        match other(place, doing.other(), now).await {
            Ok(None) => Ok(own),
            Ok(Some((mark, silent_ms))) => {
                own.end().await?;
                let (doing, silent_s) = (doing.other().word(), silent_ms / 1_000);
                Err(BackupError::Busy { doing, mark, silent_s })
            }
            Err(error) => {
                own.end().await?;
                Err(error)
            }
        }
    }

    /// To be asked right before a step that relies on others having seen this.
    ///
    /// # Errors
    /// [`BackupError::HeldUp`] when they may not have.
    pub(super) fn check(&self) -> Result<(), BackupError> {
        if self.pulse.is_sound(now_ms()) {
            return Ok(());
        }
        Err(BackupError::HeldUp { doing: self.doing.word() })
    }

    /// Takes the file away, and waits until it is gone.
    pub(super) async fn end(self) -> Result<(), BackupError> {
        let Self { end, beating, .. } = self;
        drop(end);
        match beating.await {
            Ok(removed) => removed,
            Err(failure) => Err(BackupError::Task { reason: failure.to_string() }),
        }
    }
}

/// Writes the file anew until the end, and then removes it.
async fn beat(
    place: Remote,
    name: String,
    pulse: Arc<Pulse>,
    mut ended: oneshot::Receiver<()>,
) -> Result<(), BackupError> {
    loop {
        tokio::select! {
            // Nothing is ever sent: the other end goes when the work ends, in whatever way.
            _ = &mut ended => return place.delete(&name).await,
            () = tokio::time::sleep(BEAT) => {}
        }
        let now = now_ms();
        match put(&place, &name, now).await {
            Ok(()) => pulse.beat(now),
            // Tried again at the next beat; whoever cannot for long gives up.
            Err(error) => tracing::warn!(name, %error, "no sign of life could be given"),
        }
    }
}

async fn put(place: &Remote, name: &str, now: u64) -> Result<(), BackupError> {
    place.put(name, format!("{ALIVE}{now}\n").into_bytes()).await
}

/// The file of somebody who does a thing there, and the milliseconds since his last sign of life. What crashes left is removed.
async fn other(
    place: &Remote,
    doing: Doing,
    now: u64,
) -> Result<Option<(String, u64)>, BackupError> {
    for file in place.list(FOLDER).await? {
        let rest = file.strip_prefix(doing.word()).and_then(|rest| rest.strip_prefix('-'));
        let Some(begun) = rest.and_then(|rest| rest.split('-').next()?.parse::<u64>().ok()) else {
            continue;
        };
        let name = format!("{FOLDER}/{file}");
        // One that has gone since was ended.
        let Some(bytes) = place.get(&name).await? else { continue };
        let alive = std::str::from_utf8(&bytes).ok().and_then(|text| {
            let time = text.strip_prefix(ALIVE)?.strip_suffix('\n')?;
            time.parse::<u64>().ok()
        });
        let (last, stale) = alive.map_or((begun, SILENT_STALE_MS), |last| (last, STALE_MS));
        let silent = now.saturating_sub(last);
        if silent < stale {
            return Ok(Some((name, silent)));
        }
        tracing::warn!(name, "a crash left this in the backup; it is removed");
        place.delete(&name).await?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_held_up_does_not_go_on() {
        let pulse = Pulse { last_ms: AtomicU64::new(1_000), is_lost: AtomicBool::new(false) };
        assert!(pulse.is_sound(1_000 + LOST_MS) && !pulse.is_sound(1_001 + LOST_MS));
        pulse.beat(1_000 + LOST_MS);
        assert!(pulse.is_sound(2_000 + LOST_MS));
        pulse.beat(1_001 + 2 * LOST_MS);
        assert!(!pulse.is_sound(1_001 + 2 * LOST_MS), "a late sign does not make up for the gap");
    }

    #[tokio::test]
    async fn what_a_crash_left_is_not_minded_for_long() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Remote::open(&folder.path().display().to_string()).expect("opens");
        let name = "under-way/pruned-5-x";
        let left = |age: u64| {
            let place = &place;
            async move { put(place, name, now_ms() - age).await.expect("puts") }
        };
        left(STALE_MS / 2).await;
        let refused = UnderWay::begin(&place, Doing::Made, "y").await.err().expect("is busy");
        assert!(refused.to_string().contains(name), "{refused}");
        left(STALE_MS + 1).await;
        let own = UnderWay::begin(&place, Doing::Made, "y").await.expect("begins");
        own.check().expect("has just begun");
        assert_eq!(place.list(FOLDER).await.expect("lists").len(), 1, "the other one is gone");
        own.end().await.expect("ends");
        assert!(place.list(FOLDER).await.expect("lists").is_empty());
        // One that tells no time is minded for a day.
        for (age, is_minded) in [(SILENT_STALE_MS / 2, true), (SILENT_STALE_MS + 1, false)] {
            let name = format!("{FOLDER}/pruned-{}-x", now_ms() - age);
            place.put(&name, b"under way\n".to_vec()).await.expect("puts");
            let begun = UnderWay::begin(&place, Doing::Made, "y").await;
            assert_eq!(begun.is_err(), is_minded, "{age}");
            place.delete(&name).await.expect("removes");
        }
    }

    #[tokio::test]
    async fn work_that_is_given_up_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Remote::open(&folder.path().display().to_string()).expect("opens");
        drop(UnderWay::begin(&place, Doing::Pruned, "x").await.expect("begins"));
        for _ in 0..200 {
            if place.list(FOLDER).await.expect("lists").is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is still there");
    }
}
