//! Tiles: the tree cut into files of up to 256 hashes (C2SP `tlog-tiles`).

use std::fmt;
use std::str::FromStr;

/// How many levels of the tree a tile spans.
pub const TILE_HEIGHT: u32 = 8;
/// How many hashes a full tile has.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// The highest level that a tree of 2^64 records could have.
const LEVEL_MAX: u32 = 63 / TILE_HEIGHT;

/// Which tile: `tile/<level>/<index>`, with `.p/<width>` where it is partial.
///
/// Hash `i` of it covers the `256^level` records from `(index * 256 + i) * 256^level` on.
///
/// INVARIANT: the level is at most 7, the width at least 1 and at most 256, and everything it covers has a
/// number below 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u32,
    index: u64,
    width: u64,
}

impl TileId {
    /// The tile `index` of a level, as a tree of `size` records has it; `None` where it has none.
    #[must_use]
    pub fn of(size: u64, level: u32, index: u64) -> Option<Self> {
        if level > LEVEL_MAX {
            return None;
        }
        let hashes = size >> (TILE_HEIGHT * level);
        let start = index.checked_mul(TILE_WIDTH)?;
        let width = hashes.checked_sub(start)?.min(TILE_WIDTH);
        (width > 0).then_some(Self { level, index, width })
    }

    /// The level; 0 holds the hashes of records.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Its place within the level.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes it has.
    #[must_use]
    pub fn width(&self) -> u64 {
        self.width
    }

    /// Whether it will never grow.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same tile once it is full.
    #[must_use]
    pub fn full(&self) -> Self {
        Self { width: TILE_WIDTH, ..*self }
    }

    /// The path of the records that a tile of level 0 has the hashes of: `tile/entries/<index>`.
    #[must_use]
    pub fn entries_path(&self) -> String {
        format!("tile/entries/{}{}", digits(self.index), self.suffix())
    }

    fn suffix(&self) -> String {
        if self.is_full() { String::new() } else { format!(".p/{}", self.width) }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/{}{}", self.level, digits(self.index), self.suffix())
    }
}

/// Text that is no path of a tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile: `tile/<level>/<index>` is expected, with `.p/<width>` where it is partial")]
pub struct TileError;

impl FromStr for TileId {
    type Err = TileError;

    fn from_str(text: &str) -> Result<Self, TileError> {
        let (path, width) = match text.split_once(".p/") {
            Some((path, width)) => (path, number(width).filter(|width| *width < TILE_WIDTH)),
            None => (text, Some(TILE_WIDTH)),
        };
        let (level, index) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(TileError)?;
        let level = number(level).and_then(|level| u32::try_from(level).ok()).ok_or(TileError)?;
        let index = parse_digits(index).ok_or(TileError)?;
        let width = width.filter(|width| *width > 0).ok_or(TileError)?;
        // Whatever is asked for lies within a tree that could be.
        match Self::of(u64::MAX, level, index) {
            Some(whole) if whole.width >= width => Ok(Self { level, index, width }),
            Some(_) | None => Err(TileError),
        }
    }
}

/// `1234067` as `x001/x234/067`.
fn digits(index: u64) -> String {
    let mut text = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    text
}

fn parse_digits(text: &str) -> Option<u64> {
    let mut index: u64 = 0;
    let mut parts = text.split('/').peekable();
    let mut is_first = true;
    while let Some(part) = parts.next() {
        let part = if parts.peek().is_some() { part.strip_prefix('x')? } else { part };
        let is_digits = part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        let needless = is_first && part == "000" && parts.peek().is_some();
        if !is_digits || needless {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(part.parse().ok()?)?;
        is_first = false;
    }
    Some(index)
}

/// A decimal number without leading zeroes.
fn number(text: &str) -> Option<u64> {
    let plain = text == "0" || !text.starts_with('0');
    (plain && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(size: u64, level: u32, index: u64, expected: &str) {
        let tile = TileId::of(size, level, index);
        assert_eq!(tile.map_or_else(|| "none".to_owned(), |tile| tile.to_string()), expected);
        if let Some(tile) = tile {
            assert_eq!(expected.parse(), Ok(tile));
        }
    }

    /// The example of the specification is the tree of 70,000.
    #[test]
    fn a_tree_has_these_tiles() {
        check(0, 0, 0, "none");
        check(1, 0, 0, "tile/0/000.p/1");
        check(256, 0, 0, "tile/0/000");
        check(256, 0, 1, "none");
        check(256, 1, 0, "tile/1/000.p/1");
        check(70_000, 0, 272, "tile/0/272");
        check(70_000, 0, 273, "tile/0/273.p/112");
        check(70_000, 1, 0, "tile/1/000");
        check(70_000, 1, 1, "tile/1/001.p/17");
        check(70_000, 2, 0, "tile/2/000.p/1");
        check(70_000, 3, 0, "none");
        check(u64::MAX, 0, 1_234_067, "tile/0/x001/x234/067");
        check(u64::MAX, 7, 0, "tile/7/000.p/255");
        check(u64::MAX, 8, 0, "none");
        check(u64::MAX, 0, u64::MAX, "none");
    }

    #[test]
    fn other_paths_are_refused() {
        for text in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/00/000",
            "tile/8/000",
            "tile/0/1",
            "tile/0/0001",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001/x234",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/07",
            "tile/0/000.p/+7",
            "tile/-1/000",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "/tile/0/000",
        ] {
            assert_eq!(text.parse::<TileId>(), Err(TileError), "{text}");
        }
    }

    #[test]
    fn records_lie_beside_their_hashes() {
        let tile = TileId::of(70_000, 0, 273).expect("a tile");
        assert_eq!(tile.entries_path(), "tile/entries/273.p/112");
        assert_eq!(tile.full().entries_path(), "tile/entries/273");
    }
}
