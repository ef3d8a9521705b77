//! What a plugin on a customer's machine says, read through the executor.
//!
//! A file is read if it is where it seems to be: a link could bring anything of that machine into a journal.

use tenure_executor::harness::Remote;
use tenure_executor::location::Location;
use tenure_executor::protocol::files::{Canonicalize, Metadata};
use tenure_journal::Failure;
use tenure_skill::{
    Error, Kind, MANIFEST_BYTES_MAX, NamedServers, NotRead, Plugin, SERVERS_FILE, ServersAt, read_plugin,
    read_servers, servers_at,
};

use super::remote_skills::{location, there};

/// What the plugin in `directory` says, or why nothing of it can be used.
///
/// # Errors
/// The executor cannot be asked.
pub(super) async fn read(remote: &Remote, directory: &str) -> Result<Result<Plugin, Error>, Failure> {
    let manifest = Kind::Plugin.manifest_path();
    let text = match text(remote, directory, manifest).await? {
        Ok(text) => text,
        Err(why) => return Ok(Err(why.of(manifest))),
    };
    let said = read_plugin(&text).and_then(|manifest| Ok((manifest, servers_at(&text, directory)?)));
    let (manifest, servers) = match said {
        Ok((manifest, ServersAt::Inline(servers))) => (manifest, Ok(servers)),
        Ok((manifest, ServersAt::File(file))) => {
            let file = String::from_utf8_lossy(file.as_bytes()).into_owned();
            let text = self::text(remote, directory, &file).await?.map_err(|why| why.of(&file));
            (manifest, text.and_then(|text| read_servers(&text, directory)))
        }
        Ok((manifest, ServersAt::Default)) => {
            let servers = match self::text(remote, directory, SERVERS_FILE).await? {
                Ok(text) => read_servers(&text, directory),
                Err(NotRead::Missing) => Ok(NamedServers::default()),
                Err(why) => Err(why.of(SERVERS_FILE)),
            };
            (manifest, servers)
        }
        Err(error) => return Ok(Err(error)),
    };
    Ok(servers.map(|servers| Plugin { manifest, servers }))
}

/// The bytes of a small file of the plugin.
async fn text(
    remote: &Remote,
    directory: &str,
    file: &str,
) -> Result<Result<bytes::Bytes, NotRead>, Failure> {
    let separator = if directory.ends_with('/') { "" } else { "/" };
    let at = location(&format!("{directory}{separator}{file}"))?;
    let Some(metadata) = there(remote.call(&Metadata { path: at.clone(), sandbox: None }).await)? else {
        return Ok(Err(NotRead::Missing));
    };
    if metadata.size > MANIFEST_BYTES_MAX as u64 {
        return Ok(Err(NotRead::TooLong));
    }
    if metadata.is_symlink || !metadata.is_file || !is_below(remote, directory, file, &at).await? {
        return Ok(Err(NotRead::NotPlain));
    }
    Ok(there(remote.read_file(at).await)?.ok_or(NotRead::Missing))
}

/// Whether no link is on the way from the plugin's directory to its file.
async fn is_below(remote: &Remote, directory: &str, file: &str, at: &Location) -> Result<bool, Failure> {
    let mut really = Vec::new();
    for path in [location(directory)?, at.clone()] {
        let canonical = there(remote.call(&Canonicalize { path, sandbox: None }).await)?;
        really.push(canonical.and_then(|canonical| canonical.path.to_path().ok()));
    }
    let [Some(directory), Some(at)] = really.as_slice() else { return Ok(false) };
    Ok(directory.join(file) == *at)
}
