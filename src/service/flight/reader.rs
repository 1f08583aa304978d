//! Whoever takes the batches of an export, and how the stream of them ends.
//!
//! Batches come from a thread through a channel with room for one. How the work of the thread ended is told beside the channel
//! and not in it: when a reader is slow the channel is full, and an error that found no room there would leave an export with
//! rows missing that looks whole.

use std::time::Duration;

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::engine::CollectionView;
use crate::query::{self, Export};
use crate::service::ServiceError;
use crate::service::admission::{Caller, Limited};
use crate::service::gate::RowsServed;

/// How long a reader may take for a batch before he is given up: he holds a thread and a view.
pub(super) const READER_PATIENCE: Duration = Duration::from_mins(5);

/// Has a thread work, and gives what it sends. The last item is its error, if it ended with one or without a word.
pub(super) fn fed<T: Send + 'static>(
    work: impl FnOnce(&mpsc::Sender<T>) -> Result<(), ServiceError> + Send + 'static,
) -> impl Stream<Item = Result<T, ServiceError>> + Send {
    let (sender, items) = mpsc::channel(1);
    let (tell, told) = oneshot::channel();
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || {
        let end = span.in_scope(|| work(&sender));
        // Nobody hears it when the reader has gone.
        let _ = tell.send(end);
    });
    let end = futures::stream::once(told).filter_map(|told| {
        let silent = || ServiceError::Task { reason: "an export broke off".to_owned() };
        std::future::ready(told.unwrap_or_else(|_| Err(silent())).err().map(Err))
    });
    ReceiverStream::new(items).map(Ok).chain(end)
}

/// Whoever takes the batches of an export.
pub(super) struct Reader {
    pub(super) served: RowsServed,
    pub(super) caller: Option<Caller>,
    /// Asked before each batch: an export may go on for hours.
    pub(super) recheck: Box<dyn Fn() -> Result<(), ServiceError> + Send>,
    pub(super) handle: Handle,
    pub(super) stopping: CancellationToken,
    pub(super) patience: Duration,
}

impl Reader {
    /// Reads an export and hands its batches over.
    ///
    /// # Errors
    /// Those of the export, and whatever cuts it off. It ends without one where the reader has gone.
    pub(super) fn feed(
        &self,
        sender: &mpsc::Sender<RecordBatch>,
        view: &CollectionView,
        export: &Export,
    ) -> Result<(), ServiceError> {
        let mut cut = Ok(());
        let rows = query::export(view, export, &mut |batch| match self.hand(sender, batch) {
            Ok(is_taken) => is_taken,
            Err(error) => {
                cut = Err(error);
                false
            }
        })?;
        tracing::debug!(rows, is_whole = cut.is_ok(), "exported");
        cut
    }

    /// Hands a batch over; `false` where nobody takes any more.
    fn hand(
        &self,
        sender: &mpsc::Sender<RecordBatch>,
        batch: RecordBatch,
    ) -> Result<bool, ServiceError> {
        (self.recheck)()?;
        let rows = batch.num_rows() as u64;
        match self.caller.as_ref().map(|caller| caller.give(&self.served, rows)) {
            None | Some(Ok(())) => self.take(sender, batch),
            // The rest of the day's quota, and then that it is used up.
            Some(Err((rows, limited))) => {
                if rows > 0 {
                    self.take(sender, batch.slice(0, rows as usize))?;
                }
                Err(limited.into())
            }
        }
    }

    /// Waits until the reader has room; `false` when he has gone.
    ///
    /// # Errors
    /// When he takes too long, or the server stops.
    fn take<T: Send>(&self, sender: &mpsc::Sender<T>, item: T) -> Result<bool, ServiceError> {
        self.handle.block_on(async {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => Err(ServiceError::Stopping),
                sent = sender.send(item) => Ok(sent.is_ok()),
                () = tokio::time::sleep(self.patience) => {
                    tracing::info!("nobody takes the batches of an export; giving it up");
                    Err(Limited::unread(self.patience).into())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn reader(stopping: &CancellationToken, patience: Duration) -> Reader {
        Reader {
            served: RowsServed::default(),
            caller: None,
            recheck: Box::new(|| Ok(())),
            handle: Handle::current(),
            stopping: stopping.clone(),
            patience,
        }
    }

    /// An export without end.
    fn endless(reader: Reader) -> impl Stream<Item = Result<u8, ServiceError>> + Send {
        fed(move |sender| {
            while reader.take(sender, 1)? {}
            Ok(())
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_export_that_is_cut_while_its_reader_is_slow_ends_with_an_error() {
        let stopping = CancellationToken::new();
        let mut batches = pin!(endless(reader(&stopping, READER_PATIENCE)));
        assert!(matches!(batches.next().await, Some(Ok(1))));
        // The next one waits, and the thread with the one behind it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        stopping.cancel();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let rest: Vec<_> = batches.collect().await;
        assert!(rest.len() <= 2, "{rest:?}");
        assert!(matches!(rest.last(), Some(Err(ServiceError::Stopping))), "{rest:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_who_was_given_up_is_told_when_he_reads_on() {
        let stopping = CancellationToken::new();
        let mut batches = pin!(endless(reader(&stopping, Duration::from_millis(500))));
        assert!(matches!(batches.next().await, Some(Ok(1))));
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let rest: Vec<_> = batches.collect().await;
        assert!(matches!(rest.as_slice(), [Ok(1), Err(ServiceError::Limited(_))]), "{rest:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_export_ends_when_its_reader_may_not_read_any_more() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter([("object_id", ids)]).expect("a batch");
        let left = AtomicUsize::new(3);
        let recheck = move || match left.fetch_sub(1, Ordering::Relaxed) {
            0 => Err(ServiceError::SightChanged { collection: "sky".to_owned() }),
            _ => Ok(()),
        };
        let recheck = Box::new(recheck);
        let reader = Reader { recheck, ..reader(&CancellationToken::new(), READER_PATIENCE) };
        let batches = fed(move |sender| {
            while reader.hand(sender, batch.clone())? {}
            Ok(())
        });
        let batches: Vec<_> = batches.collect().await;
        assert_eq!(batches.len(), 4);
        assert!(matches!(batches.last(), Some(Err(ServiceError::SightChanged { .. }))));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_whole_export_ends_well_and_one_that_panics_does_not() {
        let whole = fed(|sender| {
            let _ = sender.blocking_send(7);
            Ok(())
        });
        let whole: Vec<_> = whole.collect().await;
        assert!(matches!(whole.as_slice(), [Ok(7)]), "{whole:?}");
        let broken = fed(|sender| {
            let _ = sender.blocking_send(7);
            panic!("bad day")
        });
        let broken: Vec<_> = broken.collect().await;
        assert!(matches!(broken.as_slice(), [Ok(7), Err(ServiceError::Task { .. })]), "{broken:?}");
    }
}
