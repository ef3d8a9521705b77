//! Bodies of HTTP responses, piece by piece.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::error::{CallError, CallErrorKind};
use super::wire::Wire;
use crate::protocol::http::{BodyDelta, Header, Request};

/// Pieces of a body that wait for their reader. One that is slower than that loses the rest.
const PIECES_MAX: usize = 256;

/// A response whose headers are here.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// In order.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Body,
}

/// A body that is still coming.
pub struct Body {
    pieces: mpsc::Receiver<Result<Bytes, CallError>>,
    wire: Arc<Wire>,
    request_id: String,
    is_over: bool,
}

/// Where the pieces of one body go.
pub(super) struct BodySender {
    pieces: mpsc::Sender<Result<Bytes, CallError>>,
    next_seq: u64,
}

/// Makes a request whose body is streamed. The stream is open before the request leaves, because pieces
/// may arrive with the response.
pub(super) async fn request(wire: Arc<Wire>, mut request: Request) -> Result<HttpResponse, CallError> {
    request.stream_response = true;
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let request_id = request.request_id.clone();
    wire.open_body(request_id.clone(), BodySender { pieces: sender, next_seq: 1 });
    let body = Body { pieces, wire: Arc::clone(&wire), request_id, is_over: false };
    let response = wire.request(&request).await?;
    Ok(HttpResponse { status: response.status, headers: response.headers, body })
}

impl Body {
    /// The next piece, or nothing at the end. Safe to cancel.
    ///
    /// # Errors
    /// The body broke off: `Interrupted` with the connection or by the other server, `Protocol` when
    /// pieces are missing.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        if self.is_over {
            return Ok(None);
        }
        match self.pieces.recv().await {
            Some(Ok(piece)) if piece.is_empty() => {
                self.is_over = true;
                Ok(None)
            }
            Some(result) => result.map(Some),
            None => {
                self.is_over = true;
                Err(CallError::interrupted())
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.wire.close_body(&self.request_id);
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({})", self.request_id)
    }
}

impl BodySender {
    /// Takes one piece and says whether the stream is over.
    pub(super) fn push(&mut self, delta: BodyDelta) -> bool {
        if delta.seq != self.next_seq {
            let error = CallError::new(CallErrorKind::Protocol, "a piece of the body is missing");
            let _ = self.pieces.try_send(Err(error));
            return true;
        }
        self.next_seq += 1;
        // An empty piece is the end, so that pieces that are empty on the way are not passed on.
        let delivered = delta.delta.0.is_empty() || self.pieces.try_send(Ok(delta.delta.0)).is_ok();
        if !delivered {
            return true;
        }
        match (delta.done, delta.error) {
            (_, Some(error)) => {
                let _ = self.pieces.try_send(Err(CallError::new(CallErrorKind::Interrupted, error)));
                true
            }
            (true, None) => {
                let _ = self.pieces.try_send(Ok(Bytes::new()));
                true
            }
            (false, None) => false,
        }
    }
}
