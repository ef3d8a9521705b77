//! Pinned blocks as values: what their texts may be, and how they are edited.

use tenure_journal::limit;

/// Why a text is not kept as a block. The text is for people and models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockRefusal {
    /// It is too long.
    #[error("must have at most {max} bytes; it has {bytes}", max = limit::BLOCK_BYTES_MAX)]
    TooLong {
        /// How many bytes it has.
        bytes: usize,
    },
    /// It says nothing.
    #[error("must not be empty")]
    Empty,
    /// What was to be found is not there.
    #[error("does not contain what was to be found")]
    NotFound,
    /// What was to be found is there more than once.
    #[error("contains what was to be found {0} times; give a longer part")]
    Ambiguous(usize),
}

/// A text as a block keeps it: without what cannot be seen, and without white space at the ends of its lines and at
/// its own end.
///
/// # Errors
/// `TooLong`, `Empty`.
pub fn text(given: &str) -> Result<String, BlockRefusal> {
    let text = lines(given);
    match text.len() {
        0 => Err(BlockRefusal::Empty),
        length if length > limit::BLOCK_BYTES_MAX => Err(BlockRefusal::TooLong { bytes: length }),
        _ => Ok(text),
    }
}

/// A text without control characters, and without white space at the ends of its lines and at its own end.
pub(crate) fn lines(given: &str) -> String {
    let plain = |line: &str| {
        let seen: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        seen.trim_end().to_owned()
    };
    let lines: Vec<String> = given.lines().map(plain).collect();
    lines.join("\n").trim_end().to_owned()
}

/// A block's text with one part of it replaced.
///
/// # Errors
/// `NotFound`, `Ambiguous`, and what [`text`] says of the outcome; it may be empty.
pub fn replaced(block: &str, find: &str, replace: &str) -> Result<String, BlockRefusal> {
    let count = if find.is_empty() { 0 } else { block.matches(find).count() };
    match count {
        0 => Err(BlockRefusal::NotFound),
        1 => Ok(block.replacen(find, replace, 1)),
        _ => Err(BlockRefusal::Ambiguous(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_as_it_is_shown() {
        for (given, kept) in [
            ("Tea.", Ok("Tea.")),
            ("Tea.  \r\n\n  - no\u{1b}[0m sugar\t\n\n", Ok("Tea.\n\n  - no[0m sugar")),
            ("\n\nx", Ok("\n\nx")),
            (" \n\t", Err(BlockRefusal::Empty)),
            ("", Err(BlockRefusal::Empty)),
        ] {
            assert_eq!(text(given), kept.map(str::to_owned), "{given:?}");
        }
        let long = "x".repeat(limit::BLOCK_BYTES_MAX);
        assert_eq!(text(&long).as_deref(), Ok(long.as_str()));
        assert_eq!(
            text(&format!("{long}é")),
            Err(BlockRefusal::TooLong { bytes: limit::BLOCK_BYTES_MAX + 2 })
        );
    }

    #[test]
    fn a_part_is_replaced_where_it_is_clear_which() {
        for (find, replace, expected) in [
            ("b", "x", Ok("a x c a")),
            ("b c", "", Ok("a  a")),
            ("a", "x", Err(BlockRefusal::Ambiguous(2))),
            ("z", "x", Err(BlockRefusal::NotFound)),
            ("", "x", Err(BlockRefusal::NotFound)),
        ] {
            assert_eq!(replaced("a b c a", find, replace), expected.map(str::to_owned), "{find:?}");
        }
    }
}
