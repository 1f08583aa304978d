//! Who makes or prunes snapshots in a place: a file there for each.
//!
//! Both put their own file first and look for those of the other kind after, so that of two who begin at once at least one
//! sees the other, and gives way. What a crash left is no longer minded after a while.

use super::error::BackupError;
use super::remote::Remote;
use crate::clock::now_ms;

const FOLDER: &str = "under-way";

/// After so long nobody minds a file any more: seven days, in milliseconds.
const STALE_MS: u64 = 7 * 86_400_000;

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

/// One's own file.
pub(super) struct UnderWay {
    name: String,
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
        place.put(&name, Vec::from("under way\n")).await?;
        let own = Self { name };
        match others(place, doing.other(), now).await {
            Ok(false) => Ok(own),
            Ok(true) => {
                own.end(place).await?;
                Err(BackupError::Busy { doing: doing.other().word() })
            }
            Err(error) => {
                own.end(place).await?;
                Err(error)
            }
        }
    }

    pub(super) async fn end(self, place: &Remote) -> Result<(), BackupError> {
        place.delete(&self.name).await
    }
}

async fn others(place: &Remote, doing: Doing, now: u64) -> Result<bool, BackupError> {
    let begun = |name: &String| -> Option<u64> {
        let rest = name.strip_prefix(doing.word())?.strip_prefix('-')?;
        rest.split('-').next()?.parse().ok()
    };
    let names = place.list(FOLDER).await?;
    Ok(names.iter().filter_map(begun).any(|at| now.saturating_sub(at) < STALE_MS))
}
