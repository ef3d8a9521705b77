//! What a running server leaves in its data directory for the commands beside it: where it listens, and
//! the key that was made on the first start.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde_json::json;

/// The key of the first start, readable by its owner only.
pub(crate) const KEY_FILE: &str = "key";
const SERVER_FILE: &str = "server.json";

/// Makes a directory that only its owner can read.
pub(crate) fn make_directory(data: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(data)?;
    std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700))
}

/// Writes where the server listens.
pub(crate) fn write_server(data: &Path, url: &str) -> std::io::Result<()> {
    write_private(&data.join(SERVER_FILE), &json!({"url": url, "pid": std::process::id()}).to_string())
}

/// Removes what [`write_server`] wrote.
pub(crate) fn remove_server(data: &Path) {
    // Without it commands fall back to the default address and say that nobody answers.
    let _ = std::fs::remove_file(data.join(SERVER_FILE));
}

/// Writes a file that only its owner can read, as a whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(draft, path)
}
