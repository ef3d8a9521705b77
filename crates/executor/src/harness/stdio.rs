//! A process as a stream of bytes, for protocols over standard input and output such as MCP's.

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::error::CallError;
use super::process::{Process, ProcessEvent};
use crate::protocol::process::Stream;

/// Bytes that wait in either direction.
const BUFFER_BYTES: usize = 64 * 1024;

impl Process {
    /// The process's input and output as one stream, and the future that moves bytes between them. It ends
    /// with the process, and gives its exit code if it had one; dropping it ends the process. The stream
    /// ends with it. What the process writes to standard error goes to `log`.
    ///
    /// The process must have been started with `pipe_stdin`. Closing the stream does not close the input,
    /// which the protocol cannot; drop the future instead.
    pub fn into_stdio(
        mut self,
        mut log: impl FnMut(Bytes) + Send,
    ) -> (DuplexStream, impl Future<Output = Result<Option<i32>, CallError>> + Send) {
        let (theirs, mut ours) = duplex(BUFFER_BYTES);
        let moving = async move {
            let (mut exit_code, mut is_open, mut buffer) = (None, true, vec![0; BUFFER_BYTES]);
            loop {
                tokio::select! {
                    event = self.next() => match event? {
                        None => return Ok(exit_code),
                        Some(ProcessEvent::Exited { code }) => exit_code = Some(code),
                        Some(ProcessEvent::Output { stream: Stream::Stderr, bytes }) => log(bytes),
                        Some(ProcessEvent::Output { stream: Stream::Stdout | Stream::Pty, bytes }) => {
                            // Nobody reads any more; the process goes on until this is dropped.
                            let _ = ours.write_all(&bytes).await;
                        }
                        // A protocol cannot go on with a hole in it.
                        Some(ProcessEvent::Missed) => return Err(CallError::interrupted()),
                    },
                    read = ours.read(&mut buffer), if is_open => match read {
                        Ok(length @ 1..) => self.write(Bytes::copy_from_slice(&buffer[..length])).await?,
                        Ok(0) | Err(_) => is_open = false,
                    },
                }
            }
        };
        (theirs, moving)
    }
}
