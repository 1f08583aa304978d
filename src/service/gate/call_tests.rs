use std::future::poll_fn;
use std::sync::Mutex;

use futures::executor::block_on;
use prost::bytes::Bytes;

use super::*;

/// Keeps how calls ended.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<(Code, u64)>>);

impl Watch for Notes {
    fn ended(&self, call: &CallEnded<'_>) {
        self.0.lock().expect("not poisoned").push((call.code, call.rows));
    }
}

impl Notes {
    fn taken(&self) -> Vec<(Code, u64)> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }
}

fn call(notes: &Arc<Notes>) -> Call {
    let watch: Arc<dyn Watch> = Arc::<Notes>::clone(notes);
    Call::arrives(Arc::from([watch]), Method::Known("/a.B/C"), None)
}

/// An answer as a handler gives it.
fn answer(messages: Vec<Result<Bytes, Status>>) -> Response<Body> {
    Response::new(raw::body(futures::stream::iter(messages)))
}

/// All data of a body, and the status in its trailers.
fn read(mut body: Body) -> (Vec<u8>, Option<Status>) {
    let (mut bytes, mut status) = (Vec::new(), None);
    while let Some(frame) = block_on(poll_fn(|context| Pin::new(&mut body).poll_frame(context))) {
        match frame.expect("a frame").into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => status = frame.trailers_ref().and_then(Status::from_header_map),
        }
    }
    (bytes, status)
}

fn messages(count: usize) -> Vec<Result<Bytes, Status>> {
    (0..count).map(|number| Ok(Bytes::from(vec![number as u8; 100 * number]))).collect()
}

#[test]
fn answers_pass_unchanged_and_their_end_is_noted_once() {
    for streams in [false, true] {
        let notes = Arc::new(Notes::default());
        let call = call(&notes);
        call.rows().add(3);
        let given = messages(if streams { 900 } else { 1 });
        let expected = read(answer(given.clone()).into_body()).0;
        let followed = call.follow(answer(given), streams).into_body();
        assert_eq!(notes.taken(), [], "it goes on");
        let (bytes, status) = read(followed);
        assert_eq!(bytes, expected);
        assert_eq!(status.map(|status| status.code()), Some(Code::Ok));
        assert_eq!(notes.taken(), [(Code::Ok, 3)]);
    }
}

#[test]
fn a_stream_that_fails_in_the_middle_is_noted_with_its_code() {
    let notes = Arc::new(Notes::default());
    let mut given = messages(2);
    given.push(Err(Status::data_loss("a disk")));
    let (bytes, status) = read(call(&notes).follow(answer(given), true).into_body());
    assert_eq!(bytes.len(), 2 * 5 + 100);
    let status = status.expect("a status");
    assert_eq!((status.code(), status.message()), (Code::DataLoss, "a disk"));
    assert_eq!(notes.taken(), [(Code::DataLoss, 0)]);
}

#[test]
fn answers_that_nobody_reads_to_their_end_are_noted_as_cancelled() {
    for streams in [false, true] {
        let notes = Arc::new(Notes::default());
        let body = call(&notes).follow(answer(messages(2)), streams).into_body();
        drop(body);
        assert_eq!(notes.taken(), [(Code::Cancelled, 0)]);
    }
}

#[test]
fn refusals_and_statuses_alone_are_noted_with_their_code() {
    let notes = Arc::new(Notes::default());
    call(&notes).refused(&Refusal::Compressed);
    assert_eq!(notes.taken(), [(Code::Unimplemented, 0)]);
    let alone = Status::not_found("nothing").into_http();
    drop(call(&notes).follow(alone, true));
    assert_eq!(notes.taken(), [(Code::NotFound, 0)]);
    drop(call(&notes));
    assert_eq!(notes.taken(), [(Code::Cancelled, 0)]);
}
