//! Where this server's commands run: the stronger isolation that the machine offers, found by trying, or gVisor
//! where the project asks for it.

use std::path::Path;

use tenure_project::{Environments, MinIsolation};
use tenure_runtime::{CONNECTION_WAIT, EnvironmentConfig, PackageSources, Places};
use tenure_sandbox::{LauncherPath, Survey, Tier};

/// The first argument of this program when it is a supervisor of one command.
pub(crate) const SUPERVISOR: &str = "__supervise";
/// The directory of the copies of environments' files, in the data directory.
const COPIES: &str = "environments";
/// Commands that run at once.
const COMMANDS_MAX: usize = 32;
/// Commands of one project that run at once: some places stay free for others.
const COMMANDS_PER_PROJECT_MAX: usize = 24;

/// What this machine can isolate. Runs a program in each way there is but gVisor; takes some ten milliseconds.
pub(crate) fn survey() -> Survey {
    tenure_sandbox::survey(&launcher())
}

/// What gVisor can do on this machine; takes some hundred milliseconds.
pub(crate) fn survey_gvisor() -> Survey {
    tenure_sandbox::survey_gvisor(&launcher())
}

fn launcher() -> LauncherPath {
    LauncherPath { program: "/proc/self/exe".into(), args: vec![SUPERVISOR.to_owned()] }
}

/// What a project's demand is to the sandbox.
pub(crate) fn tier(min: MinIsolation) -> Tier {
    match min {
        MinIsolation::Landlock => Tier::Landlock,
        MinIsolation::Namespaces => Tier::Namespaces,
        MinIsolation::Gvisor => Tier::Gvisor,
    }
}

pub(super) async fn config(settings: &Environments, data: &Path) -> EnvironmentConfig {
    let min = tier(settings.min_isolation);
    let sandbox = tokio::task::spawn_blocking(move || {
        let survey = match min {
            Tier::Gvisor => survey_gvisor(),
            Tier::Namespaces | Tier::Landlock => survey(),
        };
        survey.choose(min).map_err(|error| match error.remedy() {
            Some(remedy) => format!("{error}; {remedy}"),
            None => error.to_string(),
        })
    });
    let sandbox = sandbox.await.unwrap_or_else(|_| Err("looking for isolation panicked".to_owned()));
    let directory = std::path::absolute(data.join(COPIES)).unwrap_or_else(|_| data.join(COPIES));
    EnvironmentConfig {
        directory,
        sandbox,
        commands: Places { max: COMMANDS_MAX, per_project_max: COMMANDS_PER_PROJECT_MAX },
        open_network: settings.open_network,
        suspend: settings.suspend,
        prewarmed: settings.prewarmed,
        packages: PackageSources {
            python_index: settings.packages.python_index.clone(),
            npm_registry: settings.packages.npm_registry.clone(),
            hosts: settings.packages.hosts.clone(),
            private_hosts: settings.packages.private_hosts.clone(),
        },
        connection_wait: CONNECTION_WAIT,
    }
}
