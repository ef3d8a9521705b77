//! Where `tenure login` keeps what it was given: one file of the user's, for all servers.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::{CliError, Exit};
use super::world::World;
use crate::server::write_private;

/// Its directory below the user's state, and its name.
const DIRECTORY: &str = "tenure";
const FILE: &str = "sign-in.json";
/// Bytes of it: tokens of a few dozen servers.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The file: below `XDG_STATE_HOME`, or `.local/state` of the home directory.
fn path(world: &World) -> Option<PathBuf> {
    let state = world.env.find("XDG_STATE_HOME").map(PathBuf::from);
    let home = || world.env.find("HOME").map(|home| Path::new(home).join(".local/state"));
    state.filter(|path| path.is_absolute()).or_else(home).map(|state| state.join(DIRECTORY).join(FILE))
}

/// The token for a server, if somebody is signed in there.
///
/// # Errors
/// The file cannot be read; the token is over.
pub(crate) fn token(world: &World, base: &str) -> Result<Option<String>, CliError> {
    let kept = read(world)?;
    let Some(token) = kept["servers"][base]["token"].as_str() else { return Ok(None) };
    if kept["servers"][base]["expires_at"].as_i64().is_some_and(|at| at <= world.now) {
        let message = format!("the sign-in at `{base}` is over");
        return Err(CliError::new(Exit::Unauthorized, "signed_out", message).fix("tenure login"));
    }
    Ok(Some(token.to_owned()))
}

/// Keeps a token for a server.
///
/// # Errors
/// The file cannot be read or written.
pub(crate) fn keep(world: &World, base: &str, token: &str, expires_at: i64) -> Result<(), CliError> {
    let mut kept = read(world)?;
    kept["servers"][base] = json!({"token": token, "expires_at": expires_at});
    write(world, &kept)
}

/// Forgets the token for a server. Returns whether there was one.
///
/// # Errors
/// The file cannot be read or written.
pub(crate) fn forget(world: &World, base: &str) -> Result<bool, CliError> {
    let mut kept = read(world)?;
    let was = kept["servers"].as_object_mut().is_some_and(|servers| servers.remove(base).is_some());
    if was {
        write(world, &kept)?;
    }
    Ok(was)
}

fn read(world: &World) -> Result<Value, CliError> {
    let empty = || json!({"servers": {}});
    let Some(path) = path(world) else { return Ok(empty()) };
    let failed = |cause: String| {
        CliError::failed("unreadable", format!("`{}` cannot be read", path.display()))
            .cause(cause)
            .fix("remove the file and run `tenure login` again")
    };
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(empty()),
        Err(error) => return Err(failed(error.to_string())),
        Ok(found) if found.len() > FILE_BYTES_MAX => return Err(failed("it is too long".into())),
        Ok(found) => check_mode(&path, &found)?,
    }
    let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    let kept: Value = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    if kept["servers"].is_object() { Ok(kept) } else { Err(failed("it has no servers".into())) }
}

fn check_mode(path: &Path, found: &std::fs::Metadata) -> Result<(), CliError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = found.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(CliError::failed("token_exposed", format!("`{}` can be read by others", path.display()))
        .cause(format!("its mode is {:o}", mode & 0o777))
        .fix(format!("chmod 600 '{}'", path.display())))
}

fn write(world: &World, kept: &Value) -> Result<(), CliError> {
    let nowhere = || CliError::failed("no_home", "there is no place to keep the sign-in").fix("set HOME");
    let path = path(world).ok_or_else(nowhere)?;
    let failed = |error: std::io::Error| {
        CliError::failed("write", format!("`{}` cannot be written", path.display())).cause(error.to_string())
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    write_private(&path, &kept.to_string()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::world;

    #[test]
    fn a_token_is_for_one_server_and_for_its_time() {
        let home = tempfile::tempdir().expect("a directory");
        let home = home.path().to_str().expect("text");
        let mut world = world(&[("HOME", home)]);
        let (one, other) = ("https://one.example", "https://other.example");
        assert_eq!(token(&world, one).expect("nothing"), None);
        keep(&world, one, "secret", world.now + 10).expect("kept");
        keep(&world, other, "another", world.now + 99).expect("kept");
        assert_eq!(token(&world, one).expect("kept").as_deref(), Some("secret"));
        let file = path(&world).expect("a path");
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "its owner's alone");
        world.now += 10;
        assert_eq!(token(&world, one).expect_err("over").code, "signed_out");
        assert!(forget(&world, one).expect("works") && !forget(&world, one).expect("works"));
        assert_eq!(token(&world, one).expect("gone"), None);
        assert_eq!(token(&world, other).expect("kept").as_deref(), Some("another"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("works");
        assert_eq!(token(&world, other).expect_err("exposed").code, "token_exposed");
        std::fs::write(&file, "{").expect("works");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("works");
        assert_eq!(token(&world, other).expect_err("damaged").code, "unreadable");
    }
}
