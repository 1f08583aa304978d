//! Places of what takes as long as its reader takes, such as exports.
//!
//! Nobody holds or waits for more than his share of them: the others of his wait behind his own. So whoever else comes is
//! served before long, in the order in which all came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Places for all, of which each identity may have a share.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    each: usize,
    /// Of those who hold places or wait for them.
    own: Mutex<HashMap<Arc<str>, Weak<Semaphore>>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Places {
    /// So many places, of which one identity may have so many.
    pub(super) fn new(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, own: Mutex::default() }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// None: nobody closes what is waited for.
    pub(super) async fn take(&self, identity: &Arc<str>) -> Result<Taken, AcquireError> {
        let own = self.own(identity).acquire_owned().await?;
        let all = Arc::clone(&self.all).acquire_owned().await?;
        Ok(Taken { _all: all, _own: own })
    }

    /// The share of somebody. Those of others who have gone make room.
    fn own(&self, identity: &Arc<str>) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = own.get(identity).and_then(Weak::upgrade) {
            return found;
        }
        own.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.each));
        own.insert(Arc::clone(identity), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn nobody_takes_more_than_his_share_and_others_come_in_before_the_rest_of_his() {
        let places = Arc::new(Places::new(4, 2));
        let (adam, eve): (Arc<str>, Arc<str>) = (Arc::from("adam"), Arc::from("eve"));
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(places.take(&adam).now_or_never().expect("at once").expect("a place"));
        }
        let (waiting, name) = (Arc::clone(&places), Arc::clone(&adam));
        let third = tokio::spawn(async move { waiting.take(&name).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!third.is_finished(), "two of four are his");
        for _ in 0..2 {
            held.push(places.take(&eve).now_or_never().expect("at once").expect("a place"));
        }
        held.remove(0);
        third.await.expect("no panic").expect("the place that he gave back");
        drop(held);
        places.take(&eve).now_or_never().expect("at once").expect("a place");
        assert_eq!(places.own.lock().expect("whole").len(), 1, "who has gone is forgotten");
    }
}
