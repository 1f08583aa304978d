//! The first message of a call: looked at before anybody is served, and handed on as it came.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use prost::bytes::Bytes;
use tonic::body::Body;
use tonic::codegen::Body as _;
use tonic::service::AxumBody;

use super::refusal::Refusal;

/// Bytes before every message: a flag, and the length.
const HEADER_BYTES: usize = 5;

/// How long a call may take to send its first message.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A first message, and the body that has it at its beginning.
pub(super) struct First {
    /// The message; `None` where the body ends before one begins.
    pub(super) message: Option<Bytes>,
    /// All that came, and all that will come.
    pub(super) body: Body,
}

/// Bytes of a first message that everybody may send who has shown who he is: a name and what goes with it.
const SMALL_BYTES: usize = 64 << 10;

/// On what terms a first message is read.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    /// Most bytes of it.
    pub(super) limit: usize,
    /// Asked once when it says that it is a large one, before that is read.
    pub(super) large: &'a (dyn Fn() -> Result<(), Refusal> + Sync),
    /// Asked for the memory of what comes.
    pub(super) memory: &'a (dyn Fn(usize) -> Result<(), Refusal> + Sync),
}

impl First {
    /// Reads the first message of a body.
    ///
    /// # Errors
    /// A message that is compressed, larger, or ends too early; a caller that does not send it in time; and those of the terms.
    pub(super) async fn read(body: Body, terms: Terms<'_>) -> Result<Self, Refusal> {
        match tokio::time::timeout(WAIT_MAX, gather(body, terms)).await {
            Ok(first) => first,
            Err(_) => Err(Refusal::TooSlow { seconds: WAIT_MAX.as_secs() }),
        }
    }
}

async fn gather(mut body: Body, terms: Terms<'_>) -> Result<First, Refusal> {
    let mut held = Held::None;
    let mut may_be_large = false;
    loop {
        if let Some(length) = message_length(held.bytes(), terms.limit)? {
            if held.bytes().len() >= HEADER_BYTES + length {
                let all = held.into_bytes();
                let message = all.slice(HEADER_BYTES..HEADER_BYTES + length);
                return Ok(First { message: Some(message), body: replayed(all, body) });
            }
            if length > SMALL_BYTES && !may_be_large {
                (terms.large)()?;
                may_be_large = true;
            }
        }
        match poll_fn(|context| poll_data(&mut body, context)).await {
            Some(Ok(data)) => {
                (terms.memory)(data.len())?;
                held.add(data);
            }
            Some(Err(_)) => return Err(Refusal::Broken),
            None if held.bytes().is_empty() => return Ok(First { message: None, body }),
            None => return Err(Refusal::EndsEarly { bytes: held.bytes().len() }),
        }
    }
}

/// The length of the message that begins here, once it can be told.
fn message_length(bytes: &[u8], limit: usize) -> Result<Option<usize>, Refusal> {
    let Some((flag, rest)) = bytes.split_first() else { return Ok(None) };
    match flag {
        0 => {}
        1 => return Err(Refusal::Compressed),
        other => return Err(Refusal::BadFlag { flag: *other }),
    }
    let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > limit { Err(Refusal::TooLarge { bytes: length, limit }) } else { Ok(Some(length)) }
}

/// What has come so far. One chunk, as nearly every call sends, is not copied.
enum Held {
    None,
    One(Bytes),
    Several(Vec<u8>),
}

impl Held {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::One(bytes) => bytes,
            Self::Several(bytes) => bytes,
        }
    }

    fn add(&mut self, data: Bytes) {
        match self {
            Self::None => *self = Self::One(data),
            Self::One(before) => *self = Self::Several([&**before, &data].concat()),
            Self::Several(bytes) => bytes.extend_from_slice(&data),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Several(bytes) => Bytes::from(bytes),
        }
    }
}

/// The next data of a request's body. Requests of gRPC have no trailers.
fn poll_data(
    body: &mut Body,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, tonic::Status>>> {
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

/// A body that begins with what was read of it.
fn replayed(read: Bytes, mut body: Body) -> Body {
    if body.is_end_stream() {
        return Body::new(AxumBody::from(read));
    }
    let mut read = Some(read);
    let data = futures::stream::poll_fn(move |context| match read.take() {
        Some(read) => Poll::Ready(Some(Ok(read))),
        None => poll_data(&mut body, context),
    });
    Body::new(AxumBody::from_stream(data))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::executor::block_on;
    use proptest::prelude::*;

    use super::*;

    fn body(chunks: Vec<Vec<u8>>) -> Body {
        let chunks = chunks.into_iter().map(|chunk| Ok::<_, tonic::Status>(Bytes::from(chunk)));
        Body::new(AxumBody::from_stream(futures::stream::iter(chunks)))
    }

    fn all(mut body: Body) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(data) = block_on(poll_fn(|context| poll_data(&mut body, context))) {
            bytes.extend_from_slice(&data.expect("data"));
        }
        bytes
    }

    fn up_to(limit: usize) -> Terms<'static> {
        Terms { limit, large: &|| Ok(()), memory: &|_| Ok(()) }
    }

    #[test]
    fn a_large_message_is_not_read_before_it_is_asked_whether_and_where_it_may_lie() {
        let mut bytes = vec![0];
        bytes.extend(1_000_000_u32.to_be_bytes());
        bytes.resize(1_000_005, 7);
        let chunks = || bytes.chunks(16_384).map(<[u8]>::to_vec).collect();
        let held = AtomicUsize::new(0);
        let memory = |more: usize| match held.fetch_add(more, Ordering::Relaxed) + more {
            all if all > 200_000 => Err(Refusal::Broken),
            _ => Ok(()),
        };
        let terms = Terms { limit: 1 << 20, large: &|| Err(Refusal::Nobody), memory: &memory };
        let refused = block_on(gather(body(chunks()), terms)).err();
        assert_eq!((refused, held.load(Ordering::Relaxed)), (Some(Refusal::Nobody), 16_384));
        let refused = block_on(gather(body(chunks()), Terms { large: &|| Ok(()), ..terms })).err();
        assert_eq!(refused, Some(Refusal::Broken));
        assert!(held.load(Ordering::Relaxed) < 300_000, "the rest was not taken from the caller");
    }

    proptest! {
        /// However the bytes are cut, the first message is found, and all of them are handed on.
        #[test]
        fn nothing_is_lost_and_nothing_changed(
            message in proptest::collection::vec(any::<u8>(), 0..200),
            after in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 1usize..50,
        ) {
            let mut bytes = vec![0];
            bytes.extend((message.len() as u32).to_be_bytes());
            bytes.extend(&message);
            bytes.extend(&after);
            let chunks = bytes.chunks(cut).map(<[u8]>::to_vec).collect();
            let first = block_on(gather(body(chunks), up_to(1_000))).expect("a message");
            prop_assert_eq!(first.message.as_deref(), Some(&*message));
            prop_assert_eq!(all(first.body), bytes);
        }
    }

    #[test]
    fn frames_that_are_no_message_are_refused_by_what_is_wrong() {
        let refused = |bytes: &[u8]| {
            block_on(gather(body(vec![bytes.to_vec()]), up_to(10))).err().expect("refused")
        };
        assert!(matches!(refused(&[1, 0, 0, 0, 1, 0]), Refusal::Compressed));
        assert!(matches!(refused(&[7, 0, 0, 0, 1, 0]), Refusal::BadFlag { flag: 7 }));
        assert!(matches!(refused(&[0, 0, 0, 0, 11]), Refusal::TooLarge { bytes: 11, limit: 10 }));
        assert!(matches!(refused(&[0, 255, 255, 255, 255]), Refusal::TooLarge { .. }));
        assert!(matches!(refused(&[0, 0, 0, 0, 2, 9]), Refusal::EndsEarly { bytes: 6 }));
        assert!(matches!(refused(&[0, 0, 0]), Refusal::EndsEarly { bytes: 3 }));
        let nothing = block_on(gather(body(Vec::new()), up_to(10))).expect("an empty call");
        assert!(nothing.message.is_none());
    }
}
