//! From what was asked for to what an environment is made of: the one place where a template and what stands
//! beside it become concrete settings, which the session's journal pins.

use tenure_journal::{
    Capabilities, ContainerSize, EnvironmentId, HostedEnvironment, HostedSettings, Network, ProjectId,
    SessionId, WantedEnvironment,
};

use super::afresh;
use super::templates::{self, TemplateError};
use crate::Runtime;

/// Why no environment can be made of what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum WantedError {
    /// It is not to be had here.
    #[error("{}", .0.message)]
    Refused(EnvironmentRefusal),
    /// The template cannot be had.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// What is not to be had, in words for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRefusal {
    /// The member of the settings; empty where it is about all of them.
    pub member: &'static str,
    /// Why, as a word.
    pub code: &'static str,
    /// Why.
    pub message: String,
}

impl EnvironmentRefusal {
    fn unsupported(member: &'static str, message: impl Into<String>) -> Self {
        Self { member, code: "unsupported_feature", message: message.into() }
    }
}

impl Runtime {
    /// The environment of `session`, of what was asked for and what its template says now.
    ///
    /// # Errors
    /// `Refused`: this server does not do that, or the template does not allow it. `Template`: it cannot be
    /// read.
    pub async fn environment_of(
        &self,
        project: ProjectId,
        session: SessionId,
        wanted: &WantedEnvironment,
    ) -> Result<HostedEnvironment, WantedError> {
        let settings = match wanted.template {
            None => wanted.settings.clone(),
            Some(id) => {
                let template = templates::find(&*self.shared().store, project, id).await?.body.settings;
                check_narrower(&wanted.settings, &template).map_err(WantedError::Refused)?;
                let (files, skills) = (&wanted.settings.files, &wanted.settings.skills);
                // What is asked for in place of it is none of the template's business any more.
                let template = HostedSettings {
                    files: template.files.filter(|_| files.is_none()),
                    skills: template.skills.filter(|_| skills.is_none()),
                    ..template
                };
                let template = afresh::resolve(&*self.shared().store, project, self.now(), template).await?;
                wanted.settings.clone().over(&template)
            }
        };
        self.check_settings(&settings).map_err(WantedError::Refused)?;
        let mut skills = settings.skills.unwrap_or_default();
        // A session has what was found, and follows nothing.
        skills.iter_mut().for_each(|skill| skill.follows = None);
        Ok(HostedEnvironment {
            id: EnvironmentId::of_session(session),
            network: settings.network.unwrap_or(Network::Disabled),
            size: settings.size.unwrap_or(ContainerSize::Medium),
            files: settings.files.unwrap_or_default(),
            capabilities: Capabilities {
                skills,
                plugins: settings.plugins.unwrap_or_default(),
                directories: settings.directories.unwrap_or_default(),
                ..Capabilities::default()
            },
            packages: settings.packages.unwrap_or_default(),
            setup: settings.setup.unwrap_or_default(),
            variables: settings.variables,
            base: None,
        })
    }

    /// Whether environments can have these settings here.
    ///
    /// # Errors
    /// The first thing that they cannot have.
    pub fn check_settings(&self, settings: &HostedSettings) -> Result<(), EnvironmentRefusal> {
        let network = settings.network.as_ref().unwrap_or(&Network::Disabled);
        if let Some(obstacle) = self.environment_obstacle(network) {
            return Err(EnvironmentRefusal::unsupported("", obstacle));
        }
        if let Some(packages) = &settings.packages {
            let refused = |(member, why)| Err(EnvironmentRefusal::unsupported(member, why));
            self.shared().environments.package_obstacle(packages).map_or(Ok(()), refused)?;
        }
        Ok(())
    }
}

/// Whether what is asked for beside a template reaches no further than the template.
fn check_narrower(asked: &HostedSettings, template: &HostedSettings) -> Result<(), EnvironmentRefusal> {
    let Some(asked) = &asked.network else { return Ok(()) };
    let allowed = template.network.as_ref().unwrap_or(&Network::Disabled);
    let beyond = match (asked, allowed) {
        (Network::Disabled, _) | (_, Network::Enabled) => None,
        (Network::Enabled, Network::Disabled | Network::Restricted { .. }) => Some("'enabled'".to_owned()),
        (Network::Restricted { .. }, Network::Disabled) => Some("'restricted'".to_owned()),
        (
            Network::Restricted { allowed_domains: asked },
            Network::Restricted { allowed_domains: allowed },
        ) => {
            let is_new = |host: &&String| !allowed.iter().any(|known| known.eq_ignore_ascii_case(host));
            asked.iter().find(is_new).map(|host| format!("the host '{host}'"))
        }
    };
    match beyond {
        None => Ok(()),
        Some(what) => Err(EnvironmentRefusal {
            member: "network",
            code: "network_not_allowed",
            message: format!(
                "The environment's template does not allow {what}; what is asked for beside a \
                template cannot reach further than it."
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use tenure_journal::{BlobRef, EnvironmentFile};

    use super::*;

    fn network(text: &str) -> Option<Network> {
        match text {
            "" => None,
            "disabled" => Some(Network::Disabled),
            "enabled" => Some(Network::Enabled),
            hosts => {
                let allowed_domains = hosts.split(' ').map(str::to_owned).collect();
                Some(Network::Restricted { allowed_domains })
            }
        }
    }

    #[test]
    fn what_stands_beside_a_template_reaches_no_further() {
        for (template, asked, beyond) in [
            ("", "", None),
            ("", "disabled", None),
            ("", "a.example", Some("'restricted'")),
            ("", "enabled", Some("'enabled'")),
            ("disabled", "a.example", Some("'restricted'")),
            ("a.example b.example", "", None),
            ("a.example b.example", "disabled", None),
            ("a.example b.example", "b.example", None),
            ("a.example b.example", "B.example", None),
            ("a.example b.example", "a.example c.example", Some("the host 'c.example'")),
            ("a.example b.example", "enabled", Some("'enabled'")),
            ("enabled", "enabled", None),
            ("enabled", "c.example", None),
        ] {
            let of = |text| HostedSettings { network: network(text), ..HostedSettings::default() };
            let refused = check_narrower(&of(asked), &of(template)).err().map(|refusal| refusal.message);
            let expected = beyond.map(|what| {
                format!(
                    "The environment's template does not allow {what}; what is asked for beside a \
                    template cannot reach further than it."
                )
            });
            assert_eq!(refused, expected, "{template} / {asked}");
        }
    }

    #[test]
    fn what_is_left_open_is_the_templates() {
        let blob = BlobRef::of(b"x");
        let file = |path: &str| EnvironmentFile::inline(path.into(), blob);
        let template = HostedSettings {
            network: network("enabled"),
            files: Some(vec![file("/workspace/a")]),
            setup: Some(Vec::new()),
            ..HostedSettings::default()
        };
        let asked = HostedSettings {
            size: Some(ContainerSize::Small),
            files: Some(vec![file("/workspace/b")]),
            ..HostedSettings::default()
        };
        let over = asked.over(&template);
        assert_eq!((over.network, over.size), (network("enabled"), Some(ContainerSize::Small)));
        assert_eq!(over.files, Some(vec![file("/workspace/b")]), "a member replaces a member whole");
        assert_eq!((over.setup, over.packages), (Some(Vec::new()), None));
    }
}
