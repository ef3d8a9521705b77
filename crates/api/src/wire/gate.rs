//! The gate: a connection whose request heads have been judged before they are read.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::chunked::Scanner;
use super::head::{self, Framing};
use super::{Limits, Refused};

/// Bytes read from a connection at once.
const READ_BYTES: usize = 16 * 1024;

/// What the gate and the service of one connection tell each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Answers that are not finished.
    busy: AtomicUsize,
    /// Which request of the connection, counted from one, was refused, and why.
    refused: Mutex<Option<(u64, Refused)>>,
}

impl Shared {
    /// Why the request with this number was refused, if it was.
    pub(super) fn refused(&self, number: u64) -> Option<Refused> {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.filter(|(refused, _)| *refused == number).map(|(_, why)| why)
    }
}

/// Keeps a connection from counting as idle while an answer is being made or sent.
#[derive(Debug)]
pub(super) struct Busy(Arc<Shared>);

impl Busy {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.busy.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the gate stands in the bytes of the connection.
#[derive(Debug)]
enum Phase {
    /// Before or inside a head.
    Head,
    /// Inside a body of known length.
    Body { left: u64 },
    /// Inside a chunked body.
    Chunked(Scanner),
    /// A head was refused; nothing more is read.
    Refused,
    /// The chunks of a body are malformed.
    Malformed,
    /// The client sends nothing more.
    Ended,
}

/// A connection behind the gate.
pub(super) struct Gate<S> {
    inner: S,
    limits: Limits,
    shared: Arc<Shared>,
    phase: Phase,
    /// Heads let through.
    heads: u64,
    /// Read and not judged.
    waiting: BytesMut,
    /// Judged and not passed on.
    passed: BytesMut,
    /// When the present wait for a head ends, and whether any of it has arrived.
    timer: Pin<Box<Sleep>>,
    in_head: bool,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Gate<S> {
    pub(super) fn new(inner: S, limits: Limits, shared: Arc<Shared>) -> Self {
        Self {
            inner,
            shared,
            phase: Phase::Head,
            heads: 0,
            waiting: BytesMut::new(),
            passed: BytesMut::new(),
            timer: Box::pin(tokio::time::sleep(limits.idle)),
            in_head: false,
            stalled: None,
            limits,
        }
    }

    /// The connection itself.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }

    /// Moves what can be judged from `waiting` to `passed`.
    fn judge(&mut self) {
        match &mut self.phase {
            Phase::Head => self.judge_head(),
            Phase::Body { left } => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.waiting.len());
                *left -= length as u64;
                let is_over = *left == 0;
                self.pass(length);
                if is_over {
                    self.expect_head();
                }
            }
            Phase::Chunked(scanner) => match scanner.scan(&self.waiting) {
                Ok(length) => {
                    let is_over = scanner.is_done();
                    self.pass(length);
                    if is_over {
                        self.expect_head();
                    }
                }
                Err(_) => self.phase = Phase::Malformed,
            },
            Phase::Refused | Phase::Malformed | Phase::Ended => {}
        }
    }

    fn judge_head(&mut self) {
        // Some clients end a body with a line end that belongs to nothing (RFC 9112, section 2.2).
        while self.waiting.starts_with(b"\r\n") {
            self.waiting.advance(2);
        }
        if self.waiting.is_empty() || *self.waiting == b"\r"[..] {
            return;
        }
        if !std::mem::replace(&mut self.in_head, true) {
            self.arm(self.limits.head);
        }
        match head::inspect(&self.waiting) {
            Ok(None) => {}
            Ok(Some(found)) => {
                self.heads += 1;
                self.in_head = false;
                self.pass(found.length);
                match found.framing {
                    Framing::Length(0) => self.expect_head(),
                    Framing::Length(left) => self.phase = Phase::Body { left },
                    Framing::Chunked => self.phase = Phase::Chunked(Scanner::new()),
                }
            }
            Err(why) => self.refuse(why),
        }
    }

    fn expect_head(&mut self) {
        self.phase = Phase::Head;
        self.in_head = false;
        self.arm(self.limits.idle);
    }

    fn arm(&mut self, wait: Duration) {
        self.timer.as_mut().reset(Instant::now() + wait);
    }

    fn pass(&mut self, length: usize) {
        let bytes = self.waiting.split_to(length);
        self.passed.extend_from_slice(&bytes);
    }

    /// Lets a harmless request through in place of the refused one. It asks for the same path, so that the
    /// answer has the form that the path's clients understand.
    fn refuse(&mut self, why: Refused) {
        let path = head::path_of(&self.waiting).unwrap_or("/");
        let instead = format!("GET {path} HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n");
        let mut refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = Some((self.heads + 1, why));
        drop(refused);
        self.passed.extend_from_slice(instead.as_bytes());
        self.waiting.clear();
        self.phase = Phase::Refused;
    }

    /// Acts on a wait that is over.
    fn check_time(&mut self, cx: &mut Context<'_>) {
        while matches!(self.phase, Phase::Head) && self.timer.as_mut().poll(cx).is_ready() {
            if self.in_head {
                self.refuse(Refused::Timeout);
            } else if self.shared.busy.load(Ordering::Relaxed) > 0 {
                self.arm(self.limits.idle);
            } else {
                self.phase = Phase::Ended;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        loop {
            if !gate.passed.is_empty() {
                let length = gate.passed.len().min(out.remaining());
                out.put_slice(&gate.passed[..length]);
                gate.passed.advance(length);
                return Poll::Ready(Ok(()));
            }
            if !gate.waiting.is_empty() {
                gate.judge();
                if !gate.passed.is_empty() {
                    continue;
                }
            }
            gate.check_time(cx);
            match gate.phase {
                // The answer is on its way; an end of input would make hyper drop it.
                Phase::Refused if gate.passed.is_empty() => return Poll::Pending,
                Phase::Refused => continue,
                Phase::Malformed => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "malformed chunks")));
                }
                Phase::Ended => return Poll::Ready(Ok(())),
                Phase::Head | Phase::Body { .. } | Phase::Chunked(_) => {}
            }
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut gate.inner).poll_read(cx, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if read.filled().is_empty() => gate.phase = Phase::Ended,
                Poll::Ready(Ok(())) => gate.waiting.extend_from_slice(read.filled()),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Gate<S> {
    /// A client that reads nothing for too long is gone.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limits.write_stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if stalled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let written = Pin::new(&mut gate.inner).poll_write(cx, bytes);
        gate.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let written = Pin::new(&mut gate.inner).poll_write_vectored(cx, slices);
        gate.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let flushed = Pin::new(&mut gate.inner).poll_flush(cx);
        gate.watch(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
