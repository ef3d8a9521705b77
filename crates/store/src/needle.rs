//! Needles: texts that are looked for in bytes, to find out whether anything of them is left.
//!
//! Bytes are looked at as they are, and as what they may hide: hexadecimal digits, as a dump writes binary columns,
//! and base64. Text within JSON is escaped where it has quotation marks, backslashes or control characters, so a
//! needle is the longest part of a text without them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes of a needle at least: what is shorter stands everywhere by chance.
pub const NEEDLE_BYTES_MIN: usize = 4;
/// Bytes of a needle at most; of a longer text the beginning is looked for.
pub const NEEDLE_BYTES_MAX: usize = 256;
/// Bytes that are looked at together.
const BLOCK_BYTES: usize = 256 * 1024;
/// Base64 needs four characters for three bytes, hexadecimal digits two for one.
const HIDDEN_BYTES_MAX: usize = NEEDLE_BYTES_MAX * 2 + 4;

const _: () = assert!(HIDDEN_BYTES_MAX * 2 < BLOCK_BYTES, "a block is mostly new bytes");

/// One text to look for. Prints as its length alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Needle(Vec<u8>);

impl Needle {
    /// The needle of a text; `None` if no part of it is long enough.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let is_plain = |letter: char| !letter.is_control() && letter != '"' && letter != '\\';
        let part = text.split(|letter| !is_plain(letter)).max_by_key(|part| part.len())?.trim();
        let part = &part[..part.floor_char_boundary(NEEDLE_BYTES_MAX)];
        (part.len() >= NEEDLE_BYTES_MIN).then(|| Self(part.as_bytes().to_vec()))
    }

    fn count(&self, bytes: &[u8]) -> u64 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        let mut count = 0;
        let mut ahead = bytes;
        while let Some(place) = ahead.iter().position(|byte| byte == first) {
            ahead = &ahead[place + 1..];
            count += u64::from(ahead.starts_with(rest));
        }
        count
    }
}

impl std::fmt::Debug for Needle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Needle({} bytes)", self.0.len())
    }
}

/// What is looked for, and how often it was found.
#[derive(Debug)]
pub struct Search<'a> {
    needles: &'a [Needle],
    shortest: usize,
    found: BTreeMap<String, u64>,
}

impl<'a> Search<'a> {
    /// Looks for these.
    #[must_use]
    pub fn new(needles: &'a [Needle]) -> Self {
        let shortest = needles.iter().map(|needle| needle.0.len()).min().unwrap_or(NEEDLE_BYTES_MIN);
        Self { needles, shortest, found: BTreeMap::new() }
    }

    /// Where needles were found, and how often; empty if nowhere.
    #[must_use]
    pub fn into_found(self) -> BTreeMap<String, u64> {
        self.found
    }

    /// Looks through everything that `source` gives. `place` says where that is.
    ///
    /// # Errors
    /// As the source's.
    pub fn read(&mut self, place: &str, mut source: impl Read) -> io::Result<()> {
        let mut block = vec![0; BLOCK_BYTES];
        let mut feed = self.feed(place);
        loop {
            match source.read(&mut block) {
                Ok(0) => break,
                Ok(count) => feed.push(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        feed.end();
        Ok(())
    }

    /// Looks through bytes that come in pieces.
    pub fn feed(&mut self, place: &str) -> Feed<'_, 'a> {
        Feed { search: self, place: place.to_owned(), block: Vec::new() }
    }

    /// Looks through every file of a directory and of those in it, and through their names. A place is a path from
    /// there.
    ///
    /// # Errors
    /// A file that is there cannot be read.
    pub fn directory(&mut self, directory: &Path) -> io::Result<()> {
        // Files come and go meanwhile.
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let mut ahead: Vec<PathBuf> = vec![directory.to_owned()];
        while let Some(path) = ahead.pop() {
            let kind = match path.symlink_metadata() {
                Ok(found) => found.file_type(),
                Err(error) if gone(&error) => continue,
                Err(error) => return Err(error),
            };
            let place = path.strip_prefix(directory).unwrap_or(&path).display().to_string();
            self.bytes(&place, place.as_bytes());
            if kind.is_dir() {
                match std::fs::read_dir(&path) {
                    Err(error) if gone(&error) => {}
                    entries => {
                        for entry in entries? {
                            ahead.push(entry?.path());
                        }
                    }
                }
            } else if kind.is_file() {
                match File::open(&path).and_then(|file| self.read(&place, file)) {
                    Err(error) if !gone(&error) => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            } else if kind.is_symlink()
                && let Ok(target) = std::fs::read_link(&path)
            {
                self.bytes(&place, target.as_os_str().as_encoded_bytes());
            }
        }
        Ok(())
    }

    /// Looks through these bytes.
    pub fn bytes(&mut self, place: &str, bytes: &[u8]) {
        let mut count = self.count(bytes);
        for run in runs(bytes, self.shortest * 2, |byte| byte.is_ascii_hexdigit()) {
            for start in 0..2 {
                count += self.count(&from_hex(&run[start.min(run.len())..]));
            }
        }
        for run in runs(bytes, self.shortest * 4 / 3, |byte| sextet(*byte).is_some()) {
            for start in 0..4 {
                count += self.count(&from_base64(&run[start.min(run.len())..]));
            }
        }
        if count > 0 {
            *self.found.entry(place.to_owned()).or_default() += count;
        }
    }

    fn count(&self, bytes: &[u8]) -> u64 {
        self.needles.iter().map(|needle| needle.count(bytes)).sum()
    }
}

/// Bytes of one place that come in pieces.
#[derive(Debug)]
pub struct Feed<'s, 'a> {
    search: &'s mut Search<'a>,
    place: String,
    /// What was not looked at yet, behind the end of what was.
    block: Vec<u8>,
}

impl Feed<'_, '_> {
    /// The next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK_BYTES {
            self.search.bytes(&self.place, &self.block);
            // What may have begun at the end is looked at again with what follows. Twice found is found.
            self.block.drain(..self.block.len() - HIDDEN_BYTES_MAX);
        }
    }

    /// There is no more.
    pub fn end(self) {
        self.search.bytes(&self.place, &self.block);
    }
}

/// Stretches of at least so many bytes that could hide a needle.
fn runs(bytes: &[u8], least: usize, is_part: impl Fn(&u8) -> bool) -> impl Iterator<Item = &[u8]> {
    bytes.split(move |byte| !is_part(byte)).filter(move |run| run.len() >= least)
}

fn from_hex(digits: &[u8]) -> Vec<u8> {
    let value =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

fn from_base64(letters: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(letters.len());
    let (mut bits, mut held) = (0, 0_u32);
    for sextet in letters.iter().filter_map(|byte| sextet(*byte)) {
        held = held << 6 | u32::from(sextet);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            // The low byte of what is left after the bits that wait.
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str], bytes: &[u8]) -> u64 {
        let needles: Vec<Needle> = texts.iter().filter_map(|text| Needle::of(text)).collect();
        let mut search = Search::new(&needles);
        search.read("here", bytes).expect("memory is read");
        search.into_found().get("here").copied().unwrap_or(0)
    }

    #[test]
    fn finds_what_stands_there_whatever_it_is_written_as() {
        let hex: String = "xx canary-1 yy".bytes().map(|byte| format!("{byte:02x}")).collect();
        for (text, bytes, expected) in [
            ("canary-1", "a canary-1 b".to_owned(), true),
            ("canary-1", "canary-1".to_owned(), true),
            ("canary-1", "canary-2 canary 1 Canary-1".to_owned(), false),
            ("canary-1", format!("\\x{hex}"), true),
            ("canary-1", format!("0{hex}"), true),
            // `canary-1` behind none, one and two bytes.
            ("canary-1", "Y2FuYXJ5LTE=".to_owned(), true),
            ("canary-1", "data:text/plain;base64,eGNhbmFyeS0xeA==".to_owned(), true),
            ("canary-1", "eHhjYW5hcnktMXh4".to_owned(), true),
            // What JSON escapes parts a text.
            (
                "he said \"the long canary part\"",
                r#"{"t":"he said \"the long canary part\""}"#.to_owned(),
                true,
            ),
            ("né à Zürich", "{\"t\":\"né à Zürich\"}".to_owned(), true),
            ("abc", "abc".to_owned(), false),
        ] {
            assert_eq!(found(&[text], bytes.as_bytes()) > 0, expected, "{text} in {bytes}");
        }
    }

    #[test]
    fn finds_what_lies_across_blocks() {
        for before in
            [0, 1, BLOCK_BYTES - 9, BLOCK_BYTES - 5, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES - 3]
        {
            let mut bytes = vec![b'.'; before];
            bytes.extend_from_slice(b"canary-1");
            bytes.extend_from_slice(&[b'.'; 100]);
            assert!(found(&["canary-1", "another needle"], &bytes) > 0, "{before}");
            assert_eq!(found(&["canary-2"], &bytes), 0, "{before}");
        }
    }

    #[test]
    fn looks_through_names_links_and_directories() {
        let directory = std::env::temp_dir().join(format!("tenure-needles-{}", std::process::id()));
        let inner = directory.join("inner");
        std::fs::create_dir_all(&inner).expect("made");
        std::fs::write(inner.join("a"), b"a canary-1 b").expect("written");
        std::fs::write(directory.join("canary-2"), b"").expect("written");
        std::os::unix::fs::symlink("canary-3", directory.join("link")).expect("made");
        let found = |text: &str| {
            let needles: Vec<Needle> = Needle::of(text).into_iter().collect();
            let mut search = Search::new(&needles);
            search.directory(&directory).expect("read");
            search.into_found().into_keys().collect::<Vec<_>>()
        };
        let all = [found("canary-1"), found("canary-2"), found("canary-3"), found("canary-4")];
        std::fs::remove_dir_all(&directory).expect("removed");
        assert_eq!(all, [vec!["inner/a"], vec!["canary-2"], vec!["link"], vec![]]);
    }

    #[test]
    fn a_needle_prints_as_its_length() {
        let needle = Needle::of("Ada Lovelace").expect("long enough");
        assert_eq!(format!("{needle:?}"), "Needle(12 bytes)");
    }
}
