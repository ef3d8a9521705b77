//! Lines of JSON over a Unix socket, with descriptors beside them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, send, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::spec::MESSAGE_BYTES_MAX;

/// Descriptors beside one message.
const HANDLES_MAX: usize = 4;
const READ_BYTES: usize = 64 * 1024;

/// Reads messages of one socket.
#[derive(Default)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
    pub(crate) handles: Vec<OwnedFd>,
}

impl Reader {
    /// The next message; none at the other side's end.
    ///
    /// # Errors
    /// The socket's, or something that is not such a message.
    pub(crate) fn next<M: DeserializeOwned>(&mut self, socket: impl AsFd) -> io::Result<Option<M>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.bytes.len() > MESSAGE_BYTES_MAX {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            if !self.fill(&socket)? {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self, socket: impl AsFd) -> io::Result<bool> {
        let mut buffer = vec![0; READ_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDLES_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let read = rustix::io::retry_on_intr(|| {
            recvmsg(&socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(handles) = message {
                self.handles.extend(handles);
            }
        }
        self.bytes.extend_from_slice(&buffer[..read.bytes]);
        Ok(read.bytes > 0)
    }
}

/// Sends one message, and descriptors with its first byte.
///
/// # Errors
/// The socket's: the other side is gone.
pub(crate) fn tell<M: Serialize>(socket: impl AsFd, message: &M, handles: &[impl AsFd]) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    // A filter may be in force already that leaves `send` and takes `sendmsg` away.
    let mut sent = if handles.is_empty() { 0 } else { tell_first(&socket, &line, handles)? };
    while sent < line.len() {
        sent += rustix::io::retry_on_intr(|| send(&socket, &line[sent..], SendFlags::NOSIGNAL))?;
    }
    Ok(())
}

fn tell_first(socket: impl AsFd, line: &[u8], handles: &[impl AsFd]) -> io::Result<usize> {
    let handles: Vec<_> = handles.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDLES_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&handles)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let part = [IoSlice::new(line)];
    Ok(rustix::io::retry_on_intr(|| sendmsg(&socket, &part, &mut control, SendFlags::NOSIGNAL))?)
}
