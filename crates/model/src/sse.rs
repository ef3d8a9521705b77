//! Server-sent events, read incrementally from bytes cut anywhere.
//!
//! Follows the event stream format of the HTML standard (section 9.2.6) as a reader of model answers
//! needs it: `event` and `data` are kept, `id` and `retry` mean nothing without reconnection, and invalid
//! UTF-8 becomes U+FFFD as the standard says. An event without data is not an event. What follows the last
//! blank line is incomplete and never reported.

/// Bytes of one line. A finished response, images aside, repeats its whole output in one line.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of the data of one event, all its lines together.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

const _: () = assert!(LINE_BYTES_MAX <= EVENT_BYTES_MAX, "a legal line fits into an event");

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; empty if the server sent none.
    pub name: String,
    /// The `data` lines, joined by line feeds.
    pub data: String,
}

/// A stream that is not read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line is longer than [`LINE_BYTES_MAX`].
    #[error("a line of the event stream is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// An event is larger than [`EVENT_BYTES_MAX`].
    #[error("an event of the stream is larger than {EVENT_BYTES_MAX} bytes")]
    EventTooLarge,
}

/// The incremental reader.
#[derive(Debug)]
pub struct Decoder {
    line: Vec<u8>,
    after_carriage_return: bool,
    first_line: bool,
    name: String,
    data: String,
    has_data: bool,
    line_bytes_max: usize,
    event_bytes_max: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A reader at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(LINE_BYTES_MAX, EVENT_BYTES_MAX)
    }

    fn with_limits(line_bytes_max: usize, event_bytes_max: usize) -> Self {
        Self {
            line: Vec::new(),
            after_carriage_return: false,
            first_line: true,
            name: String::new(),
            data: String::new(),
            has_data: false,
            line_bytes_max,
            event_bytes_max,
        }
    }

    /// Reads `bytes` and appends every event they complete to `events`.
    ///
    /// # Errors
    /// A limit is passed. Events completed before that are in `events`.
    pub fn feed(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), SseError> {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_carriage_return) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + part.len() > self.line_bytes_max {
                return Err(SseError::LineTooLong);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { return Ok(()) };
            self.after_carriage_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.end_line(events)?;
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<Event>) -> Result<(), SseError> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let mut text: &str = &text;
        if std::mem::take(&mut self.first_line) {
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        if text.is_empty() {
            self.dispatch(events);
        } else if !text.starts_with(':') {
            let (field, value) = text.split_once(':').unwrap_or((text, ""));
            self.field(field, value.strip_prefix(' ').unwrap_or(value))?;
        }
        // The buffer is used again, so that a stream of short lines allocates once.
        self.line = line;
        self.line.clear();
        Ok(())
    }

    fn field(&mut self, field: &str, value: &str) -> Result<(), SseError> {
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.data.len() + value.len() + 1 > self.event_bytes_max {
                    return Err(SseError::EventTooLarge);
                }
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            events.push(Event { name, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut decoder = Decoder::new();
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.feed(chunk, &mut events).expect("within limits");
        }
        events.into_iter().map(|event| (event.name, event.data)).collect()
    }

    #[track_caller]
    fn check(stream: &str, expected: &[(&str, &str)]) {
        let bytes = stream.as_bytes();
        let expected: Vec<_> =
            expected.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect();
        assert_eq!(read(&[bytes]), expected, "whole");
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single), expected, "byte by byte");
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(read(&[head, tail]), expected, "split at {at}");
        }
    }

    #[test]
    fn reads_events_however_they_are_cut() {
        check("data: a\n\n", &[("", "a")]);
        check("event: x\ndata: a\n\n", &[("x", "a")]);
        check("event: x\r\ndata: a\r\n\r\ndata: b\r\n\r\n", &[("x", "a"), ("", "b")]);
        check("data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]);
        check("data: a\r\n\ndata: b\n\r\n", &[("", "a"), ("", "b")]);
        check("data: a\ndata: b\ndata\n\n", &[("", "a\nb\n")]);
        check(": comment\ndata: a\n: another\n\n", &[("", "a")]);
        check("data:a\ndata:  b\n\n", &[("", "a\n b")]);
        check("id: 7\nretry: 10\ndata: a\nwhatever: b\n\n", &[("", "a")]);
        check("event: only a name\n\ndata: a\n\n", &[("", "a")]);
        check("data\n\n", &[("", "")]);
        check("\n\n\ndata: a\n\n\n", &[("", "a")]);
        check("data: incomplete\n", &[]);
        check("\u{feff}data: a\n\ndata: \u{feff}é€🙂\n\n", &[("", "a"), ("", "\u{feff}é€🙂")]);
    }

    #[test]
    fn invalid_bytes_become_the_replacement_character() {
        assert_eq!(read(&[b"data: a\xffb\n\n"]), [(String::new(), "a\u{fffd}b".to_owned())]);
    }

    #[test]
    fn limits_lines_and_events() {
        let cases: [(&str, Result<usize, SseError>); 4] = [
            ("data: 45\n\n", Ok(1)),
            ("data: a\n\ndata: 456\n\n", Err(SseError::LineTooLong)),
            ("data: 1\ndata: 2\n\n", Ok(1)),
            ("data: 12\ndata: 34\n\n", Err(SseError::EventTooLarge)),
        ];
        for (stream, expected) in cases {
            for size in [1, 3, stream.len()] {
                let mut decoder = Decoder::with_limits(8, 4);
                let mut events = Vec::new();
                let outcome =
                    stream.as_bytes().chunks(size).try_for_each(|chunk| decoder.feed(chunk, &mut events));
                assert_eq!(outcome.map(|()| events.len()), expected, "{stream:?} in pieces of {size}");
            }
        }
    }
}
