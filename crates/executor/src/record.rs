//! Messages on a stream of records: each is prefixed with its length and cut into pieces that fit.
//!
//! ```text
//!   message        u32 big-endian length │ JSON
//!   records        at most 60 KiB of that, one after the other; one may hold the ends of two messages
//! ```
//!
//! Records may arrive out of order from a relay that routes them one by one, and decryption needs them in
//! order, so [`Order`] puts them back before anything is decrypted.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of plaintext in one record. With its tag it stays below Noise's 65,535.
pub const RECORD_BYTES_MAX: usize = 60 * 1024;
/// Bytes of one JSON message.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How far ahead of the next record one may be, in records.
const AHEAD_MAX: u32 = 64;
/// Bytes of records that wait for one before them.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
const PREFIX_BYTES: usize = size_of::<u32>();

/// Why a stream of records cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A message is empty, or longer than [`MESSAGE_BYTES_MAX`].
    #[error("a message of {length} bytes; between 1 and {MESSAGE_BYTES_MAX} are possible")]
    MessageLength {
        /// Bytes of the message.
        length: usize,
    },
    /// A record is longer than [`RECORD_BYTES_MAX`].
    #[error("a record of {length} bytes; {RECORD_BYTES_MAX} are possible")]
    RecordLength {
        /// Bytes of the record.
        length: usize,
    },
    /// A record is too far ahead of what has arrived.
    #[error("record {seq} arrived while {expected} is still missing")]
    TooFarAhead {
        /// The record's number.
        seq: u32,
        /// The number that was expected.
        expected: u32,
    },
    /// Every number was used; they do not wrap.
    #[error("the stream has used all numbers of records")]
    Exhausted,
}

/// A message with its prefix, ready to be cut by [`cut`].
///
/// # Errors
/// `MessageLength`.
pub fn prefixed(message: &[u8]) -> Result<Bytes, RecordError> {
    let length = checked_length(message.len())?;
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    Ok(out.freeze())
}

/// The records of a prefixed message.
pub fn cut(prefixed: &[u8]) -> impl Iterator<Item = &[u8]> {
    prefixed.chunks(RECORD_BYTES_MAX)
}

fn checked_length(length: usize) -> Result<u32, RecordError> {
    match u32::try_from(length) {
        Ok(short) if length > 0 && length <= MESSAGE_BYTES_MAX => Ok(short),
        Ok(_) | Err(_) => Err(RecordError::MessageLength { length }),
    }
}

/// Puts messages together from the plaintext of records in order.
#[derive(Debug, Default)]
pub struct Assembler {
    /// INVARIANT: less than one whole message, whose announced length was checked as soon as it was there.
    buffered: BytesMut,
}

impl Assembler {
    /// Takes one record and returns the messages that it completed.
    ///
    /// # Errors
    /// `RecordLength`, `MessageLength`. The stream cannot be read any further.
    pub fn push(&mut self, record: &[u8]) -> Result<Vec<Bytes>, RecordError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(RecordError::RecordLength { length: record.len() });
        }
        self.buffered.extend_from_slice(record);
        let mut messages = Vec::new();
        while let Some(prefix) = self.buffered.first_chunk::<PREFIX_BYTES>() {
            let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
            checked_length(length)?;
            if self.buffered.len() - PREFIX_BYTES < length {
                break;
            }
            self.buffered.advance(PREFIX_BYTES);
            messages.push(self.buffered.split_to(length).freeze());
        }
        Ok(messages)
    }
}

/// Puts numbered ciphertexts back in order and drops those that arrive twice.
#[derive(Debug, Default)]
pub struct Order {
    next: u32,
    waiting: BTreeMap<u32, Bytes>,
    waiting_bytes: usize,
}

impl Order {
    /// Takes one record and returns those that are now next, in order.
    ///
    /// # Errors
    /// `TooFarAhead`, `Exhausted`. The stream cannot be read any further.
    pub fn push(&mut self, seq: u32, record: Bytes) -> Result<Vec<Bytes>, RecordError> {
        if seq < self.next || self.waiting.contains_key(&seq) {
            return Ok(Vec::new());
        }
        if seq > self.next {
            self.wait(seq, record)?;
            return Ok(Vec::new());
        }
        let mut ready = vec![record];
        self.next = self.next.checked_add(1).ok_or(RecordError::Exhausted)?;
        while let Some(record) = self.waiting.remove(&self.next) {
            self.waiting_bytes -= record.len();
            self.next = self.next.checked_add(1).ok_or(RecordError::Exhausted)?;
            ready.push(record);
        }
        Ok(ready)
    }

    fn wait(&mut self, seq: u32, record: Bytes) -> Result<(), RecordError> {
        let waiting_bytes = self.waiting_bytes + record.len();
        if seq - self.next > AHEAD_MAX || waiting_bytes > WAITING_BYTES_MAX {
            return Err(RecordError::TooFarAhead { seq, expected: self.next });
        }
        self.waiting_bytes = waiting_bytes;
        self.waiting.insert(seq, record);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_have_one_written_form() {
        assert_eq!(prefixed(b"{}").expect("short enough")[..], [0, 0, 0, 2, b'{', b'}']);
        assert_eq!(prefixed(b""), Err(RecordError::MessageLength { length: 0 }));
        let long = vec![b' '; RECORD_BYTES_MAX];
        let lengths: Vec<_> = cut(&prefixed(&long).expect("short enough")).map(<[u8]>::len).collect();
        assert_eq!(lengths, [RECORD_BYTES_MAX, PREFIX_BYTES]);
    }

    #[test]
    fn a_length_is_refused_before_its_message_arrives() {
        let mut assembler = Assembler::default();
        let error = assembler.push(&(MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes()).expect_err("too long");
        assert_eq!(error, RecordError::MessageLength { length: MESSAGE_BYTES_MAX + 1 });
        assert_eq!(
            Assembler::default().push(&[0; 4]).expect_err("empty"),
            RecordError::MessageLength { length: 0 }
        );
        let length = RECORD_BYTES_MAX + 1;
        let error = Assembler::default().push(&vec![0; length]).expect_err("too long");
        assert_eq!(error, RecordError::RecordLength { length });
    }

    proptest! {
        /// However the bytes are cut, the messages are those that were written.
        #[test]
        fn messages_survive_any_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            sizes in prop::collection::vec(1_usize..17, 1..64),
        ) {
            let stream: Vec<u8> =
                messages.iter().flat_map(|message| prefixed(message).expect("short enough")).collect();
            let (mut rest, mut found, mut assembler) = (&stream[..], Vec::new(), Assembler::default());
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (record, after) = rest.split_at((*size).min(rest.len()));
                found.extend(assembler.push(record).expect("well formed"));
                rest = after;
            }
            prop_assert_eq!(found, messages);
        }

        /// However records of a window arrive, and however often, they leave once and in order.
        #[test]
        fn records_leave_in_order(order in Just((0..32_u32).collect::<Vec<_>>()).prop_shuffle()) {
            let (mut reorder, mut left) = (Order::default(), Vec::new());
            for seq in order.iter().flat_map(|seq| [seq, seq]) {
                let record = Bytes::from(seq.to_be_bytes().to_vec());
                left.extend(reorder.push(*seq, record).expect("within the window"));
            }
            let expected: Vec<_> = (0..32_u32).map(|seq| seq.to_be_bytes().to_vec()).collect();
            prop_assert_eq!(left, expected);
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut order = Order::default();
        let far = order.push(AHEAD_MAX + 1, Bytes::from_static(b"x")).expect_err("too far");
        assert_eq!(far, RecordError::TooFarAhead { seq: AHEAD_MAX + 1, expected: 0 });
        let half = Bytes::from(vec![0; WAITING_BYTES_MAX / 2]);
        assert!(order.push(1, half.clone()).expect("room").is_empty());
        assert!(order.push(2, half).expect("room").is_empty());
        assert!(order.push(3, Bytes::from_static(b"x")).is_err());
        assert_eq!(order.push(0, Bytes::from_static(b"x")).expect("next").len(), 3);
        assert!(order.push(2, Bytes::from_static(b"again")).expect("dropped").is_empty());
    }
}
