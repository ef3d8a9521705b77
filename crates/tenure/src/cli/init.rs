//! `tenure init`: a small project that works offline. Never overwrites anything.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Context;
use super::error::{CliError, Exit};
use super::output::{self, Column};

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The directory, made if it does not exist
    #[arg(default_value = ".")]
    directory: PathBuf,
}

/// The files, in the order they are reported.
const FILES: &[(&str, &str)] = &[
    ("tenure.yaml", include_str!("../../templates/tenure.yaml")),
    ("agents/assistant.md", include_str!("../../templates/assistant.md")),
    ("scripts/assistant.yaml", include_str!("../../templates/script.yaml")),
    ("mcp.json", include_str!("../../templates/mcp.json")),
    ("policies/example.cedar", include_str!("../../templates/example.cedar")),
    (".env.example", include_str!("../../templates/env.example")),
    (".gitignore", include_str!("../../templates/gitignore")),
];

pub(crate) fn init(cx: &mut Context, args: &InitArgs) -> Result<Exit, CliError> {
    let root = cx.project.join(&args.directory);
    let mut rows = Vec::new();
    for (path, text) in FILES {
        let written = write_new(&root.join(path), text).map_err(|error| {
            CliError::failed("write", format!("`{}` cannot be written", root.join(path).display()))
                .cause(error.to_string())
                .kept("nothing was overwritten")
        })?;
        rows.push(json!({"id": path, "status": if written { "written" } else { "kept" }}));
    }
    let columns = [Column::at("FILE", "/id"), Column::at("STATUS", "/status")];
    output::list(&mut cx.world.out, cx.format, &columns, &rows)?;
    if rows.iter().any(|row| row["status"] == "kept") {
        cx.note("files that existed were kept as they are")?;
    }
    cx.note(&format!("next: cd {} && tenure check", quoted(&args.directory)))?;
    Ok(Exit::Done)
}

/// Writes the file unless something of that name exists. Whether it was written.
fn write_new(path: &Path, text: &str) -> std::io::Result<bool> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).create(parent)?;
    }
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use tenure_model::Script;
    use tenure_project::{Env, Project, Unset};

    use super::*;

    #[test]
    fn writes_a_project_that_is_in_order_and_overwrites_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("agents")).expect("a directory");
        std::fs::write(root.path().join(".gitignore"), "mine\n").expect("a file");
        for (path, text) in FILES {
            let written = write_new(&root.path().join(path), text).expect("written");
            assert_eq!(written, *path != ".gitignore", "{path}");
        }
        assert_eq!(std::fs::read_to_string(root.path().join(".gitignore")).expect("a file"), "mine\n");

        let project = Project::load(root.path(), &Env::default(), Unset::Error).expect("in order");
        assert_eq!(project.warnings, []);
        assert!(project.agents.contains_key("assistant"));
        let script = std::fs::read_to_string(root.path().join("scripts/assistant.yaml")).expect("a file");
        Script::parse(&script).expect("a good script");
        assert_eq!(crate::cli::check::findings(&project), []);
    }
}
