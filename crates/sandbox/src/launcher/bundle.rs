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
                "bounding": BECOMING, "effective": BECOMING, "permitted": BECOMING, "inheritable": none, "ambient": none,
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
