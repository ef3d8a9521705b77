//! What the mock server was asked.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};

/// Requests kept in memory; older ones are counted and forgotten.
pub const LOGGED_REQUESTS_MAX: usize = 1000;

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Received {
    /// The wire format.
    pub wire: &'static str,
    /// What a strict provider would refuse in it; nothing if it is well-formed.
    pub violations: Vec<String>,
    /// The rule that answered it.
    pub rule: Option<String>,
    /// The body as it arrived.
    pub body: Value,
}

/// The latest requests, those with violations longest, and optionally a file of all of them. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct RequestLog {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    kept: VecDeque<Received>,
    total: u64,
    invalid: u64,
    file: Option<File>,
}

impl RequestLog {
    /// A log in memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A log that also appends every request to a file, a line of JSON each.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
    pub fn with_file(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let log = Self::new();
        log.locked(|inner| inner.file = Some(file));
        Ok(log)
    }

    /// The requests still kept, oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.locked(|inner| inner.kept.iter().cloned().collect())
    }

    /// Requests a strict provider would have refused, forgotten ones included.
    #[must_use]
    pub fn invalid(&self) -> u64 {
        self.locked(|inner| inner.invalid)
    }

    pub(super) fn add(&self, received: Received) {
        self.locked(|inner| {
            inner.total += 1;
            inner.invalid += u64::from(!received.violations.is_empty());
            if let Some(file) = &mut inner.file
                && let Err(error) = write_line(file, &received)
            {
                tracing::error!(%error, "the request log cannot be written and is closed");
                inner.file = None;
            }
            if inner.kept.len() == LOGGED_REQUESTS_MAX {
                // What was wrong is what a reader looks for.
                let oldest = inner.kept.iter().position(|kept| kept.violations.is_empty()).unwrap_or(0);
                inner.kept.remove(oldest);
            }
            inner.kept.push_back(received);
        });
    }

    pub(super) fn to_json(&self) -> Value {
        self.locked(|inner| {
            let requests = inner.kept.iter().map(|received| {
                json!({
                    "wire": received.wire,
                    "valid": received.violations.is_empty(),
                    "violations": received.violations,
                    "rule": received.rule,
                    "body": received.body,
                })
            });
            json!({
                "total": inner.total,
                "invalid": inner.invalid,
                "forgotten": inner.total - inner.kept.len() as u64,
                "requests": requests.collect::<Vec<_>>(),
            })
        })
    }

    fn locked<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn write_line(file: &mut File, received: &Received) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(received)?;
    line.push(b'\n');
    file.write_all(&line)
}
