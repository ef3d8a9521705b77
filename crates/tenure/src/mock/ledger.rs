//! The payment service's ledger: one refund a line, appended and synced before it is answered.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::MockError;

/// Refunds that one ledger holds; a demonstration that makes more is looping.
pub(crate) const REFUNDS_MAX: usize = 100_000;

/// A refund as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refund {
    /// Its id: its place in the ledger.
    pub(crate) refund_id: String,
    /// The order it is for.
    pub(crate) order_id: String,
    /// How much, in hundredths of the order's currency.
    pub(crate) amount_cents: u64,
    /// Why.
    pub(crate) reason: String,
    /// The key that came with the call, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idempotency_key: Option<String>,
    /// When it was made, RFC 3339 in UTC.
    pub(crate) refunded_at: String,
}

/// A refund that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The order it is for.
    pub(crate) order_id: String,
    /// How much, in hundredths of the order's currency.
    pub(crate) amount_cents: u64,
    /// Why.
    pub(crate) reason: String,
    /// The key that came with the call, if one did.
    pub(crate) idempotency_key: Option<String>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Made {
    /// It was refunded now, and is on disk.
    Now(Refund),
    /// The same key asked for the same refund before; this is that one.
    Before(Refund),
}

/// Why there was no refund; nothing was written unless it says so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Declined {
    /// The key was used before.
    #[error("the idempotency key was used before for another refund, `{0}`")]
    KeyReused(String),
    /// The ledger is full.
    #[error("the ledger is full: it holds {REFUNDS_MAX} refunds")]
    Full,
    /// The ledger could not be written now or earlier. The line may or may not be there; starting the
    /// service again will tell.
    #[error("the ledger cannot be written; start the service again")]
    Broken,
}

/// The open ledger.
///
/// INVARIANT: `refunds` is what the file holds, line by line, unless `is_broken`.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: File,
    refunds: Vec<Refund>,
    by_key: HashMap<String, usize>,
    is_broken: bool,
}

impl Ledger {
    /// Opens or creates the ledger at `path`, for this process alone, and reads it.
    ///
    /// A last line without an end was cut off by a crash before it was synced; it was never answered and
    /// is removed.
    ///
    /// # Errors
    /// It cannot be used, is in use, or holds something that is not a refund.
    pub(crate) fn open(path: &Path) -> Result<Self, MockError> {
        let failed = |source| MockError::Ledger { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => MockError::LedgerInUse(path.to_owned()),
            TryLockError::Error(source) => failed(source),
        })?;
        let text = whole_lines(&mut file).map_err(failed)?;
        sync_directory(path).map_err(failed)?;
        let mut ledger = Self { file, refunds: Vec::new(), by_key: HashMap::new(), is_broken: false };
        for (index, line) in text.lines().enumerate() {
            let refund = serde_json::from_str(line).map_err(|error| MockError::LedgerLine {
                path: path.to_owned(),
                line: index + 1,
                reason: error.to_string(),
            })?;
            ledger.remember(refund);
        }
        Ok(ledger)
    }

    /// Makes a refund, or finds the one that the same key made. What it returns is on disk.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn refund(&mut self, request: Request, now: jiff::Timestamp) -> Result<Made, Declined> {
        if self.is_broken {
            return Err(Declined::Broken);
        }
        let known = request.idempotency_key.as_ref().and_then(|key| self.by_key.get(key));
        if let Some(made) = known.and_then(|index| self.refunds.get(*index)) {
            let is_same = (&made.order_id, made.amount_cents, &made.reason)
                == (&request.order_id, request.amount_cents, &request.reason);
            return if is_same {
                Ok(Made::Before(made.clone()))
            } else {
                Err(Declined::KeyReused(made.refund_id.clone()))
            };
        }
        if self.refunds.len() >= REFUNDS_MAX {
            return Err(Declined::Full);
        }
        let refund = Refund {
            refund_id: format!("re_{:06}", self.refunds.len() + 1),
            order_id: request.order_id,
            amount_cents: request.amount_cents,
            reason: request.reason,
            idempotency_key: request.idempotency_key,
            refunded_at: now.to_string(),
        };
        self.append(&refund).map_err(|error| {
            tracing::error!(%error, "the ledger could not be written");
            self.is_broken = true;
            Declined::Broken
        })?;
        self.remember(refund.clone());
        Ok(Made::Now(refund))
    }

    /// Every refund, oldest first.
    pub(crate) fn refunds(&self) -> &[Refund] {
        &self.refunds
    }

    fn append(&mut self, refund: &Refund) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(refund)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }

    fn remember(&mut self, refund: Refund) {
        if let Some(key) = &refund.idempotency_key {
            self.by_key.entry(key.clone()).or_insert(self.refunds.len());
        }
        self.refunds.push(refund);
    }
}

/// The file's text up to its last whole line, to which the file is cut.
fn whole_lines(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < bytes.len() {
        tracing::warn!(bytes = bytes.len() - whole, "an unfinished line was removed from the ledger");
        file.set_len(whole as u64)?;
        file.sync_all()?;
        bytes.truncate(whole);
    }
    String::from_utf8(bytes).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // A process being started at this moment has a copy of the open file until it executes its program;
        // closing ours would leave the lock with it.
        let _ = self.file.unlock();
    }
}

/// Makes a new file's name durable.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(order: &str, amount_cents: u64, key: Option<&str>) -> Request {
        Request {
            order_id: order.to_owned(),
            amount_cents,
            reason: "damaged".to_owned(),
            idempotency_key: key.map(str::to_owned),
        }
    }

    fn now() -> jiff::Timestamp {
        jiff::Timestamp::from_second(1_790_000_000).expect("a time")
    }

    #[test]
    fn a_key_refunds_once_and_no_key_refunds_again_across_restarts() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ledger.jsonl");
        let mut made = Vec::new();
        for round in 0..2 {
            let mut ledger = Ledger::open(&path).expect("a ledger");
            for (order, key) in [("o_1", Some("k_1")), ("o_1", Some("k_1")), ("o_1", None)] {
                made.push(ledger.refund(request(order, 500, key), now()).expect("a refund"));
            }
            let other = ledger.refund(request("o_2", 500, Some("k_1")), now()).expect_err("a used key");
            assert!(matches!(other, Declined::KeyReused(id) if id == "re_000001"));
            assert_eq!(ledger.refunds().len(), 2 + round);
        }
        let told: Vec<_> = made
            .iter()
            .map(|made| match made {
                Made::Now(refund) => ("now", refund.refund_id.as_str()),
                Made::Before(refund) => ("before", refund.refund_id.as_str()),
            })
            .collect();
        let expected = [
            ("now", "re_000001"),
            ("before", "re_000001"),
            ("now", "re_000002"),
            ("before", "re_000001"),
            ("before", "re_000001"),
            ("now", "re_000003"),
        ];
        assert_eq!(told, expected);
        assert_eq!(std::fs::read_to_string(&path).expect("a file").lines().count(), 3);
    }

    #[test]
    fn an_unfinished_last_line_is_removed_and_other_damage_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path).expect("a ledger");
        ledger.refund(request("o_1", 1, None), now()).expect("a refund");
        drop(ledger);
        let whole = std::fs::read_to_string(&path).expect("a file");
        for cut in 1..whole.len() {
            std::fs::write(&path, format!("{whole}{}", &whole[..cut])).expect("written");
            let ledger = Ledger::open(&path).expect("a ledger");
            assert_eq!(ledger.refunds().len(), 1, "{cut}");
            assert_eq!(std::fs::read_to_string(&path).expect("a file"), whole);
        }
        std::fs::write(&path, format!("{whole}not a refund\n{whole}")).expect("written");
        let refused = Ledger::open(&path).expect_err("damage");
        assert!(matches!(refused, MockError::LedgerLine { line: 2, .. }), "{refused}");
    }

    #[test]
    fn a_ledger_has_one_owner() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ledger.jsonl");
        let first = Ledger::open(&path).expect("a ledger");
        assert!(matches!(Ledger::open(&path), Err(MockError::LedgerInUse(_))));
        drop(first);
        assert!(Ledger::open(&path).is_ok());
        let missing = Ledger::open(&directory.path().join("no/such/ledger"));
        assert!(matches!(missing, Err(MockError::Ledger { .. })));
    }
}
