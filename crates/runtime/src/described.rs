//! Tools as their servers described them last: what proofs about policies know of arguments.
//!
//! A node knows what its own sessions were told since it started. That is enough for what it is used for: where
//! nobody has listed a tool, a proof takes its calls for any calls, as it does without this, and a call is judged with
//! the description it is made with in any case.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tenure_journal::{ProjectId, ToolDef};
use tenure_policy::DescribedTool;

use crate::Runtime;

/// Bytes of everything that is kept. What is more takes the place of the projects that listed tools longest ago.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Projects whose tools are kept; the same holds.
const PROJECTS_MAX: usize = 256;
/// Tools of one project that are kept. Further ones are not.
const TOOLS_MAX: usize = 512;
/// Bytes of a description that is kept: what is longer is proven about as any call is.
const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;

const _: () = assert!(TOOLS_MAX * DESCRIPTION_BYTES_MAX < BYTES_MAX, "one project alone has room");

/// Tools by project.
#[derive(Debug, Default)]
pub(crate) struct Described(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    projects: HashMap<ProjectId, Known>,
    /// How often a server was listened to.
    listings: u64,
}

/// The tools of a project.
#[derive(Debug, Default)]
struct Known {
    /// The JSON schema of their arguments by `<server>/<name>`, as text: read, it would take many times the room.
    tools: BTreeMap<String, String>,
    bytes: usize,
    /// Which listing was its latest.
    listing: u64,
}

impl Described {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a server said it offers.
    pub(crate) fn take(&self, project: ProjectId, server: &str, tools: &[ToolDef]) {
        let own = format!("{server}/");
        let described = tools.iter().map(|tool| (format!("{own}{}", tool.name), tool.parameters.to_string()));
        let fits = described.filter(|(_, parameters)| parameters.len() <= DESCRIPTION_BYTES_MAX);
        let fits: Vec<(String, String)> = fits.take(TOOLS_MAX).collect();
        let mut all = self.lock();
        all.listings += 1;
        let listing = all.listings;
        let known = all.projects.entry(project).or_default();
        known.listing = listing;
        // What the server does not offer any more is not proven about.
        known.tools.retain(|id, _| !id.starts_with(&own));
        let room = TOOLS_MAX.saturating_sub(known.tools.len());
        known.tools.extend(fits.into_iter().take(room));
        known.bytes = known.tools.iter().map(|(id, parameters)| id.len() + parameters.len()).sum();
        all.make_room();
    }
}

impl All {
    fn bytes(&self) -> usize {
        self.projects.values().map(|known| known.bytes).sum()
    }

    fn make_room(&mut self) {
        while self.projects.len() > PROJECTS_MAX || self.bytes() > BYTES_MAX {
            let oldest = self.projects.iter().min_by_key(|(_, known)| known.listing);
            let Some(oldest) = oldest.map(|(project, _)| *project) else { return };
            self.projects.remove(&oldest);
        }
    }
}

impl Runtime {
    /// The tools that sessions of the project were told of at this node, by id.
    #[must_use]
    pub fn described_tools(&self, project: ProjectId) -> Vec<DescribedTool> {
        let known = self.shared().described.lock().projects.get(&project).map(|known| known.tools.clone());
        let tools = known.into_iter().flatten();
        // One that could not be read would not be proven about, as if it was never listed.
        let described = tools.filter_map(|(id, parameters)| {
            Some(DescribedTool { id, parameters: serde_json::from_str(&parameters).ok()? })
        });
        described.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
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
        let all = described.lock();
        all.projects.get(&project).map(|known| known.tools.keys().cloned().collect()).unwrap_or_default()
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

    #[test]
    fn who_listed_longest_ago_makes_room_for_who_lists_now() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let described = Described::default();
        let long = json!({"description": "x".repeat(DESCRIPTION_BYTES_MAX - 100)});
        let many: Vec<ToolDef> = (0..TOOLS_MAX).map(|at| tool(&format!("t{at}"), long.clone())).collect();
        let [first, second, third] = [(); 3].map(|()| ProjectId::fresh(&fresh));
        described.take(first, "pay", &many);
        described.take(second, "pay", &many);
        described.take(first, "more", &[tool("refund", json!({}))]);
        assert_eq!([first, second].map(|project| ids(&described, project).len()), [TOOLS_MAX; 2]);
        described.take(third, "pay", &many);
        assert_eq!(
            [first, second, third].map(|project| ids(&described, project).len()),
            [TOOLS_MAX, 0, TOOLS_MAX]
        );
        assert!(described.lock().bytes() <= BYTES_MAX);
        for _ in 0..PROJECTS_MAX {
            described.take(ProjectId::fresh(&fresh), "pay", &[]);
        }
        assert_eq!(described.lock().projects.len(), PROJECTS_MAX);
    }
}
