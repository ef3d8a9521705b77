//! `multipart/form-data` as it comes (RFC 7578; RFC 2046, section 5.1), piece by piece.
//!
//! Whatever is sent, no more is kept than the piece that was pushed last, a delimiter and one part's head. The
//! libraries that do this keep everything that has arrived, so that a fast sender decides how much memory it takes.
//!
//! ```text
//!             delimiter             line end            empty line
//!   Preamble ──────────▶ Delimiter ──────────▶ Head ───────────────▶ Content
//!                          │  ▲                                        │
//!                       `--│  └────────────────────────────────────────┘ delimiter
//!                          ▼
//!                        Done: what follows is left alone
//! ```

/// Bytes of one part's head.
pub(crate) const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Characters of a boundary (RFC 2046, section 5.1.1).
const BOUNDARY_CHARS_MAX: usize = 70;
/// White space that may follow a delimiter on its line.
const PADDING_BYTES_MAX: usize = 64;

/// What is read next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part begins.
    Part(Head),
    /// The next bytes of its content, at least one.
    Content(Vec<u8>),
    /// The part ends.
    PartEnd,
    /// The form ends.
    End,
}

/// What a part says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The member it is.
    pub(crate) name: String,
    /// The file it is, with the directories that a browser or a client says.
    pub(crate) file_name: Option<String>,
}

/// Why bytes are no form. Each text completes "the form …".
pub(crate) type Mistake = &'static str;

/// Reads one form.
pub(crate) struct Parser {
    /// A line end, two hyphens, the boundary.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Delimiter,
    Head,
    Content,
    Done,
}

/// Where a delimiter is.
enum Place {
    /// There.
    At(usize),
    /// Nowhere before there, where one may begin.
    NotBefore(usize),
}

/// The boundary that a `Content-Type` names; nothing if it is not that of a form, or names none.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let (essence, mut rest) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    while let Some((name, value, after)) = parameter(rest) {
        if name.eq_ignore_ascii_case("boundary") {
            let is_fit = (1..=BOUNDARY_CHARS_MAX).contains(&value.len());
            return Some(value)
                .filter(|value| is_fit && value.bytes().all(|byte| (b' '..0x7f).contains(&byte)));
        }
        rest = after;
    }
    None
}

impl Parser {
    pub(crate) fn new(boundary: &str) -> Self {
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first delimiter has no line end before it where there is no preamble.
        Self { delimiter, buffer: b"\r\n".to_vec(), state: State::Preamble }
    }

    /// Takes the next bytes. Ask [`Parser::next`] until it wants more before the next piece.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self.state {
            State::Done => {}
            State::Preamble | State::Delimiter | State::Head | State::Content => {
                self.buffer.extend_from_slice(bytes);
            }
        }
    }

    /// The next event, or nothing until more bytes come.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Mistake> {
        loop {
            match self.state {
                State::Preamble => match self.delimiter() {
                    Place::At(at) => {
                        self.buffer.drain(..at + self.delimiter.len());
                        self.state = State::Delimiter;
                    }
                    Place::NotBefore(at) => {
                        self.buffer.drain(..at);
                        return Ok(None);
                    }
                },
                State::Delimiter => match self.after_delimiter()? {
                    None => return Ok(None),
                    Some(State::Done) => {
                        self.buffer = Vec::new();
                        self.state = State::Done;
                        return Ok(Some(Event::End));
                    }
                    Some(state) => self.state = state,
                },
                State::Head => {
                    let Some(head) = self.head()? else { return Ok(None) };
                    self.state = State::Content;
                    return Ok(Some(Event::Part(head)));
                }
                State::Content => {
                    let (content, ends) = match self.delimiter() {
                        Place::At(at) => (at, at == 0),
                        Place::NotBefore(at) => (at, false),
                    };
                    if ends {
                        self.buffer.drain(..self.delimiter.len());
                        self.state = State::Delimiter;
                        return Ok(Some(Event::PartEnd));
                    }
                    if content == 0 {
                        return Ok(None);
                    }
                    return Ok(Some(Event::Content(self.buffer.drain(..content).collect())));
                }
                State::Done => return Ok(None),
            }
        }
    }

    /// Whether the bytes may end here.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The first delimiter in the buffer, or what may be the beginning of one at its end.
    fn delimiter(&self) -> Place {
        let mut from = 0;
        while let Some(found) = self.buffer[from..].iter().position(|byte| *byte == b'\r') {
            let at = from + found;
            let rest = &self.buffer[at..];
            if rest.starts_with(&self.delimiter) {
                return Place::At(at);
            }
            if self.delimiter.starts_with(rest) {
                return Place::NotBefore(at);
            }
            from = at + 1;
        }
        Place::NotBefore(self.buffer.len())
    }

    /// What the rest of a delimiter's line says: that a part follows, or that the form is done.
    fn after_delimiter(&mut self) -> Result<Option<State>, Mistake> {
        if self.buffer.starts_with(b"--") {
            return Ok(Some(State::Done));
        }
        let padding = self.buffer.iter().take_while(|byte| matches!(**byte, b' ' | b'\t')).count();
        let rest = &self.buffer[padding..];
        if padding > PADDING_BYTES_MAX {
            return Err("has too much white space after a boundary");
        }
        if rest.starts_with(b"\r\n") {
            self.buffer.drain(..padding + 2);
            return Ok(Some(State::Head));
        }
        let may_go_on = b"\r\n".starts_with(rest) || (padding == 0 && b"--".starts_with(rest));
        if may_go_on { Ok(None) } else { Err("has something after a boundary on its line") }
    }

    fn head(&mut self) -> Result<Option<Head>, Mistake> {
        // A head without a header is an empty line at once.
        let end = if self.buffer.starts_with(b"\r\n") {
            Some(0)
        } else {
            let window = &self.buffer[..self.buffer.len().min(HEAD_BYTES_MAX)];
            window.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 2)
        };
        let Some(end) = end else {
            if self.buffer.len() >= HEAD_BYTES_MAX {
                return Err("has a part whose head is too long");
            }
            return Ok(None);
        };
        let lines: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
        let lines = std::str::from_utf8(&lines).map_err(|_| "has a part whose head is not UTF-8")?;
        let mut head = None;
        for line in lines.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or("has a part with a line that is no header")?;
            if name.eq_ignore_ascii_case("content-disposition") && head.replace(disposition(value)?).is_some()
            {
                return Err("has a part with two dispositions");
            }
            if name.eq_ignore_ascii_case("content-transfer-encoding") && !is_plain_encoding(value.trim()) {
                return Err("has a part in a transfer encoding; send its bytes as they are");
            }
        }
        head.map(Some).ok_or("has a part without a `Content-Disposition`")
    }
}

fn is_plain_encoding(value: &str) -> bool {
    ["7bit", "8bit", "binary"].iter().any(|plain| plain.eq_ignore_ascii_case(value))
}

fn disposition(value: &str) -> Result<Head, Mistake> {
    let (kind, mut rest) = value.split_once(';').unwrap_or((value, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err("has a part that is no form data");
    }
    let (mut member, mut file_name, mut extended) = (None, None, None);
    while let Some((name, value, after)) = parameter(rest) {
        let place = match name.to_ascii_lowercase().as_str() {
            "name" => &mut member,
            "filename" => &mut file_name,
            "filename*" => &mut extended,
            _ => {
                rest = after;
                continue;
            }
        };
        if place.replace(value).is_some() {
            return Err("has a part with two names");
        }
        rest = after;
    }
    if !rest.trim_matches([' ', '\t', ';']).is_empty() {
        return Err("has a part with a damaged `Content-Disposition`");
    }
    let name = member.map(|name| escaped_by_browsers(&name)).ok_or("has a part without a name")?;
    // Some clients send names beyond ASCII in this form only, though forms should not have it.
    let extended = extended.map(|value| extended_value(&value).ok_or("has a part with a damaged file name"));
    let file_name = file_name.map(|name| escaped_by_browsers(&name));
    Ok(Head { name, file_name: extended.transpose()?.or(file_name) })
}

/// The next parameter of a header, its value without quotes, and what follows; nothing where there is none.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([' ', '\t', ';']);
    let (name, rest) = text.split_once('=')?;
    let Some(mut rest) = rest.strip_prefix('"') else {
        let end = rest.find(';').unwrap_or(rest.len());
        return Some((name.trim(), rest[..end].trim().to_owned(), &rest[end..]));
    };
    let mut value = String::new();
    loop {
        let at = rest.find(['"', '\\'])?;
        value += &rest[..at];
        let (mark, after) = rest[at..].split_at(1);
        if mark == "\"" {
            return Some((name.trim(), value, after));
        }
        // A backslash quotes these two alone: others are those of paths.
        let quoted = after.chars().next().filter(|next| matches!(next, '"' | '\\'));
        value.push(quoted.unwrap_or('\\'));
        rest = &after[usize::from(quoted.is_some())..];
    }
}

/// What browsers, and clients that do as they do, write for a quote.
fn escaped_by_browsers(text: &str) -> String {
    text.replace("%22", "\"")
}

/// `UTF-8''` and text with escapes (RFC 5987, section 3.2).
fn extended_value(text: &str) -> Option<String> {
    let (charset, rest) = text.split_once('\'')?;
    let (_, mut rest) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let mut bytes = Vec::new();
    while let Some(at) = rest.find('%') {
        bytes.extend(&rest.as_bytes()[..at]);
        let digits =
            rest.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[at + 3..];
    }
    bytes.extend(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every event, one a line, however the bytes are cut.
    fn told(text: &str) -> String {
        let whole = read(text.as_bytes(), usize::MAX);
        for piece in [1, 2, 3, 7, 64] {
            assert_eq!(read(text.as_bytes(), piece), whole, "in pieces of {piece}: {text:?}");
        }
        whole
    }

    fn read(bytes: &[u8], piece: usize) -> String {
        let mut parser = Parser::new("B");
        let (mut lines, mut content) = (String::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            parser.push(piece);
            loop {
                match parser.next() {
                    Ok(None) => break,
                    Ok(Some(Event::Part(Head { name, file_name: None }))) => lines += &name,
                    Ok(Some(Event::Part(Head { name, file_name: Some(file) }))) => {
                        lines += &format!("{name} ({file})");
                    }
                    Ok(Some(Event::Content(bytes))) => content.extend(bytes),
                    Ok(Some(Event::PartEnd)) => {
                        lines += &format!(": {:?}\n", String::from_utf8_lossy(&std::mem::take(&mut content)));
                    }
                    Ok(Some(Event::End)) => lines += "end",
                    Err(mistake) => return lines + "error: " + mistake,
                }
            }
            assert!(
                parser.buffer.len() <= HEAD_BYTES_MAX + piece.len(),
                "{} bytes kept",
                parser.buffer.len()
            );
        }
        if parser.is_done() { lines } else { lines + "…" }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(told(text), expected, "{text:?}");
    }

    fn part(disposition: &str) -> String {
        format!("--B\r\nContent-Disposition: {disposition}\r\n\r\nx\r\n--B--\r\n")
    }

    #[test]
    fn reads_forms() {
        check(
            "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--B\r\ncontent-disposition: \
             form-data; name=\"f\"; filename=\"d/x.txt\"\r\nContent-Type: text/plain\r\n\r\n\r\ntwo\r\n--Bx\r\n--B--\r\n",
            "a: \"one\"\nf (d/x.txt): \"\\r\\ntwo\"\nerror: has something after a boundary on its line",
        );
        check(
            "preamble\r\n--B \t\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--B--epilogue --B",
            "a: \"\"\nend",
        );
        check("--B--", "end");
        check("", "…");
        check("--B", "…");
        check("--B\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\r\n\r\n--\r\n-", "a…");
        check(
            &part("form-data; name=a").replace("x\r\n", "\r\n-\r\n--\r\r\n"),
            "a: \"\\r\\n-\\r\\n--\\r\"\nend",
        );
    }

    #[test]
    fn reads_names() {
        for (disposition, expected) in [
            ("form-data; name=\"a\"", "a: \"x\"\nend"),
            ("Form-Data;name=a;filename=b", "a (b): \"x\"\nend"),
            (
                "form-data; name=\"a;b=c\"; filename=\"q\\\"\\\\ C:\\x %22\"",
                "a;b=c (q\"\\ C:\\x \"): \"x\"\nend",
            ),
            ("form-data; name=\"files[]\"; filename=\"é.md\"", "files[] (é.md): \"x\"\nend"),
            ("form-data; name=a; filename=\"b\"; filename*=UTF-8''%C3%A9%2f", "a (é/): \"x\"\nend"),
            ("form-data; name=a; size=3", "a: \"x\"\nend"),
        ] {
            check(&part(disposition), expected);
        }
    }

    #[test]
    fn names_the_mistake() {
        for (disposition, mistake) in [
            ("form-data", "has a part without a name"),
            ("attachment; name=a", "has a part that is no form data"),
            ("form-data; name=a; name=b", "has a part with two names"),
            ("form-data; name=\"a", "has a part with a damaged `Content-Disposition`"),
            ("form-data; name=a; filename*=latin-1''x", "has a part with a damaged file name"),
            ("form-data; name=a; filename*=UTF-8''%zz", "has a part with a damaged file name"),
            ("form-data; name=a; filename*=UTF-8''%é", "has a part with a damaged file name"),
            (
                "form-data; name=a\r\nContent-Disposition: form-data; name=b",
                "has a part with two dispositions",
            ),
            (
                "form-data; name=a\r\nContent-Transfer-Encoding: base64",
                "has a part in a transfer encoding; send its bytes as they are",
            ),
            ("form-data; name=a\r\nnothing", "has a part with a line that is no header"),
        ] {
            check(&part(disposition), &format!("error: {mistake}"));
        }
        check("--B\r\n\r\nx\r\n--B--", "error: has a part without a `Content-Disposition`");
        check("--B\r\nA: b\r\n\r\nx\r\n--B--", "error: has a part without a `Content-Disposition`");
        check(
            &format!("--B\r\nA: {}", "x".repeat(HEAD_BYTES_MAX)),
            "error: has a part whose head is too long",
        );
        check(&format!("--B{}", " ".repeat(99)), "error: has too much white space after a boundary");
        check("--B-x", "error: has something after a boundary on its line");
        let latin = read(b"--B\r\nContent-Disposition: form-data; name=\xff\r\n\r\n", 9);
        assert_eq!(latin, "error: has a part whose head is not UTF-8");
    }

    #[test]
    fn finds_the_boundary() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data; charset=utf-8; boundary=\"a b;c\"", Some("a b;c")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/mixed; boundary=abc", None),
            ("application/json", None),
            ("multipart/form-data; boundary=é", None),
        ] {
            assert_eq!(boundary(content_type).as_deref(), expected, "{content_type}");
        }
        assert_eq!(boundary(&format!("multipart/form-data; boundary={}", "x".repeat(71))), None);
    }
}
