//! Settings of hosted environments as they were asked for: templates, and what automations open sessions
//! with. Setup commands, values of variables and bytes of files are never shown.

use serde_json::{Value, json};
use tenure_journal::{EnvironmentFile, HostedSettings, Network, Packages, TargetEnvironment};
use tenure_runtime::SavedTemplate;

use super::session::{installed_plugin, installed_skill};

/// A template.
pub(crate) fn template(saved: &SavedTemplate) -> Value {
    let HostedSettings { network: access, files, skills, plugins, directories, packages: asked, .. } =
        &saved.body.settings;
    json!({
        "id": saved.id,
        "object": "agent.environment.template",
        "name": saved.body.name,
        "created_at": saved.document.created_at.as_secs(),
        "updated_at": saved.document.updated_at.as_secs(),
        "network": network(access.as_ref().unwrap_or(&Network::Disabled)),
        "packages": packages(asked.as_ref().unwrap_or(&Packages::default())),
        "files": files.iter().flatten().map(file).collect::<Vec<_>>(),
        "skills": skills.iter().flatten().map(installed_skill).collect::<Vec<_>>(),
        "plugins": plugins.iter().flatten().map(installed_plugin).collect::<Vec<_>>(),
        "capability_directories": directories.clone().unwrap_or_default(),
        "desktop": {"enabled": false},
    })
}

/// The environment of an automation's sessions; what is null is the template's, or the default.
pub(super) fn target(environment: &TargetEnvironment) -> Value {
    let wanted = match environment {
        TargetEnvironment::None => return json!({"type": "none"}),
        TargetEnvironment::Hosted(wanted) => wanted,
    };
    let HostedSettings {
        network: access, size, files, skills, plugins, directories, packages: asked, ..
    } = &wanted.settings;
    json!({
        "type": "openai_hosted",
        "environment_template_id": wanted.template,
        "environment_id": null,
        "container_size": size.map(|size| size.as_str()),
        "network": access.as_ref().map(network),
        "packages": asked.as_ref().map(packages),
        "files": files.as_ref().map(|files| files.iter().map(file).collect::<Vec<_>>()),
        "skills": skills.as_ref().map(|skills| skills.iter().map(installed_skill).collect::<Vec<_>>()),
        "plugins": plugins.as_ref().map(|plugins| plugins.iter().map(installed_plugin).collect::<Vec<_>>()),
        "capability_directories": directories,
        "desktop": null,
    })
}

pub(super) fn network(network: &Network) -> Value {
    let (access, allowed) = match network {
        Network::Disabled => ("disabled", &[][..]),
        Network::Restricted { allowed_domains } => ("restricted", &allowed_domains[..]),
        Network::Enabled => ("enabled", &[][..]),
    };
    json!({"access": access, "allowed_domains": allowed})
}

pub(super) fn packages(packages: &Packages) -> Value {
    json!({"python": packages.python, "npm": packages.npm, "system": []})
}

/// A file as a template or a target names it.
fn file(file: &EnvironmentFile) -> Value {
    match file.file_id {
        None => json!({"type": "inline", "path": file.path, "size_bytes": file.size_bytes()}),
        Some(file_id) => json!({"type": "file_id", "file_id": file_id, "path": file.path}),
    }
}
