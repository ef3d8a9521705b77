//! How an event is written: one line of JSON, readable with any tool, decoded or refused.

use serde::{Deserialize, Serialize};

use crate::{Event, Timestamp};

/// A session's version: the number of events in its journal. The first event is number 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version of a journal without events.
    pub const ZERO: Self = Self(0);

    /// The version after `events` more.
    #[must_use]
    pub fn plus(self, events: usize) -> Self {
        Self(self.0 + events as u64)
    }
}

/// An event with its place and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the journal, from 1.
    pub version: Version,
    /// When it was decided.
    pub at: Timestamp,
    /// The fact.
    pub event: Event,
}

/// A journal entry that cannot be read. The journal is damaged, or written by a newer release.
#[derive(Debug, thiserror::Error)]
#[error("event {} of the journal cannot be decoded: {source}", version.0)]
pub struct DecodeError {
    version: Version,
    #[source]
    source: serde_json::Error,
}

impl DecodeError {
    /// The place of the entry.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
}

impl Recorded {
    /// The bytes of the event as they are stored.
    #[must_use]
    pub fn encode(event: &Event) -> Vec<u8> {
        serde_json::to_vec(event).expect("events hold only string keys and finite numbers")
    }

    /// Reads the event stored at `version`.
    ///
    /// # Errors
    /// The bytes are not an event this release knows.
    pub fn decode(version: Version, at: Timestamp, bytes: &[u8]) -> Result<Self, DecodeError> {
        match serde_json::from_slice(bytes) {
            Ok(event) => Ok(Self { version, at, event }),
            Err(source) => Err(DecodeError { version, source }),
        }
    }
}
