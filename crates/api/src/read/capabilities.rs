//! Skills, plugins and directories of capabilities, as clients ask for them in an environment.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tenure_journal::{InstalledPlugin, InstalledSkill, ProjectId, limit};
use tenure_runtime::Runtime;
use tenure_skill::{BUNDLE_BYTES_MAX, Bundle, DESCRIPTION_CHARS_MAX, Error, ErrorKind, Kind, Manifest};

use axum::http::StatusCode;

use super::hosted::sent;
use super::reader::{Field, Reader};
use crate::error::ApiError;
use crate::skills::{self, Selector};

/// Characters of a skill's id.
const ID_CHARS_MAX: usize = 64;
/// Characters of a version.
const VERSION_CHARS_MAX: usize = 16;
/// Characters of a directory.
const PATH_CHARS_MAX: usize = 4_096;

/// What a client wants installed: nothing of it is looked up or unpacked.
#[derive(Debug, Default)]
pub(crate) struct NewCapabilities {
    skills: Option<Option<Vec<NewSkill>>>,
    plugins: Option<Option<Vec<Inline>>>,
    directories: Option<Option<Vec<String>>>,
}

/// What was installed of each member: absent, null, or what it named.
type KeptCapabilities =
    (Option<Option<Vec<InstalledSkill>>>, Option<Option<Vec<InstalledPlugin>>>, Option<Option<Vec<String>>>);

#[derive(Debug)]
enum NewSkill {
    /// A stored one, and where the request names it.
    Reference {
        id: String,
        selector: Selector,
        path: String,
    },
    Inline(Inline),
}

/// An archive in the request.
#[derive(Debug)]
struct Inline {
    kind: Kind,
    name: String,
    description: String,
    zip: Bytes,
    path: String,
}

impl NewCapabilities {
    /// Reads the members `skills`, `plugins` and `capability_directories` of an environment.
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, ApiError> {
        let skills = sent(r.optional("skills"), |field| {
            field.array(limit::SKILLS_INSTALLED_MAX)?.into_iter().map(read_skill).collect()
        })?;
        let plugins = sent(r.optional("plugins"), |field| {
            field.array(limit::PLUGINS_INSTALLED_MAX)?.into_iter().map(read_plugin).collect()
        })?;
        let directories = sent(r.optional("capability_directories"), |field| {
            field.array(limit::CAPABILITY_DIRECTORIES_MAX)?.iter().map(read_directory).collect()
        })?;
        Ok(Self { skills, plugins, directories })
    }

    /// Whether nothing was sent.
    pub(super) fn is_empty(&self) -> bool {
        let Self { skills, plugins, directories } = self;
        skills.is_none() && plugins.is_none() && directories.is_none()
    }

    /// What is installed: stored skills as they are now, and the archives of the request read, checked and kept.
    pub(super) async fn keep(
        self,
        runtime: &Runtime,
        project: ProjectId,
    ) -> Result<KeptCapabilities, ApiError> {
        let mut left = BUNDLE_BYTES_MAX;
        let skills = match self.skills {
            Some(Some(skills)) => Some(Some(kept_skills(runtime, project, skills, &mut left).await?)),
            other => other.map(|_| None),
        };
        let plugins = match self.plugins {
            Some(Some(plugins)) => Some(Some(kept_plugins(runtime, project, plugins, &mut left).await?)),
            other => other.map(|_| None),
        };
        Ok((skills, plugins, self.directories))
    }
}

async fn kept_skills(
    runtime: &Runtime,
    project: ProjectId,
    skills: Vec<NewSkill>,
    left: &mut usize,
) -> Result<Vec<InstalledSkill>, ApiError> {
    let (mut kept, mut names) = (Vec::new(), BTreeSet::new());
    for skill in skills {
        let (path, skill) = match skill {
            NewSkill::Reference { id, selector, path } => {
                let found = skills::installed(runtime.store(), project, (&id, selector), &path).await?;
                (path, found)
            }
            NewSkill::Inline(inline) => {
                let path = inline.path.clone();
                let (manifest, zip) = unpacked(inline, left).await?;
                let archive = runtime.store().put_blob(project, zip).await?;
                let (name, description) = (manifest.name().to_owned(), manifest.description().to_owned());
                (path, InstalledSkill { name, description, archive, stored: None, follows: None })
            }
        };
        if !names.insert(skill.name.clone()) {
            return Err(twice(&path, "skill", &skill.name));
        }
        kept.push(skill);
    }
    Ok(kept)
}

async fn kept_plugins(
    runtime: &Runtime,
    project: ProjectId,
    plugins: Vec<Inline>,
    left: &mut usize,
) -> Result<Vec<InstalledPlugin>, ApiError> {
    let (mut kept, mut names) = (Vec::new(), BTreeSet::new());
    for plugin in plugins {
        let path = plugin.path.clone();
        let (manifest, zip) = unpacked(plugin, left).await?;
        let archive = runtime.store().put_blob(project, zip).await?;
        let (name, description) = (manifest.name().to_owned(), manifest.description().to_owned());
        if !names.insert(name.clone()) {
            return Err(twice(&path, "plugin", &name));
        }
        kept.push(InstalledPlugin { name, description, archive });
    }
    Ok(kept)
}

/// Reads an archive of a request and packs it anew. All of one request together unpack to no more than `left`.
async fn unpacked(inline: Inline, left: &mut usize) -> Result<(Manifest, Bytes), ApiError> {
    let path = inline.path.clone();
    let read = tokio::task::spawn_blocking(move || {
        let bundle = Bundle::from_zip(inline.kind, &inline.zip)
            .map_err(|error| bundle_error(&error, &format!("{}.source.data", inline.path)))?;
        let manifest = bundle.manifest();
        for (member, given, declared) in [
            ("name", &inline.name, manifest.name()),
            ("description", &inline.description, manifest.description()),
        ] {
            if given.trim() != declared {
                let param = format!("{}.{member}", inline.path);
                let message = format!(
                    "Invalid '{param}': it is not the {member} that the archive's '{}' declares.",
                    inline.kind.manifest_path()
                );
                return Err(ApiError::invalid(message).code("capability_mismatch").param(param));
            }
        }
        Ok((manifest.clone(), bundle.size_bytes(), Bytes::from(bundle.to_zip())))
    });
    let read = read.await.map_err(|error| {
        tracing::error!(%error, "reading an archive panicked");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "An archive could not be read.")
    })?;
    let (manifest, bytes, zip) = read?;
    *left = left.checked_sub(bytes).ok_or_else(|| {
        let param = format!("{path}.source.data");
        let message = format!(
            "Invalid '{param}': the archives of this request unpack to more than {BUNDLE_BYTES_MAX} bytes together. \
             Upload skills at '/v1/skills' and refer to them."
        );
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message).code("files_too_large").param(param)
    })?;
    Ok((manifest, zip))
}

/// What a client is told about an archive or a folder of the member `param`.
pub(crate) fn bundle_error(error: &Error, param: &str) -> ApiError {
    let message = format!("Invalid '{param}': {error}.");
    match error.kind() {
        ErrorKind::TooLarge => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message).code("files_too_large"),
        ErrorKind::Archive => ApiError::invalid(message).code("invalid_archive"),
        ErrorKind::Manifest => ApiError::invalid(message).code("invalid_manifest"),
    }
    .param(param)
}

fn twice(path: &str, what: &str, name: &str) -> ApiError {
    ApiError::invalid(format!("Invalid '{path}': another {what} of this environment is named '{name}'."))
        .code("invalid_value")
        .param(path)
}

fn read_skill(field: Field<'_>) -> Result<NewSkill, ApiError> {
    let path = field.path().to_owned();
    let mut reader = field.object()?;
    let is_reference = reader.required("type")?.word(&["skill_reference", "inline"], |word| match word {
        "skill_reference" => Some(true),
        "inline" => Some(false),
        _ => None,
    })?;
    if !is_reference {
        return read_inline(reader, Kind::Skill, path).map(NewSkill::Inline);
    }
    let id = reader.required("skill_id")?.text(ID_CHARS_MAX)?.to_owned();
    let selector = match reader.optional_or_null("version") {
        None => Selector::Default,
        Some(version) => Selector::parse(version.text(VERSION_CHARS_MAX)?).ok_or_else(|| {
            let message = format!("Invalid '{}': expected a positive integer or 'latest'.", version.path());
            version.refuse("invalid_value", message)
        })?,
    };
    reader.finish()?;
    Ok(NewSkill::Reference { id, selector, path })
}

fn read_plugin(field: Field<'_>) -> Result<Inline, ApiError> {
    let path = field.path().to_owned();
    let mut reader = field.object()?;
    reader.required("type")?.word(&["inline"], |word| (word == "inline").then_some(()))?;
    read_inline(reader, Kind::Plugin, path)
}

fn read_inline(mut reader: Reader<'_>, kind: Kind, path: String) -> Result<Inline, ApiError> {
    let name = reader.required("name")?.text(tenure_skill::NAME_CHARS_MAX)?.to_owned();
    let description = reader.required("description")?.text(DESCRIPTION_CHARS_MAX)?.to_owned();
    let source = reader.required("source")?;
    reader.finish()?;
    let mut source = source.object()?;
    source.required("type")?.word(&["base64"], |word| (word == "base64").then_some(()))?;
    let zip = &["application/zip"];
    source.required("media_type")?.word(zip, |word| zip.contains(&word).then_some(()))?;
    let data = source.required("data")?;
    source.finish()?;
    let zip = STANDARD.decode(data.string()?).map_err(|_| {
        data.refuse("invalid_base64", format!("Invalid '{}': expected standard base64.", data.path()))
    })?;
    Ok(Inline { kind, name, description, zip: Bytes::from(zip), path })
}

/// A directory of the workspace, or the workspace.
fn read_directory(field: &Field<'_>) -> Result<String, ApiError> {
    let path = field.text(PATH_CHARS_MAX)?;
    if path == super::environment::WORKSPACE {
        return Ok(path.to_owned());
    }
    super::environment::below_workspace(field, path.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::read::tests::refusal;

    fn read(environment: &Value) -> Result<NewCapabilities, ApiError> {
        let mut reader = Reader::new("environment", environment)?;
        let read = NewCapabilities::read(&mut reader)?;
        reader.finish()?;
        Ok(read)
    }

    #[track_caller]
    fn refused(member: &Value, message: &str, param: &str) {
        assert_eq!(refusal(read(member)), (message.to_owned(), Some(param.to_owned())));
    }

    fn inline(change: &Value) -> Value {
        let mut skill = json!({"type": "inline", "name": "sum", "description": "Adds.",
            "source": {"type": "base64", "media_type": "application/zip", "data": "UEs="}});
        for (name, value) in change.as_object().expect("an object") {
            skill[name] = value.clone();
        }
        skill
    }

    #[test]
    fn reads_what_is_to_be_installed() {
        let given = json!({"skills": [{"type": "skill_reference", "skill_id": "skill_1"},
            {"type": "skill_reference", "skill_id": "skill_1", "version": "latest"},
            {"type": "skill_reference", "skill_id": "skill_1", "version": "3"}, inline(&json!({}))],
            "plugins": [inline(&json!({}))],
            "capability_directories": ["/workspace", "/workspace/tools/", "/workspace/.agents/skills"]});
        let read = read(&given).expect("read");
        let skills = read.skills.flatten().expect("skills");
        let selectors: Vec<Option<Selector>> = skills
            .iter()
            .map(|skill| match skill {
                NewSkill::Reference { selector, .. } => Some(*selector),
                NewSkill::Inline(_) => None,
            })
            .collect();
        assert_eq!(
            selectors,
            [Some(Selector::Default), Some(Selector::Latest), Some(Selector::Number(3)), None]
        );
        let plugins = read.plugins.flatten().expect("plugins");
        assert_eq!((plugins[0].kind, plugins[0].zip.as_ref()), (Kind::Plugin, &b"PK"[..]));
        assert_eq!(
            read.directories.flatten().expect("directories"),
            ["/workspace", "/workspace/tools", "/workspace/.agents/skills"]
        );
        assert!(
            super::tests::read(&json!({"skills": null, "plugins": [], "capability_directories": null}))
                .is_ok()
        );
    }

    #[test]
    fn names_the_mistake() {
        let at = |member: &str| format!("environment.skills[0]{member}");
        let skill = |skill: Value| json!({"skills": [skill]});
        refused(
            &skill(json!({"type": "zip"})),
            "Invalid value: 'zip'. Supported values are: 'skill_reference' and 'inline'.",
            &at(".type"),
        );
        refused(
            &skill(json!({"type": "skill_reference"})),
            "Missing required parameter: 'environment.skills[0].skill_id'.",
            &at(".skill_id"),
        );
        for version in ["0", "v1", "newest"] {
            refused(
                &skill(json!({"type": "skill_reference", "skill_id": "x", "version": version})),
                "Invalid 'environment.skills[0].version': expected a positive integer or 'latest'.",
                &at(".version"),
            );
        }
        refused(
            &skill(json!({"type": "skill_reference", "skill_id": "x", "name": "y"})),
            "Unknown parameter: 'environment.skills[0].name'.",
            &at(".name"),
        );
        refused(
            &skill(json!({"type": "inline", "name": "x", "description": "y"})),
            "Missing required parameter: 'environment.skills[0].source'.",
            &at(".source"),
        );
        let source = |source: Value| skill(inline(&json!({"source": source})));
        refused(
            &source(json!({"type": "base64", "media_type": "text/plain", "data": ""})),
            "Invalid value: 'text/plain'. Supported values are: 'application/zip'.",
            &at(".source.media_type"),
        );
        refused(
            &source(json!({"type": "base64", "media_type": "application/zip", "data": "?"})),
            "Invalid 'environment.skills[0].source.data': expected standard base64.",
            &at(".source.data"),
        );
        refused(
            &json!({"plugins": [{"type": "skill_reference", "skill_id": "x"}]}),
            "Invalid value: 'skill_reference'. Supported values are: 'inline'.",
            "environment.plugins[0].type",
        );
        for directory in ["skills", "/opt/skills", "/workspace/../etc", "/workspace//a"] {
            refused(
                &json!({"capability_directories": [directory]}),
                "Invalid 'environment.capability_directories[0]': expected an absolute path below /workspace without \
                 '.', '..' or empty names.",
                "environment.capability_directories[0]",
            );
        }
        refused(
            &json!({"capability_directories": vec!["/workspace/a"; 33]}),
            "Invalid 'environment.capability_directories': expected at most 32 items.",
            "environment.capability_directories",
        );
    }

    #[tokio::test]
    async fn an_archive_is_what_the_request_says_it_is() {
        let skill = b"---\nname: sum\ndescription: Adds.\n---\n".to_vec();
        let bundle =
            Bundle::from_files(Kind::Skill, vec![("x/SKILL.md".to_owned(), skill)]).expect("a skill");
        let size = bundle.size_bytes();
        let sent = |name: &str, description: &str| Inline {
            kind: Kind::Skill,
            name: name.to_owned(),
            description: description.to_owned(),
            zip: Bytes::from(bundle.to_zip()),
            path: "environment.skills[2]".to_owned(),
        };
        let mut left = size;
        let (manifest, _) = unpacked(sent("sum", " Adds.\n"), &mut left).await.expect("a skill");
        assert_eq!((manifest.name(), left), ("sum", 0));
        let refused = refusal(unpacked(sent("sum", "Adds."), &mut left).await);
        assert_eq!(refused.1.as_deref(), Some("environment.skills[2].source.data"));
        assert!(refused.0.contains("unpack to more than"), "{}", refused.0);
        for (name, description, member) in [("add", "Adds.", "name"), ("sum", "Subtracts.", "description")] {
            let message = format!(
                "Invalid 'environment.skills[2].{member}': it is not the {member} that the archive's 'SKILL.md' \
                 declares."
            );
            let refused = refusal(unpacked(sent(name, description), &mut 1_000).await);
            assert_eq!(refused, (message, Some(format!("environment.skills[2].{member}"))));
        }
    }
}
