//! `tenure audit witness`: signing along, in a directory of one's own.
//!
//! A witness trusts nothing but what it wrote itself. It reads the log whole, computes its tree, and compares it on
//! the way with the last state that it signed; a log that does not contain that state is never signed, and both
//! checkpoints are the proof. What it signs is written once: a file that is there is not written again.
//!
//! ```text
//!   witness.key      the secret, readable by its owner
//!   witness.pub      what checks its cosignatures
//!   <size>.checkpoint    each state that it saw, with the log's signature and its own
//! ```

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tenure_audit::{Checkpoint, Hash, Tree, VerifierKey, WitnessKey};

use super::super::client::Client;
use super::super::error::CliError;
use super::{PATH, damaged, nothing, page};

const SECRET: &str = "witness.key";
const PUBLIC: &str = "witness.pub";
const EXTENSION: &str = "checkpoint";
const SECRET_BYTES: usize = 32;

/// What came of looking at the log.
pub(super) struct Seen {
    /// The state of the log.
    pub(super) size: u64,
    /// The last state that was signed before, if there was one.
    pub(super) before: Option<u64>,
    /// The file with the cosigned checkpoint.
    pub(super) file: PathBuf,
    /// What checks the cosignature.
    pub(super) key: String,
}

/// Compares the log with what was signed in `directory`, and signs what it is now. `key` is the log's, which was
/// taken once and is not asked for here.
pub(super) async fn witness(
    client: &Client,
    directory: &Path,
    key: &VerifierKey,
    name: &str,
    now: i64,
) -> Result<Seen, CliError> {
    let own = own_key(directory, name)?;
    let last = last(directory, key)?;
    let log = client.get(PATH, &[]).await?;
    let note = log["checkpoint"].as_str().ok_or_else(nothing)?;
    let checkpoint = Checkpoint::open(note, key).map_err(|error| damaged(&error))?;
    let forked = |what: &str| {
        CliError::failed("log_forked", format!("the log is not the one that was signed before: {what}"))
            .cause(format!("compare `{}` with what the server shows now", directory.display()))
            .fix("keep both checkpoints: two signatures under two pasts are the proof")
    };
    if last.as_ref().is_some_and(|last| last.size > checkpoint.size) {
        return Err(forked("it has become shorter"));
    }
    let mut tree = Tree::new();
    let compare = |tree: &Tree| match &last {
        Some(last) if last.size == tree.size() && last.root != tree.root() => {
            Err(forked("its past has changed"))
        }
        Some(_) | None => Ok(()),
    };
    compare(&tree)?;
    while tree.size() < checkpoint.size {
        let records = page(client, tree.size()).await?;
        if records.is_empty() {
            return Err(CliError::failed("log_cut", "the log has fewer records than its checkpoint says"));
        }
        let rest = usize::try_from(checkpoint.size - tree.size()).unwrap_or(usize::MAX);
        for (_, record) in records.into_iter().take(rest) {
            tree.push(Hash::of_record(record.as_bytes()), &mut Vec::new());
            compare(&tree)?;
        }
    }
    if tree.root() != checkpoint.root {
        return Err(forked("its records are not those of its checkpoint"));
    }
    let file = directory.join(format!("{}.{EXTENSION}", checkpoint.size));
    let cosigned = own.cosign(note, u64::try_from(now).unwrap_or(0)).map_err(|error| damaged(&error))?;
    match write_once(&file, &cosigned) {
        // The same state, signed before.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        written => written.map_err(|error| unwritten(&file, &error))?,
    }
    let key = own.verifier().to_string();
    Ok(Seen { size: checkpoint.size, before: last.map(|last| last.size), file, key })
}

/// The newest state that was signed here.
fn last(directory: &Path, key: &VerifierKey) -> Result<Option<Checkpoint>, CliError> {
    let unread = |error: &std::io::Error| {
        CliError::failed("not_read", format!("cannot read `{}`", directory.display()))
            .cause(error.to_string())
    };
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in std::fs::read_dir(directory).map_err(|error| unread(&error))? {
        let path = entry.map_err(|error| unread(&error))?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let size = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(size) = size.filter(|size| newest.as_ref().is_none_or(|(newest, _)| size > newest)) {
            newest = Some((size, path));
        }
    }
    let Some((size, path)) = newest else { return Ok(None) };
    let note = super::read(&path)?;
    let checkpoint = Checkpoint::open(&note, key).map_err(|error| damaged(&error))?;
    if checkpoint.size != size {
        let message = format!("`{}` is not the state that it is named for", path.display());
        return Err(
            CliError::failed("witness_changed", message).fix("restore the directory, or begin another")
        );
    }
    Ok(Some(checkpoint))
}

/// The witness's own key, made the first time.
fn own_key(directory: &Path, name: &str) -> Result<WitnessKey, CliError> {
    let path = directory.join(SECRET);
    std::fs::create_dir_all(directory).map_err(|error| unwritten(directory, &error))?;
    let secret = match std::fs::read(&path) {
        Ok(bytes) => <[u8; SECRET_BYTES]>::try_from(bytes).map_err(|_| {
            CliError::failed("bad_key", format!("`{}` is no key of {SECRET_BYTES} bytes", path.display()))
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut secret = [0; SECRET_BYTES];
            getrandom::fill(&mut secret).map_err(|error| {
                CliError::failed("random", "the system gives no random bytes").cause(error.to_string())
            })?;
            write_once(&path, secret).map_err(|error| unwritten(&path, &error))?;
            secret
        }
        Err(error) => {
            let message = format!("cannot read `{}`", path.display());
            return Err(CliError::failed("not_read", message).cause(error.to_string()));
        }
    };
    let key = WitnessKey::new(name, &secret).map_err(|error| CliError::usage(error.to_string()))?;
    let public = directory.join(PUBLIC);
    let shown = format!("{}\n", key.verifier());
    match std::fs::read_to_string(&public) {
        Ok(kept) if kept != shown => Err(CliError::usage(format!("this witness is `{}`", kept.trim()))
            .fix("name it as before, or begin another directory")),
        Ok(_) => Ok(key),
        Err(_) => {
            write_once(&public, &shown).map_err(|error| unwritten(&public, &error))?;
            Ok(key)
        }
    }
}

/// Writes a file that was not there, durable when it returns.
fn write_once(path: &Path, content: impl AsRef<[u8]>) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_ref())?;
    file.sync_all()
}

fn unwritten(path: &Path, error: &std::io::Error) -> CliError {
    CliError::failed("not_written", format!("cannot write `{}`", path.display())).cause(error.to_string())
}

/// The name of a witness where none is given: that of this machine's user would say more than is wanted.
pub(super) fn default_name(log: &VerifierKey) -> String {
    format!("witness/{}", log.name())
}
