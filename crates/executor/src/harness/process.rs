//! A process, and what it does, without a gap over connections.
//!
//! The executor tells what happens as it happens, with numbers. As long as they follow each other they are
//! taken as they come. When one is missing, because a connection broke or nobody listened for too long, the
//! rest is fetched with `process/read` until nothing more comes back, and telling goes on from there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::error::{CallError, CallErrorKind};
use super::{Remote, State};
use crate::message::INVALID_REQUEST;
use crate::protocol::Base64;
use crate::protocol::process::{
    Chunk, Output, ProcessId, Read, Send, Signal, Stream, Terminate, Write, WriteStatus,
};

/// Bytes of output that wait for their reader. What is beyond stays with the executor, which keeps as much.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that one read asks for.
const READ_BYTES: usize = 256 * 1024;

/// What a process did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It wrote something.
    Output {
        /// Where.
        stream: Stream,
        /// What.
        bytes: Bytes,
    },
    /// Output is missing here: there was more than executors keep.
    Missed,
    /// It ended. Output that others hold open may still come.
    Exited {
        /// Its exit code; for a signal 128 and the signal.
        code: i32,
    },
}

/// A process that the executor runs. Dropping it ends the process.
pub struct Process {
    remote: Remote,
    id: ProcessId,
    tail: Arc<Tail>,
    writes: u64,
}

/// What a process did and its reader has not seen.
#[derive(Default)]
pub(super) struct Tail {
    state: Mutex<TailState>,
    changed: Notify,
}

#[derive(Default)]
struct TailState {
    events: VecDeque<ProcessEvent>,
    waiting_bytes: usize,
    /// The highest number that is in `events` or was read.
    seen_seq: u64,
    is_behind: bool,
    has_exited: bool,
    end: Option<End>,
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Lost,
}

/// What a reader does next.
enum Next {
    Event(ProcessEvent),
    Fetch { after_seq: u64 },
    Wait,
    End(End),
}

impl Process {
    pub(super) fn new(remote: Remote, id: ProcessId, tail: Arc<Tail>) -> Self {
        Self { remote, id, tail, writes: 0 }
    }

    /// The name it was started with.
    pub fn id(&self) -> &ProcessId {
        &self.id
    }

    /// The next thing it does, or nothing when it has ended and all was told. Waits over a lost
    /// connection as long as that may be resumed. Safe to cancel.
    ///
    /// # Errors
    /// `Lost` when its session is gone, and what `process/read` fails with.
    pub async fn next(&mut self) -> Result<Option<ProcessEvent>, CallError> {
        loop {
            let changed = self.tail.changed.notified();
            match self.tail.take() {
                Next::Event(event) => return Ok(Some(event)),
                Next::End(End::Closed) => return Ok(None),
                Next::End(End::Lost) => return Err(lost()),
                Next::Fetch { after_seq } => self.fetch(after_seq).await?,
                Next::Wait => self.wait(changed).await?,
            }
        }
    }

    /// Writes to its input, which must have been asked for. Order is kept.
    ///
    /// # Errors
    /// `Refused` when the input is closed, and as [`Remote::call`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), CallError> {
        self.writes += 1;
        let write_id = format!("{}-{}", self.id.0, self.writes);
        let write = Write { process_id: self.id.clone(), chunk: Base64(bytes), write_id };
        let refusal = match self.remote.call(&write).await?.status {
            WriteStatus::Accepted => return Ok(()),
            WriteStatus::UnknownProcess => return Err(lost()),
            WriteStatus::StdinClosed => "the process takes no input",
            WriteStatus::Starting => "the process does not run yet",
        };
        Err(CallError::new(CallErrorKind::Refused { code: INVALID_REQUEST }, refusal))
    }

    /// Sends what Ctrl-C sends.
    ///
    /// # Errors
    /// As [`Remote::call`].
    pub async fn interrupt(&self) -> Result<(), CallError> {
        let send = Send { process_id: self.id.clone(), signal: Signal::Interrupt };
        self.remote.call(&send).await.map(drop)
    }

    /// Ends it at once. Its exit is still told.
    ///
    /// # Errors
    /// As [`Remote::call`].
    pub async fn terminate(&self) -> Result<(), CallError> {
        self.remote.call(&Terminate { process_id: self.id.clone() }).await.map(drop)
    }

    /// There is nothing to end when this is dropped.
    pub(super) fn was_not_started(&self) {
        self.tail.lose();
    }

    async fn fetch(&self, after_seq: u64) -> Result<(), CallError> {
        let read = Read {
            process_id: self.id.clone(),
            after_seq: Some(after_seq),
            max_bytes: Some(READ_BYTES),
            wait_ms: None,
        };
        match self.remote.call(&read).await {
            Ok(output) => self.tail.absorb(output),
            // It has ended and was forgotten, or the session is another one.
            Err(error) if error.kind == (CallErrorKind::Refused { code: INVALID_REQUEST }) => {
                self.tail.lose();
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Waits for something new, or for the end of the time in which a lost connection may come back.
    async fn wait(&self, changed: impl Future<Output = ()>) -> Result<(), CallError> {
        let mut state = self.remote.state();
        let gone = async {
            let _ = state.wait_for(|state| *state != State::Connected).await;
            let limit = tokio::time::Instant::now() + super::RESUME;
            self.remote.wire(limit).await.map(drop)
        };
        tokio::select! {
            () = changed => Ok(()),
            result = gone => {
                // Connected again: what was missed has to be fetched.
                self.tail.fall_behind();
                result
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let wire = {
            let mut inner = self.remote.inner();
            // The name may have been given to another process since this one ended.
            if inner.tails.get(&self.id).is_some_and(|tail| tail.as_ptr() == Arc::as_ptr(&self.tail)) {
                inner.tails.remove(&self.id);
            }
            inner.wire.clone()
        };
        if let Some(wire) = wire.filter(|_| !self.tail.is_over()) {
            wire.post(&Terminate { process_id: self.id.clone() });
        }
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Process({})", self.id.0)
    }
}

fn lost() -> CallError {
    CallError::new(CallErrorKind::Lost, "the process went away with the executor's session")
}

impl Tail {
    pub(super) fn wrote(&self, chunk: Chunk) {
        self.told(chunk.seq, |state| state.push(chunk.stream, chunk.chunk.0));
    }

    pub(super) fn exited(&self, seq: u64, code: i32) {
        self.told(seq, |state| state.exit(code));
    }

    pub(super) fn closed(&self, seq: u64) {
        self.told(seq, |state| state.end = Some(End::Closed));
    }

    /// Takes what the executor told, if it is what comes next.
    fn told(&self, seq: u64, apply: impl FnOnce(&mut TailState)) {
        let mut state = self.state();
        if seq <= state.seen_seq {
            return;
        }
        if seq > state.seen_seq + 1 || state.is_behind || state.waiting_bytes >= WAITING_BYTES_MAX {
            state.is_behind = true;
        } else {
            state.seen_seq = seq;
            apply(&mut state);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// What is next must be fetched.
    pub(super) fn fall_behind(&self) {
        self.state().is_behind = true;
        self.changed.notify_waiters();
    }

    /// Nothing more can come.
    pub(super) fn lose(&self) {
        self.state().end.get_or_insert(End::Lost);
        self.changed.notify_waiters();
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().end.is_some()
    }

    fn take(&self) -> Next {
        let mut state = self.state();
        if let Some(event) = state.events.pop_front() {
            if let ProcessEvent::Output { bytes, .. } = &event {
                state.waiting_bytes -= bytes.len();
            }
            return Next::Event(event);
        }
        match state.end {
            Some(end) => Next::End(end),
            None if state.is_behind => Next::Fetch { after_seq: state.seen_seq },
            None => Next::Wait,
        }
    }

    /// Takes what was fetched. Exit and close have numbers but are not in the chunks, so they are taken
    /// once a read gives no more output.
    fn absorb(&self, output: Output) {
        let mut state = self.state();
        if output.chunks.is_empty() {
            state.is_behind = false;
            state.seen_seq = state.seen_seq.max(output.next_seq.saturating_sub(1));
            if let Some(code) = output.exit_code.filter(|_| output.exited) {
                state.exit(code);
            }
            if output.closed || output.failure.is_some() {
                state.end = Some(if output.closed { End::Closed } else { End::Lost });
            }
            return;
        }
        for chunk in output.chunks {
            if chunk.seq <= state.seen_seq {
                continue;
            }
            // The exit has one number of its own.
            let skipped = chunk.seq - state.seen_seq - 1;
            if skipped > u64::from(output.exited && !state.has_exited) {
                state.events.push_back(ProcessEvent::Missed);
            }
            state.seen_seq = chunk.seq;
            state.push(chunk.stream, chunk.chunk.0);
        }
    }

    fn state(&self) -> MutexGuard<'_, TailState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TailState {
    fn push(&mut self, stream: Stream, bytes: Bytes) {
        if !bytes.is_empty() {
            self.waiting_bytes += bytes.len();
            self.events.push_back(ProcessEvent::Output { stream, bytes });
        }
    }

    fn exit(&mut self, code: i32) {
        if !std::mem::replace(&mut self.has_exited, true) {
            self.events.push_back(ProcessEvent::Exited { code });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(seq: u64) -> Chunk {
        let bytes = Bytes::from(format!("{seq} "));
        Chunk { seq, stream: Stream::Stdout, chunk: Base64(bytes) }
    }

    fn output(chunks: &[u64], next_seq: u64, exit_code: Option<i32>, closed: bool) -> Output {
        let chunks = chunks.iter().map(|seq| chunk(*seq)).collect();
        Output { chunks, next_seq, exited: exit_code.is_some(), exit_code, closed, failure: None }
    }

    /// What a reader sees until it has to do something: fetch, wait, or stop.
    fn seen(tail: &Tail) -> String {
        let mut seen = String::new();
        loop {
            match tail.take() {
                Next::Event(ProcessEvent::Output { bytes, .. }) => {
                    seen.push_str(&String::from_utf8_lossy(&bytes));
                }
                Next::Event(ProcessEvent::Missed) => seen.push_str("missed "),
                Next::Event(ProcessEvent::Exited { code }) => seen.push_str(&format!("exit {code} ")),
                Next::Fetch { after_seq } => return seen + &format!("fetch {after_seq}"),
                Next::Wait => return seen + "wait",
                Next::End(end) => return seen + &format!("{end:?}"),
            }
        }
    }

    #[test]
    fn what_is_told_in_order_is_taken_as_it_comes() {
        let tail = Tail::default();
        tail.wrote(chunk(1));
        tail.wrote(chunk(2));
        tail.wrote(chunk(2));
        assert_eq!(seen(&tail), "1 2 wait");
        tail.exited(3, 7);
        tail.wrote(chunk(4));
        tail.closed(5);
        assert_eq!(seen(&tail), "exit 7 4 Closed");
    }

    #[test]
    fn what_was_missed_is_fetched_until_nothing_more_comes() {
        let tail = Tail::default();
        tail.wrote(chunk(1));
        tail.wrote(chunk(3));
        tail.closed(6);
        assert_eq!(seen(&tail), "1 fetch 1");
        tail.absorb(output(&[2, 3], 4, Some(0), true));
        assert_eq!(seen(&tail), "2 3 fetch 3");
        // Number 4 was the exit.
        tail.absorb(output(&[5], 6, Some(0), true));
        assert_eq!(seen(&tail), "5 fetch 5");
        tail.absorb(output(&[], 7, Some(0), true));
        assert_eq!(seen(&tail), "exit 0 Closed");
    }

    #[test]
    fn output_that_is_no_longer_kept_is_said_to_be_missing() {
        let tail = Tail::default();
        tail.fall_behind();
        assert_eq!(seen(&tail), "fetch 0");
        tail.absorb(output(&[4, 5], 6, None, false));
        assert_eq!(seen(&tail), "missed 4 5 fetch 5");
        tail.absorb(output(&[], 6, None, false));
        tail.wrote(chunk(6));
        assert_eq!(seen(&tail), "6 wait");
    }

    /// A reader that is slow leaves output with the executor instead of here.
    #[test]
    fn what_waits_is_bounded() {
        let tail = Tail::default();
        let large = Bytes::from(vec![b'x'; WAITING_BYTES_MAX]);
        tail.wrote(Chunk { seq: 1, stream: Stream::Stdout, chunk: Base64(large) });
        tail.wrote(chunk(2));
        assert!(matches!(tail.take(), Next::Event(ProcessEvent::Output { .. })));
        assert_eq!(seen(&tail), "fetch 1");
        tail.lose();
        assert_eq!(seen(&tail), "Lost");
    }
}
