//! What was said in a session, and which files it had, at each of its versions: known from its events alone, to
//! hold forks and what goes back against.

use std::collections::{BTreeMap, BTreeSet};

use tenure_journal::{
    Done, EffectKind, Event, Forked, InputId, InputPart, Item, ItemBody, ItemId, Outcome, Rewound,
    SessionKey, WorkspaceRoot,
};

use crate::{Property, Violation};

/// What was said in one session. Lists of words share their beginnings.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Each word and the one before it.
    words: Vec<(String, Option<usize>)>,
    last: Option<usize>,
    files: Option<WorkspaceRoot>,
    first_files: Option<WorkspaceRoot>,
    /// The last word and the files after each version.
    at: Vec<(Option<usize>, Option<WorkspaceRoot>)>,
    inputs: BTreeMap<InputId, String>,
    calls: BTreeMap<ItemId, String>,
    /// Items that a fork began with.
    forked: BTreeSet<ItemId>,
}

impl Said {
    /// Reads the next event.
    pub(crate) fn read(&mut self, event: &Event) -> Result<(), Violation> {
        if let Event::SessionOpened(opened) = event {
            // One that was opened in an environment that was there has the files of that.
            self.files = opened.environment.hosted().and_then(|hosted| hosted.base).or(self.files);
        }
        if let Event::InputAccepted { input } = event {
            self.inputs.insert(input.id, texts(&input.content));
        }
        if let Event::InputJoined { input_id, .. } = event {
            let word = self.inputs.get(input_id).cloned().unwrap_or_default();
            self.say(word);
        }
        if let Event::ItemAdded { item } = event {
            self.calls.extend(item.call_id().map(|call| (item.id, call.to_owned())));
            self.say(word(item));
        }
        if let Event::FunctionReturned { call_item_id, .. } = event {
            let call = self.calls.get(call_item_id).cloned().unwrap_or_default();
            self.say(format!("output of {call}"));
        }
        if let Event::AttemptEnded { outcome: Outcome::Done { done }, .. } = event {
            self.files = match done {
                Done::Placed { root, skills: _, servers: _ } => Some(*root),
                Done::Command { result } => result.root.or(self.files),
                Done::Model { .. }
                | Done::Reviewed { .. }
                | Done::Extracted { .. }
                | Done::Tools { .. }
                | Done::Tool { .. }
                | Done::Ended
                | Done::Found { .. }
                | Done::Published { .. } => self.files,
            };
        }
        if let Event::Forked(forked) = event {
            for item in &forked.items {
                self.forked.insert(item.id);
                self.say(word(item));
            }
        }
        if let Event::Rewound(rewound) = event {
            self.go_back(rewound)?;
        }
        if let Event::EffectRequested { effect } = event
            && let EffectKind::ToolCall { item_id, .. } | EffectKind::Command { item_id, .. } = &effect.kind
            && self.forked.contains(item_id)
        {
            return broken(format!("{} repeats what was done before the fork", effect.id));
        }
        self.first_files = self.first_files.or(self.files);
        self.at.push((self.last, self.files));
        Ok(())
    }

    fn say(&mut self, word: String) {
        self.words.push((word, self.last));
        self.last = Some(self.words.len() - 1);
    }

    fn until(&self, last: Option<usize>) -> Vec<&str> {
        let mut words = Vec::new();
        let mut next = last;
        while let Some((word, before)) = next.and_then(|place| self.words.get(place)) {
            words.push(word.as_str());
            next = *before;
        }
        words.reverse();
        words
    }

    /// Whether there were no files yet at a version.
    fn had_none_at(&self, version: u64) -> bool {
        let place = usize::try_from(version).ok().and_then(|version| version.checked_sub(1));
        place.and_then(|place| self.at.get(place)).is_some_and(|(_, files)| files.is_none())
    }

    /// What was said until a version, and the files it had; where it had none yet, those it got first.
    fn moment(&self, version: u64) -> Option<(Vec<&str>, Option<WorkspaceRoot>)> {
        let place = usize::try_from(version).ok()?.checked_sub(1)?;
        let (last, files) = self.at.get(place)?;
        Some((self.until(*last), files.or(self.first_files)))
    }

    fn go_back(&mut self, rewound: &Rewound) -> Result<(), Violation> {
        let kept = usize::try_from(rewound.kept).unwrap_or(usize::MAX);
        let (then, files) = self.moment(rewound.to.0).unwrap_or_default();
        let mut now: Vec<String> =
            self.until(self.last).into_iter().take(kept).map(ToOwned::to_owned).collect();
        now.extend(
            rewound.items.iter().filter(|placed| placed.ordinal >= rewound.kept).map(|p| word(&p.item)),
        );
        continues(&then, &now, "a session that went back")?;
        if files != rewound.root {
            return broken(format!("the files of version {} are not back", rewound.to.0));
        }
        self.last = None;
        now.into_iter().for_each(|word| self.say(word));
        self.files = rewound.root;
        Ok(())
    }
}

/// Whether a fork, as its first events are, has what its parent had. `None`: its parent is not known so far.
pub(crate) fn stands_alone(
    parent: &Said,
    child: &Said,
    forked: &Forked,
    key: SessionKey,
) -> Result<bool, Violation> {
    let Some((then, files)) = parent.moment(forked.from.version.0) else { return Ok(false) };
    let now: Vec<String> = forked.items.iter().map(word).collect();
    continues(&then, &now, &format!("the fork {}", key.session))?;
    // One that was made before its parent had files makes its own; which of both was first, the journals do not say.
    let had_none = parent.had_none_at(forked.from.version.0);
    match child.at.first() {
        Some((_, None)) if had_none => Ok(true),
        Some((_, base)) if *base != files => broken(format!("the fork {} has other files", key.session)),
        Some(_) | None => Ok(true),
    }
}

/// `now` is `then`, with an end to every function call that had none.
fn continues(then: &[&str], now: &[String], who: &str) -> Result<(), Violation> {
    let begins = now.len() >= then.len() && now.iter().zip(then).all(|(now, then)| now == then);
    let ends = now.iter().skip(then.len()).all(|word| word.starts_with("output of "));
    if begins && ends {
        return Ok(());
    }
    broken(format!("{who} has {now:?} and should have {then:?}"))
}

fn word(item: &Item) -> String {
    match &item.body {
        ItemBody::UserMessage { content, .. } => texts(content),
        ItemBody::AgentMessage { content, .. } => content.concat(),
        ItemBody::AssistantMessage { content, .. } => format!("said {}", content.concat()),
        ItemBody::Reasoning { summary, .. } => format!("thought {}", summary.concat()),
        ItemBody::FunctionCallOutput { call_id, .. } => format!("output of {call_id}"),
        ItemBody::FunctionCall { call_id, .. }
        | ItemBody::McpCall { call_id, .. }
        | ItemBody::CommandExecution { call_id, .. }
        | ItemBody::SubagentCall { call_id, .. }
        | ItemBody::InternalCall { call_id, .. } => format!("call {call_id}"),
    }
}

fn texts(content: &[InputPart]) -> String {
    let text = |part: &InputPart| match part {
        InputPart::Text { text } => text.clone(),
        InputPart::Image { image_url } => image_url.clone(),
    };
    content.iter().map(text).collect()
}

fn broken<T>(detail: String) -> Result<T, Violation> {
    Err(Violation::new(Property::ForksStandAlone, detail))
}
