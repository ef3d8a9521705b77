//! Environments as clients ask for them.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use tenure_journal::{
    Environment, EnvironmentFile, EnvironmentId, HostedEnvironment, HostedSettings, InstalledSkill, Network,
    ProjectId, SelfHostedEnvironment, SessionId, SetupCommand, TargetEnvironment, TemplateId,
    WantedEnvironment, limit,
};
use tenure_runtime::{Runtime, TemplateError, WantedError};

use super::hosted::{SettingsBody, SettingsScope};
use super::reader::{Field, Reader};
use crate::error::ApiError;
use crate::files;

/// Where an environment's files are.
pub(super) const WORKSPACE: &str = "/workspace";
/// Setup commands of one environment.
const SETUP_MAX: usize = 16;
/// Characters of a setup command.
const SETUP_CHARS_MAX: usize = 64 * 1024;
/// Variables of one environment.
const VARIABLES_MAX: usize = 1_024;
/// Characters of a variable's value.
const VARIABLE_CHARS_MAX: usize = 32 * 1024;
/// Bytes of one inline file.
const INLINE_BYTES_MAX: usize = 5 * 1024 * 1024;
/// Bytes of all inline files of a request.
const INLINE_BYTES_TOTAL_MAX: usize = 10 * 1024 * 1024;
/// Bytes of one uploaded file that is placed in an environment.
const UPLOADED_BYTES_MAX: u64 = 50 * 1024 * 1024;
/// Characters of the id of a file.
const FILE_ID_CHARS_MAX: usize = 256;
/// Capability directories of one environment.
const CAPABILITY_DIRECTORIES_MAX: usize = 32;
/// Hosts that a restricted network may name.
const DOMAINS_MAX: usize = 100;
/// Characters of a template's id.
const TEMPLATE_ID_CHARS_MAX: usize = 64;
/// Characters of an environment's id.
const ENVIRONMENT_ID_CHARS_MAX: usize = 256;
/// Characters of a path in an environment.
const PATH_CHARS_MAX: usize = 4_096;

/// An environment that a client asks for: its secrets are not sealed and its files not stored.
pub(crate) enum NewEnvironment {
    None,
    Hosted(Box<NewHosted>),
    /// One that is there and waits for a session.
    Prewarmed(EnvironmentId),
    SelfHosted(NewSelfHosted),
}

/// An environment on a machine of the client's.
pub(crate) struct NewSelfHosted {
    workspace_directory: String,
    capability_directories: Vec<String>,
}

/// A hosted environment that a client asks for.
pub(crate) struct NewHosted {
    template: Option<TemplateId>,
    settings: SettingsBody,
    /// The path of the member, for what only the server can refuse.
    path: String,
}

/// A file that a client wants in an environment.
pub(crate) struct NewFile {
    path: String,
    source: NewSource,
}

/// Where its bytes are.
enum NewSource {
    /// In the request.
    Inline(Bytes),
    /// In an uploaded file, and where the request names that.
    Uploaded { file_id: String, param: String },
}

/// Values may be secret.
impl std::fmt::Debug for NewEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Prewarmed(id) => f.debug_tuple("Prewarmed").field(id).finish(),
            Self::Hosted(hosted) => {
                f.debug_struct("Hosted").field("settings", &hosted.settings).finish_non_exhaustive()
            }
            Self::SelfHosted(own) => {
                f.debug_tuple("SelfHosted").field(&own.workspace_directory).finish_non_exhaustive()
            }
        }
    }
}

impl NewFile {
    fn inline_bytes(&self) -> usize {
        match &self.source {
            NewSource::Inline(bytes) => bytes.len(),
            NewSource::Uploaded { .. } => 0,
        }
    }
}

impl NewEnvironment {
    pub(super) fn read(field: Field<'_>) -> Result<Self, ApiError> {
        enum Kind {
            None,
            Hosted,
            SelfHosted,
        }
        let path = field.path().to_owned();
        let mut reader = field.object()?;
        let words = &["none", "openai_hosted", "self_hosted"];
        let kind = reader.required("type")?.word(words, |word| match word {
            "none" => Some(Kind::None),
            "openai_hosted" => Some(Kind::Hosted),
            "self_hosted" => Some(Kind::SelfHosted),
            _ => None,
        })?;
        match kind {
            Kind::None => reader.finish().map(|()| Self::None),
            Kind::Hosted => {
                let prewarmed = reader.optional_or_null("environment_id");
                let hosted = read_hosted(reader, path, SettingsScope::Session)?;
                match prewarmed {
                    None => Ok(Self::Hosted(Box::new(hosted))),
                    Some(field) => read_prewarmed_id(&field, &hosted).map(Self::Prewarmed),
                }
            }
            Kind::SelfHosted => read_self_hosted(reader).map(Self::SelfHosted),
        }
    }

    /// Whether there is nothing to run commands in.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether it is on a machine of the client's.
    pub(crate) fn is_self_hosted(&self) -> bool {
        matches!(self, Self::SelfHosted(_))
    }

    /// The environment of `session`, its secrets sealed and its files stored. The last thing before the
    /// session is opened, so that a refused request leaves nothing behind. Executors find the server at
    /// `public_url`; `of_agent` are the agent's own skills.
    pub(crate) async fn make(
        self,
        runtime: &Runtime,
        public_url: &str,
        project: ProjectId,
        session: SessionId,
        of_agent: &[InstalledSkill],
    ) -> Result<Environment, ApiError> {
        match self {
            Self::Hosted(new) => {
                let mut hosted = new.make(runtime, project, session).await?;
                hosted.capabilities.add(of_agent);
                if hosted.capabilities.skills.len() > limit::SKILLS_INSTALLED_MAX {
                    return Err(too_many_skills());
                }
                Ok(Environment::Hosted(Box::new(hosted)))
            }
            Self::SelfHosted(NewSelfHosted { workspace_directory, capability_directories }) => {
                let id = EnvironmentId::of_session(session);
                Ok(Environment::SelfHosted(Box::new(SelfHostedEnvironment {
                    id,
                    remote_url: crate::connect::remote_url(public_url, id),
                    workspace_directory,
                    capability_directories,
                    found: Vec::new(),
                    servers: tenure_journal::PluginServers::default(),
                })))
            }
            // Its own journal says what it is.
            Self::None | Self::Prewarmed(_) => Ok(Environment::None),
        }
    }

    /// The environment of sessions that are opened later.
    pub(crate) async fn make_later(
        self,
        runtime: &Runtime,
        project: ProjectId,
    ) -> Result<TargetEnvironment, ApiError> {
        let new = match self {
            Self::None => return Ok(TargetEnvironment::None),
            Self::Hosted(new) => new,
            Self::Prewarmed(_) => {
                let message =
                    "An automation opens a session each time; a pre-warmed environment has one at most.";
                return Err(ApiError::invalid(message)
                    .code("invalid_value")
                    .param("target.environment.environment_id"));
            }
            Self::SelfHosted(_) => {
                let message = "An automation opens a session each time, and each needs an executor of its own: target an \
                    existing session with a self-hosted environment instead.";
                return Err(ApiError::invalid(message)
                    .code("unsupported_feature")
                    .param("target.environment.type"));
            }
        };
        // It is checked as if a session were opened now: what can never be had is refused now.
        let session = SessionId::fresh(&runtime.fresh());
        let (wanted, _) = new.wanted(runtime, project, session).await?;
        Ok(TargetEnvironment::Hosted(Box::new(wanted)))
    }
}

fn too_many_skills() -> ApiError {
    let most = limit::SKILLS_INSTALLED_MAX;
    ApiError::invalid(format!(
        "Invalid 'environment.skills': with the agent's own they are more than {most}."
    ))
    .code("array_above_max_length")
    .param("environment.skills")
}

impl NewHosted {
    /// The environment of `session`.
    pub(crate) async fn make(
        self,
        runtime: &Runtime,
        project: ProjectId,
        session: SessionId,
    ) -> Result<HostedEnvironment, ApiError> {
        let (wanted, path) = self.wanted(runtime, project, session).await?;
        runtime.environment_of(project, session, &wanted).await.map_err(|error| refused(error, &path))
    }

    /// What is asked for, once it is known that it can be had; its secrets sealed and its files stored.
    async fn wanted(
        self,
        runtime: &Runtime,
        project: ProjectId,
        session: SessionId,
    ) -> Result<(WantedEnvironment, String), ApiError> {
        let Self { template, settings, path } = self;
        let plain = WantedEnvironment { template, settings: settings.plain() };
        runtime.environment_of(project, session, &plain).await.map_err(|error| refused(error, &path))?;
        let settings = settings.keep(runtime, project).await?.replacing(HostedSettings::default());
        Ok((WantedEnvironment { template, settings }, path))
    }
}

/// The words for a client whose environment, at `path`, cannot be had.
fn refused(error: WantedError, path: &str) -> ApiError {
    match error {
        WantedError::Refused(refusal) => super::refused_settings(refusal, path),
        WantedError::Template(TemplateError::NotFound) => unknown_template(path),
        WantedError::Template(error) => error.into(),
    }
}

fn unknown_template(path: &str) -> ApiError {
    ApiError::not_found("environment template").param(format!("{path}.environment_template_id"))
}

/// Keeps the bytes of files.
pub(crate) async fn store(
    runtime: &Runtime,
    project: ProjectId,
    files: Vec<NewFile>,
) -> Result<Vec<EnvironmentFile>, ApiError> {
    let mut kept = Vec::with_capacity(files.len());
    for NewFile { path, source } in files {
        kept.push(match source {
            NewSource::Inline(bytes) => {
                EnvironmentFile::inline(path, runtime.store().put_blob(project, bytes).await?)
            }
            NewSource::Uploaded { file_id, param } => copy(runtime, project, path, (&file_id, param)).await?,
        });
    }
    Ok(kept)
}

/// An uploaded file as it is now, to be placed at `path`.
async fn copy(
    runtime: &Runtime,
    project: ProjectId,
    path: String,
    (file_id, param): (&str, String),
) -> Result<EnvironmentFile, ApiError> {
    let found = match file_id.parse() {
        Ok(id) => files::by_id(runtime.store(), project, runtime.now(), id).await?,
        Err(_) => None,
    };
    let Some(found) = found else { return Err(ApiError::not_found("file").param(param)) };
    if found.file.size_bytes() > UPLOADED_BYTES_MAX {
        let message = format!(
            "Invalid '{param}': a file that is placed in an environment may have {UPLOADED_BYTES_MAX} bytes; split it."
        );
        return Err(ApiError::invalid(message).code("file_too_large").param(param));
    }
    found.placed(path).ok_or_else(|| ApiError::not_found("file").param(param))
}

pub(super) fn read_hosted(
    mut r: Reader<'_>,
    path: String,
    scope: SettingsScope,
) -> Result<NewHosted, ApiError> {
    let settings = SettingsBody::read(&mut r, scope)?;
    let template = r.optional_or_null("environment_template_id").map(|field| {
        let id = field.text(TEMPLATE_ID_CHARS_MAX)?;
        // What is no id is the id of nothing.
        id.parse().map_err(|_| unknown_template(&path))
    });
    let template = template.transpose()?;
    r.finish()?;
    Ok(NewHosted { template, settings, path })
}

/// The body that asks for an environment without a session.
pub(crate) fn read_prewarmed(body: &Value) -> Result<(NewHosted, Vec<String>), ApiError> {
    let mut reader = Reader::new("", body)?;
    let environment = reader.required("environment")?;
    let path = environment.path().to_owned();
    let mut inner = environment.object()?;
    inner.required("type")?.word(&["openai_hosted"], |word| (word == "openai_hosted").then_some(()))?;
    let hosted = read_hosted(inner, path, SettingsScope::Reusable)?;
    let vaults = reader.optional_or_null("vault_ids");
    let vaults = vaults.map(|field| super::vault::read_vault_ids(&field)).transpose()?;
    reader.finish()?;
    Ok((hosted, vaults.unwrap_or_default()))
}

/// The id of an environment that waits for a session, which brings all its settings.
fn read_prewarmed_id(field: &Field<'_>, beside: &NewHosted) -> Result<EnvironmentId, ApiError> {
    if beside.template.is_some() || !beside.settings.is_empty() {
        let message =
            format!("'{}' excludes a template and every other setting of the environment.", field.path());
        return Err(field.refuse("invalid_value", message));
    }
    let unknown = |_| ApiError::not_found("environment").param(field.path().to_owned());
    field.text(ENVIRONMENT_ID_CHARS_MAX)?.parse().map_err(unknown)
}

fn read_self_hosted(mut r: Reader<'_>) -> Result<NewSelfHosted, ApiError> {
    let workspace_directory = absolute(&r.required("workspace_directory")?)?;
    let capabilities = r.optional_or_null("capability_directories");
    let capabilities = capabilities.map(|field| field.array(CAPABILITY_DIRECTORIES_MAX)).transpose()?;
    let capabilities = capabilities.unwrap_or_default();
    let capability_directories = capabilities.iter().map(absolute).collect::<Result<_, _>>()?;
    r.finish()?;
    Ok(NewSelfHosted { workspace_directory, capability_directories })
}

/// A directory on another machine: absolute, and without detours, so that what is below it is known by its
/// name.
fn absolute(field: &Field<'_>) -> Result<String, ApiError> {
    let path = field.text(PATH_CHARS_MAX)?;
    let refuse = |why: &str| field.refuse("invalid_path", format!("Invalid '{}': {why}.", field.path()));
    if !path.starts_with('/') {
        return Err(refuse("a directory must be absolute, such as '/workspace'"));
    }
    if path.chars().any(char::is_control) || path.split('/').any(|part| part == "." || part == "..") {
        return Err(refuse("a directory must not contain '.', '..' or control characters"));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    Ok(format!("/{}", parts.join("/")))
}

/// Whether a value asks for nothing: an empty list, or lists that are all empty.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(|value| value.is_null() || is_empty(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

pub(super) fn unsupported(path: &str, what: &str) -> ApiError {
    ApiError::invalid(format!("This server does not support {what} yet."))
        .code("unsupported_feature")
        .param(path)
}

pub(super) fn read_network(field: Field<'_>) -> Result<Network, ApiError> {
    let path = field.path().to_owned();
    let mut reader = field.object()?;
    let words = &["enabled", "disabled", "restricted"];
    let access =
        reader.required("access")?.word(words, |word| words.contains(&word).then(|| word.to_owned()))?;
    let allowed = reader.optional_or_null("allowed_domains");
    let blocked = reader.optional_or_null("blocked_domains");
    reader.finish()?;
    if let Some(blocked) = blocked.filter(|field| !is_empty(field.value())) {
        return Err(unsupported(blocked.path(), "blocked domains; name the allowed ones instead"));
    }
    match (access.as_str(), allowed) {
        ("restricted", Some(allowed)) => {
            let allowed = allowed.array(DOMAINS_MAX)?;
            let allowed: Result<Vec<String>, _> =
                allowed.iter().map(|host| host.text(253).map(str::to_owned)).collect();
            Ok(Network::Restricted { allowed_domains: allowed? })
        }
        ("restricted", None) => Err(super::reader::missing(&format!("{path}.allowed_domains"))),
        (_, Some(allowed)) if !is_empty(allowed.value()) => Err(allowed.refuse(
            "invalid_value",
            format!("'{}' is only allowed when access is 'restricted'.", allowed.path()),
        )),
        ("enabled", _) => Ok(Network::Enabled),
        (_, _) => Ok(Network::Disabled),
    }
}

pub(super) fn read_setup(field: &Field<'_>) -> Result<Vec<SetupCommand>, ApiError> {
    let read = |field: Field<'_>| {
        let mut reader = field.object()?;
        let command = reader.required("command")?;
        let text = command.text(SETUP_CHARS_MAX)?.to_owned();
        if text.contains('\0') {
            return Err(command.refuse("invalid_value", "A command must not hold a NUL character."));
        }
        let cwd = match reader.optional_or_null("cwd") {
            None => WORKSPACE.to_owned(),
            Some(cwd) => {
                let path = cwd.text(PATH_CHARS_MAX)?;
                if path == WORKSPACE { path.to_owned() } else { below_workspace(&cwd, path)? }
            }
        };
        reader.finish()?;
        Ok(SetupCommand { command: text, cwd })
    };
    field.array(SETUP_MAX)?.into_iter().map(read).collect()
}

pub(super) fn read_variables(field: &Field<'_>) -> Result<BTreeMap<String, String>, ApiError> {
    let mut variables = BTreeMap::new();
    for (name, value) in field.strings(VARIABLES_MAX, VARIABLE_CHARS_MAX)? {
        let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message =
                format!("Invalid '{}': a variable's name is letters, digits and '_'.", field.path());
            return Err(field.refuse("invalid_value", message));
        }
        if name == "PATH" || name == "OPENAI_API_KEY" || name.starts_with("CODEX_") {
            let message = format!("Invalid '{}': the variable '{name}' is reserved.", field.path());
            return Err(field.refuse("invalid_value", message));
        }
        if value.contains('\0') {
            let message =
                format!("Invalid '{}.{name}': a value must not hold a NUL character.", field.path());
            return Err(field.refuse("invalid_value", message));
        }
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

pub(super) fn read_files(field: &Field<'_>) -> Result<Vec<NewFile>, ApiError> {
    let mut files = Vec::new();
    let mut paths = BTreeSet::new();
    let mut total = 0;
    for entry in field.array(limit::FILES_PLACED_MAX)? {
        let path = entry.path().to_owned();
        let file = read_file(entry.object()?)?;
        total += file.inline_bytes();
        if total > INLINE_BYTES_TOTAL_MAX {
            let message =
                format!("Invalid '{}': more than {INLINE_BYTES_TOTAL_MAX} bytes of files.", field.path());
            return Err(field.refuse("files_too_large", message));
        }
        if !paths.insert(file.path.clone()) {
            return Err(ApiError::invalid(format!("Invalid '{path}.path': '{}' is given twice.", file.path))
                .code("invalid_value")
                .param(format!("{path}.path")));
        }
        files.push(file);
    }
    Ok(files)
}

/// A file to be put into an environment.
pub(crate) fn read_file(mut reader: Reader<'_>) -> Result<NewFile, ApiError> {
    let kind = reader.required("type")?;
    let is_inline = kind.word(&["inline", "file_id"], |word| match word {
        "inline" => Some(true),
        "file_id" => Some(false),
        _ => None,
    })?;
    if !is_inline {
        let file_id = reader.required("file_id")?;
        let path = reader.required("path")?;
        reader.finish()?;
        let source = NewSource::Uploaded {
            file_id: file_id.text(FILE_ID_CHARS_MAX)?.to_owned(),
            param: file_id.path().to_owned(),
        };
        return Ok(NewFile { path: destination(&path)?, source });
    }
    let data = reader.required("data")?;
    let path = reader.required("path")?;
    reader.finish()?;
    let to = destination(&path)?;
    let text = data.string()?;
    let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| {
        data.refuse("invalid_base64", format!("Invalid '{}': expected standard base64.", data.path()))
    })?;
    if bytes.len() > INLINE_BYTES_MAX {
        let message = format!("Invalid '{}': an inline file may have {INLINE_BYTES_MAX} bytes.", data.path());
        return Err(data.refuse("file_too_large", message));
    }
    Ok(NewFile { path: to, source: NewSource::Inline(Bytes::from(bytes)) })
}

/// Where a file may be placed: absolute, below the workspace, plain, and not where the server itself writes.
fn destination(field: &Field<'_>) -> Result<String, ApiError> {
    let path = field.text(PATH_CHARS_MAX)?;
    let path = below_workspace(field, path)?;
    let below = path.strip_prefix(WORKSPACE).unwrap_or(&path).trim_start_matches('/');
    let first = below.split('/').next().unwrap_or_default();
    if first == ".codex" || first.starts_with(".managed-agents") || below == "outputs" {
        return Err(
            field.refuse("invalid_path", format!("Invalid '{}': this path is reserved.", field.path()))
        );
    }
    Ok(path)
}

pub(super) fn below_workspace(field: &Field<'_>, path: &str) -> Result<String, ApiError> {
    let below = path.strip_prefix("/workspace/");
    let plain = |name: &str| !name.is_empty() && name != "." && name != ".." && name.len() <= 255;
    let is_plain = below.is_some_and(|below| below.split('/').all(plain) && !below.contains('\0'));
    if is_plain {
        return Ok(path.to_owned());
    }
    let message = format!(
        "Invalid '{}': expected an absolute path below {WORKSPACE} without '.', '..' or empty names.",
        field.path()
    );
    Err(field.refuse("invalid_path", message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tenure_journal::ContainerSize;

    use super::*;
    use crate::read::tests::refusal;

    fn read(environment: &Value) -> Result<NewEnvironment, ApiError> {
        let body = json!({ "environment": environment });
        let mut reader = Reader::new("", &body)?;
        NewEnvironment::read(reader.required("environment")?)
    }

    #[track_caller]
    fn refused(mut member: Value, message: &str, param: &str) {
        member["type"] = json!("openai_hosted");
        let outcome = read(&member).map(drop);
        assert_eq!(refusal(outcome), (message.to_owned(), Some(param.to_owned())));
    }

    #[test]
    fn reads_a_hosted_environment() {
        let environment = json!({"type": "openai_hosted", "network": {"access": "disabled"}, "env": {"A_1": "x"},
            "files": [{"type": "inline", "path": "/workspace/a/b.txt", "data": "aGk="}],
            "setup_commands": [{"command": "make"}, {"command": "ls", "cwd": "/workspace/a"}],
            "container_size": "small", "packages": {"python": [], "npm": null}, "skills": [],
            "desktop": {"enabled": false}});
        let Ok(NewEnvironment::Hosted(hosted)) = read(&environment) else { panic!("accepted") };
        let plain = hosted.settings.plain();
        assert_eq!((plain.network, plain.size), (Some(Network::Disabled), Some(ContainerSize::Small)));
        let files = hosted.settings.files.flatten().expect("files");
        assert!(matches!(&files[0].source, NewSource::Inline(bytes) if bytes == "hi"));
        assert_eq!(plain.setup.expect("commands")[1].cwd, "/workspace/a");
        let variables = hosted.settings.variables.flatten().expect("variables");
        assert_eq!(variables.get("A_1").map(String::as_str), Some("x"));
    }

    #[test]
    fn names_the_mistake() {
        let file = |path: &str| json!({"files": [{"type": "inline", "path": path, "data": ""}]});
        let bad = "Invalid 'environment.files[0].path': expected an absolute path below /workspace without '.', \
                   '..' or empty names.";
        for path in
            ["a", "/etc/a", "/workspace", "/workspace/", "/workspace/../a", "/workspace//a", "/workspace/./a"]
        {
            refused(file(path), bad, "environment.files[0].path");
        }
        for path in ["/workspace/.codex/a", "/workspace/.managed-agents-x", "/workspace/outputs"] {
            let reserved = "Invalid 'environment.files[0].path': this path is reserved.";
            refused(file(path), reserved, "environment.files[0].path");
        }
        let base64 = "Invalid 'environment.files[0].data': expected standard base64.";
        let wrong = json!({"files": [{"type": "inline", "path": "/workspace/a", "data": "a"}]});
        refused(wrong, base64, "environment.files[0].data");
        let twice = json!({"files": [{"type": "inline", "path": "/workspace/a", "data": ""},
            {"type": "inline", "path": "/workspace/a", "data": ""}]});
        refused(
            twice,
            "Invalid 'environment.files[1].path': '/workspace/a' is given twice.",
            "environment.files[1].path",
        );
        let missing = "Missing required parameter: 'environment.network.allowed_domains'.";
        refused(json!({"network": {"access": "restricted"}}), missing, "environment.network.allowed_domains");
        let only = "'environment.network.allowed_domains' is only allowed when access is 'restricted'.";
        let wide = json!({"network": {"access": "enabled", "allowed_domains": ["a.example"]}});
        refused(wide, only, "environment.network.allowed_domains");
        refused(
            json!({"env": {"PATH": "x"}}),
            "Invalid 'environment.env': the variable 'PATH' is reserved.",
            "environment.env",
        );
        refused(
            json!({"env": {"1A": "x"}}),
            "Invalid 'environment.env': a variable's name is letters, digits and '_'.",
            "environment.env",
        );
        let desktop = "This server does not support desktops yet.";
        refused(json!({"desktop": {"enabled": true}}), desktop, "environment.desktop");
        let id = "Missing required parameter: 'environment.files[0].file_id'.";
        let by_id = json!({"files": [{"type": "file_id", "path": "/workspace/a"}]});
        refused(by_id, id, "environment.files[0].file_id");
        let reserved = "Invalid 'environment.files[0].path': this path is reserved.";
        let by_id = json!({"files": [{"type": "file_id", "file_id": "x", "path": "/workspace/outputs"}]});
        refused(by_id, reserved, "environment.files[0].path");
        refused(json!({"colour": 1}), "Unknown parameter: 'environment.colour'.", "environment.colour");
    }
}
