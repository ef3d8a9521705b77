//! One process: what it wrote lately, and how it stands.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::host::Host;
use super::session::Session;
use super::variables::variables;
use crate::message::{Failure, INTERNAL, INVALID_PARAMS, INVALID_REQUEST};
use crate::protocol::Base64;
use crate::protocol::process::{
    Chunk, Closed, Exited, Output, ProcessId, Read, Signal, Start, Stream, Write, WriteStatus, Wrote,
};

/// Bytes of output that are kept for whoever reads late.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one piece of output.
const CHUNK_BYTES_MAX: usize = 32 * 1024;
/// How long a process that has ended is remembered.
const REMEMBERED: Duration = Duration::from_secs(30);
/// How long one read may wait.
const READ_WAIT_MAX: Duration = Duration::from_secs(60);
/// Ids of writes that are remembered, so that one that is repeated is not written twice.
const WRITES_MAX: usize = 64;
/// Bytes that wait for a process to read them. Whoever writes more is told to wait, because nobody else can
/// be kept waiting for a process that does not read.
const INPUT_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(super) struct Process {
    id: ProcessId,
    pid: Pid,
    /// Nothing when it was not asked for, or closed when the process no longer reads.
    input: Option<mpsc::UnboundedSender<Bytes>>,
    input_bytes: AtomicUsize,
    state: Mutex<State>,
    changed: Notify,
    /// Held while something is numbered and told, so that it is told in order.
    telling: tokio::sync::Mutex<()>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct State {
    kept: VecDeque<Chunk>,
    kept_bytes: usize,
    last_seq: u64,
    exit_code: Option<i32>,
    is_closed: bool,
    writes: VecDeque<String>,
}

impl Process {
    /// Starts a process in `session`, which is told what it does.
    pub(super) async fn start(host: &Host, session: &Arc<Session>, start: &Start) -> Result<(), Failure> {
        if start.tty {
            return Err(Failure::new(INVALID_PARAMS, "this executor offers no terminals; send `tty` false"));
        }
        if session.process(&start.process_id).is_some() {
            return Err(Failure::new(
                INVALID_REQUEST,
                format!("process {} already exists", start.process_id.0),
            ));
        }
        let directory = host.files.directory(&start.cwd).await?;
        let invalid = |error: super::LaunchError| Failure::new(INVALID_PARAMS, error.to_string());
        let mut command = host.launcher.command(start, &directory).map_err(invalid)?;
        command
            .env_clear()
            .envs(variables(&host.variables, start.env_policy.as_ref(), &start.env))
            .current_dir(&directory)
            .stdin(if start.pipe_stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(name) = &start.arg0 {
            command.arg0(name);
        }
        let child = command.spawn().map_err(|error| {
            let program = start.argv.first().map(String::as_str).unwrap_or_default();
            Failure::new(INTERNAL, format!("`{program}` cannot be started: {error}"))
        })?;
        let gone = || Failure::new(INTERNAL, "the process ended before it could be watched");
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or_else(gone)?;
        // Bounded by `INPUT_BYTES_MAX`.
        let (input, to_write) = mpsc::unbounded_channel();
        let process = Arc::new(Self {
            id: start.process_id.clone(),
            pid,
            input: start.pipe_stdin.then_some(input),
            input_bytes: AtomicUsize::new(0),
            state: Mutex::default(),
            changed: Notify::new(),
            telling: tokio::sync::Mutex::default(),
            task: Mutex::default(),
        });
        session.insert(&start.process_id, Arc::clone(&process))?;
        // The task must not keep the process or its session: dropping those is how both end.
        let watch = watch(child, to_write, Arc::downgrade(&process), Arc::downgrade(session));
        let task = tokio::spawn(watch).abort_handle();
        *process.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(())
    }

    /// What was kept after a number; waits for something if there is nothing.
    pub(super) async fn read(&self, read: &Read) -> Output {
        let wait = Duration::from_millis(read.wait_ms.unwrap_or(0)).min(READ_WAIT_MAX);
        let deadline = Instant::now() + wait;
        loop {
            let changed = self.changed.notified();
            let output = self.output(read);
            let is_news = !output.chunks.is_empty()
                || output.closed
                || output.exited && read.after_seq.unwrap_or(0) + 1 < output.next_seq;
            if is_news || timeout_at(deadline, changed).await.is_err() {
                return output;
            }
        }
    }

    fn output(&self, read: &Read) -> Output {
        let state = self.state();
        let (after, limit) = (read.after_seq.unwrap_or(0), read.max_bytes.unwrap_or(KEPT_BYTES_MAX));
        let (mut chunks, mut bytes, mut next_seq) = (Vec::new(), 0, state.last_seq + 1);
        for chunk in state.kept.iter().filter(|chunk| chunk.seq > after) {
            if !chunks.is_empty() && bytes + chunk.chunk.0.len() > limit {
                next_seq = chunk.seq;
                break;
            }
            bytes += chunk.chunk.0.len();
            chunks.push(chunk.clone());
        }
        Output {
            chunks,
            next_seq,
            exited: state.exit_code.is_some(),
            exit_code: state.exit_code,
            closed: state.is_closed,
            failure: None,
        }
    }

    /// Writes to the input, in order and without waiting. A write that was made before is accepted and not
    /// made again.
    pub(super) fn write(&self, write: Write) -> Result<WriteStatus, Failure> {
        let Some(input) = self.input.as_ref().filter(|input| !input.is_closed()) else {
            return Ok(WriteStatus::StdinClosed);
        };
        let mut state = self.state();
        if !write.write_id.is_empty() && state.writes.contains(&write.write_id) {
            return Ok(WriteStatus::Accepted);
        }
        let length = write.chunk.0.len();
        if self.input_bytes.load(Ordering::SeqCst) + length > INPUT_BYTES_MAX {
            return Err(Failure::new(INVALID_REQUEST, "the process has not read what was written before"));
        }
        self.input_bytes.fetch_add(length, Ordering::SeqCst);
        if input.send(write.chunk.0).is_err() {
            return Ok(WriteStatus::StdinClosed);
        }
        if state.writes.len() == WRITES_MAX {
            state.writes.pop_front();
        }
        state.writes.push_back(write.write_id);
        Ok(WriteStatus::Accepted)
    }

    /// Sends a signal to the process and those it started. Nothing happens once it has ended.
    pub(super) fn send(&self, signal: Signal) -> Result<(), Failure> {
        let signal = match signal {
            Signal::Interrupt => rustix::process::Signal::INT,
        };
        if self.state().exit_code.is_some() {
            return Ok(());
        }
        kill_process_group(self.pid, signal).map_err(|error| Failure::new(INTERNAL, error.to_string()))
    }

    /// Ends the process and those it started, and says whether it was running.
    pub(super) fn terminate(&self) -> bool {
        if self.state().exit_code.is_some() {
            return false;
        }
        // One that has ended meanwhile is as good.
        let _ = kill_process_group(self.pid, rustix::process::Signal::KILL);
        true
    }

    async fn wrote(&self, session: &Weak<Session>, stream: Stream, bytes: Bytes) {
        let _order = self.telling.lock().await;
        let chunk = {
            let mut state = self.state();
            state.last_seq += 1;
            let chunk = Chunk { seq: state.last_seq, stream, chunk: Base64(bytes) };
            state.kept_bytes += chunk.chunk.0.len();
            state.kept.push_back(chunk.clone());
            while state.kept_bytes > KEPT_BYTES_MAX {
                let Some(oldest) = state.kept.pop_front() else { break };
                state.kept_bytes -= oldest.chunk.0.len();
            }
            chunk
        };
        self.changed.notify_waiters();
        if let Some(session) = session.upgrade() {
            session.tell(&Wrote { process_id: self.id.clone(), chunk }).await;
        }
    }

    async fn exited(&self, session: &Weak<Session>, exit_code: i32) {
        let _order = self.telling.lock().await;
        let seq = {
            let mut state = self.state();
            state.last_seq += 1;
            state.exit_code = Some(exit_code);
            state.last_seq
        };
        self.changed.notify_waiters();
        if let Some(session) = session.upgrade() {
            session.tell(&Exited { process_id: self.id.clone(), seq, exit_code }).await;
        }
    }

    async fn closed(&self, session: &Weak<Session>) {
        let _order = self.telling.lock().await;
        let seq = {
            let mut state = self.state();
            state.last_seq += 1;
            state.is_closed = true;
            state.last_seq
        };
        self.changed.notify_waiters();
        if let Some(session) = session.upgrade() {
            session.tell(&Closed { process_id: self.id.clone(), seq }).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process ends with its session.
impl Drop for Process {
    fn drop(&mut self) {
        if !self.state().is_closed {
            let _ = kill_process_group(self.pid, rustix::process::Signal::KILL);
        }
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
        }
    }
}

/// Follows a process to its end, and for a while after that.
async fn watch(
    mut child: Child,
    to_write: mpsc::UnboundedReceiver<Bytes>,
    process: Weak<Process>,
    session: Weak<Session>,
) {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let exit = async {
        let code = child.wait().await.map_or(-1, exit_code);
        if let Some(process) = process.upgrade() {
            process.exited(&session, code).await;
        }
    };
    let output = async {
        tokio::join!(
            pump(stdout, Stream::Stdout, &process, &session),
            pump(stderr, Stream::Stderr, &process, &session),
            exit,
        )
    };
    // The input ends with the process, not the other way round.
    tokio::select! {
        _ = output => {}
        never = feed(stdin, to_write, &process) => match never {},
    }
    if let Some(process) = process.upgrade() {
        process.closed(&session).await;
    }
    sleep(REMEMBERED).await;
    if let (Some(session), Some(process)) = (session.upgrade(), process.upgrade()) {
        session.remove(&process.id);
    }
}

/// Writes what is to be written until the process no longer reads.
async fn feed(
    stdin: Option<ChildStdin>,
    mut to_write: mpsc::UnboundedReceiver<Bytes>,
    process: &Weak<Process>,
) -> std::convert::Infallible {
    if let Some(mut stdin) = stdin {
        while let Some(bytes) = to_write.recv().await {
            if stdin.write_all(&bytes).await.is_err() {
                break;
            }
            if let Some(process) = process.upgrade() {
                process.input_bytes.fetch_sub(bytes.len(), Ordering::SeqCst);
            }
        }
    }
    to_write.close();
    std::future::pending().await
}

async fn pump(
    from: Option<impl AsyncRead + Unpin>,
    stream: Stream,
    process: &Weak<Process>,
    session: &Weak<Session>,
) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; CHUNK_BYTES_MAX];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let Some(process) = process.upgrade() else { return };
        process.wrote(session, stream, Bytes::copy_from_slice(&buffer[..length])).await;
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
