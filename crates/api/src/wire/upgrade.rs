//! A connection that stops being one of HTTP: once its last answer is written, whoever asked for it takes the
//! stream over.
//!
//! Hyper could do this itself, but then it would own the stream to its end, and the gate in between would look
//! for request heads in what is none.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

/// What is done with the stream, and with what was already read of it.
type Takeover = Box<dyn FnOnce(TcpStream, Bytes) -> BoxFuture<'static, ()> + Send>;

/// Attached to every request of a connection.
#[derive(Clone, Default)]
pub(crate) struct Upgrade(Arc<Mutex<Option<Takeover>>>);

impl Upgrade {
    /// Has the connection given to `takeover` once the answer to this request, which must be 101, is written.
    pub(crate) fn take_over<F>(&self, takeover: impl FnOnce(TcpStream, Bytes) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        *self.lock() = Some(Box::new(move |stream, read| Box::pin(takeover(stream, read))));
    }

    pub(super) fn taken_over(&self) -> Option<Takeover> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Takeover>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
