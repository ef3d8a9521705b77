//! One stream after its handshake: JSON messages in, frames out, and the other way.

use bytes::Bytes;

use crate::frame::{Body, Frame, StreamId};
use crate::noise::{NoiseError, Opener, Sealer};
use crate::record::{self, Assembler, Order, RecordError};

/// What a reset says when the stream was at fault. Nothing else is said, so that nobody learns which byte.
pub const RESET_REASON: &str = "secure_relay_protocol_error";

/// Why a stream cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The encryption failed.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The records do not fit together.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The half that sends.
#[derive(Debug)]
pub struct Sending {
    stream: StreamId,
    sealer: Sealer,
    next: u32,
}

/// The half that receives.
#[derive(Debug)]
pub struct Receiving {
    order: Order,
    opener: Opener,
    assembler: Assembler,
}

impl Sending {
    /// The sending half of a stream whose handshake is done.
    pub fn new(stream: StreamId, sealer: Sealer) -> Self {
        Self { stream, sealer, next: 0 }
    }

    /// The frames of one message. All of them must be sent, in order.
    ///
    /// # Errors
    /// The message is too long, or the stream has used its numbers.
    pub fn frames(&mut self, message: &[u8]) -> Result<Vec<Frame>, ChannelError> {
        let prefixed = record::prefixed(message)?;
        let frame = |plaintext| {
            let seq = self.next;
            self.next = seq.checked_add(1).ok_or(RecordError::Exhausted)?;
            let payload = Bytes::from(self.sealer.seal(plaintext)?);
            Ok(Frame { stream: self.stream.clone(), body: Body::Data { seq, payload } })
        };
        record::cut(&prefixed).map(frame).collect()
    }
}

impl Receiving {
    /// The receiving half of a stream whose handshake is done.
    pub fn new(opener: Opener) -> Self {
        Self { order: Order::default(), opener, assembler: Assembler::default() }
    }

    /// Takes one data frame and returns the messages that are now whole.
    ///
    /// # Errors
    /// The frame is too far ahead, not authentic or not of the stream. It must be reset.
    pub fn push(&mut self, seq: u32, payload: Bytes) -> Result<Vec<Bytes>, ChannelError> {
        let mut messages = Vec::new();
        for ciphertext in self.order.push(seq, payload)? {
            messages.extend(self.assembler.push(&self.opener.open(&ciphertext)?)?);
        }
        Ok(messages)
    }
}
