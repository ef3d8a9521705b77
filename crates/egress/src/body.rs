//! Bodies on their way inside.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::dial::Upstream;
use crate::replace::Replacer;

/// What the inside is answered with.
pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// A text of our own.
pub(crate) fn text(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

/// A host's answer. `upstream` is kept until it has been read, if it is to end with it.
pub(crate) fn passed(incoming: Incoming, upstream: Option<Upstream>) -> Body {
    Passed { incoming, _upstream: upstream }.boxed_unsync()
}

/// A host's answer, searched while it passes.
pub(crate) fn searched(incoming: Incoming, replacer: Replacer) -> Body {
    Searched { incoming: Some(incoming), replacer }.boxed_unsync()
}

struct Passed {
    incoming: Incoming,
    _upstream: Option<Upstream>,
}

impl HttpBody for Passed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

struct Searched {
    /// None once it has ended.
    incoming: Option<Incoming>,
    replacer: Replacer,
}

impl HttpBody for Searched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
            let bytes = match Pin::new(incoming).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => {
                    self.incoming = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => self.replacer.push(&piece),
                    // Trailers are headers nobody asked for.
                    Err(_) => continue,
                },
                Poll::Ready(None) => {
                    self.incoming = None;
                    self.replacer.finish()
                }
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let has_ended = self.incoming.as_ref().is_none_or(HttpBody::is_end_stream);
        has_ended && !self.replacer.is_holding()
    }
}
