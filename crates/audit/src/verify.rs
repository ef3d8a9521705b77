//! A whole log, checked: every record against its tile, every tile against the tree, every checkpoint kept.

use crate::proof::Tiles;
use crate::tree::{Tile, Tree};
use crate::{Bundle, Checkpoint, Hash, TILE_WIDTH, TileId, VerifierKey};

/// A log that can be read whole.
pub trait Log: Tiles {
    /// The latest signed checkpoint.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn checkpoint(&self) -> Result<String, Self::Error>;

    /// Signed checkpoints of earlier sizes that were kept, in any order.
    ///
    /// # Errors
    /// They cannot be read.
    fn earlier_checkpoints(&self) -> Result<Vec<String>, Self::Error>;

    /// The bundle of the records of a tile of level 0.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn records(&self, id: TileId) -> Result<Vec<u8>, Self::Error>;
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many records the latest checkpoint speaks of; 0 if it cannot be trusted.
    pub size: u64,
    /// How many records were read and are what they were.
    pub sound: u64,
    /// How many checkpoints, the latest included, agree with the records.
    pub checkpoints: usize,
    /// What is wrong, in the order in which it was found.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

/// One thing that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A file cannot be read.
    #[error("{what}: {error}")]
    Missing {
        /// Which.
        what: String,
        /// Why.
        error: String,
    },
    /// A checkpoint cannot be trusted.
    #[error("checkpoint: {error}")]
    Checkpoint {
        /// Why.
        error: String,
    },
    /// A record is not what it was when it was logged.
    #[error("record {index} was changed")]
    Record {
        /// Its number, from zero.
        index: u64,
    },
    /// The records of a tile are more or fewer than they were.
    #[error("the records from {first} on: {found} instead of {expected}")]
    Count {
        /// The number of the first of them.
        first: u64,
        /// How many there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// A tile is not that of the records.
    #[error("{id} is not the tile of its records")]
    Tile {
        /// Which.
        id: TileId,
    },
    /// The records are not those that a checkpoint was signed for.
    #[error("the first {size} records are not those that the checkpoint of {size} was signed for")]
    Root {
        /// How many records the checkpoint speaks of.
        size: u64,
    },
    /// A checkpoint speaks of more records than the latest one: the log was cut.
    #[error("an earlier checkpoint has {size} records and the latest only {latest}: the log was cut")]
    Shrunk {
        /// The records of the earlier one.
        size: u64,
        /// The records of the latest.
        latest: u64,
    },
}

/// How many faults are listed: after so many nobody counts.
const FAULTS_MAX: usize = 100;

/// Reads the whole log once and says what is wrong with it. `known` are checkpoints that somebody else kept: they
/// show what the owner of the key rewrote.
pub fn verify<L: Log>(log: &L, key: &VerifierKey, known: &[String]) -> Report {
    let mut check = Check { log, report: Report { size: 0, sound: 0, checkpoints: 0, faults: Vec::new() } };
    let checkpoints = check.checkpoints(key, known);
    check.walk(&checkpoints);
    check.report
}

struct Check<'a, L> {
    log: &'a L,
    report: Report,
}

impl<L: Log> Check<'_, L> {
    fn fault(&mut self, fault: Fault) {
        if self.report.faults.len() < FAULTS_MAX {
            self.report.faults.push(fault);
        }
    }

    /// Every checkpoint that can be trusted, from the smallest.
    fn checkpoints(&mut self, key: &VerifierKey, known: &[String]) -> Vec<Checkpoint> {
        let mut notes = known.to_vec();
        match self.log.earlier_checkpoints() {
            Ok(earlier) => notes.extend(earlier),
            Err(error) => self.fault(missing("earlier checkpoints", &error)),
        }
        let mut latest = None;
        match self.log.checkpoint() {
            Ok(note) => match Checkpoint::open(&note, key) {
                Ok(checkpoint) => latest = Some(checkpoint),
                Err(error) => self.fault(Fault::Checkpoint { error: error.to_string() }),
            },
            Err(error) => self.fault(missing("checkpoint", &error)),
        }
        let mut checkpoints: Vec<_> = latest.iter().cloned().collect();
        self.report.size = latest.map_or(0, |latest| latest.size);
        for note in notes {
            match Checkpoint::open(&note, key) {
                Ok(earlier) if earlier.size > self.report.size => {
                    self.fault(Fault::Shrunk { size: earlier.size, latest: self.report.size });
                }
                Ok(earlier) => checkpoints.push(earlier),
                Err(error) => self.fault(Fault::Checkpoint { error: error.to_string() }),
            }
        }
        checkpoints.sort_by_key(|checkpoint| checkpoint.size);
        checkpoints
    }

    fn walk(&mut self, checkpoints: &[Checkpoint]) {
        let size = self.report.size;
        let mut tree = Tree::new();
        let mut pending = checkpoints.iter().peekable();
        for index in 0..size.div_ceil(TILE_WIDTH) {
            let id = TileId::of(size, 0, index).expect("an index below the size");
            let Some(hashes) = self.records_of(id) else { return };
            for hash in hashes {
                self.at(&tree, &mut pending);
                let mut full = Vec::new();
                tree.push(hash, &mut full);
                // Those of level 0 were compared record by record.
                for tile in full.iter().filter(|tile| tile.id.level() > 0) {
                    self.compare(tile);
                }
            }
        }
        self.at(&tree, &mut pending);
        for tile in tree.partial_tiles().iter().filter(|tile| tile.id.level() > 0) {
            self.compare(tile);
        }
    }

    /// The hashes of the records of one tile of level 0, having compared them to the tile.
    fn records_of(&mut self, id: TileId) -> Option<Vec<Hash>> {
        let first = id.index() * TILE_WIDTH;
        let bytes = match self.log.records(id) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.fault(missing(&id.entries_path(), &error));
                return None;
            }
        };
        let records = match Bundle::read(&bytes) {
            Ok(records) => records,
            Err(error) => {
                self.fault(missing(&id.entries_path(), &error));
                return None;
            }
        };
        if records.len() as u64 != id.width() {
            self.fault(Fault::Count { first, found: records.len() as u64, expected: id.width() });
            return None;
        }
        let hashes: Vec<_> = records.iter().map(|record| Hash::of_record(record)).collect();
        match self.log.tile(id) {
            Ok(kept) => {
                for (offset, (hash, kept)) in (0..).zip(hashes.iter().zip(&kept)) {
                    if hash == kept {
                        self.report.sound += 1;
                    } else {
                        self.fault(Fault::Record { index: first + offset });
                    }
                }
                if kept.len() != hashes.len() {
                    self.fault(Fault::Tile { id });
                }
            }
            Err(error) => self.fault(missing(&id.to_string(), &error)),
        }
        Some(hashes)
    }

    fn compare(&mut self, tile: &Tile) {
        match self.log.tile(tile.id) {
            Ok(kept) if kept == tile.hashes => {}
            Ok(_) => self.fault(Fault::Tile { id: tile.id }),
            Err(error) => self.fault(missing(&tile.id.to_string(), &error)),
        }
    }

    /// Compares the checkpoints of the size the tree has just now.
    fn at<'a>(
        &mut self,
        tree: &Tree,
        pending: &mut std::iter::Peekable<impl Iterator<Item = &'a Checkpoint>>,
    ) {
        let mut root = None;
        while let Some(checkpoint) = pending.next_if(|checkpoint| checkpoint.size == tree.size()) {
            if *root.get_or_insert_with(|| tree.root()) == checkpoint.root {
                self.report.checkpoints += 1;
            } else {
                self.fault(Fault::Root { size: checkpoint.size });
            }
        }
    }
}

fn missing(what: &str, error: &dyn std::error::Error) -> Fault {
    Fault::Missing { what: what.to_owned(), error: error.to_string() }
}
