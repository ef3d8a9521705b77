//! Paths on the wire: `file://` URIs.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

/// An absolute path on the executor's machine, written as a `file://` URI without a host.
///
/// Parsed where it enters, and kept as text: the server does not interpret paths of another machine.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Location(String);

/// Why text is not a location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a location: {problem}")]
pub struct LocationError {
    given: String,
    problem: &'static str,
}

impl Location {
    /// A location from an absolute path with `/` between its parts.
    ///
    /// # Errors
    /// The path is relative.
    pub fn from_path(path: &Path) -> Result<Self, LocationError> {
        let problem = |problem| LocationError { given: path.display().to_string(), problem };
        let url = Url::from_file_path(path).map_err(|()| problem("it is not absolute"))?;
        Ok(Self(url.into()))
    }

    /// The path on this machine.
    ///
    /// # Errors
    /// The URI names no path here, or one with a NUL byte.
    pub fn to_path(&self) -> Result<PathBuf, LocationError> {
        let problem = |problem| LocationError { given: self.0.clone(), problem };
        let url = Url::parse(&self.0).map_err(|_| problem("it is not a URI"))?;
        let path = url.to_file_path().map_err(|()| problem("it is not a path of this machine"))?;
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(problem("it contains a NUL byte"));
        }
        Ok(path)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(given: String) -> Result<Self, LocationError> {
        let problem = match Url::parse(&given) {
            Err(_) => "it is not a URI; write `file:///` and the path",
            Ok(url) if url.scheme() != "file" => "its scheme is not `file`",
            Ok(url) if url.query().is_some() || url.fragment().is_some() => "it has a query or a fragment",
            Ok(url) if url.host_str().is_some_and(|host| !host.is_empty()) => "it names a host",
            Ok(url) => return Ok(Self(url.into())),
        };
        Err(LocationError { given, problem })
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.0
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, expected: &str) {
        let found = match Location::try_from(given.to_owned()) {
            Ok(location) => match location.to_path() {
                Ok(path) => path.display().to_string(),
                Err(error) => error.problem.to_owned(),
            },
            Err(error) => error.problem.to_owned(),
        };
        assert_eq!(found, expected, "{given}");
    }

    #[test]
    fn locations_are_absolute_paths() {
        check("file:///workspace/a.txt", "/workspace/a.txt");
        check("file:///a%20b/%C3%BC", "/a b/ü");
        check("file://localhost/a", "/a");
        check("file:///a/../../etc/passwd", "/etc/passwd");
        check("file:///a/%2e%2e/b", "/b");
        check("file:///a%00b", "it contains a NUL byte");
        check("/workspace/a.txt", "it is not a URI; write `file:///` and the path");
        check("https://example.com/a", "its scheme is not `file`");
        check("file://host/a", "it names a host");
        check("file:///a?b", "it has a query or a fragment");
    }

    #[test]
    fn paths_survive() {
        for path in ["/", "/a b", "/ü/%41", "/a?b#c"] {
            let location = Location::from_path(Path::new(path)).expect("absolute");
            assert_eq!(location.to_path().expect("a path"), Path::new(path), "{location}");
        }
        assert!(Location::from_path(Path::new("a")).is_err());
    }
}
