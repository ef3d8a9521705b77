//! What a turn published: told, and saved below a directory.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::Context;
use super::client::Client;
use super::error::CliError;
use super::find::SESSIONS;
use super::output::text;

/// Where an environment's published files are.
const OUTPUTS: &str = "/workspace/outputs/";

/// What `turn` published, oldest first.
pub(crate) async fn of_turn(client: &Client, session: &str, turn: &str) -> Result<Vec<Value>, CliError> {
    let mut artifacts = client.list(&format!("{SESSIONS}/{session}/artifacts"), &[("order", "asc")]).await?;
    artifacts.retain(|artifact| text(artifact, "/turn_id") == turn);
    Ok(artifacts)
}

/// Says what was published, and with a directory saves it there at the path it has below `outputs`.
pub(crate) async fn tell(
    cx: &mut Context,
    client: &Client,
    artifacts: &[Value],
    directory: Option<&Path>,
) -> Result<(), CliError> {
    for artifact in artifacts {
        let path = text(artifact, "/path");
        let size = artifact.get("size_bytes").and_then(Value::as_u64).unwrap_or(0);
        let Some(directory) = directory else {
            cx.note(&format!("artifact   {path}, {size} bytes"))?;
            continue;
        };
        let place = place(directory, path)?;
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let (session, id) = (text(artifact, "/session_id"), text(artifact, "/id"));
        let content = format!("{SESSIONS}/{session}/artifacts/{id}/content");
        client.save(&content, &place).await?;
        cx.note(&format!("artifact   {}, {size} bytes", place.display()))?;
    }
    Ok(())
}

/// Where an artifact belongs below `directory`. The path is a stranger's.
fn place(directory: &Path, path: &str) -> Result<PathBuf, CliError> {
    let below = Path::new(path.strip_prefix(OUTPUTS).unwrap_or(path));
    let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !is_plain {
        return Err(CliError::failed("artifact", format!("`{path}` cannot be saved below a directory")));
    }
    Ok(directory.join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saves_below_the_directory_and_nowhere_else() {
        let place = |path| place(Path::new("out"), path).ok().map(|path| path.display().to_string());
        assert_eq!(place("/workspace/outputs/a/b.txt").as_deref(), Some("out/a/b.txt"));
        for path in ["", "/etc/passwd", "/workspace/outputs/../../x", "../x", "/workspace/outputs//etc/x"] {
            assert_eq!(place(path), None, "{path}");
        }
    }
}
