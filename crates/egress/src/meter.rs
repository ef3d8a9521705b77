//! Counting what moves, and for how long nothing does.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::link::Link;
use crate::record::{Outcome, Refusal};

/// Bytes that are read at once when fewer are left than the reader has room for.
const LAST_READ_BYTES_MAX: usize = 4096;

/// Bytes that one environment moved in one direction.
#[derive(Debug, Default)]
pub(crate) struct Used(AtomicU64);

impl Used {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes up to `wanted` of what is left below `cap`, at once, so that no two connections take the same.
    fn take(&self, wanted: usize, cap: u64) -> usize {
        let mut granted = 0;
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            granted = cap.saturating_sub(used).min(wanted as u64);
            Some(used + granted)
        });
        usize::try_from(granted).unwrap_or(wanted)
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

/// A connection to the outside, each of whose bytes is counted and none of which is above a cap.
pub(crate) struct Metered<S> {
    stream: S,
    link: Arc<Link>,
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S, link: Arc<Link>) -> Self {
        Self { stream, link }
    }

    fn capped(&self) -> io::Error {
        self.link.settle(Outcome::Refused(Refusal::ByteCap));
        io::Error::new(io::ErrorKind::QuotaExceeded, "the byte cap is reached")
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buffer.remaining();
        let (used, cap) = (this.link.used_in(), this.link.cap_in());
        let granted = used.take(room, cap);
        if granted == 0 && room > 0 {
            return Poll::Ready(Err(this.capped()));
        }
        let before = buffer.filled().len();
        let polled = if granted == room {
            Pin::new(&mut this.stream).poll_read(cx, buffer)
        } else {
            let mut last = [0; LAST_READ_BYTES_MAX];
            let mut small = ReadBuf::new(&mut last[..granted.min(LAST_READ_BYTES_MAX)]);
            let polled = Pin::new(&mut this.stream).poll_read(cx, &mut small);
            buffer.put_slice(small.filled());
            polled
        };
        let read = buffer.filled().len() - before;
        used.give_back(granted - read);
        this.link.count_in(read);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let (used, cap) = (this.link.used_out(), this.link.cap_out());
        let granted = used.take(bytes.len(), cap);
        if granted == 0 && !bytes.is_empty() {
            return Poll::Ready(Err(this.capped()));
        }
        let polled = Pin::new(&mut this.stream).poll_write(cx, &bytes[..granted]);
        let written = match &polled {
            Poll::Ready(Ok(written)) => *written,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        used.give_back(granted - written);
        this.link.count_out(written);
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// When something last moved on a connection from the inside.
pub(crate) struct Activity(Mutex<Instant>);

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns once nothing has moved for `limit`.
    pub(crate) async fn idle(&self, limit: Duration) {
        loop {
            let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + limit;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A connection from the inside that tells when something moves.
pub(crate) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    fn seen<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Ok(_)) = polled {
            self.activity.touch();
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.seen(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.seen(polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
