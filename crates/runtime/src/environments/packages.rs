//! Packages: installed when an environment is prepared, from the registries that the operator named and from
//! nowhere else, whatever the environment's own network is.
//!
//! They lie in the workspace, below [`DIRECTORY`], because that is the one place whose files are durable: they
//! are part of the environment's snapshot, and a session that moves to another node takes them along. Nothing
//! of the system is changed, which is read-only inside, and no virtual environment is made: its scripts would
//! hold paths of the machine it was made on.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use tenure_egress::{AddressGuard, HostName, Resolver, Rules, SystemResolver, Target};
use tenure_journal::{Failure, FailureKind, Packages};
use tenure_sandbox::Tier;

use super::Host;

/// Where packages are, in the workspace.
const DIRECTORY: &str = "/workspace/.packages";

/// Where packages come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageSources {
    /// The URL of an index of Python packages (PEP 503).
    pub python_index: Option<String>,
    /// The URL of an npm registry.
    pub npm_registry: Option<String>,
    /// Other hosts that these refer to, by name.
    pub hosts: Vec<String>,
    /// Hosts of these that stand at a private address, and which.
    pub private_hosts: BTreeMap<String, IpAddr>,
}

/// One installation: what the shell is given.
pub(super) struct Step {
    pub(super) what: &'static str,
    pub(super) script: String,
}

impl Host {
    /// The first kind of package that cannot be installed here, and why.
    pub(crate) fn package_obstacle(&self, packages: &Packages) -> Option<(&'static str, String)> {
        let sources = &self.config.packages;
        let kinds = [
            ("packages.python", &packages.python, &sources.python_index, "python_index"),
            ("packages.npm", &packages.npm, &sources.npm_registry, "npm_registry"),
        ];
        let asked = kinds.into_iter().filter(|(_, names, _, _)| !names.is_empty());
        for (member, _, source, setting) in asked {
            if source.is_none() {
                let why = format!(
                    "This server installs no such packages; its operator would have to set \
                     `environments.packages.{setting}`."
                );
                return Some((member, why));
            }
            let tier = self.config.sandbox.as_ref().map(|sandbox| sandbox.isolation().tier);
            if tier == Ok(Tier::Landlock) {
                let why =
                    "This server's isolation gives commands no network, which installing packages needs.";
                return Some((member, why.to_owned()));
            }
        }
        None
    }
}

impl PackageSources {
    /// What is to be run, in order.
    pub(super) fn steps(&self, packages: &Packages) -> Vec<Step> {
        let mut steps = Vec::new();
        if let (Some(index), false) = (&self.python_index, packages.python.is_empty()) {
            let script = format!(
                "exec python3 -m pip install --quiet --no-input --no-cache-dir --disable-pip-version-check \
                 --no-warn-script-location --root-user-action=ignore --index-url {}{} --target {DIRECTORY}/python -- {}",
                quoted(index),
                self.trusted(index),
                words(&packages.python)
            );
            steps.push(Step { what: "Python packages", script });
        }
        if let (Some(registry), false) = (&self.npm_registry, packages.npm.is_empty()) {
            let script = format!(
                "export npm_config_cache=/tmp/npm npm_config_update_notifier=false npm_config_fund=false \
                 npm_config_audit=false npm_config_loglevel=error\n\
                 exec npm install --global --prefix {DIRECTORY}/npm --registry {} -- {}",
                quoted(registry),
                words(&packages.npm)
            );
            steps.push(Step { what: "npm packages", script });
        }
        steps
    }

    /// pip takes an index without TLS only from who says so; the operator did, by naming one.
    fn trusted(&self, index: &str) -> String {
        match index.strip_prefix("http://").and_then(|rest| rest.split('/').next()) {
            Some(authority) => format!(" --trusted-host {}", quoted(authority)),
            None => String::new(),
        }
    }

    /// What installing may reach.
    pub(super) fn rules(&self) -> Result<Rules, Failure> {
        let wrong = |message: String| Failure {
            kind: FailureKind::InvalidRequest,
            message: format!("the server's package registries cannot be reached: {message}"),
            retry_after_ms: None,
        };
        let mut hosts: Vec<HostName> = Vec::new();
        let mut ports = tenure_egress::PORTS_DEFAULT.to_vec();
        for url in self.python_index.iter().chain(&self.npm_registry) {
            let (host, port) = authority(url).ok_or_else(|| wrong(format!("`{url}` names no host")))?;
            hosts.push(HostName::parse(host).map_err(|error| wrong(error.to_string()))?);
            ports.extend(port);
        }
        for host in &self.hosts {
            hosts.push(HostName::parse(host).map_err(|error| wrong(error.to_string()))?);
        }
        ports.sort_unstable();
        ports.dedup();
        let private: Vec<SocketAddr> = self
            .private_hosts
            .values()
            .flat_map(|address| ports.iter().map(|port| SocketAddr::new(*address, *port)))
            .collect();
        let rules = Rules::new(hosts).and_then(|rules| rules.with_ports(&ports));
        let rules = rules.map_err(|error| wrong(error.to_string()))?;
        Ok(rules.with_addresses(AddressGuard::public_and(&private)))
    }

    pub(super) fn resolver(&self) -> Registries {
        Registries { private: self.private_hosts.clone() }
    }
}

/// The addresses of registries: those that the operator wrote down, or what the system says.
pub(super) struct Registries {
    private: BTreeMap<String, IpAddr>,
}

#[async_trait]
impl Resolver for Registries {
    async fn resolve(&self, target: &Target) -> std::io::Result<Vec<SocketAddr>> {
        match self.private.get(target.host().as_str()) {
            Some(address) => Ok(vec![SocketAddr::new(*address, target.port())]),
            None => SystemResolver.resolve(target).await,
        }
    }
}

/// Lets commands find packages, before what their variables name.
pub(super) fn make_known(packages: &Packages, variables: &mut BTreeMap<String, String>) {
    let mut before = |name: &str, directory: &str, default: Option<&str>| {
        let path = format!("{DIRECTORY}/{directory}");
        let known = variables.get(name).map(String::as_str).or(default);
        let all = known.map_or_else(|| path.clone(), |known| format!("{path}:{known}"));
        variables.insert(name.to_owned(), all);
    };
    if !packages.python.is_empty() {
        before("PYTHONPATH", "python", None);
        before("PATH", "python/bin", Some(tenure_sandbox::PATH));
    }
    if !packages.npm.is_empty() {
        before("NODE_PATH", "npm/lib/node_modules", None);
        before("PATH", "npm/bin", Some(tenure_sandbox::PATH));
    }
}

/// The host of a URL and its port, where that is written.
fn authority(url: &str) -> Option<(&str, Option<u16>)> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => (!authority.is_empty()).then_some((authority, None)),
    }
}

fn words(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(" ")
}

/// A word for the shell that stands for exactly these characters.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        assert_eq!(quoted("a'; rm -rf /"), r"'a'\''; rm -rf /'");
        let sources = PackageSources {
            python_index: Some("http://index.example:8123/simple".into()),
            ..PackageSources::default()
        };
        let packages = Packages { python: vec!["a==1; x".into(), "b[c]>=2".into()], npm: Vec::new() };
        let [step] = &sources.steps(&packages)[..] else { panic!("one step") };
        assert!(step.script.ends_with("--target /workspace/.packages/python -- 'a==1; x' 'b[c]>=2'"));
        assert!(step.script.contains("--trusted-host 'index.example:8123'"));
    }

    #[test]
    fn reads_authorities() {
        for (url, expected) in [
            ("https://a.example/simple", Some(("a.example", None))),
            ("http://a.example:81", Some(("a.example", Some(81)))),
            ("https://a.example?x", Some(("a.example", None))),
            ("https:///x", None),
            ("https://a.example:x/", None),
            ("a.example", None),
        ] {
            assert_eq!(authority(url), expected, "{url}");
        }
    }

    #[test]
    fn commands_find_what_was_installed() {
        let known = |packages, own: &[(&str, &str)]| {
            let mut variables: BTreeMap<String, String> =
                own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            make_known(&packages, &mut variables);
            variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert!(known(Packages::default(), &[]).is_empty());
        let both = Packages { python: vec!["a".into()], npm: vec!["b".into()] };
        assert_eq!(
            known(both, &[("PYTHONPATH", "/workspace/lib")]),
            [
                "NODE_PATH=/workspace/.packages/npm/lib/node_modules",
                "PATH=/workspace/.packages/npm/bin:/workspace/.packages/python/bin:\
                 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "PYTHONPATH=/workspace/.packages/python:/workspace/lib",
            ]
        );
    }
}
