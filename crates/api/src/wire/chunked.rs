//! Where a chunked body ends (RFC 9112, section 7.1). The chunks themselves are passed on untouched. It
//! uses nothing of this crate, so that a fuzzer builds it alone.

/// Bytes of the extensions of one body: nobody uses them for anything but attacks.
const EXTENSIONS_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the trailers of one body.
const TRAILERS_BYTES_MAX: usize = 8 * 1024;
/// Hexadecimal digits of a chunk's size; sixteen would be all 64 bits.
const SIZE_DIGITS_MAX: u32 = 15;

/// Follows one chunked body.
#[derive(Debug, Clone)]
pub(super) struct Scanner {
    state: State,
    extensions: usize,
    trailers: usize,
}

/// ```text
///   Size ─▶ (Extension) ─▶ SizeLf ─▶ Data ─▶ DataCr ─▶ DataLf ─▶ Size
///                             │ size 0
///                             ▼
///                        LineStart ─▶ Line ─▶ LineLf ─▶ LineStart      (trailers)
///                             └─▶ LastLf ─▶ Done
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size { size: u64, digits: u32 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    LineStart,
    Line,
    LineLf,
    LastLf,
    Done,
}

/// The chunks are not framed as they must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Scanner {
    pub(super) fn new() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, extensions: 0, trailers: 0 }
    }

    /// Whether the body is over.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many of `bytes` belong to the body.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut used = 0;
        while used < bytes.len() && self.state != State::Done {
            if let State::Data { left } = self.state {
                let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - used);
                used += skipped;
                let left = left - skipped as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
            } else {
                self.state = self.after(bytes[used])?;
                used += 1;
            }
        }
        Ok(used)
    }

    fn after(&mut self, byte: u8) -> Result<State, Malformed> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS_MAX => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                State::Size { size: size * 16 + digit, digits: digits + 1 }
            }
            (State::Size { size, digits: 1.. }, b'\r') => State::SizeLf { size },
            (State::Size { size, digits: 1.. }, b';') => State::Extension { size },
            (State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Extension { size }, b'\t' | b' '..=b'~' | 0x80..)
                if self.extensions < EXTENSIONS_BYTES_MAX =>
            {
                self.extensions += 1;
                State::Extension { size }
            }
            (State::SizeLf { size: 0 }, b'\n') => State::LineStart,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::LineStart, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => State::Done,
            (State::Line, b'\r') => State::LineLf,
            (State::LineLf, b'\n') => State::LineStart,
            (State::LineStart | State::Line, b'\t' | b' '..=b'~' | 0x80..)
                if self.trailers < TRAILERS_BYTES_MAX =>
            {
                self.trailers += 1;
                State::Line
            }
            (
                State::Size { .. }
                | State::Extension { .. }
                | State::SizeLf { .. }
                | State::Data { .. }
                | State::DataCr
                | State::DataLf
                | State::LineStart
                | State::Line
                | State::LineLf
                | State::LastLf
                | State::Done,
                _,
            ) => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length of the body, however the bytes are cut.
    fn length(text: &str) -> Result<Option<usize>, Malformed> {
        let mut whole = Scanner::new();
        let at_once = whole.scan(text.as_bytes()).map(|used| whole.is_done().then_some(used));
        let mut scanner = Scanner::new();
        let mut total = 0;
        for byte in text.bytes() {
            match scanner.scan(&[byte]) {
                Ok(used) => total += used,
                Err(error) => {
                    assert_eq!(at_once, Err(error));
                    return Err(error);
                }
            }
        }
        assert_eq!(at_once, Ok(scanner.is_done().then_some(total)));
        at_once
    }

    #[test]
    fn finds_the_end() {
        assert_eq!(length("5\r\nhello\r\n0\r\n\r\nGET"), Ok(Some(15)));
        assert_eq!(length("0\r\n\r\n"), Ok(Some(5)));
        assert_eq!(length("A;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n"), Ok(Some(30)));
        assert_eq!(length("5\r\nhel"), Ok(None));
    }

    #[test]
    fn refuses_other_spellings() {
        for text in [
            "+5\r\n",
            "-1\r\n",
            "0x5\r\n",
            "\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\n",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "FFFFFFFFFFFFFFFFFFFF\r\n",
            "5;a\nb\r\n",
            "0\r\n\n",
            "g\r\n",
        ] {
            assert_eq!(length(text), Err(Malformed), "{text:?}");
        }
        assert_eq!(length(&format!("1;{}\r\n", "x".repeat(10_000))), Err(Malformed));
        assert_eq!(length(&format!("0\r\nA: {}\r\n\r\n", "x".repeat(10_000))), Err(Malformed));
    }
}
