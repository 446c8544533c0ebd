//! A reply's body on its way to the client.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// Sends its bytes; then it ends, or the connection breaks.
pub(crate) struct ReplyBody {
    rest: Bytes,
    end: End,
}

enum End {
    Regular,
    /// hyper writes what it has as soon as it must wait, but not if the body fails at once.
    BreakAfterFlush,
    Break,
}

impl ReplyBody {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self { rest: bytes, end: End::Regular }
    }

    /// The connection breaks after these bytes.
    pub(crate) fn cut(bytes: Bytes) -> Self {
        Self { rest: bytes, end: End::BreakAfterFlush }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))));
        }
        match self.end {
            End::Regular => Poll::Ready(None),
            End::BreakAfterFlush => {
                self.end = End::Break;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Break => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && matches!(self.end, End::Regular)
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            End::Regular => SizeHint::with_exact(self.rest.len() as u64),
            End::BreakAfterFlush | End::Break => SizeHint::default(),
        }
    }
}
