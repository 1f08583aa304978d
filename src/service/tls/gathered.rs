//! A stream to which HTTP/2 hands an answer in as few writes as can be.
//!
//! An answer is told in frames: its headers, its data, its trailers. To a stream that takes many slices at once, HTTP/2 gives all data
//! of more than 256 bytes as a slice of its own, and the trailers of most searches then go out alone: the other end is woken for a part
//! that it can do nothing with. For any other stream it copies data of less than 1 KiB between the frames around it, and a search of
//! ten hits is one write; but larger data would take a write for the few bytes of its frame's head, and another for itself. This stream
//! says that it is such another one, and joins those two.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait for more, or for a flush: the heads of frames are far shorter, and headers hardly ever longer.
const HELD_MAX: usize = 2 << 10;

/// A stream whose small writes are held until it is flushed, or until more comes than may be held; that then goes out with them.
#[derive(Debug)]
pub(super) struct Gathered<W> {
    stream: W,
    held: Vec<u8>,
}

impl<W> Gathered<W> {
    pub(super) fn new(stream: W) -> Self {
        Self { stream, held: Vec::new() }
    }
}

impl<W: AsyncWrite + Unpin> Gathered<W> {
    /// Writes what is held and as much as goes of `more` behind it: how much of `more` has gone. All that is held has gone by then.
    ///
    /// # Errors
    /// Those of the stream; [`io::ErrorKind::WriteZero`] when it takes nothing any more.
    fn poll_write_behind(
        &mut self,
        context: &mut Context<'_>,
        more: &[u8],
    ) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let slices = [IoSlice::new(&self.held), IoSlice::new(more)];
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write_vectored(context, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let behind = written.saturating_sub(self.held.len());
            self.held.drain(..written - behind);
            if behind > 0 {
                return Poll::Ready(Ok(behind));
            }
        }
        match more {
            [] => Poll::Ready(Ok(0)),
            more => Pin::new(&mut self.stream).poll_write(context, more),
        }
    }
}

impl<W: AsyncRead + Unpin> AsyncRead for Gathered<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

/// It never says that it takes many slices at once, whatever the stream below does.
impl<W: AsyncWrite + Unpin> AsyncWrite for Gathered<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.held.len() + from.len() <= HELD_MAX {
            self.held.extend_from_slice(from);
            return Poll::Ready(Ok(from.len()));
        }
        self.poll_write_behind(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_behind(context, &[]))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_behind(context, &[]))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What came in each call, of which it takes so many bytes at most; every second call finds it busy.
    #[derive(Default)]
    struct Slow {
        taken: Vec<Vec<u8>>,
        bytes_max: usize,
        is_busy: bool,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            from: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(context, &[IoSlice::new(from)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            from: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.is_busy = !self.is_busy;
            if self.is_busy {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut taken: Vec<u8> = from.iter().flat_map(|slice| slice.iter().copied()).collect();
            taken.truncate(self.bytes_max);
            self.taken.push(taken.clone());
            Poll::Ready(Ok(taken.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn gathered(bytes_max: usize) -> Gathered<Slow> {
        Gathered::new(Slow { bytes_max, ..Slow::default() })
    }

    #[tokio::test]
    async fn small_writes_go_out_together() {
        let mut stream = gathered(usize::MAX);
        for part in ["head", "of", "frame"] {
            stream.write_all(part.as_bytes()).await.expect("written");
        }
        assert!(stream.stream.taken.is_empty());
        stream.flush().await.expect("flushed");
        assert_eq!(stream.stream.taken, [b"headofframe".to_vec()]);
        stream.flush().await.expect("flushed");
        assert_eq!(stream.stream.taken.len(), 1, "nothing was left");
    }

    #[tokio::test]
    async fn slices_are_not_asked_for_where_the_stream_takes_them() {
        let (near, _far) = tokio::io::duplex(64);
        assert!(near.is_write_vectored());
        assert!(!Gathered::new(near).is_write_vectored());
    }

    #[tokio::test]
    async fn what_is_large_goes_out_at_once_with_what_came_before() {
        let mut stream = gathered(usize::MAX);
        stream.write_all(b"header").await.expect("written");
        stream.write_all(&[7; HELD_MAX]).await.expect("written");
        assert_eq!(stream.stream.taken.len(), 1);
        assert_eq!(stream.stream.taken[0].len(), 6 + HELD_MAX);
    }

    #[tokio::test]
    async fn what_is_held_goes_out_before_the_end() {
        let mut stream = gathered(3);
        stream.write_all(b"goodbye").await.expect("written");
        stream.shutdown().await.expect("shut down");
        assert_eq!(stream.stream.taken.concat(), b"goodbye");
    }

    #[tokio::test]
    async fn a_stream_that_takes_nothing_is_an_error() {
        let mut stream = gathered(0);
        stream.write_all(b"lost").await.expect("held");
        let error = stream.flush().await.expect_err("nothing was taken");
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }

    #[tokio::test]
    async fn what_comes_in_is_read_as_it_is() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut near = Gathered::new(near);
        far.write_all(b"question").await.expect("written");
        let mut read = [0; 8];
        near.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"question");
    }

    proptest! {
        #[test]
        fn every_byte_goes_out_once_and_in_order(
            writes in prop::collection::vec((0_usize..3 * HELD_MAX, any::<bool>()), 0..20),
            bytes_max in 1_usize..2 * HELD_MAX,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let mut stream = gathered(bytes_max);
            let mut sent = Vec::new();
            runtime.block_on(async {
                for (place, (len, flushes)) in writes.into_iter().enumerate() {
                    let bytes: Vec<u8> = (0..len).map(|at| (at * 31 + place) as u8).collect();
                    stream.write_all(&bytes).await.expect("written");
                    sent.extend(bytes);
                    if flushes {
                        stream.flush().await.expect("flushed");
                    }
                }
                stream.flush().await.expect("flushed");
            });
            prop_assert_eq!(stream.stream.taken.concat(), sent);
        }
    }
}
