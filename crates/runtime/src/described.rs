//! Tools as their servers described them last: what proofs about policies know of arguments.
//!
//! A node knows what its own sessions were told since it started. That is enough for what it is used for: where
//! nobody has listed a tool, a proof takes its calls for any calls, as it does without this, and a call is judged with
//! the description it is made with in any case.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tenure_journal::{ProjectId, ToolDef};
use tenure_policy::DescribedTool;

use crate::Runtime;

/// Projects whose tools are kept. One more begins anew.
const PROJECTS_MAX: usize = 256;
/// Tools of one project that are kept. Further ones are not.
const TOOLS_MAX: usize = 512;
/// Bytes of a description that is kept: what is longer is proven about as any call is.
const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;

/// Tools by project, as `<server>/<name>` with the JSON schema of their arguments.
#[derive(Debug, Default)]
pub(crate) struct Described(Mutex<HashMap<ProjectId, BTreeMap<String, Value>>>);

impl Described {
    fn lock(&self) -> MutexGuard<'_, HashMap<ProjectId, BTreeMap<String, Value>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a server said it offers.
    pub(crate) fn take(&self, project: ProjectId, server: &str, tools: &[ToolDef]) {
        let mut all = self.lock();
        if all.len() >= PROJECTS_MAX && !all.contains_key(&project) {
            all.clear();
        }
        let known = all.entry(project).or_default();
        // What the server does not offer any more is not proven about.
        let own = format!("{server}/");
        known.retain(|id, _| !id.starts_with(&own));
        for tool in tools {
            let fits = tool.parameters.to_string().len() <= DESCRIPTION_BYTES_MAX;
            if fits && known.len() < TOOLS_MAX {
                known.insert(format!("{own}{}", tool.name), tool.parameters.clone());
            }
        }
    }
}

impl Runtime {
    /// The tools that sessions of the project were told of at this node, by id.
    #[must_use]
    pub fn described_tools(&self, project: ProjectId) -> Vec<DescribedTool> {
        let all = self.shared().described.lock();
        let known = all.get(&project).into_iter().flatten();
        known
            .map(|(id, parameters)| DescribedTool { id: id.clone(), parameters: parameters.clone() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tenure_journal::{Fresh, Timestamp};

    use super::*;

    fn tool(name: &str, parameters: Value) -> ToolDef {
        ToolDef {
            name: name.to_owned(),
            description: String::new(),
            parameters,
            read_only: None,
            destructive: None,
            idempotent: None,
            keyed: false,
            terms: None,
        }
    }

    fn ids(described: &Described, project: ProjectId) -> Vec<String> {
        described.lock().get(&project).map(|known| known.keys().cloned().collect()).unwrap_or_default()
    }

    #[test]
    fn a_listing_takes_the_place_of_the_one_before_it() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let (project, other) = (ProjectId::fresh(&fresh), ProjectId::fresh(&fresh));
        let described = Described::default();
        described.take(project, "pay", &[tool("transfer", json!({})), tool("refund", json!({}))]);
        described.take(project, "payroll", &[tool("raise", json!({}))]);
        described.take(project, "pay", &[tool("transfer", json!({"type": "object"}))]);
        assert_eq!(ids(&described, project), ["pay/transfer", "payroll/raise"]);
        assert_eq!(ids(&described, other), [""; 0]);
        let long = json!({"description": "x".repeat(DESCRIPTION_BYTES_MAX)});
        described.take(project, "pay", &[tool("transfer", long)]);
        assert_eq!(ids(&described, project), ["payroll/raise"]);
        let many: Vec<ToolDef> = (0..=TOOLS_MAX).map(|at| tool(&format!("t{at}"), json!({}))).collect();
        described.take(project, "many", &many);
        assert_eq!(ids(&described, project).len(), TOOLS_MAX);
    }
}
