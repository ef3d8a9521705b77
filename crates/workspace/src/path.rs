//! Names and paths within a workspace: bytes, never text, and never a way out.

use std::fmt;

/// Bytes of one name, as Linux has it.
pub const NAME_BYTES_MAX: usize = 255;

/// Bytes of a whole path: room for [`crate::Limits::depth_max`] names of full length.
pub const PATH_BYTES_MAX: usize = 64 * 1024;

/// A path relative to the root of a workspace.
///
/// INVARIANT: names of 1 to 255 bytes joined by `/`; none is `.` or `..` or holds `/` or NUL. The root is the
/// empty path. Prints with everything escaped that is not printable ASCII or UTF-8 text, so that a hostile
/// name cannot forge a line of a log.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FilePath(Vec<u8>);

/// Why bytes are no path of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// It begins with `/`.
    Absolute,
    /// One of its names is `..`.
    Parent,
    /// It holds a NUL byte.
    Nul,
    /// A name is empty, `.`, or holds a `/`, where a single name is expected.
    Name,
    /// A name of more than [`NAME_BYTES_MAX`], or a path of more than [`PATH_BYTES_MAX`].
    Long,
}

impl FilePath {
    /// The root of the workspace.
    #[must_use]
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// Reads a path as people and programs write them: `./a//b/` is `a/b`, and `.` or nothing is the root.
    ///
    /// # Errors
    /// An absolute path, a `..` anywhere (even where it would stay inside), NUL, or too long.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.len() > PATH_BYTES_MAX {
            return Err(PathError::Long);
        }
        if bytes.first() == Some(&b'/') {
            return Err(PathError::Absolute);
        }
        let mut path = Self::root();
        for name in bytes.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
            path.push(name)?;
        }
        Ok(path)
    }

    /// Its names from the root down; none for the root.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// How many names it has.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.names().count()
    }

    /// The path of `name` in the directory of this path.
    ///
    /// # Errors
    /// `name` is no name.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        let mut path = self.clone();
        path.push(name)?;
        Ok(path)
    }

    /// The directory it is in, and its name there; none for the root.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &[u8])> {
        let name = self.names().next_back()?;
        let parent = self.0.len().saturating_sub(name.len() + 1);
        Some((Self(self.0[..parent].to_vec()), name))
    }

    /// Its bytes, without a `/` at either end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the workspace itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a name.
    pub(crate) fn push(&mut self, name: &[u8]) -> Result<(), PathError> {
        check_name(name)?;
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
        Ok(())
    }

    /// Takes the last name away.
    pub(crate) fn pop(&mut self) {
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        self.0.truncate(end);
    }
}

/// Whether `name` may be the name of something in a directory.
///
/// # Errors
/// Empty, `.`, `..`, with `/` or NUL, or too long.
pub(crate) fn check_name(name: &[u8]) -> Result<(), PathError> {
    match name {
        b".." => Err(PathError::Parent),
        b"" | b"." => Err(PathError::Name),
        name if name.len() > NAME_BYTES_MAX => Err(PathError::Long),
        name if name.contains(&0) => Err(PathError::Nul),
        name if name.contains(&b'/') => Err(PathError::Name),
        _ => Ok(()),
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                if char.is_control() { write!(f, "{}", char.escape_default())? } else { write!(f, "{char}")? }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absolute => "an absolute path; paths are relative to the workspace",
            Self::Parent => "a path with `..`",
            Self::Nul => "a path with a NUL byte",
            Self::Name => "not a single name",
            Self::Long => "a name of more than 255 bytes, or a path of more than 64 KiB",
        })
    }
}

impl std::error::Error for PathError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_as_a_path() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "."),
            (b".", "."),
            (b"./a//b/", "a/b"),
            (b"-rf", "-rf"),
            (b"a\nb\x1b", "a\\nb\\u{1b}"),
            (b"\xff\xc3\xa4", "\\xff\u{e4}"),
            (b"/etc/passwd", "error: an absolute path; paths are relative to the workspace"),
            (b"a/../b", "error: a path with `..`"),
            (b"..", "error: a path with `..`"),
            (b"...", "..."),
            (b"a\0b", "error: a path with a NUL byte"),
        ];
        for (bytes, expected) in cases {
            let read = FilePath::parse(bytes);
            let text = read.map_or_else(|error| format!("error: {error}"), |path| path.to_string());
            assert_eq!(text, *expected, "{}", bytes.escape_ascii());
        }
        assert_eq!(FilePath::parse(&[b'x'; 256]), Err(PathError::Long));
        assert!(FilePath::parse(&[b'x'; 255]).is_ok());
    }

    #[test]
    fn a_path_comes_apart_and_together() {
        let path = FilePath::parse(b"a/b/c").expect("a path");
        let (parent, name) = path.split().expect("not the root");
        assert_eq!((parent.as_bytes(), name), (b"a/b".as_slice(), b"c".as_slice()));
        assert_eq!(parent.join(name).expect("a name"), path);
        assert_eq!(FilePath::parse(b"a").expect("a path").split(), Some((FilePath::root(), b"a".as_slice())));
        assert_eq!(FilePath::root().split(), None);
        let mut popped = path;
        for _ in 0..4 {
            popped.pop();
        }
        assert!(popped.is_root());
    }
}
