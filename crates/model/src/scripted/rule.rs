//! A rule and when it matches.

use std::collections::BTreeMap;

use regex::Regex;
use tenure_journal::{Stop, Usage};

use super::Fault;
use super::reply::Part;
use super::view::{Latest, View};

/// A checked rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) when: When,
    pub(super) parts: Vec<Part>,
    /// The fault, and on how many attempts at one request it happens; absent means on all.
    pub(super) fault: Option<(Fault, Option<u32>)>,
    pub(super) stop: Stop,
    pub(super) usage: Option<Usage>,
    pub(super) token_delay_ms: u64,
}

/// Conditions, all of which must hold. An absent one always does.
#[derive(Debug)]
pub(super) struct When {
    pub(super) model: Option<String>,
    pub(super) instructions: Option<Regex>,
    pub(super) user: Option<Regex>,
    pub(super) any_user: Option<Regex>,
    pub(super) has_image: Option<bool>,
    pub(super) no_result: Option<bool>,
    pub(super) result_of: Option<String>,
    pub(super) result: Option<Regex>,
    pub(super) results: Option<usize>,
    pub(super) seen_result_of: Option<String>,
    pub(super) step: Option<u64>,
    pub(super) calls: Option<u64>,
    pub(super) tools: Vec<String>,
    pub(super) without_tools: Vec<String>,
}

/// What a match leaves for the reply.
#[derive(Debug, Default)]
pub(super) struct Captures {
    /// Named groups of the patterns.
    pub(super) groups: BTreeMap<String, String>,
    /// The text of the result that matched, the last one if nothing was asked of it, and the arguments of
    /// its call.
    pub(super) result: Option<(String, String)>,
}

impl When {
    /// The captures, if every condition holds.
    pub(super) fn matches(&self, view: &View<'_>) -> Option<Captures> {
        if !self.holds(view) {
            return None;
        }
        let mut captures = Captures::default();
        let instructions = view.request.instructions.as_deref().unwrap_or_default();
        capture(self.instructions.as_ref(), [instructions], &mut captures)?;
        capture(self.any_user.as_ref(), view.users.iter().rev().map(String::as_str), &mut captures)?;
        capture(self.user.as_ref(), [view.user()], &mut captures)?;
        self.result(view, &mut captures)?;
        Some(captures)
    }

    fn holds(&self, view: &View<'_>) -> bool {
        let offered = |name: &String| view.request.tools.iter().any(|tool| tool.name == *name);
        self.model.as_ref().is_none_or(|model| *model == view.request.model)
            && self.has_image.is_none_or(|expected| expected == view.has_image)
            && self.no_result.is_none_or(|expected| expected == view.latest.is_empty())
            && self.results.is_none_or(|expected| expected == view.latest.len())
            && self.step.is_none_or(|expected| expected == view.step)
            && self.calls.is_none_or(|expected| expected == view.calls)
            && self.seen_result_of.as_ref().is_none_or(|tool| view.answered.contains(&tool.as_str()))
            && self.tools.iter().all(offered)
            && !self.without_tools.iter().any(offered)
    }

    fn result(&self, view: &View<'_>, captures: &mut Captures) -> Option<()> {
        let from = |latest: &&Latest<'_>| self.result_of.as_ref().is_none_or(|tool| tool == latest.tool);
        let mut asked = view.latest.iter().rev().filter(from);
        let found =
            asked.find(|latest| capture(self.result.as_ref(), [latest.text.as_str()], captures).is_some());
        if found.is_none() && (self.result_of.is_some() || self.result.is_some()) {
            return None;
        }
        captures.result = found.map(|latest| (latest.text.clone(), latest.arguments.to_owned()));
        Some(())
    }
}

/// Looks for the pattern in each text and keeps the groups of the first it is found in. Without a pattern
/// there is nothing to find. `None`: the pattern is in none of them.
fn capture<'t>(
    pattern: Option<&Regex>,
    texts: impl IntoIterator<Item = &'t str>,
    captures: &mut Captures,
) -> Option<()> {
    let Some(pattern) = pattern else { return Some(()) };
    let found = texts.into_iter().find_map(|text| pattern.captures(text))?;
    for name in pattern.capture_names().flatten() {
        if let Some(group) = found.name(name) {
            captures.groups.insert(name.to_owned(), group.as_str().to_owned());
        }
    }
    Some(())
}
