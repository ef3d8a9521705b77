//! Reading a patch.

use std::fmt;

use super::PATCH_BYTES_MAX;
use crate::FilePath;

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File:";
const DELETE: &str = "*** Delete File:";
const UPDATE: &str = "*** Update File:";
const MOVE: &str = "*** Move to:";
const END_OF_FILE: &str = "*** End of File";

/// A patch: changes of files, in the order in which they were written. No path is named twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// At least one.
    pub changes: Vec<FileChange>,
}

/// What becomes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChange {
    /// It must not exist and gets this text.
    Add {
        /// Where.
        path: FilePath,
        /// Lines that end in a line feed each; nothing for an empty file.
        text: String,
    },
    /// It must exist and goes.
    Delete {
        /// Where.
        path: FilePath,
    },
    /// It must exist and is changed.
    Update {
        /// Where.
        path: FilePath,
        /// Where it goes, if it moves.
        to: Option<FilePath>,
        /// The changes, from the top to the bottom of the file; none if it only moves.
        hunks: Vec<Hunk>,
    },
}

/// One place of a file that changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hunk {
    /// Lines above the place, from the top down, to find it by.
    pub under: Vec<String>,
    /// What is there and what it becomes.
    pub lines: Vec<Line>,
    /// Whether it reaches the end of the file.
    pub ends_file: bool,
}

/// One line of a hunk, without its sign and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// It is there and stays.
    Keep(String),
    /// It is there and goes.
    Remove(String),
    /// It comes.
    Add(String),
}

/// Text that is not a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The line of the patch, counted from 1.
    pub line: usize,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the patch: {}", self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

impl FileChange {
    /// The file it is about; of one that moves, where it is before.
    #[must_use]
    pub fn path(&self) -> &FilePath {
        match self {
            Self::Add { path, .. } | Self::Delete { path } | Self::Update { path, .. } => path,
        }
    }
}

/// Reads a patch. Blank lines around it and carriage returns at the ends of its lines do not count.
///
/// # Errors
/// The first line that does not belong where it is, with what was expected.
pub fn parse(text: &str) -> Result<Patch, ParseError> {
    if text.len() > PATCH_BYTES_MAX {
        return Err(ParseError { line: 1, message: format!("a patch of more than {PATCH_BYTES_MAX} bytes") });
    }
    let mut parser = Parser { lines: text.lines().collect(), at: 0 };
    parser.patch()
}

struct Parser<'a> {
    lines: Vec<&'a str>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn patch(&mut self) -> Result<Patch, ParseError> {
        self.skip_blank();
        if self.peek().map(str::trim) != Some(BEGIN) {
            return Err(self.error(format!("expected `{BEGIN}`{}", self.found())));
        }
        self.at += 1;
        let mut changes: Vec<FileChange> = Vec::new();
        let mut named: Vec<(usize, FilePath)> = Vec::new();
        loop {
            let start = self.at;
            let Some(line) = self.peek() else {
                return Err(self.error(format!("the patch ends without `{END}`")));
            };
            if line.trim() == END {
                break;
            }
            if line.trim().is_empty() {
                self.at += 1;
                continue;
            }
            let change = self.change(line)?;
            let moved = match &change {
                FileChange::Update { to, .. } => to.clone(),
                FileChange::Add { .. } | FileChange::Delete { .. } => None,
            };
            named.extend([change.path().clone()].into_iter().chain(moved).map(|path| (start, path)));
            changes.push(change);
        }
        self.at += 1;
        self.skip_blank();
        if self.peek().is_some() {
            return Err(self.error(format!("nothing may follow `{END}`{}", self.found())));
        }
        if changes.is_empty() {
            return Err(ParseError { line: 1, message: "the patch changes no file".to_owned() });
        }
        named.sort_by(|one, other| (&one.1, one.0).cmp(&(&other.1, other.0)));
        if let Some([_, (line, path)]) = named.array_windows().find(|[one, other]| one.1 == other.1) {
            let message = format!("`{path}` is named twice; put all its changes under one header");
            return Err(ParseError { line: line + 1, message });
        }
        Ok(Patch { changes })
    }

    fn change(&mut self, line: &str) -> Result<FileChange, ParseError> {
        let line = line.trim();
        if let Some(path) = line.strip_prefix(ADD) {
            let path = self.path(path)?;
            self.at += 1;
            let mut text = String::new();
            while let Some(added) = self.peek().and_then(|line| line.strip_prefix('+')) {
                text.push_str(added);
                text.push('\n');
                self.at += 1;
            }
            self.expect_header("every line of an added file begins with `+`")?;
            return Ok(FileChange::Add { path, text });
        }
        if let Some(path) = line.strip_prefix(DELETE) {
            let path = self.path(path)?;
            self.at += 1;
            self.expect_header("a deleted file has no lines")?;
            return Ok(FileChange::Delete { path });
        }
        if let Some(path) = line.strip_prefix(UPDATE) {
            let path = self.path(path)?;
            self.at += 1;
            return self.update(path);
        }
        let expected = format!("expected `{ADD}`, `{UPDATE}`, `{DELETE}` or `{END}`");
        Err(self.error(format!("{expected}{}", self.found())))
    }

    fn update(&mut self, path: FilePath) -> Result<FileChange, ParseError> {
        let start = self.at;
        let mut to = None;
        if let Some(moved) = self.peek().and_then(|line| line.trim().strip_prefix(MOVE)) {
            to = Some(self.path(moved)?);
            self.at += 1;
        }
        let mut hunks = Vec::new();
        while let Some(line) = self.peek() {
            if is_header(line) {
                break;
            }
            // Blank lines between hunks are nobody's.
            if line.is_empty() && self.blank_until_header() {
                self.at += 1;
                continue;
            }
            hunks.push(self.hunk(hunks.is_empty())?);
        }
        if hunks.is_empty() && to.is_none() {
            self.at = start;
            return Err(
                self.error(format!("`{path}` is updated without a change; expected `@@`{}", self.found()))
            );
        }
        Ok(FileChange::Update { path, to, hunks })
    }

    fn hunk(&mut self, is_first: bool) -> Result<Hunk, ParseError> {
        let start = self.at;
        let mut hunk = Hunk::default();
        while let Some(under) = self.peek().and_then(hunk_header) {
            hunk.under.extend((!under.is_empty()).then(|| under.to_owned()));
            self.at += 1;
        }
        if self.at == start && !is_first {
            return Err(self.error(format!("expected `@@`, a header or `{END}`{}", self.found())));
        }
        while let Some(line) = self.peek() {
            if line.trim_end() == END_OF_FILE {
                hunk.ends_file = true;
                self.at += 1;
                break;
            }
            if is_header(line) || hunk_header(line).is_some() {
                break;
            }
            let mut chars = line.chars();
            hunk.lines.push(match chars.next() {
                // An empty line of context, whose space an editor or a model dropped.
                None if self.blank_until_header() => break,
                None => Line::Keep(String::new()),
                Some(' ') => Line::Keep(chars.as_str().to_owned()),
                Some('-') => Line::Remove(chars.as_str().to_owned()),
                Some('+') => Line::Add(chars.as_str().to_owned()),
                Some(_) => {
                    let message = "a line of a hunk begins with ` `, `-` or `+`";
                    return Err(self.error(format!("{message}{}", self.found())));
                }
            });
            self.at += 1;
        }
        if hunk.lines.is_empty() {
            return Err(self.error(format!("the hunk has no lines{}", self.found())));
        }
        Ok(hunk)
    }

    /// Whether only blank lines come before the next header or hunk.
    fn blank_until_header(&self) -> bool {
        let next = self.lines[self.at..].iter().find(|line| !line.is_empty());
        next.is_none_or(|line| is_header(line) || hunk_header(line).is_some())
    }

    fn expect_header(&mut self, rule: &str) -> Result<(), ParseError> {
        match self.peek() {
            None => Ok(()),
            Some(line) if is_header(line) || line.trim().is_empty() => Ok(()),
            Some(_) => Err(self.error(format!("{rule}{}", self.found()))),
        }
    }

    fn path(&self, text: &str) -> Result<FilePath, ParseError> {
        match FilePath::parse(text.trim().as_bytes()) {
            Ok(path) if path.is_root() => Err(self.error("the path is missing".to_owned())),
            Ok(path) => Ok(path),
            Err(error) => Err(self.error(format!("`{}`: {error}", shorten(text.trim())))),
        }
    }

    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    fn skip_blank(&mut self) {
        while self.peek().is_some_and(|line| line.trim().is_empty()) {
            self.at += 1;
        }
    }

    fn found(&self) -> String {
        match self.peek() {
            Some(line) => format!(", but found `{}`", shorten(line)),
            None => ", but the patch ends".to_owned(),
        }
    }

    fn error(&self, message: String) -> ParseError {
        ParseError { line: self.at + 1, message }
    }
}

fn is_header(line: &str) -> bool {
    let line = line.trim_end();
    line == END || [ADD, DELETE, UPDATE].iter().any(|header| line.starts_with(header))
}

/// What follows `@@`. `@@ -1,2 +3,4 @@`, from another format, says nothing that can be relied on.
fn hunk_header(line: &str) -> Option<&str> {
    let under = line.strip_prefix("@@")?;
    let under = under.strip_prefix(' ').unwrap_or(under).trim_end();
    let is_numbers = under.starts_with('-') && under.contains(" +") && under.ends_with("@@");
    Some(if is_numbers { "" } else { under.strip_suffix(" @@").unwrap_or(under) })
}

/// A line for a message: a model that wrote ten thousand characters need not read them again.
pub(crate) fn shorten(line: &str) -> String {
    const CHARS_MAX: usize = 120;
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
