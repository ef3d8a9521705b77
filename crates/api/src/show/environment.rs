//! Settings of hosted environments as they were asked for: templates, and what automations open sessions
//! with. Setup commands, values of variables and bytes of files are never shown.

use serde_json::{Value, json};
use tenure_journal::{HostedSettings, Network, Packages, TargetEnvironment, WantedFile};
use tenure_runtime::SavedTemplate;

/// A template.
pub(crate) fn template(saved: &SavedTemplate) -> Value {
    let HostedSettings { network: access, size: _, files, packages: asked, setup: _, variables: _ } =
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
        "skills": [],
        "plugins": [],
        "capability_directories": [],
        "desktop": {"enabled": false},
    })
}

/// The environment of an automation's sessions; what is null is the template's, or the default.
pub(super) fn target(environment: &TargetEnvironment) -> Value {
    let wanted = match environment {
        TargetEnvironment::None => return json!({"type": "none"}),
        TargetEnvironment::Hosted(wanted) => wanted,
    };
    let HostedSettings { network: access, size, files, packages: asked, setup: _, variables: _ } =
        &wanted.settings;
    json!({
        "type": "openai_hosted",
        "environment_template_id": wanted.template,
        "environment_id": null,
        "container_size": size.map(|size| size.as_str()),
        "network": access.as_ref().map(network),
        "packages": asked.as_ref().map(packages),
        "files": files.as_ref().map(|files| files.iter().map(file).collect::<Vec<_>>()),
        "skills": null,
        "plugins": null,
        "capability_directories": null,
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

fn file(file: &WantedFile) -> Value {
    match file {
        WantedFile::Inline { path, blob } => {
            json!({"type": "inline", "path": path, "size_bytes": blob.bytes()})
        }
        WantedFile::FileId { path, file_id } => json!({"type": "file_id", "file_id": file_id, "path": path}),
    }
}
