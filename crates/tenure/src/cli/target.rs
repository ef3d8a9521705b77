//! Which server a command talks to, and with which key.
//!
//! Flags win over `TENURE_URL` and `TENURE_API_KEY`, which win over what `tenure login` kept for the server and over
//! what a running server left in its data directory: `server.json` (`url`, `pid`) and `key`. A key from the data directory is sent to that
//! server or to this machine, and nowhere else.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tenure_project::{PORT_DEFAULT, Redacted};

use super::error::{CliError, Exit};
use super::sign_in;
use super::world::World;

/// Where and how to connect.
#[derive(Debug)]
pub(crate) struct Target {
    /// Scheme, host and port; no path, no final slash.
    pub(crate) base: String,
    pub(crate) key: Option<Redacted>,
}

/// The data directory of a project directory.
pub(crate) const DATA_DIRECTORY: &str = ".tenure";
const SERVER_FILE: &str = "server.json";
const KEY_FILE: &str = "key";
/// Both files are a line long; whatever is larger is something else.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Works out the target. `url` and `key` are flags.
pub(crate) fn resolve(
    world: &World,
    data: &Path,
    url: Option<&str>,
    key: Option<&str>,
) -> Result<Target, CliError> {
    let base = base(world, data, url)?;
    let left = read(&data.join(SERVER_FILE))?.and_then(|text| left_url(&text));
    let own = left.and_then(|left| base_of(&left).ok()).is_some_and(|left| left == base);
    let key = match key.or_else(|| world.env.find("TENURE_API_KEY")) {
        Some(key) => Some(Redacted::new(key.trim().to_owned())),
        None => match sign_in::token(world, &base)? {
            Some(token) => Some(Redacted::new(token)),
            None if own || is_loopback(&base) => own_key(&data.join(KEY_FILE))?,
            None => None,
        },
    };
    Ok(Target { base, key })
}

/// The server's address alone.
pub(crate) fn base(world: &World, data: &Path, url: Option<&str>) -> Result<String, CliError> {
    let left = read(&data.join(SERVER_FILE))?.and_then(|text| left_url(&text));
    let given = url.or_else(|| world.env.find("TENURE_URL")).map(base_of).transpose()?;
    match (given, left) {
        (Some(given), _) => Ok(given),
        (None, Some(left)) => base_of(&left),
        (None, None) => Ok(format!("http://127.0.0.1:{PORT_DEFAULT}")),
    }
}

/// The data directory: the flag, `TENURE_DATA_DIR`, or `.tenure` in the project directory.
pub(crate) fn data_directory(world: &World, flag: Option<&Path>, project: &Path) -> PathBuf {
    match flag.map(Path::to_owned).or_else(|| world.env.find("TENURE_DATA_DIR").map(PathBuf::from)) {
        Some(path) => world.directory.join(path),
        None => project.join(DATA_DIRECTORY),
    }
}

fn left_url(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    value.get("url").and_then(Value::as_str).map(str::to_owned)
}

/// `text` without its path, which clients of the API often give (`…/v1`).
fn base_of(text: &str) -> Result<String, CliError> {
    let bad = |why: &str| {
        CliError::usage(format!("`{text}` is not a server's address: {why}"))
            .fix("use an address such as `http://127.0.0.1:7878`")
    };
    let url = url::Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad("it must begin with `http://` or `https://`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("it must not hold a user name or password"));
    }
    if !matches!(url.path().trim_end_matches('/'), "" | "/v1") || url.query().is_some() {
        return Err(bad("it must not have a path"));
    }
    Ok(url.origin().ascii_serialization())
}

fn is_loopback(base: &str) -> bool {
    let host = url::Url::parse(base).ok().and_then(|url| url.host().map(|host| host.to_owned()));
    match host {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn own_key(path: &Path) -> Result<Option<Redacted>, CliError> {
    let Some(text) = read(path)? else { return Ok(None) };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            let message = format!("`{}` can be read by others", path.display());
            return Err(CliError::new(Exit::Failed, "key_exposed", message)
                .cause(format!("its mode is {:o}", mode & 0o777))
                .fix(format!("chmod 600 '{}'", path.display())));
        }
    }
    Ok(Some(Redacted::new(text.trim().to_owned())).filter(|key| !key.expose().is_empty()))
}

fn read(path: &Path) -> Result<Option<String>, CliError> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| {
        CliError::failed("unreadable", format!("`{}` cannot be read", path.display()))
            .cause(error.to_string())
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::world;

    #[test]
    fn takes_an_address_without_its_path() {
        for (text, expected) in [
            ("http://127.0.0.1:7878", Some("http://127.0.0.1:7878")),
            ("https://agents.example/v1/", Some("https://agents.example")),
            ("http://[::1]:80/v1", Some("http://[::1]")),
            ("127.0.0.1:7878", None),
            ("http://me:secret@host", None),
            ("http://host/other", None),
            ("ftp://host", None),
        ] {
            assert_eq!(base_of(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn keeps_its_key_to_its_own_server() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().expect("a directory");
        std::fs::write(data.path().join(SERVER_FILE), r#"{"url": "http://10.0.0.1:1", "pid": 1}"#)
            .expect("a file");
        let path = data.path().join(KEY_FILE);
        std::fs::write(&path, "secret\n").expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("permissions");
        let key_for = |url: Option<&str>| {
            let target = resolve(&world(&[]), data.path(), url, None).expect("a target");
            target.key.map(|key| key.expose().to_owned())
        };
        assert_eq!(key_for(None).as_deref(), Some("secret"));
        assert_eq!(key_for(Some("http://localhost:9")).as_deref(), Some("secret"));
        assert_eq!(key_for(Some("https://elsewhere.example")), None);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("permissions");
        let error = resolve(&world(&[]), data.path(), None, None).expect_err("readable by all");
        assert_eq!(error.code, "key_exposed");
        let given =
            resolve(&world(&[("TENURE_API_KEY", "other")]), data.path(), None, None).expect("a target");
        assert_eq!(given.key.expect("a key").expose(), "other");
    }
}
