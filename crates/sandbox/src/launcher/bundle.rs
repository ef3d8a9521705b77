//! What an OCI runtime is told: one container, which sees what the mounts of this crate show.

use serde_json::{Value, json};

use super::identity::ROOT;
use super::mounts::SUPERVISOR;
use crate::command::{Network, WORKSPACE};
use crate::spec::{Gvisor, Spec};

const TMP: &str = "/tmp";

/// The text of `config.json`, after version 1.0.2 of the runtime specification. Values of the command's
/// environment are not in it.
pub(crate) fn text(spec: &Spec, gvisor: &Gvisor) -> String {
    let none: [&str; 0] = [];
    let args: Vec<&str> = std::iter::once(SUPERVISOR).chain(gvisor.args.iter().map(String::as_str)).collect();
    let rlimits = ["RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO"]
        .map(|name| json!({"type": name, "soft": 0, "hard": 0}));
    json!({
        "ociVersion": "1.0.2",
        "hostname": "sandbox",
        // Init moved into it. The workspace is mounted once more, because of files below the root it is
        // believed that nobody else changes them.
        "root": {"path": "/", "readonly": true},
        "process": {
            "terminal": false,
            "user": {"uid": ROOT, "gid": ROOT},
            "args": args,
            "env": none,
            "cwd": "/",
            "noNewPrivileges": true,
            "rlimits": rlimits,
            "capabilities": {
                "bounding": BECOMING,
                "effective": BECOMING,
                "permitted": BECOMING,
                "inheritable": none,
                "ambient": none,
            },
        },
        "mounts": mounts(spec),
        "linux": {"namespaces": namespaces(&spec.network)},
    })
    .to_string()
}

/// What the first process needs to become the command's user, and to leave nothing of it behind. Of an ordinary
/// user's it has nothing to become.
const BECOMING: [&str; 3] = ["CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"];

fn mounts(spec: &Spec) -> Vec<Value> {
    let tmp = ["mode=1777".to_owned(), format!("size={}", spec.limits.tmp_bytes)];
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": TMP, "type": "tmpfs", "source": "tmpfs", "options": tmp}),
        json!({"destination": WORKSPACE, "type": "bind", "source": WORKSPACE, "options": ["rbind", "rw"]}),
    ];
    // The rest is part of the root. What is declared there would be covered.
    let covered = spec.read_only.iter().map(|(_, inside)| inside).filter(|inside| inside.starts_with(TMP));
    mounts.extend(covered.map(
        |path| json!({"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]}),
    ));
    mounts
}

/// Those that are its own inside; of networks only one that is empty.
fn namespaces(network: &Network) -> Vec<Value> {
    let network = match network {
        Network::Disabled => Some("network"),
        Network::Restricted { .. } | Network::Enabled => None,
    };
    ["pid", "mount", "ipc", "uts"].into_iter().chain(network).map(|kind| json!({"type": kind})).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::command::Limits;
    use crate::report::{Platform, Tier};

    fn config(network: Network) -> Value {
        let gvisor = Gvisor {
            program: "/usr/bin/runsc".into(),
            platform: Platform::Ptrace,
            launcher: "/srv/server".into(),
            args: vec!["supervise".to_owned()],
        };
        let spec = Spec {
            tier: Tier::Gvisor,
            argv: vec!["true".to_owned(), "hush-1".to_owned()],
            cwd: WORKSPACE.into(),
            env: BTreeMap::from([("KEY".to_owned(), "hush-2".to_owned())]),
            workspace: "/srv/workspace".into(),
            read_only: vec![("/srv/a".into(), "/skills".into()), ("/srv/b".into(), "/tmp/b".into())],
            network,
            limits: Limits { tmp_bytes: 4096, ..Limits::default() },
            landlock: None,
            proc: true,
            cgroup: None,
            bubblewrap: None,
            gvisor: Some(gvisor.clone()),
            is_inside: false,
            user: None,
            tmp: None,
            canary: None,
        };
        serde_json::from_str(&text(&spec, &gvisor)).expect("JSON")
    }

    #[test]
    fn is_what_the_runtime_reads() {
        let none = json!([]);
        let becoming = json!(["CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"]);
        let expected = json!({
            "ociVersion": "1.0.2",
            "hostname": "sandbox",
            "root": {"path": "/", "readonly": true},
            "process": {
                "terminal": false,
                "user": {"uid": 0, "gid": 0},
                "args": ["/.supervisor", "supervise"],
                "env": none,
                "cwd": "/",
                "noNewPrivileges": true,
                "rlimits": [
                    {"type": "RLIMIT_MSGQUEUE", "soft": 0, "hard": 0},
                    {"type": "RLIMIT_NICE", "soft": 0, "hard": 0},
                    {"type": "RLIMIT_RTPRIO", "soft": 0, "hard": 0},
                ],
                "capabilities": {
                    "bounding": becoming, "effective": becoming, "permitted": becoming,
                    "inheritable": none, "ambient": none,
                },
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777", "size=4096"]},
                {"destination": "/workspace", "type": "bind", "source": "/workspace", "options": ["rbind", "rw"]},
                {"destination": "/tmp/b", "type": "bind", "source": "/tmp/b", "options": ["rbind", "ro"]},
            ],
            "linux": {"namespaces": [
                {"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"},
            ]},
        });
        assert_eq!(config(Network::Disabled), expected);
    }

    /// The one it is in is the one that was made for it, or where that is declared the host's.
    #[test]
    fn a_network_is_the_namespace_it_is_in() {
        for network in [Network::Enabled, Network::Restricted { proxy_socket: "/srv/proxy".into() }] {
            let config = config(network.clone());
            let kinds = config["linux"]["namespaces"].as_array().expect("a list");
            assert!(kinds.iter().all(|kind| kind["type"] != "network"), "{network:?}");
        }
    }

    #[test]
    fn secrets_are_not_in_it() {
        assert!(!config(Network::Disabled).to_string().contains("hush"));
    }
}
