//! Settings of hosted environments, as sessions, templates and pre-warmed environments are given them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tenure_journal::{ContainerSize, HostedSettings, Network, Packages, ProjectId, SetupCommand, WantedFile};
use tenure_runtime::Runtime;

use super::environment::{
    NewFile, is_empty, read_files, read_network, read_setup, read_variables, unsupported,
};
use super::reader::{Field, Reader};
use crate::error::ApiError;

/// Packages of one kind.
const PACKAGES_MAX: usize = 100;
/// Characters of a package's name with what version is wanted of it.
const PACKAGE_CHARS_MAX: usize = 200;

/// Settings as they were sent: absent, null, or a value. Their secrets are not sealed and their files not
/// stored.
#[derive(Default)]
pub(crate) struct SettingsBody {
    pub(super) size: Option<Option<ContainerSize>>,
    pub(super) network: Option<Option<Network>>,
    pub(super) files: Option<Option<Vec<NewFile>>>,
    pub(super) packages: Option<Option<Packages>>,
    pub(super) setup: Option<Option<Vec<SetupCommand>>>,
    pub(super) variables: Option<Option<BTreeMap<String, String>>>,
}

/// Values may be secret.
impl std::fmt::Debug for SettingsBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SettingsBody").field("network", &self.network).finish_non_exhaustive()
    }
}

/// Whose settings they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SettingsScope {
    /// A session's, which also chooses a size.
    Session,
    /// A template's or a pre-warmed environment's.
    Reusable,
}

impl SettingsBody {
    /// Reads what every hosted environment can have, of an object that may have more.
    pub(super) fn read(r: &mut Reader<'_>, scope: SettingsScope) -> Result<Self, ApiError> {
        // What restricts comes first: it must never be ignored.
        let network = sent(r.optional("network"), read_network)?;
        let size = match scope {
            SettingsScope::Session => sent(r.optional("container_size"), |field| {
                field.word(ContainerSize::WORDS, ContainerSize::from_word)
            })?,
            SettingsScope::Reusable => None,
        };
        let files = sent(r.optional("files"), |field| read_files(&field))?;
        let packages = sent(r.optional("packages"), read_packages)?;
        let setup = sent(r.optional("setup_commands"), |field| read_setup(&field))?;
        let variables = sent(r.optional("env"), |field| read_variables(&field))?;
        if let Some(desktop) = r.optional_or_null("desktop") {
            let mut reader = desktop.clone().object()?;
            if reader.required("enabled")?.bool()? {
                return Err(unsupported(desktop.path(), "desktops"));
            }
            reader.finish()?;
        }
        for (name, what) in [
            ("skills", "skills"),
            ("plugins", "plugins"),
            ("capability_directories", "capability directories"),
        ] {
            let field = r.optional_or_null(name);
            if let Some(field) = field.filter(|field| !is_empty(field.value())) {
                return Err(unsupported(field.path(), what));
            }
        }
        Ok(Self { size, network, files, packages, setup, variables })
    }

    /// Whether nothing was sent but what a null means too.
    pub(super) fn is_empty(&self) -> bool {
        let Self { size, network, files, packages, setup, variables } = self;
        size.is_none()
            && network.is_none()
            && files.is_none()
            && packages.is_none()
            && setup.is_none()
            && variables.is_none()
    }

    /// What of them needs nothing stored: enough to say whether they can be had here.
    pub(crate) fn plain(&self) -> HostedSettings {
        HostedSettings {
            network: self.network.clone().flatten(),
            size: self.size.flatten(),
            packages: self.packages.clone().flatten(),
            setup: self.setup.clone().flatten(),
            files: None,
            variables: None,
        }
    }

    /// Seals the secrets and stores the files. Gives the settings, and which of them were sent.
    pub(crate) async fn keep(self, runtime: &Runtime, project: ProjectId) -> Result<Kept, ApiError> {
        let variables = match self.variables {
            Some(Some(variables)) if !variables.is_empty() => {
                let text = serde_json::to_string(&variables).unwrap_or_default();
                Some(Some(runtime.seal(project, &text).await?))
            }
            Some(_) => Some(None),
            None => None,
        };
        let files = match self.files {
            Some(Some(files)) => Some(Some(store(runtime, project, files).await?)),
            Some(None) => Some(None),
            None => None,
        };
        let Self { size, network, packages, setup, .. } = self;
        Ok(Kept { size, network, files, packages, setup, variables })
    }
}

/// Settings that can be written down: absent, null, or a value.
#[derive(Clone)]
pub(crate) struct Kept {
    size: Option<Option<ContainerSize>>,
    network: Option<Option<Network>>,
    files: Option<Option<Vec<WantedFile>>>,
    packages: Option<Option<Packages>>,
    setup: Option<Option<Vec<SetupCommand>>>,
    variables: Option<Option<tenure_journal::Secret>>,
}

impl Kept {
    /// These settings in the place of others: what was not sent stays, and a null leaves open.
    pub(crate) fn replacing(self, before: HostedSettings) -> HostedSettings {
        HostedSettings {
            network: self.network.unwrap_or(before.network),
            size: self.size.unwrap_or(before.size),
            files: self.files.unwrap_or(before.files),
            packages: self.packages.unwrap_or(before.packages),
            setup: self.setup.unwrap_or(before.setup),
            variables: self.variables.unwrap_or(before.variables),
        }
    }
}

async fn store(
    runtime: &Runtime,
    project: ProjectId,
    files: Vec<NewFile>,
) -> Result<Vec<WantedFile>, ApiError> {
    let kept = super::environment::store(runtime, project, files).await?;
    Ok(kept.into_iter().map(|file| WantedFile::Inline { path: file.path, blob: file.blob }).collect())
}

/// A member that may be absent or null.
fn sent<'a, T>(
    field: Option<Field<'a>>,
    read: impl FnOnce(Field<'a>) -> Result<T, ApiError>,
) -> Result<Option<Option<T>>, ApiError> {
    field.map(|field| field.nullable().map(read).transpose()).transpose()
}

fn read_packages(field: Field<'_>) -> Result<Packages, ApiError> {
    let mut reader = field.object()?;
    let mut names = |kind| {
        let list = reader.optional_or_null(kind).map(|field| read_names(&field));
        Ok::<_, ApiError>(list.transpose()?.unwrap_or_default())
    };
    let packages = Packages { python: names("python")?, npm: names("npm")? };
    let system = reader.optional_or_null("system");
    reader.finish()?;
    // What is below the workspace is all that an environment's snapshot holds.
    match system.filter(|field| *field.value() != Value::Array(Vec::new())) {
        Some(system) => Err(system.refuse(
            "unsupported_feature",
            "This server cannot install system packages: the system is read-only in its environments.",
        )),
        None => Ok(packages),
    }
}

fn read_names(field: &Field<'_>) -> Result<Vec<String>, ApiError> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for field in field.array(PACKAGES_MAX)? {
        let name = field.text(PACKAGE_CHARS_MAX)?;
        if name.starts_with('-') || name.chars().any(char::is_control) {
            let message =
                format!("Invalid '{}': expected a package's name, with or without a version.", field.path());
            return Err(field.refuse("invalid_value", message));
        }
        if !seen.insert(name) {
            let message = format!("Invalid '{}': '{name}' is given twice.", field.path());
            return Err(field.refuse("invalid_value", message));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}
