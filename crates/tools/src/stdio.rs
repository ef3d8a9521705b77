//! A server as a child process that speaks over standard input and output.
//!
//! The child sees four variables of our environment and those configured for it. It leads a process group
//! of its own, which is ended as a whole. If this process dies without a goodbye, the child's standard
//! input ends, which is how the protocol tells a server to go.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rustix::process::{Pid, Signal, kill_process_group};
use tenure_journal::{Failure, FailureKind};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::failure::failure;
use crate::http::MESSAGE_BYTES_MAX;

/// The variables of our environment that a child sees.
pub(crate) const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];
/// How long a child may take to go once its standard input has ended.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes of one line of a child's standard error that are logged. A longer line is not shown at all: a cut
/// could leave half a secret, which no longer looks like one.
const LOG_LINE_BYTES_MAX: usize = 8 * 1024;
/// A configured value shorter than this is not masked in a child's log lines: it would mask anything.
const MASKED_BYTES_MIN: usize = 4;

/// What is started.
pub(crate) struct Program<'a> {
    pub(crate) command: &'a str,
    pub(crate) args: &'a [String],
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) cwd: Option<&'a Path>,
}

/// What is known of a child's output before its connection has been wound up.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Nothing more will come.
    pub(crate) has_ended: AtomicBool,
    /// It ended at a line longer than one message may be.
    pub(crate) has_overflowed: AtomicBool,
}

/// A running child and the messages to and from it.
pub(crate) struct ChildTransport {
    messages: AsyncRwTransport<RoleClient, LineGuard<ChildStdout>, ChildStdin>,
    output: Arc<Output>,
    child: Child,
    group: Option<Pid>,
}

impl ChildTransport {
    /// Starts a child, whose `output` is watched.
    ///
    /// # Errors
    /// `NotFound`: there is no such program, or it may not be run.
    pub(crate) fn start(
        program: &Program<'_>,
        inherited: &BTreeMap<OsString, OsString>,
        output: Arc<Output>,
        tasks: &TaskTracker,
    ) -> Result<Self, Failure> {
        let mut child = spawn(program, inherited)
            .map_err(|_| failure(FailureKind::NotFound, "the tool server's program could not be started"))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failure(FailureKind::Internal, "the tool server's program has no pipes"));
        };
        let secrets = program.env.values().filter(|value| value.len() >= MASKED_BYTES_MIN).cloned().collect();
        tasks.spawn(log_lines(stderr, program.command.to_owned(), secrets));
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let messages = AsyncRwTransport::new(LineGuard::new(stdout, output.clone()), stdin);
        Ok(Self { messages, output, child, group })
    }

    fn kill_group(&mut self) {
        // The group outlives its leader for as long as it has members; `ESRCH` means it has none.
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Transport<RoleClient> for ChildTransport {
    type Error = std::io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.messages.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        let message = self.messages.receive().await;
        if message.is_none() {
            self.output.has_ended.store(true, Ordering::Release);
        }
        message
    }

    /// Ends standard input, waits a little, kills what is left of the group, and reaps the child.
    async fn close(&mut self) -> Result<(), Self::Error> {
        // A child that reads nothing can hold the writing end in a send, hence the limit on both together.
        let goodbye = async {
            self.messages.close().await?;
            self.child.wait().await
        };
        let left = timeout(GOODBYE_TIME_MAX, goodbye).await;
        self.kill_group();
        if left.is_err() {
            tracing::debug!("the tool server's program did not end by itself and was killed");
        }
        self.child.wait().await.map(|_| ())
    }
}

impl Drop for ChildTransport {
    fn drop(&mut self) {
        self.kill_group();
    }
}

fn spawn(program: &Program<'_>, inherited: &BTreeMap<OsString, OsString>) -> std::io::Result<Child> {
    let mut command = Command::new(program.command);
    command
        .args(program.args)
        .env_clear()
        .envs(inherited)
        .envs(program.env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(cwd) = program.cwd {
        command.current_dir(cwd);
    }
    command.spawn()
}

/// Logs a child's standard error, line by line, until it ends.
async fn log_lines(stderr: ChildStderr, program: String, secrets: Vec<String>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while let Ok(bytes) = stderr.fill_buf().await {
        if bytes.is_empty() {
            break;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let read = end.unwrap_or(bytes.len());
        let room = (LOG_LINE_BYTES_MAX + 1).saturating_sub(line.len());
        line.extend_from_slice(&bytes[..read.min(room)]);
        stderr.consume(end.map_or(read, |end| end + 1));
        if end.is_some() {
            log_line(&program, &line, &secrets);
            line.clear();
        }
    }
    if !line.is_empty() {
        log_line(&program, &line, &secrets);
    }
}

fn log_line(program: &str, line: &[u8], secrets: &[String]) {
    if line.len() > LOG_LINE_BYTES_MAX {
        tracing::debug!(program, bytes_max = LOG_LINE_BYTES_MAX, "tool server wrote a long line, not shown");
        return;
    }
    let line = masked(&String::from_utf8_lossy(line), secrets);
    tracing::debug!(program, line, "tool server");
}

fn masked(line: &str, secrets: &[String]) -> String {
    let plain: String = line.chars().filter(|c| !c.is_control()).collect();
    secrets.iter().fold(plain, |line, secret| line.replace(secret.as_str(), "***"))
}

/// Ends the stream at a line longer than one message may be. The reader behind it would drop such a line
/// and read on, and the call it answers would wait for its deadline.
pub(crate) struct LineGuard<R> {
    inner: R,
    line_bytes: usize,
    output: Arc<Output>,
}

impl<R> LineGuard<R> {
    pub(crate) fn new(inner: R, output: Arc<Output>) -> Self {
        Self { inner, line_bytes: 0, output }
    }

    fn observe(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line_bytes += part.len();
            if self.line_bytes > MESSAGE_BYTES_MAX {
                self.output.has_overflowed.store(true, Ordering::Release);
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "line too long"));
            }
            if part.ends_with(b"\n") {
                self.line_bytes = 0;
            }
        }
        Ok(())
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for LineGuard<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        Poll::Ready(self.observe(&buffer.filled()[before..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_values_are_masked_in_log_lines() {
        let secrets = ["token-1".to_owned(), "token-2".to_owned()];
        let line = masked("using token-1,\u{1b}[1m token-2 and token-3", &secrets);
        assert_eq!(line, "using ***,[1m *** and token-3");
    }
}
