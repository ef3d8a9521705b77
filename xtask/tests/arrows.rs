//! Which crate may use which: the arrows of ARCHITECTURE.md, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Every crate and the crates of this workspace it may use. A crate that is not listed may use none.
const ALLOWED: &[(&str, &[&str])] = &[
    ("journal", &[]),
    ("policy", &["journal"]),
    ("prove", &["journal", "policy"]),
    ("schedule", &["journal"]),
    ("session", &["journal", "memory", "policy"]),
    ("store", &["journal", "vector"]),
    ("store-sqlite", &["journal", "store", "vector"]),
    ("store-postgres", &["journal", "store", "vector"]),
    ("model", &["journal", "vector"]),
    ("tools", &["journal"]),
    ("project", &["journal", "skill", "vector"]),
    ("sandbox", &[]),
    ("egress", &[]),
    ("embed", &[]),
    ("vector", &[]),
    ("workspace", &[]),
    ("skill", &["workspace"]),
    ("memory", &["journal", "vector"]),
    ("webhook", &[]),
    ("executor", &[]),
    ("audit", &[]),
    ("seal", &[]),
    ("oauth", &[]),
    ("identity", &["journal"]),
    ("telemetry", &["journal"]),
    (
        "runtime",
        &[
            "journal",
            "policy",
            "schedule",
            "session",
            "store",
            "model",
            "tools",
            "sandbox",
            "egress",
            "workspace",
            "skill",
            "memory",
            "webhook",
            "executor",
            "audit",
            "seal",
            "oauth",
            "identity",
            "telemetry",
            "vector",
        ],
    ),
    (
        "api",
        &["journal", "policy", "schedule", "session", "skill", "store", "executor", "identity", "runtime"],
    ),
    ("console", &[]),
    ("testkit", &["journal", "model"]),
    ("sim", &["journal", "policy", "session", "store"]),
];

/// Crates that decide and do nothing else.
const PURE: &[&str] = &["journal", "memory", "policy", "schedule", "session", "telemetry"];

/// What must not be anywhere below a pure crate: runtimes, databases, HTTP, files.
const IMPURE: &[&str] = &[
    "async-std",
    "axum",
    "futures-executor",
    "h2",
    "hyper",
    "hyper-util",
    "libsqlite3-sys",
    "mio",
    "notify",
    "object_store",
    "reqwest",
    "rmcp",
    "rusqlite",
    "smol",
    "socket2",
    "sqlx",
    "tempfile",
    "tokio",
    "tokio-postgres",
    "tokio-util",
    "tower",
    "ureq",
    "walkdir",
];

/// The arrows of one build, by package name.
struct Graph {
    workspace: BTreeSet<String>,
    /// What a package is built from, itself excluded.
    normal: BTreeMap<String, BTreeSet<String>>,
    /// What only its tests are built from.
    dev: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("one level below the root");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform"]);
        command.arg("x86_64-unknown-linux-gnu").current_dir(root);
        let output = command.output().expect("cargo runs");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        Self::of(&serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON"))
    }

    fn of(metadata: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let packages = list(&metadata["packages"]);
        let names: BTreeMap<String, String> =
            packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let workspace = list(&metadata["workspace_members"]);
        let mut graph = Self {
            workspace: workspace.iter().map(|id| names[&text(id)].clone()).collect(),
            normal: BTreeMap::new(),
            dev: BTreeMap::new(),
        };
        for node in list(&metadata["resolve"]["nodes"]) {
            let from = &names[&text(&node["id"])];
            for dependency in list(&node["deps"]) {
                let to = &names[&text(&dependency["pkg"])];
                for kind in list(&dependency["dep_kinds"]) {
                    let arrows = match kind["kind"].as_str() {
                        None => &mut graph.normal,
                        Some("dev") => &mut graph.dev,
                        // Build scripts run on the builder's machine and are not in the binary.
                        Some(_) => continue,
                    };
                    arrows.entry(from.clone()).or_default().insert(to.clone());
                }
            }
        }
        graph
    }

    /// Everything below `package`, with the way that leads there.
    fn below(&self, package: &str) -> BTreeMap<String, String> {
        let mut ways = BTreeMap::from([(package.to_owned(), package.to_owned())]);
        let mut open = vec![package.to_owned()];
        while let Some(from) = open.pop() {
            for to in self.normal.get(&from).into_iter().flatten() {
                if !ways.contains_key(to) {
                    let way = format!("{} > {to}", ways[&from]);
                    ways.insert(to.clone(), way);
                    open.push(to.clone());
                }
            }
        }
        ways
    }

    /// The workspace's own crates among those that `arrows` lead to from `package`, without the prefix.
    fn ours<'a>(
        &'a self,
        arrows: &'a BTreeMap<String, BTreeSet<String>>,
        package: &str,
    ) -> impl Iterator<Item = &'a str> {
        let direct = arrows.get(package).into_iter().flatten();
        direct.filter(|name| self.workspace.contains(*name)).map(|name| short(name))
    }

    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for package in self.workspace.iter().filter(|name| !matches!(name.as_str(), "tenure" | "xtask")) {
            let name = short(package);
            let allowed = ALLOWED.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, allowed)| allowed);
            for to in self.ours(&self.normal, package) {
                if !allowed.contains(&to) {
                    broken.push(format!("`{name}` must not use `{to}`"));
                }
            }
            // Tests may use more, but never what sits above: the binary.
            for to in self.ours(&self.dev, package).filter(|to| *to == "tenure") {
                broken.push(format!("tests of `{name}` must not use `{to}`"));
            }
        }
        for name in PURE {
            let below = self.below(&format!("tenure-{name}"));
            let impure = IMPURE.iter().filter_map(|impure| below.get(*impure));
            broken.extend(impure.map(|way| format!("`{name}` is not pure: {way}")));
        }
        broken
    }
}

fn short(package: &str) -> &str {
    package.strip_prefix("tenure-").unwrap_or(package)
}

#[test]
fn every_arrow_points_down() {
    let graph = Graph::read();
    assert!(graph.workspace.contains("tenure-journal"), "the workspace was read");
    let broken = graph.broken();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The checker itself must be able to fail.
#[test]
fn a_wrong_arrow_is_found() {
    let package = |name: &str| serde_json::json!({ "id": name, "name": name });
    let node = |from: &str, to: &[&str]| {
        let arrow = |to: &&str| serde_json::json!({ "pkg": to, "dep_kinds": [{ "kind": null }] });
        serde_json::json!({ "id": from, "deps": to.iter().map(arrow).collect::<Vec<_>>() })
    };
    let packages = ["tenure-journal", "tenure-store-sqlite", "tenure-session", "tower", "middle"];
    let metadata = serde_json::json!({
        "packages": packages.map(package),
        "workspace_members": ["tenure-journal", "tenure-store-sqlite", "tenure-session"],
        "resolve": { "nodes": [
            node("tenure-session", &["tenure-journal", "tenure-store-sqlite", "middle"]),
            node("tenure-journal", &[]),
            node("tenure-store-sqlite", &["tenure-journal"]),
            node("middle", &["tower"]),
            node("tower", &[]),
        ] },
    });
    assert_eq!(
        Graph::of(&metadata).broken(),
        ["`session` must not use `store-sqlite`", "`session` is not pure: tenure-session > middle > tower",]
    );
}
