//! An exported log: a directory of files in the layout of C2SP `tlog-tiles`.
//!
//! ```text
//!   checkpoint               the latest, signed
//!   checkpoints/<size>       earlier ones that were kept
//!   tile/<level>/<index>     hashes, with `.p/<width>` where partial
//!   tile/entries/<index>     records, likewise
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::verify::Log;
use crate::{Bundle, Hash, Tile, TileId, Tiles};

/// The longest file that is read: a bundle of 256 of the longest records.
const FILE_BYTES_MAX: u64 = 256 * (2 + u16::MAX as u64);

/// A log in a directory.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

/// Why a file of a log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The system says so.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not what stands at that place of a log.
    #[error("{path}: {message}", path = path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: &'static str,
    },
}

impl Directory {
    /// The log in `root`. Nothing is read yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Writes a tile.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_tile(&self, tile: &Tile) -> Result<(), DirectoryError> {
        self.write(&tile.id.to_string(), &tile.to_bytes())
    }

    /// Writes the records of a tile of level 0.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_records(&self, id: TileId, records: &Bundle) -> Result<(), DirectoryError> {
        self.write(&id.entries_path(), records.as_bytes())
    }

    /// Writes the latest checkpoint, which is for a tree of `size` records, and keeps it among the earlier ones.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_checkpoint(&self, size: u64, note: &str) -> Result<(), DirectoryError> {
        self.write(&format!("checkpoints/{size}"), note.as_bytes())?;
        self.write("checkpoint", note.as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DirectoryError> {
        let path = self.root.join(name);
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, bytes))
            .map_err(|error| DirectoryError::Io { path, error })
    }

    /// A tile's file, or its first part where only the full tile is left.
    fn read_either(&self, partial: &str, full: &str) -> Result<Vec<u8>, DirectoryError> {
        match self.read(partial) {
            Err(DirectoryError::Io { error, .. })
                if error.kind() == io::ErrorKind::NotFound && partial != full =>
            {
                self.read(full)
            }
            other => other,
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, DirectoryError> {
        let path = self.root.join(name);
        let read = || {
            if fs::metadata(&path)?.len() > FILE_BYTES_MAX {
                return Ok(None);
            }
            fs::read(&path).map(Some)
        };
        match read() {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(DirectoryError::Form { path, message: "longer than any file of a log" }),
            Err(error) => Err(DirectoryError::Io { path, error }),
        }
    }

    fn read_note(&self, name: &str) -> Result<String, DirectoryError> {
        let path = self.root.join(name);
        String::from_utf8(self.read(name)?)
            .map_err(|_| DirectoryError::Form { path, message: "not text in UTF-8" })
    }
}

impl Tiles for Directory {
    type Error = DirectoryError;

    fn tile(&self, id: TileId) -> Result<Vec<Hash>, DirectoryError> {
        let bytes = self.read_either(&id.to_string(), &id.full().to_string())?;
        let wrong = |message| DirectoryError::Form { path: self.root.join(id.to_string()), message };
        let mut hashes = Hash::many(&bytes).ok_or_else(|| wrong("not a number of whole hashes"))?;
        hashes.truncate(usize::try_from(id.width()).unwrap_or(usize::MAX));
        Ok(hashes)
    }
}

impl Log for Directory {
    fn checkpoint(&self) -> Result<String, DirectoryError> {
        self.read_note("checkpoint")
    }

    fn earlier_checkpoints(&self) -> Result<Vec<String>, DirectoryError> {
        let path = self.root.join("checkpoints");
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(DirectoryError::Io { path, error }),
        };
        let mut notes = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| DirectoryError::Io { path: path.clone(), error })?;
            notes.push(self.read_note(&format!("checkpoints/{}", entry.file_name().to_string_lossy()))?);
        }
        Ok(notes)
    }

    fn records(&self, id: TileId) -> Result<Vec<u8>, DirectoryError> {
        let bytes = self.read_either(&id.entries_path(), &id.full().entries_path())?;
        // What is no bundle is for the reader to refuse.
        let Ok(records) = Bundle::read(&bytes) else { return Ok(bytes) };
        // Where only the full bundle is left, its first records are those of the partial one.
        let mut first = Bundle::new();
        for record in records.into_iter().take(usize::try_from(id.width()).unwrap_or(usize::MAX)) {
            first.push(record).expect("no longer and no more than it was read");
        }
        Ok(first.as_bytes().to_vec())
    }
}
