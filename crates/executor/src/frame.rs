//! The frames of the relay: `RelayMessageFrame` of `codex.exec_server.relay.v1`, in protobuf's wire format.
//!
//! Written by hand because it is one message of twelve fields. Unknown fields are skipped, as protobuf
//! asks; a known field of another wire type is an error. A frame that exists has been checked: version,
//! stream id and body are what the protocol allows, so nothing behind it asks again.

use bytes::Bytes;

/// The one version there is.
const VERSION: u64 = 1;
/// Bytes of a stream id. Ours are UUIDs of 36; the executor refuses more than this.
pub const STREAM_ID_BYTES_MAX: usize = 128;
/// Bytes of the reason in a reset.
pub const RESET_REASON_BYTES_MAX: usize = 256;
/// Bytes of one WebSocket message that carries a frame; larger ones close the socket.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// One routed frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which of the conversations that share the socket this belongs to.
    pub stream: StreamId,
    /// What it carries.
    pub body: Body,
}

/// The name of one conversation on a socket: not empty, without blanks around it, at most 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(String);

/// What a frame carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// One encrypted record, numbered from 0 in each direction.
    Data {
        /// The record's number.
        seq: u32,
        /// Its ciphertext; never empty.
        payload: Bytes,
    },
    /// An acknowledgement. Nobody waits for one on a socket that is ordered and reliable; read and ignored.
    Ack,
    /// Claims the stream. Sent once, before the handshake.
    Resume {
        /// The number of the sender's next record, always 0 here.
        next_seq: u32,
    },
    /// Ends the stream.
    Reset {
        /// Why, for a log.
        reason: String,
    },
    /// Says that the other side lives.
    Heartbeat,
    /// One message of the handshake.
    Handshake {
        /// Its bytes; never empty.
        payload: Bytes,
    },
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More than [`FRAME_BYTES_MAX`] bytes.
    #[error("the frame is larger than a socket's message may be")]
    TooLarge,
    /// The bytes end inside a field.
    #[error("the frame ends in the middle of field {field}")]
    Truncated {
        /// The number of the field.
        field: u64,
    },
    /// A number, tag or wire type that protobuf does not know.
    #[error("the frame is not protobuf: {0}")]
    NotProtobuf(&'static str),
    /// A value that the protocol does not allow.
    #[error("`{field}` of the frame is {problem}")]
    Invalid {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl StreamId {
    /// # Errors
    /// Empty, too long, or blanks around it.
    pub fn new(id: impl Into<String>) -> Result<Self, FrameError> {
        let id = id.into();
        let problem = match id.as_str() {
            "" => "missing",
            text if text.len() > STREAM_ID_BYTES_MAX => "too long",
            text if text.trim() != text => "surrounded by blanks",
            _ => return Ok(Self(id)),
        };
        Err(FrameError::Invalid { field: "stream_id", problem })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Frame {
    /// The frame in protobuf's wire format, fields in order of their numbers, defaults left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.stream.0.len() + body_bytes(&self.body) + 40);
        put_number(&mut out, 1, VERSION);
        put_bytes(&mut out, 2, self.stream.0.as_bytes());
        let mut inner = Vec::new();
        let field = match &self.body {
            Body::Data { seq, payload } => {
                inner.reserve(payload.len() + 16);
                put_number(&mut inner, 1, u64::from(*seq));
                put_number(&mut inner, 3, 1);
                put_bytes(&mut inner, 4, payload);
                5
            }
            Body::Ack => 6,
            Body::Resume { next_seq } => {
                put_number(&mut inner, 1, u64::from(*next_seq));
                7
            }
            Body::Reset { reason } => {
                put_bytes(&mut inner, 1, reason.as_bytes());
                8
            }
            Body::Heartbeat => 9,
            Body::Handshake { payload } => {
                put_bytes(&mut inner, 1, payload);
                10
            }
        };
        put_field(&mut out, field, &inner);
        out
    }

    /// Reads one frame from exactly these bytes; payloads share them.
    ///
    /// # Errors
    /// Anything that is not a frame of version 1, see [`FrameError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, FrameError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge);
        }
        let (mut version, mut stream, mut body) = (0, String::new(), None);
        let mut fields = Fields::of(bytes.clone());
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => version = value.number("version")?,
                2 => stream = value.text("stream_id")?,
                5 => body = Some(data(value.message("data")?)?),
                6 => body = Some(value.message("ack_frame").map(|_| Body::Ack)?),
                7 => body = Some(resume(value.message("resume")?)?),
                8 => body = Some(reset(value.message("reset")?)?),
                9 => body = Some(value.message("heartbeat").map(|_| Body::Heartbeat)?),
                10 => body = Some(handshake(value.message("handshake")?)?),
                // 3 and 4 acknowledge on the side; see `Body::Ack`.
                _ => {}
            }
        }
        if version != VERSION {
            return Err(FrameError::Invalid { field: "version", problem: "not 1" });
        }
        let body = body.ok_or(FrameError::Invalid { field: "body", problem: "missing" })?;
        Ok(Self { stream: StreamId::new(stream)?, body })
    }
}

fn data(mut fields: Fields) -> Result<Body, FrameError> {
    let (mut seq, mut index, mut count, mut payload) = (0, 0, 0, Bytes::new());
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => seq = value.number("data.seq")?,
            2 => index = value.number("data.segment_index")?,
            3 => count = value.number("data.segment_count")?,
            4 => payload = value.bytes("data.payload")?,
            _ => {}
        }
    }
    if (index, count) != (0, 1) {
        return Err(FrameError::Invalid { field: "data.segment_count", problem: "not one segment" });
    }
    Ok(Body::Data { seq: narrow("data.seq", seq)?, payload: non_empty("data.payload", payload)? })
}

fn resume(mut fields: Fields) -> Result<Body, FrameError> {
    let mut next_seq = 0;
    while let Some((field, value)) = fields.next()? {
        if field == 1 {
            next_seq = value.number("resume.next_seq")?;
        }
    }
    Ok(Body::Resume { next_seq: narrow("resume.next_seq", next_seq)? })
}

fn reset(mut fields: Fields) -> Result<Body, FrameError> {
    let mut reason = String::new();
    while let Some((field, value)) = fields.next()? {
        if field == 1 {
            reason = value.text("reset.reason")?;
        }
    }
    if reason.is_empty() || reason.len() > RESET_REASON_BYTES_MAX {
        return Err(FrameError::Invalid { field: "reset.reason", problem: "missing or too long" });
    }
    Ok(Body::Reset { reason })
}

fn handshake(mut fields: Fields) -> Result<Body, FrameError> {
    let mut payload = Bytes::new();
    while let Some((field, value)) = fields.next()? {
        if field == 1 {
            payload = value.bytes("handshake.payload")?;
        }
    }
    Ok(Body::Handshake { payload: non_empty("handshake.payload", payload)? })
}

fn narrow(field: &'static str, number: u64) -> Result<u32, FrameError> {
    u32::try_from(number).map_err(|_| FrameError::Invalid { field, problem: "larger than 32 bits" })
}

fn non_empty(field: &'static str, bytes: Bytes) -> Result<Bytes, FrameError> {
    if bytes.is_empty() { Err(FrameError::Invalid { field, problem: "missing" }) } else { Ok(bytes) }
}

fn body_bytes(body: &Body) -> usize {
    match body {
        Body::Data { payload, .. } | Body::Handshake { payload } => payload.len(),
        Body::Reset { reason } => reason.len(),
        Body::Ack | Body::Resume { .. } | Body::Heartbeat => 0,
    }
}

/// The fields of one message, in the order in which they are written.
struct Fields {
    rest: Bytes,
}

/// A field's value, by wire type.
enum Value {
    Number(u64),
    Bytes(Bytes),
    /// Four or eight fixed bytes, which no field of ours has.
    Fixed,
}

impl Fields {
    fn of(rest: Bytes) -> Self {
        Self { rest }
    }

    fn next(&mut self) -> Result<Option<(u64, Value)>, FrameError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.number(0)?;
        let field = tag >> 3;
        if field == 0 {
            return Err(FrameError::NotProtobuf("field number 0"));
        }
        let value = match tag & 7 {
            0 => Value::Number(self.number(field)?),
            1 => self.take(field, 8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.number(field)?;
                Value::Bytes(self.take(field, length)?)
            }
            5 => self.take(field, 4).map(|_| Value::Fixed)?,
            _ => return Err(FrameError::NotProtobuf("a wire type that is no longer used")),
        };
        Ok(Some((field, value)))
    }

    /// A base-128 number: seven bits a byte, least significant first, at most ten bytes.
    fn number(&mut self, field: u64) -> Result<u64, FrameError> {
        let mut number: u64 = 0;
        for (index, byte) in self.rest.iter().copied().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                return Err(FrameError::NotProtobuf("a number of more than 64 bits"));
            }
            number |= bits << (7 * index);
            if byte & 0x80 == 0 {
                let _ = self.rest.split_to(index + 1);
                return Ok(number);
            }
        }
        if self.rest.len() < 10 {
            return Err(FrameError::Truncated { field });
        }
        Err(FrameError::NotProtobuf("a number of more than ten bytes"))
    }

    fn take(&mut self, field: u64, length: u64) -> Result<Bytes, FrameError> {
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(self.rest.split_to(length)),
            Ok(_) | Err(_) => Err(FrameError::Truncated { field }),
        }
    }
}

impl Value {
    fn number(self, field: &'static str) -> Result<u64, FrameError> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(_) | Self::Fixed => Err(FrameError::Invalid { field, problem: "not a number" }),
        }
    }

    fn bytes(self, field: &'static str) -> Result<Bytes, FrameError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Fixed => Err(FrameError::Invalid { field, problem: "not bytes" }),
        }
    }

    fn text(self, field: &'static str) -> Result<String, FrameError> {
        let bytes = self.bytes(field)?;
        String::from_utf8(bytes.into()).map_err(|_| FrameError::Invalid { field, problem: "not UTF-8" })
    }

    fn message(self, field: &'static str) -> Result<Fields, FrameError> {
        self.bytes(field).map(Fields::of)
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A number, left out when it is 0.
fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    if number != 0 {
        put_varint(out, field << 3);
        put_varint(out, number);
    }
}

/// Bytes, left out when there are none.
fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_field(out, field, bytes);
    }
}

/// Bytes or a message, written even when empty: which field of a oneof is set is what counts.
fn put_field(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: Body) -> Frame {
        Frame { stream: StreamId::new("s").expect("valid"), body }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    }

    fn unhex(text: &str) -> Bytes {
        text.split_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16).expect("hex"))
            .collect::<Vec<_>>()
            .into()
    }

    /// The bytes are what `protoc --encode` makes of the same message.
    #[test]
    fn frames_have_one_written_form() {
        let data = |seq, payload: &'static [u8]| Body::Data { seq, payload: Bytes::from_static(payload) };
        for (body, expected) in [
            (data(0, b"x"), "08 01 12 01 73 2a 05 18 01 22 01 78"),
            (data(300, b"xy"), "08 01 12 01 73 2a 09 08 ac 02 18 01 22 02 78 79"),
            (Body::Ack, "08 01 12 01 73 32 00"),
            (Body::Resume { next_seq: 0 }, "08 01 12 01 73 3a 00"),
            (Body::Resume { next_seq: 1 }, "08 01 12 01 73 3a 02 08 01"),
            (Body::Reset { reason: "bad".into() }, "08 01 12 01 73 42 05 0a 03 62 61 64"),
            (Body::Heartbeat, "08 01 12 01 73 4a 00"),
            (Body::Handshake { payload: Bytes::from_static(b"h") }, "08 01 12 01 73 52 03 0a 01 68"),
        ] {
            let frame = frame(body);
            assert_eq!(hex(&frame.encode()), expected, "{frame:?}");
            assert_eq!(Frame::decode(&unhex(expected)).expect("reads back"), frame);
        }
    }

    #[test]
    fn what_is_not_a_frame_says_why() {
        for (bytes, expected) in [
            ("", "`version` of the frame is not 1"),
            ("08 02 12 01 73 4a 00", "`version` of the frame is not 1"),
            ("08 01 4a 00", "`stream_id` of the frame is missing"),
            ("08 01 12 02 20 73 4a 00", "`stream_id` of the frame is surrounded by blanks"),
            ("08 01 12 01 ff 4a 00", "`stream_id` of the frame is not UTF-8"),
            ("08 01 12 01 73", "`body` of the frame is missing"),
            ("08 01 12 01 73 2a 04 18 02 22 00", "`data.segment_count` of the frame is not one segment"),
            ("08 01 12 01 73 2a 02 18 01", "`data.payload` of the frame is missing"),
            ("08 01 12 01 73 52 00", "`handshake.payload` of the frame is missing"),
            ("08 01 12 01 73 42 00", "`reset.reason` of the frame is missing or too long"),
            ("08 01 12 01 73 28 01", "`data` of the frame is not bytes"),
            ("0a 01 78", "`version` of the frame is not a number"),
            ("08 01 12 05 73", "the frame ends in the middle of field 2"),
            ("08 ff", "the frame ends in the middle of field 1"),
            ("08 ff ff ff ff ff ff ff ff ff 02", "the frame is not protobuf: a number of more than 64 bits"),
            ("0b", "the frame is not protobuf: a wire type that is no longer used"),
            ("00 01", "the frame is not protobuf: field number 0"),
        ] {
            let error = Frame::decode(&unhex(bytes)).expect_err(bytes);
            assert_eq!(error.to_string(), expected, "{bytes}");
        }
        let large = Bytes::from(vec![0; FRAME_BYTES_MAX + 1]);
        assert_eq!(Frame::decode(&large), Err(FrameError::TooLarge));
    }

    /// Acknowledgements on the side, an unknown field of each wire type, and the last body of two.
    #[test]
    fn what_is_unknown_is_skipped() {
        let bytes =
            "08 01 12 01 73 18 05 20 07 78 01 79 00 00 00 00 00 00 00 00 7a 01 00 7d 00 00 00 00 32 00 4a 00";
        assert_eq!(Frame::decode(&unhex(bytes)).expect("a frame"), frame(Body::Heartbeat));
    }
}
