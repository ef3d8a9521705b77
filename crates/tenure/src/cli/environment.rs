//! The environment that the command line opens an agent's sessions in: what the agent's file says, with the
//! files of the project.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tenure_project::{Project, ProjectEnvironment, ProjectNetwork, Unset};

use super::Context;
use super::error::CliError;
use super::output::text;

/// Files that a server places at once.
const FILES_MAX: usize = 50;
/// Bytes of one file, and of all of them.
const FILE_BYTES_MAX: u64 = 5 * 1024 * 1024;
const FILES_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Levels of directories that are looked through.
const DEPTH_MAX: usize = 16;

/// What a session of `agent` is opened with: the environment of its file in this project, or none.
pub(crate) fn of_agent(cx: &Context, agent: &Value) -> Result<Value, CliError> {
    let name = text(agent, "/name");
    let is_ours = [format!("agents/{name}.md"), format!("agents/{name}/agent.md")];
    if name.is_empty() || name.contains('/') || !is_ours.iter().any(|file| cx.project.join(file).is_file()) {
        return Ok(none());
    }
    let project = Project::load(&cx.project, &cx.world.env, Unset::Warning).map_err(|error| {
        CliError::failed("project", format!("the agent's environment cannot be read\n{error}"))
    })?;
    let found = project.agents.values().find(|agent| agent.name.as_str() == name);
    match found.and_then(|agent| agent.environment.as_ref()) {
        Some(environment) => hosted(&cx.project, environment),
        None => Ok(none()),
    }
}

fn none() -> Value {
    json!({"type": "none"})
}

fn hosted(project: &Path, environment: &ProjectEnvironment) -> Result<Value, CliError> {
    let network = match &environment.network {
        ProjectNetwork::Disabled => json!({"access": "disabled"}),
        ProjectNetwork::Enabled => json!({"access": "enabled"}),
        ProjectNetwork::Restricted(domains) => json!({"access": "restricted", "allowed_domains": domains}),
    };
    let setup: Vec<Value> = environment.setup.iter().map(|command| json!({ "command": command })).collect();
    let mut value = json!({"type": "openai_hosted", "network": network, "setup_commands": setup});
    if let Some(size) = &environment.size {
        value["container_size"] = json!(size);
    }
    if let Some(directory) = &environment.files {
        value["files"] = json!(files(&project.join(directory))?);
    }
    Ok(value)
}

/// Every file below `directory`, to be placed at the same path below `/workspace`.
fn files(directory: &Path) -> Result<Vec<Value>, CliError> {
    let (mut files, mut bytes_left) = (Vec::new(), FILES_BYTES_MAX);
    let mut open = vec![(directory.to_owned(), "/workspace".to_owned(), DEPTH_MAX)];
    while let Some((directory, inside, depth)) = open.pop() {
        let unreadable = |error: std::io::Error| {
            CliError::failed("files", format!("`{}` cannot be read", directory.display()))
                .cause(error.to_string())
        };
        let mut entries: Vec<_> =
            std::fs::read_dir(&directory).and_then(Iterator::collect).map_err(unreadable)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let kind = entry.file_type().map_err(unreadable)?;
            let Ok(name) = entry.file_name().into_string() else {
                let what = format!("the name `{}` is not UTF-8", entry.path().display());
                return Err(CliError::failed("files", what).fix("rename the file"));
            };
            let inside = format!("{inside}/{name}");
            if name.starts_with('.') {
                continue;
            }
            if kind.is_dir() && depth > 0 {
                open.push((entry.path(), inside, depth - 1));
            } else if kind.is_file() {
                let size = entry.metadata().map_err(unreadable)?.len();
                let is_too_much = size > FILE_BYTES_MAX || size > bytes_left || files.len() == FILES_MAX;
                if is_too_much {
                    return Err(too_much(&entry.path()));
                }
                bytes_left -= size;
                let bytes = std::fs::read(entry.path()).map_err(unreadable)?;
                files.push(json!({"type": "inline", "path": inside, "data": STANDARD.encode(bytes)}));
            }
        }
    }
    Ok(files)
}

fn too_much(path: &Path) -> CliError {
    let what = format!("`{}` is more than can be placed in an environment", path.display());
    let limit = format!(
        "{FILES_MAX} files, {FILE_BYTES_MAX} bytes each and {FILES_BYTES_MAX} bytes together at most"
    );
    CliError::failed("files", what).cause(limit).fix("let a command of `setup` make or fetch what is large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_files_of_a_directory() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write("b/c.txt", "c");
        write("a.txt", "a");
        write(".hidden/d.txt", "d");
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("link")).expect("made");
        let found = files(root.path()).expect("few files");
        let shown: Vec<(&str, &str)> =
            found.iter().map(|file| (text(file, "/path"), text(file, "/data"))).collect();
        assert_eq!(shown, [("/workspace/a.txt", "YQ=="), ("/workspace/b/c.txt", "Yw==")]);

        let large = std::fs::File::create(root.path().join("large")).expect("made");
        large.set_len(FILE_BYTES_MAX + 1).expect("grown");
        let error = files(root.path()).expect_err("too large");
        assert!(error.message.contains("large` is more than can be placed"), "{}", error.message);
        large.set_len(0).expect("shrunk");
        for number in 0..FILES_MAX {
            write(&format!("many/{number}"), "");
        }
        assert!(files(root.path()).is_err(), "too many");
    }
}
