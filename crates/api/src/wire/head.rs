//! One request head, judged before anything acts on it (RFC 9112, sections 2 to 6). It uses nothing of this
//! crate, so that a fuzzer builds it alone.

/// Bytes of a request target.
const URI_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a method; the longest registered one has seventeen.
const METHOD_BYTES_MAX: usize = 32;
/// Bytes of all headers together.
const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Headers of one request.
const HEADERS_MAX: usize = 100;
/// Bytes of ` HTTP/1.1` and the line end.
const VERSION_BYTES: usize = 11;

/// Why a request head was not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not a request line.
    RequestLine,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// The target is too long.
    UriTooLong,
    /// Too many header bytes or headers.
    HeadersTooLarge,
    /// A line does not end with a carriage return and a line feed.
    LineEnd,
    /// Not a header.
    Header,
    /// Where the body ends is not said, or said in more than one way.
    Framing,
    /// The head did not arrive in time.
    Timeout,
}

/// Where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After this many bytes.
    Length(u64),
    /// Where its chunks say.
    Chunked,
}

/// A head that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Its bytes, the empty line included.
    pub(super) length: usize,
    /// How its body ends.
    pub(super) framing: Framing,
}

/// Looks for a complete head at the beginning of `bytes`; nothing while more is needed.
pub(super) fn inspect(bytes: &[u8]) -> Result<Option<Head>, Refused> {
    let Some((line, mut rest)) = take_line(bytes)? else {
        let too_long = bytes.len() > METHOD_BYTES_MAX + URI_BYTES_MAX + VERSION_BYTES;
        return if too_long { Err(Refused::UriTooLong) } else { Ok(None) };
    };
    let is_http_11 = check_request_line(line)?;
    let mut fields = Fields { is_http_11, ..Fields::default() };
    let headers = rest.len();
    for count in 0.. {
        let taken = take_line(rest)?;
        let used = headers - taken.map_or(0, |(_, after)| after.len());
        if used > HEADERS_BYTES_MAX || count > HEADERS_MAX {
            return Err(Refused::HeadersTooLarge);
        }
        let Some((line, after)) = taken else { return Ok(None) };
        rest = after;
        if line.is_empty() {
            break;
        }
        fields.read(line)?;
    }
    Ok(Some(Head { length: bytes.len() - rest.len(), framing: fields.framing()? }))
}

/// The path that a head asks for, if its first line says so legibly.
pub(super) fn path_of(bytes: &[u8]) -> Option<&str> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let target = line.split(|byte| *byte == b' ').nth(1)?;
    let path = target.split(|byte| *byte == b'?').next()?;
    let is_plain = path.starts_with(b"/") && path.len() <= 1024 && path.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(path).ok().filter(|_| is_plain)
}

/// A line without its end, and what follows it.
type Cut<'a> = (&'a [u8], &'a [u8]);

/// Cuts the first line off; nothing while its end has not arrived.
fn take_line(bytes: &[u8]) -> Result<Option<Cut<'_>>, Refused> {
    let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)) else { return Ok(None) };
    match (bytes[end], bytes.get(end + 1)) {
        (b'\r', None) => Ok(None),
        (b'\r', Some(b'\n')) => Ok(Some((&bytes[..end], &bytes[end + 2..]))),
        (0, _) => Err(Refused::Header),
        (_, _) => Err(Refused::LineEnd),
    }
}

/// Whether the version is HTTP/1.1.
fn check_request_line(line: &[u8]) -> Result<bool, Refused> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refused::RequestLine);
    };
    if target.len() > URI_BYTES_MAX {
        return Err(Refused::UriTooLong);
    }
    let is_method =
        !method.is_empty() && method.len() <= METHOD_BYTES_MAX && method.iter().all(is_token_byte);
    let is_target = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
    match version {
        _ if !is_method || !is_target => Err(Refused::RequestLine),
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        other if other.starts_with(b"HTTP/") => Err(Refused::Version),
        _ => Err(Refused::RequestLine),
    }
}

/// What the headers say about the body.
#[derive(Default)]
struct Fields {
    is_http_11: bool,
    length: Option<u64>,
    chunked: bool,
}

impl Fields {
    fn read(&mut self, line: &[u8]) -> Result<(), Refused> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Refused::Header)?;
        let (name, value) = (&line[..colon], without_blanks(&line[colon + 1..]));
        // A folded line begins with a space, which is no token: it is refused here as well.
        let is_name = !name.is_empty() && name.iter().all(is_token_byte);
        let is_value = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
        if !is_name || !is_value {
            return Err(Refused::Header);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            // Two equal lengths are refused like two different ones: whoever sent them did not mean it.
            if self.length.replace(decimal(value).ok_or(Refused::Framing)?).is_some() {
                return Err(Refused::Framing);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_first = !std::mem::replace(&mut self.chunked, true);
            if !is_first || !self.is_http_11 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refused::Framing);
            }
        }
        Ok(())
    }

    fn framing(&self) -> Result<Framing, Refused> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Refused::Framing),
            (true, None) => Ok(Framing::Chunked),
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// Without the optional white space around a value (RFC 9110, section 5.6.3): blanks and tabs, and not the form
/// feed that ASCII counts among it.
fn without_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn decimal(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}

fn is_token_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &str, expected: Result<Option<Framing>, Refused>) {
        let found = inspect(head.as_bytes());
        if let Ok(Some(head_of)) = found {
            assert_eq!(head_of.length, head.len(), "{head:?}");
        }
        assert_eq!(found.map(|head| head.map(|head| head.framing)), expected, "{head:?}");
    }

    fn post(headers: &str) -> String {
        format!("POST /x HTTP/1.1\r\n{headers}\r\n")
    }

    #[test]
    fn passes_what_can_be_read_in_one_way() {
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(Some(Framing::Length(0))));
        check("GET / HTTP/1.0\r\n\r\n", Ok(Some(Framing::Length(0))));
        check(&post("Content-Length: 13\r\n"), Ok(Some(Framing::Length(13))));
        check(&post("content-length:\t13 \r\n"), Ok(Some(Framing::Length(13))));
        check(&post("Transfer-Encoding: Chunked\r\n"), Ok(Some(Framing::Chunked)));
        for part in [
            "",
            "G",
            "GET / HT",
            "GET / HTTP/1.1\r",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n\r",
        ] {
            check(part, Ok(None));
        }
    }

    #[test]
    fn refuses_what_two_readers_would_read_differently() {
        for headers in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +13\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x10\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            check(&post(headers), Err(Refused::Framing));
        }
        check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Err(Refused::Framing));
        for headers in [
            "Host : a\r\n",
            "Host: a\r\n folded\r\n",
            "A: b\0c\r\n",
            ": x\r\n",
            "plain\r\n",
            "A: \u{1}\r\n",
            "A: \u{c}\r\n",
            "Content-Length: \u{c}5\r\n",
        ] {
            check(&post(headers), Err(Refused::Header));
        }
        check("GET / HTTP/1.1\nHost: a\n\n", Err(Refused::LineEnd));
        check("GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n", Err(Refused::LineEnd));
        check("GET / HTTP/1.1\rHost: a\r\n\r\n", Err(Refused::LineEnd));
    }

    #[test]
    fn refuses_what_is_no_request_line() {
        for line in [
            "GET /",
            "GET  / HTTP/1.1",
            " GET / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "G{T / HTTP/1.1",
            "GET /\u{e9} HTTP/1.1",
        ] {
            check(&format!("{line}\r\n\r\n"), Err(Refused::RequestLine));
        }
        check("PRI * HTTP/2.0\r\n\r\n", Err(Refused::Version));
    }

    #[test]
    fn bounds_every_part() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(URI_BYTES_MAX));
        check(&long, Err(Refused::UriTooLong));
        check(&"a".repeat(100_000), Err(Refused::UriTooLong));
        check(&post(&format!("A: {}\r\n", "b".repeat(HEADERS_BYTES_MAX))), Err(Refused::HeadersTooLarge));
        check(
            &format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(HEADERS_BYTES_MAX)),
            Err(Refused::HeadersTooLarge),
        );
        check(&post(&"A: b\r\n".repeat(HEADERS_MAX)), Ok(Some(Framing::Length(0))));
        check(&post(&"A: b\r\n".repeat(HEADERS_MAX + 1)), Err(Refused::HeadersTooLarge));
    }

    #[test]
    fn knows_the_path_of_a_refused_head() {
        assert_eq!(path_of(b"GET /v1/agents?x HTTP/1.1\nA"), Some("/v1/agents"));
        for other in [&b"GET"[..], b"", b"GET http://x/ HTTP/1.1", b"GET /\xff HTTP/1.1"] {
            assert_eq!(path_of(other), None);
        }
    }
}
