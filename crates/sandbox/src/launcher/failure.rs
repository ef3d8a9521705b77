//! Why a sandbox could not be built, in words that name the step.

use std::io;

use crate::error::{Error, ErrorKind};

/// The step that failed, and how.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) errno: i32,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>, error: &io::Error) -> Self {
        Self { what: what.into(), errno: error.raw_os_error().unwrap_or(0) }
    }

    /// A failure that no system call reported.
    pub(crate) fn plain(what: impl Into<String>) -> Self {
        Self { what: what.into(), errno: 0 }
    }

    pub(crate) fn into_error(self) -> Error {
        match self.errno {
            0 => Error::new(ErrorKind::Start, format!("{} failed", self.what)),
            errno => Error::start(format!("{} failed", self.what), io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Naming the step of an error.
pub(crate) trait Or<T> {
    fn failed(self, what: &str) -> Result<T, Failure>;
    fn or_else_failed(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Or<T> for Result<T, E> {
    fn failed(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what, &error.into()))
    }

    fn or_else_failed(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what(), &error.into()))
    }
}

/// A name nobody else has.
pub(crate) fn random_name() -> Result<String, Failure> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).failed("choosing a name")?;
    Ok(format!("{:016x}", u64::from_le_bytes(random)))
}
