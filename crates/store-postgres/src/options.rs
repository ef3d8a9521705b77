//! Where the database is and how it is reached, parsed and validated before anything connects.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tenure_store::StoreError;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use url::form_urlencoded;

use crate::blobs::BlobPlace;
use crate::error::unavailable;
use crate::near::INDEXED_FROM;

/// Connections that write. Each commits a batch at a time, and the server syncs the commits of several
/// together. As many as busy sessions would be fastest for few sessions, and fewer make larger batches for
/// many: measured from 2 to 12, eight lose least at either end.
const WRITERS: usize = 8;
/// Connections that read, and that extend leases.
const READERS: usize = 8;
/// How long one address may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may leave sent data unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);
/// How long a silent connection is left alone before the peer is asked whether it is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);

/// How to reach a database. Made from a URL; its debug form does not show the password.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) config: Config,
    pub(crate) verify: Verify,
    pub(crate) root_certificate: Option<PathBuf>,
    pub(crate) blobs: BlobPlace,
    pub(crate) writers: usize,
    pub(crate) readers: usize,
    pub(crate) indexed_from: u32,
}

/// What is demanded of the server's certificate, with the words of `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Nothing, as libpq does for `prefer`, and for `require` without a root certificate.
    Nothing,
    /// Its issuer: `verify-ca`, and `require` with a root certificate.
    Issuer,
    /// Its issuer and that it is this host's: `verify-full`.
    Full,
}

impl Options {
    /// Reads a URL as libpq does: `postgres://user:password@host:port/database?sslmode=verify-full`.
    /// A host that begins with an encoded slash is the directory of a Unix socket.
    ///
    /// `sslmode` is `disable`, `prefer` (the default), `require`, `verify-ca` or `verify-full`;
    /// `sslrootcert` is a file of root certificates in PEM, in place of the system's.
    ///
    /// # Errors
    /// `Unavailable`: the URL is none of that form. The message does not repeat it.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let refused = |why: &str| unavailable(format!("reading the database URL: {why}"));
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(refused("it does not begin with `postgres://`"));
        }
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let mut mode = "prefer".to_owned();
        let mut root_certificate = None;
        let mut others = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "sslmode" => mode = value.into_owned(),
                "sslrootcert" => root_certificate = Some(PathBuf::from(&*value)),
                _ => {
                    others.append_pair(&name, &value);
                }
            }
        }
        let (ssl_mode, verify) = match (&*mode, &root_certificate) {
            ("disable", _) => (SslMode::Disable, Verify::Nothing),
            ("prefer", _) => (SslMode::Prefer, Verify::Nothing),
            ("require", None) => (SslMode::Require, Verify::Nothing),
            ("require", Some(_)) | ("verify-ca", _) => (SslMode::Require, Verify::Issuer),
            ("verify-full", _) => (SslMode::Require, Verify::Full),
            _ => return Err(refused(&format!("`{mode}` is no `sslmode`"))),
        };
        // The driver decodes `%20` and not `+`.
        let others = others.finish().replace('+', "%20");
        let mut config: Config = format!("{address}?{others}")
            .parse()
            .map_err(|error: tokio_postgres::Error| refused("it is malformed").with_source(error))?;
        config.ssl_mode(ssl_mode);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED_MAX);
        }
        if config.get_application_name().is_none() {
            config.application_name("tenure");
        }
        config.keepalives_idle(KEEPALIVE_AFTER);
        Ok(Self {
            config,
            verify,
            root_certificate,
            blobs: BlobPlace::Database,
            writers: WRITERS,
            readers: READERS,
            indexed_from: INDEXED_FROM,
        })
    }

    /// The same with root certificates from a PEM file, as `sslrootcert` in the URL.
    #[must_use]
    pub fn with_root_certificate(mut self, file: &Path) -> Self {
        self.root_certificate = Some(file.to_owned());
        if self.config.get_ssl_mode() == SslMode::Require && self.verify == Verify::Nothing {
            self.verify = Verify::Issuer;
        }
        self
    }

    /// The same with payloads in another place than the database. Payloads that are in the database already
    /// stay readable.
    #[must_use]
    pub fn with_blobs(mut self, place: BlobPlace) -> Self {
        self.blobs = place;
        self
    }

    /// The same with this many connections that write, and that read; at least one of each.
    #[must_use]
    pub fn with_connections(mut self, writers: usize, readers: usize) -> Self {
        self.writers = writers.max(1);
        self.readers = readers.max(1);
        self
    }

    /// The same with an index of vectors for each space that has so many episodes with vectors, where the server has
    /// pgvector.
    #[must_use]
    pub fn with_indexed_from(mut self, episodes: u32) -> Self {
        self.indexed_from = episodes;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_say_what_is_verified() {
        for (query, mode, verify) in [
            ("", SslMode::Prefer, Verify::Nothing),
            ("?sslmode=disable", SslMode::Disable, Verify::Nothing),
            ("?sslmode=require", SslMode::Require, Verify::Nothing),
            ("?sslmode=require&sslrootcert=%2Fca.pem", SslMode::Require, Verify::Issuer),
            ("?sslmode=verify-ca", SslMode::Require, Verify::Issuer),
            ("?application_name=a%20b&sslmode=verify-full", SslMode::Require, Verify::Full),
        ] {
            let options = Options::parse(&format!("postgres://u:secret@h/d{query}")).expect(query);
            assert_eq!((options.config.get_ssl_mode(), options.verify), (mode, verify), "{query}");
            assert!(!format!("{options:?}").contains("secret"));
        }
    }

    #[test]
    fn keeps_what_the_url_says() {
        let url = "postgres://u@%2Frun%2Fpg/d?application_name=a%20b&connect_timeout=1&sslrootcert=/ca.pem";
        let options = Options::parse(url).expect("parses");
        assert_eq!(options.config.get_application_name(), Some("a b"));
        assert_eq!(options.config.get_connect_timeout(), Some(&Duration::from_secs(1)));
        assert_eq!(options.root_certificate.as_deref(), Some(Path::new("/ca.pem")));
    }

    #[test]
    fn refuses_other_urls_without_repeating_them() {
        for url in
            ["mysql://u:secret@h/d", "postgres://u:secret@h/d?sslmode=allow", "postgres://u:secret@h:x/d"]
        {
            let error = Options::parse(url).expect_err(url);
            let source = std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
            assert!(!error.to_string().contains("secret") && !source.contains("secret"), "{error} {source}");
        }
    }
}
