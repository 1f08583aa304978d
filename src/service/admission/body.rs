//! Bodies of requests and answers on their way: counted, bounded, and given up when their other end does not go on.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures::Stream;
use prost::bytes::Bytes;
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::Streaming;
use tonic::codegen::Body as _;
use tonic::service::AxumBody;

use super::{Limited, Pass, Reserved};
use crate::service::gate::RowsServed;
use crate::service::raw;

/// Bytes before every message: a flag, and the length.
const HEADER_BYTES: usize = 5;

/// How long a stalled body may stay unnoticed, as a part of the time that it may stall.
const LOOKS: u32 = 4;

/// What bounds the body of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most bytes of one message.
    pub(super) message_bytes_max: usize,
    /// What the configuration calls that.
    pub(super) message_limit: &'static str,
    /// Longest time without progress within a message, and before the first.
    pub(super) stall: Duration,
}

/// Memory of a call's messages, kept until it has ended.
pub(super) type Held = Arc<Mutex<Reserved>>;

/// Follows the messages of a body by their headers.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// Bytes that the message still has.
    left: usize,
    messages: u64,
}

impl Frames {
    /// Goes on over data; the length of a message that is longer than `most` is an error.
    fn advance(&mut self, mut data: &[u8], most: usize) -> Result<(), usize> {
        loop {
            let taken = self.left.min(data.len());
            self.left -= taken;
            data = &data[taken..];
            if data.is_empty() {
                return Ok(());
            }
            let taken = (HEADER_BYTES - self.header_bytes).min(data.len());
            self.header[self.header_bytes..self.header_bytes + taken]
                .copy_from_slice(&data[..taken]);
            self.header_bytes += taken;
            data = &data[taken..];
            if self.header_bytes == HEADER_BYTES {
                let [_, length @ ..] = self.header;
                self.left = u32::from_be_bytes(length) as usize;
                self.header_bytes = 0;
                self.messages += 1;
                if self.left > most {
                    return Err(self.left);
                }
            }
        }
    }

    /// Whether a message has begun and not ended.
    fn is_inside(&self) -> bool {
        self.left > 0 || self.header_bytes > 0
    }
}

/// The body of a request under way.
struct Incoming {
    body: Body,
    pass: Arc<Pass>,
    held: Held,
    held_bytes: usize,
    /// Bytes that are still to come again: their memory was taken when the gate read them.
    again: usize,
    frames: Frames,
    bounds: Bounds,
    /// Runs while the sender is waited for.
    patience: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

/// Counts and bounds the body of a request.
pub(super) fn incoming(body: Body, pass: Arc<Pass>, held: Held, bounds: Bounds) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let again = held.lock().unwrap_or_else(PoisonError::into_inner).bytes() as usize;
    let mut incoming = Incoming {
        body,
        pass,
        held,
        held_bytes: again,
        again,
        frames: Frames::default(),
        bounds,
        patience: None,
        is_over: false,
    };
    let data = futures::stream::poll_fn(move |context| incoming.poll(context));
    Body::new(AxumBody::from_stream(data))
}

impl Incoming {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = match poll_data(&mut self.body, context) {
            Poll::Pending => match self.wait(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(limited) => Some(Err(limited.into())),
            },
            Poll::Ready(None) if self.frames.is_inside() => {
                let what = "the request ends in the middle of a message: send it whole";
                Some(Err(Status::invalid_argument(what)))
            }
            Poll::Ready(Some(Ok(data))) => Some(self.take(data)),
            Poll::Ready(other) => other,
        };
        self.patience = None;
        self.is_over = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }

    fn take(&mut self, data: Bytes) -> Result<Bytes, Status> {
        let Bounds { message_bytes_max: most, message_limit: name, .. } = self.bounds;
        self.pass.bytes_in(data.len() as u64);
        if let Err(bytes) = self.frames.advance(&data, most) {
            let what =
                format!("a message of the request has {bytes} bytes, and {most} are allowed");
            return Err(Limited::for_ever(name, what).into());
        }
        // A stream holds one message at a time; a request is held whole until it is answered.
        let before = data.len().min(self.again);
        self.again -= before;
        let more = (data.len() - before).min(most.saturating_sub(self.held_bytes));
        if more > 0 {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.grow(more as u64)?;
            self.held_bytes += more;
        }
        Ok(data)
    }

    /// Waits for the sender as long as he may take; between two messages of a stream he may take any time.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Limited> {
        if self.frames.messages > 0 && !self.frames.is_inside() {
            return Poll::Pending;
        }
        let stall = self.bounds.stall;
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        patience.as_mut().poll(context).map(|()| {
            let what = format!("nothing of the request has come for {:.1} s", stall.as_secs_f64());
            Limited::new("admission.stall_s", Duration::from_millis(100), what)
        })
    }
}

/// The next data of a request's body. Requests of gRPC have no trailers.
fn poll_data(body: &mut Body, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
    loop {
        match Pin::new(&mut *body).poll_frame(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
        }
    }
}

/// Answers under way, so that those whose readers do not read are found.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    readers: Arc<Mutex<Vec<Weak<Reader>>>>,
    stall: Duration,
    began: Instant,
}

/// An answer under way.
#[derive(Debug)]
struct Reader {
    answer: Mutex<Option<Answer>>,
    /// Since when something is there that is not read, in milliseconds from the beginning, plus one; 0 while nothing is.
    ready: AtomicU64,
    began: Instant,
}

#[derive(Debug)]
struct Answer {
    messages: Streaming<Bytes>,
    taken: Taken,
}

/// What a call takes, until it has ended.
#[derive(Debug)]
pub(super) struct Taken {
    /// Its place among the calls of its caller.
    pub(super) pass: Arc<Pass>,
    /// The memory of its messages.
    pub(super) _held: Held,
    /// The rows that its handler counts.
    pub(super) rows: Option<RowsServed>,
}

impl Taken {
    fn message(&self, bytes: u64) {
        self.pass.bytes_out(bytes);
        if let Some(rows) = &self.rows {
            rows.add_bytes(bytes);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(rows) = &self.rows {
            self.pass.rows(rows.uncounted());
        }
    }
}

/// Wakes the task that sends an answer, and notes that there is something to send.
struct Noted {
    reader: Weak<Reader>,
    waker: Waker,
}

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(reader) = self.reader.upgrade() {
            let _ =
                reader.ready.compare_exchange(0, reader.now(), Ordering::AcqRel, Ordering::Relaxed);
        }
        self.waker.wake_by_ref();
    }
}

impl Reader {
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }
}

impl Readers {
    /// Begins to look for answers that are not read.
    pub(super) fn new(stall: Duration) -> Self {
        let readers = Self { readers: Arc::default(), stall, began: Instant::now() };
        tokio::spawn(look(Arc::downgrade(&readers.readers), stall));
        readers
    }

    /// Counts the messages of an answer, and gives it up when nobody reads it.
    pub(super) fn follow(&self, body: Body, taken: Taken) -> Body {
        let reader = Arc::new(Reader {
            answer: Mutex::new(Some(Answer { messages: raw::messages(body), taken })),
            ready: AtomicU64::new(0),
            began: self.began,
        });
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&reader));
        let stall = self.stall;
        let passed = futures::stream::poll_fn(move |context| poll(&reader, stall, context));
        raw::body(passed)
    }
}

fn poll(
    reader: &Arc<Reader>,
    stall: Duration,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Status>>> {
    let mut answer = reader.answer.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Answer { messages, taken }) = answer.as_mut() else {
        // Taken when it was not read, or at its end.
        let was_stalled = reader.ready.swap(0, Ordering::AcqRel) > 0;
        return Poll::Ready(was_stalled.then(|| Err(Limited::unread(stall).into())));
    };
    reader.ready.store(0, Ordering::Release);
    let noted = Noted { reader: Arc::downgrade(reader), waker: context.waker().clone() };
    let waker = Waker::from(Arc::new(noted));
    match Pin::new(messages).poll_next(&mut Context::from_waker(&waker)) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Some(Ok(message))) => {
            taken.message((message.len() + HEADER_BYTES) as u64);
            reader.ready.store(reader.now(), Ordering::Release);
            Poll::Ready(Some(Ok(message)))
        }
        Poll::Ready(end) => {
            reader.ready.store(0, Ordering::Release);
            *answer = None;
            Poll::Ready(end)
        }
    }
}

/// Gives up answers that are not read, until the server is gone.
async fn look(readers: Weak<Mutex<Vec<Weak<Reader>>>>, stall: Duration) {
    let every = (stall / LOOKS).clamp(Duration::from_millis(10), Duration::from_secs(5));
    loop {
        tokio::time::sleep(every).await;
        let Some(readers) = readers.upgrade() else { return };
        let mut stalled = Vec::new();
        readers.lock().unwrap_or_else(PoisonError::into_inner).retain(|reader| {
            let Some(reader) = reader.upgrade() else { return false };
            let ready = reader.ready.load(Ordering::Acquire);
            let is_stalled = ready > 0 && u128::from(reader.now() - ready) > stall.as_millis();
            if is_stalled {
                stalled.push(reader);
            }
            !is_stalled
        });
        for reader in stalled {
            // With the answer goes what made it, and what it holds.
            let answer = reader.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
            if answer.is_some() {
                tracing::info!("an answer was given up: its reader does not read");
            }
            drop(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_followed_however_they_are_cut() {
        let message = |length: usize| {
            let mut bytes = vec![0];
            bytes.extend((length as u32).to_be_bytes());
            bytes.resize(HEADER_BYTES + length, 7);
            bytes
        };
        let bytes = [message(0), message(300), message(1), message(100)].concat();
        for cut in 1..40 {
            let mut frames = Frames::default();
            for data in bytes.chunks(cut) {
                frames.advance(data, 300).expect("none is larger");
            }
            assert_eq!((frames.messages, frames.is_inside()), (4, false));
            let mut frames = Frames::default();
            let refused = bytes.chunks(cut).try_for_each(|data| frames.advance(data, 299));
            assert_eq!(refused, Err(300));
            let mut frames = Frames::default();
            frames.advance(&bytes[..bytes.len() - 1], 300).expect("none is larger");
            assert!(frames.is_inside());
        }
    }
}
