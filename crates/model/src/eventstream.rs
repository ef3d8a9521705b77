//! The framing of Amazon's event streams, read incrementally from bytes cut anywhere.
//!
//! A frame is its length, the length of its headers and a checksum of both, the headers, the payload and a
//! checksum of everything: `application/vnd.amazon.eventstream`. Both checksums are CRC-32 as in gzip. A frame
//! whose checksum is wrong ends the stream: what follows has no beginning that could be trusted.

use crate::sse;

/// Bytes of one frame. Bedrock sends tokens; the format itself allows more.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of the headers of one frame, as the format limits them.
pub const HEADER_BYTES_MAX: usize = 128 * 1024;

const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;
const FRAME_BYTES_MIN: usize = PRELUDE_BYTES + CHECKSUM_BYTES;

const _: () = assert!(HEADER_BYTES_MAX < FRAME_BYTES_MAX, "headers are a part of their frame");

/// A stream that is not read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventStreamError {
    /// A frame is longer than [`FRAME_BYTES_MAX`] or shorter than what every frame has.
    #[error("a frame of the event stream has an impossible length")]
    Length,
    /// A checksum is wrong.
    #[error("a frame of the event stream arrived damaged")]
    Checksum,
    /// A header is not one.
    #[error("a frame of the event stream has a broken header")]
    Header,
}

/// The incremental reader.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    /// A reader at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `bytes` and appends every event they complete to `events`: its name is the kind of event or of
    /// exception, its data the payload. A frame that is neither an event nor an exception is an exception of an
    /// unknown name.
    ///
    /// # Errors
    /// A frame is damaged or too large. Events completed before that are in `events`.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<sse::Event>) -> Result<(), EventStreamError> {
        self.held.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(length) = frame_length(&self.held[at..])? {
            if self.held.len() - at < length {
                break;
            }
            events.push(event(&self.held[at..at + length])?);
            at += length;
        }
        self.held.drain(..at);
        Ok(())
    }
}

/// The length of the frame that begins here, once that is known.
fn frame_length(bytes: &[u8]) -> Result<Option<usize>, EventStreamError> {
    let Some(prelude) = bytes.first_chunk::<PRELUDE_BYTES>() else { return Ok(None) };
    if number(&prelude[8..]) != crc32(&prelude[..8]) {
        return Err(EventStreamError::Checksum);
    }
    let (length, headers) = (number(prelude) as usize, number(&prelude[4..]) as usize);
    let fits = (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&length)
        && headers <= HEADER_BYTES_MAX
        && headers <= length - FRAME_BYTES_MIN;
    if fits { Ok(Some(length)) } else { Err(EventStreamError::Length) }
}

/// Reads a whole frame, whose prelude was checked.
fn event(frame: &[u8]) -> Result<sse::Event, EventStreamError> {
    let (body, checksum) = frame.split_at(frame.len() - CHECKSUM_BYTES);
    if number(checksum) != crc32(body) {
        return Err(EventStreamError::Checksum);
    }
    let headers_end = PRELUDE_BYTES + number(&body[4..]) as usize;
    let mut headers = &body[PRELUDE_BYTES..headers_end];
    let (mut kind, mut name) = (String::new(), None);
    while !headers.is_empty() {
        let (key, value) = header(&mut headers)?;
        match key {
            ":message-type" => kind = value.unwrap_or_default().to_owned(),
            ":event-type" | ":exception-type" => name = value.map(str::to_owned),
            _ => {}
        }
    }
    let name = match (kind.as_str(), name) {
        ("event" | "exception", Some(name)) => name,
        _ => "UnknownException".to_owned(),
    };
    Ok(sse::Event { name, data: String::from_utf8_lossy(&body[headers_end..]).into_owned() })
}

/// Takes one header off: its name, and its value where that is text.
fn header<'b>(bytes: &mut &'b [u8]) -> Result<(&'b str, Option<&'b str>), EventStreamError> {
    let name_length = usize::from(take(bytes, 1)?[0]);
    let name = text(take(bytes, name_length)?)?;
    let value = match take(bytes, 1)?[0] {
        // True and false; a byte, two, four, eight of them; a time; an id.
        0 | 1 => None,
        2 => ignored(take(bytes, 1)?),
        3 => ignored(take(bytes, 2)?),
        4 => ignored(take(bytes, 4)?),
        5 | 8 => ignored(take(bytes, 8)?),
        9 => ignored(take(bytes, 16)?),
        kind @ (6 | 7) => {
            let length = take(bytes, 2)?;
            let value = take(bytes, usize::from(u16::from_be_bytes([length[0], length[1]])))?;
            if kind == 7 { Some(text(value)?) } else { None }
        }
        _ => return Err(EventStreamError::Header),
    };
    Ok((name, value))
}

fn ignored(_: &[u8]) -> Option<&str> {
    None
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Result<&'b [u8], EventStreamError> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(EventStreamError::Header)?;
    *bytes = rest;
    Ok(taken)
}

fn text(bytes: &[u8]) -> Result<&str, EventStreamError> {
    std::str::from_utf8(bytes).map_err(|_| EventStreamError::Header)
}

/// The first four bytes as a number; the caller knows that they are there.
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// A frame with these text headers, for servers that stand in for a provider.
#[must_use]
pub fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        written.extend_from_slice(name.as_bytes());
        written.push(7);
        written.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    let length = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::new();
    frame.extend_from_slice(&length(FRAME_BYTES_MIN + written.len() + payload.len()));
    frame.extend_from_slice(&length(written.len()));
    frame.extend_from_slice(&crc32(&frame).to_be_bytes());
    frame.extend_from_slice(&written);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32(&frame).to_be_bytes());
    frame
}

/// CRC-32 as in gzip (RFC 1952, section 8), a table of all bytes made when it is compiled.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut value = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[byte] = value;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> (Vec<(String, String)>, Result<(), EventStreamError>) {
        let mut decoder = Decoder::new();
        let mut events = Vec::new();
        let outcome = chunks.iter().try_for_each(|chunk| decoder.feed(chunk, &mut events));
        (events.into_iter().map(|event| (event.name, event.data)).collect(), outcome)
    }

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    /// The frame that the format's own documentation of test vectors gives for `{'foo':'bar'}` with one header.
    #[test]
    fn writes_what_others_write() {
        let frame = encode(&[("content-type", "application/json")], b"{'foo':'bar'}");
        assert_eq!(&frame[..8], [0, 0, 0, 0x3d, 0, 0, 0, 0x20]);
        assert_eq!(&frame[8..12], [0x07, 0xfd, 0x83, 0x96]);
        assert_eq!(&frame[frame.len() - 4..], [0x8d, 0x9c, 0x08, 0xb1]);
    }

    #[test]
    fn reads_frames_however_they_are_cut() {
        let event = [(":message-type", "event"), (":event-type", "metadata")];
        let exception = [(":message-type", "exception"), (":exception-type", "throttlingException")];
        let bytes = [
            encode(&event, b"{}"),
            encode(&exception, "é".as_bytes()),
            encode(&[(":message-type", "error"), (":error-code", "x")], b""),
        ]
        .concat();
        let expected = [("metadata", "{}"), ("throttlingException", "é"), ("UnknownException", "")];
        let expected: Vec<_> =
            expected.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single), (expected.clone(), Ok(())), "byte by byte");
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(read(&[head, tail]), (expected.clone(), Ok(())), "split at {at}");
        }
    }

    #[test]
    fn every_damaged_byte_is_found() {
        let frame = encode(&[(":message-type", "event"), (":event-type", "metadata")], b"{\"a\":1}");
        for at in 0..frame.len() {
            let mut damaged = frame.clone();
            damaged[at] ^= 0x20;
            let (events, outcome) = read(&[&damaged]);
            assert!(events.is_empty() && outcome.is_err(), "byte {at}: {events:?}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for (length, headers) in
            [(15_u32, 0_u32), (16, 1), (u32::MAX, 0), (40, 30), (0x0100_0001, 0x0002_0001)]
        {
            let mut prelude = [length.to_be_bytes(), headers.to_be_bytes()].concat();
            prelude.extend_from_slice(&crc32(&prelude).to_be_bytes());
            assert_eq!(read(&[&prelude]).1, Err(EventStreamError::Length), "{length} {headers}");
        }
    }

    #[test]
    fn all_kinds_of_headers_are_passed_over() {
        let mut headers = Vec::new();
        for (kind, bytes) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
            headers.extend_from_slice(&[1, b'h', kind]);
            headers.extend(std::iter::repeat_n(0, bytes));
        }
        headers.extend_from_slice(&[1, b'h', 6, 0, 2, 1, 2]);
        for (tail, expected) in [(&[][..], Ok(())), (&[1, b'h', 10], Err(EventStreamError::Header))] {
            let mut frame = Vec::new();
            let headers = [&headers[..], tail].concat();
            frame.extend_from_slice(&u32::try_from(16 + headers.len()).expect("small").to_be_bytes());
            frame.extend_from_slice(&u32::try_from(headers.len()).expect("small").to_be_bytes());
            frame.extend_from_slice(&crc32(&frame).to_be_bytes());
            frame.extend_from_slice(&headers);
            frame.extend_from_slice(&crc32(&frame).to_be_bytes());
            assert_eq!(read(&[&frame]).1, expected);
        }
    }
}
