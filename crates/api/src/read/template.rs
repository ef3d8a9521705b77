//! Bodies that make or change an environment template.

use serde_json::Value;
use tenure_journal::Template;
use tenure_runtime::EnvironmentRefusal;

use super::agent::read_name;
use super::hosted::{Kept, SettingsBody, SettingsScope};
use super::reader::Reader;
use crate::error::ApiError;

/// A template that a client asks for, or a change of one; what is absent stays.
#[derive(Debug)]
pub(crate) struct TemplateBody {
    name: Option<Option<String>>,
    pub(crate) settings: SettingsBody,
}

/// A change that can be applied to any version.
#[derive(Clone)]
pub(crate) struct TemplateChange {
    name: Option<Option<String>>,
    settings: Kept,
}

impl TemplateBody {
    pub(crate) fn read(body: &Value) -> Result<Self, ApiError> {
        let mut reader = Reader::new("", body)?;
        let name = reader.optional("name").map(read_name).transpose()?;
        let settings = SettingsBody::read(&mut reader, SettingsScope::Reusable)?;
        reader.finish()?;
        Ok(Self { name, settings })
    }

    /// Seals the secrets and stores the files.
    pub(crate) async fn keep(
        self,
        runtime: &tenure_runtime::Runtime,
        project: tenure_journal::ProjectId,
    ) -> Result<TemplateChange, ApiError> {
        Ok(TemplateChange { name: self.name, settings: self.settings.keep(runtime, project).await? })
    }
}

impl TemplateChange {
    /// The template after the change.
    pub(crate) fn apply(self, before: Template) -> Template {
        Template {
            name: self.name.unwrap_or(before.name),
            settings: self.settings.replacing(before.settings),
        }
    }
}

/// The words for a client whose settings, at `path`, cannot be had here.
pub(crate) fn refused_settings(refusal: EnvironmentRefusal, path: &str) -> ApiError {
    let EnvironmentRefusal { member, code, message } = refusal;
    let param = match (path, member) {
        ("", "") => None,
        ("", member) => Some(member.to_owned()),
        (path, "") => Some(path.to_owned()),
        (path, member) => Some(format!("{path}.{member}")),
    };
    let error = ApiError::invalid(message).code(code);
    match param {
        Some(param) => error.param(param),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tenure_journal::{HostedSettings, Network, Packages};

    use super::*;
    use crate::read::tests::refusal;

    #[track_caller]
    fn refused(body: &Value, message: &str, param: &str) {
        assert_eq!(refusal(TemplateBody::read(body)), (message.to_owned(), Some(param.to_owned())));
    }

    #[test]
    fn reads_what_was_sent_and_what_was_not() {
        let body = json!({"name": "n", "network": {"access": "disabled"}, "packages": {"python": ["a==1"]},
            "setup_commands": null});
        let read = TemplateBody::read(&body).expect("accepted");
        assert_eq!(read.name, Some(Some("n".to_owned())));
        let plain = read.settings.plain();
        assert_eq!(plain.network, Some(Network::Disabled));
        assert_eq!(plain.packages, Some(Packages { python: vec!["a==1".into()], npm: Vec::new() }));
        assert_eq!((read.settings.setup, read.settings.files.is_none()), (Some(None), true));
        let nothing = TemplateBody::read(&json!({})).expect("accepted");
        assert_eq!((nothing.name, nothing.settings.plain()), (None, HostedSettings::default()));
        assert_eq!(TemplateBody::read(&json!({"name": null})).expect("accepted").name, Some(None));
    }

    #[test]
    fn names_the_mistake() {
        refused(
            &json!({"container_size": "small"}),
            "Unknown parameter: 'container_size'.",
            "container_size",
        );
        refused(&json!({"colour": 1}), "Unknown parameter: 'colour'.", "colour");
        refused(&json!({"name": ""}), "Invalid 'name': it must not be empty.", "name");
        refused(
            &json!({"network": {"access": "restricted"}}),
            "Missing required parameter: 'network.allowed_domains'.",
            "network.allowed_domains",
        );
        refused(
            &json!({"packages": {"system": ["git"]}}),
            "This server cannot install system packages: the system is read-only in its environments.",
            "packages.system",
        );
        refused(
            &json!({"packages": {"npm": ["a", "--registry=http://x"]}}),
            "Invalid 'packages.npm[1]': expected a package's name, with or without a version.",
            "packages.npm[1]",
        );
        refused(
            &json!({"packages": {"python": ["a", "a"]}}),
            "Invalid 'packages.python[1]': 'a' is given twice.",
            "packages.python[1]",
        );
        refused(&json!({"packages": {"ruby": []}}), "Unknown parameter: 'packages.ruby'.", "packages.ruby");
        refused(&json!({"skills": [{}]}), "This server does not support skills yet.", "skills");
        refused(
            &json!({"files": [{"type": "file_id", "file_id": "f", "path": "/workspace/a"}]}),
            "This server does not support files by id; send them inline yet.",
            "files[0].type",
        );
    }
}
