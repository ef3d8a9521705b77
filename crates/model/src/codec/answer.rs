//! An answer while it grows, with the deltas each growth means.

use tenure_journal::{AnswerItem, Failure, FailureKind, ModelAnswer};

use super::turns::Opaque;
use crate::{Delta, failure};

/// Items of one answer. Models are cut off long before; a broken server is cut off here.
pub const ANSWER_ITEMS_MAX: usize = 1024;
/// Bytes of one answer, text, summaries, arguments and opaque reasoning together.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What an empty part costs against [`ANSWER_BYTES_MAX`], so that parts are bounded too.
const PART_BYTES: usize = 64;

/// The items so far. An item's place never changes, so an index handed out in a delta stays right.
#[derive(Debug, Default)]
pub(super) struct AnswerBuilder {
    items: Vec<Building>,
    bytes: usize,
}

#[derive(Debug)]
struct Building {
    item: AnswerItem,
    /// The provider's keys of the parts, in the order of the item's texts.
    parts: Vec<PartKey>,
    done: bool,
}

/// How a provider tells the parts of one item apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartKey {
    /// Text and refusals, summaries and raw thinking, are counted apart.
    pub(super) kind: PartKind,
    /// The provider's number of the part.
    pub(super) number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartKind {
    Main,
    Other,
}

impl AnswerBuilder {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Begins an item and returns its index.
    pub(super) fn start(&mut self, item: AnswerItem, out: &mut Vec<Delta>) -> Result<usize, Failure> {
        if self.items.len() == ANSWER_ITEMS_MAX {
            return Err(too_large());
        }
        let at = self.items.len();
        let index = index_of(at);
        match &item {
            AnswerItem::Message { .. } => out.push(Delta::MessageStarted { index }),
            AnswerItem::Reasoning { .. } => out.push(Delta::ReasoningStarted { index }),
            AnswerItem::ToolCall { .. } => {}
        }
        self.charge(PART_BYTES)?;
        self.items.push(Building { item, parts: Vec::new(), done: false });
        Ok(at)
    }

    /// Adds text to a part of the message or reasoning at `at`. What comes after the item is complete is
    /// ignored: its complete form was final.
    pub(super) fn text(
        &mut self,
        at: usize,
        key: PartKey,
        fragment: &str,
        out: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        if self.items[at].done {
            return Ok(());
        }
        self.charge(fragment.len())?;
        let known = self.items[at].parts.iter().position(|part| *part == key);
        if known.is_none() {
            self.charge(PART_BYTES)?;
        }
        let building = &mut self.items[at];
        let (texts, is_message) = match &mut building.item {
            AnswerItem::Message { content } => (content, true),
            AnswerItem::Reasoning { summary, .. } => (summary, false),
            AnswerItem::ToolCall { .. } => return Err(failure::of_kind(FailureKind::Protocol)),
        };
        let part = known.unwrap_or_else(|| {
            building.parts.push(key);
            texts.push(String::new());
            texts.len() - 1
        });
        texts[part].push_str(fragment);
        let (index, part, delta) = (index_of(at), index_of(part), fragment.to_owned());
        out.push(if is_message {
            Delta::Text { index, part, delta }
        } else {
            Delta::Summary { index, part, delta }
        });
        Ok(())
    }

    /// Whether the item at `at` is of the kind of `item`.
    pub(super) fn is_like(&self, at: usize, item: &AnswerItem) -> bool {
        std::mem::discriminant(&self.items[at].item) == std::mem::discriminant(item)
    }

    /// Adds to the arguments of the call at `at`, unless it is complete.
    pub(super) fn arguments(&mut self, at: usize, fragment: &str) -> Result<(), Failure> {
        if self.items[at].done {
            return Ok(());
        }
        self.charge(fragment.len())?;
        match &mut self.items[at].item {
            AnswerItem::ToolCall { arguments, .. } => arguments.push_str(fragment),
            AnswerItem::Message { .. } | AnswerItem::Reasoning { .. } => {
                return Err(failure::of_kind(FailureKind::Protocol));
            }
        }
        Ok(())
    }

    /// Adds to the opaque part of the thinking at `at`, unless it is complete.
    pub(super) fn opaque(&mut self, at: usize, more: Opaque<'_>) -> Result<(), Failure> {
        if self.items[at].done {
            return Ok(());
        }
        let (Opaque::Signature(fragment) | Opaque::Redacted(fragment) | Opaque::RedactedBytes(fragment)) =
            more;
        self.charge(fragment.len())?;
        match &mut self.items[at].item {
            AnswerItem::Reasoning { encrypted: Some(known), .. } => known.push_str(fragment),
            AnswerItem::Reasoning { encrypted: none @ None, .. } => *none = Some(more.to_encrypted()),
            AnswerItem::Message { .. } | AnswerItem::ToolCall { .. } => {
                return Err(failure::of_kind(FailureKind::Protocol));
            }
        }
        Ok(())
    }

    /// The item at `at`, to complete what its first fragments left open.
    pub(super) fn item_mut(&mut self, at: usize) -> &mut AnswerItem {
        &mut self.items[at].item
    }

    /// Replaces the item at `at` by its complete form, which wins over what was streamed. Only the first
    /// complete form counts.
    pub(super) fn complete(
        &mut self,
        at: usize,
        complete: AnswerItem,
        out: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        if self.items[at].done {
            return Ok(());
        }
        self.charge(size_of(&complete))?;
        let building = &mut self.items[at];
        let streamed = building.parts.len();
        let replaced = match (&building.item, complete) {
            (AnswerItem::Message { content: seen }, AnswerItem::Message { content }) => {
                let content = if content.is_empty() { seen.clone() } else { content };
                rest_of(&content, streamed, |part, delta| {
                    out.push(Delta::Text { index: index_of(at), part, delta });
                });
                AnswerItem::Message { content }
            }
            (
                AnswerItem::Reasoning { summary: seen, provider_id: id, .. },
                AnswerItem::Reasoning { summary, encrypted, provider_id },
            ) => {
                let summary = if summary.is_empty() { seen.clone() } else { summary };
                rest_of(&summary, streamed, |part, delta| {
                    out.push(Delta::Summary { index: index_of(at), part, delta });
                });
                AnswerItem::Reasoning { summary, encrypted, provider_id: provider_id.or_else(|| id.clone()) }
            }
            (
                AnswerItem::ToolCall { call_id: seen_id, name: seen_name, arguments: seen },
                AnswerItem::ToolCall { call_id, name, arguments },
            ) => {
                let either = |new: String, seen: &String| if new.is_empty() { seen.clone() } else { new };
                AnswerItem::ToolCall {
                    call_id: either(call_id, seen_id),
                    name: either(name, seen_name),
                    arguments: either(arguments, seen),
                }
            }
            _ => return Err(failure::of_kind(FailureKind::Protocol)),
        };
        building.item = replaced;
        self.done(at, out);
        Ok(())
    }

    /// Marks the item at `at` as complete; marking it again does nothing.
    pub(super) fn done(&mut self, at: usize, out: &mut Vec<Delta>) {
        let building = &mut self.items[at];
        if std::mem::replace(&mut building.done, true) {
            return;
        }
        match building.item {
            AnswerItem::Message { .. } | AnswerItem::Reasoning { .. } => {
                out.push(Delta::ItemDone { index: index_of(at) });
            }
            AnswerItem::ToolCall { .. } => {}
        }
    }

    /// Marks every item as complete.
    pub(super) fn done_all(&mut self, out: &mut Vec<Delta>) {
        for at in 0..self.items.len() {
            self.done(at, out);
        }
    }

    pub(super) fn into_items(self) -> Vec<AnswerItem> {
        self.items.into_iter().map(|building| building.item).collect()
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > ANSWER_BYTES_MAX { Err(too_large()) } else { Ok(()) }
    }
}

/// The texts after those that were streamed; a server may send complete items only.
fn rest_of(texts: &[String], streamed: usize, mut each: impl FnMut(u32, String)) {
    for (part, text) in texts.iter().enumerate().skip(streamed) {
        if !text.is_empty() {
            each(index_of(part), text.clone());
        }
    }
}

fn size_of(item: &AnswerItem) -> usize {
    match item {
        AnswerItem::Message { content } => content.iter().map(|text| text.len() + PART_BYTES).sum(),
        AnswerItem::Reasoning { summary, encrypted, .. } => {
            let texts: usize = summary.iter().map(|text| text.len() + PART_BYTES).sum();
            texts + encrypted.as_ref().map_or(0, String::len)
        }
        AnswerItem::ToolCall { arguments, .. } => arguments.len(),
    }
}

fn too_large() -> Failure {
    failure::with_message(FailureKind::Protocol, "the model's answer is larger than any this server accepts")
}

fn index_of(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The deltas a model would have streamed for a complete answer, its text cut by [`fragments`].
pub fn deltas(answer: &ModelAnswer) -> Vec<Delta> {
    let mut out = Vec::new();
    for (at, item) in answer.items.iter().enumerate() {
        let index = index_of(at);
        match item {
            AnswerItem::Message { content } => {
                out.push(Delta::MessageStarted { index });
                for (part, text) in content.iter().enumerate() {
                    let part = index_of(part);
                    out.extend(fragments(text).map(|delta| Delta::Text { index, part, delta: delta.into() }));
                }
                out.push(Delta::ItemDone { index });
            }
            AnswerItem::Reasoning { summary, .. } => {
                out.push(Delta::ReasoningStarted { index });
                for (part, text) in summary.iter().enumerate() {
                    let part = index_of(part);
                    out.extend(fragments(text).map(|delta| Delta::Summary {
                        index,
                        part,
                        delta: delta.into(),
                    }));
                }
                out.push(Delta::ItemDone { index });
            }
            AnswerItem::ToolCall { .. } => {}
        }
    }
    out
}

/// Cuts text into fragments of a word with the white space before it: what the scripted model counts and
/// streams as tokens. Joined they are the text.
pub fn fragments(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let word = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let end = rest[word..].find(char::is_whitespace).map_or(rest.len(), |length| word + length);
        let (fragment, tail) = rest.split_at(end);
        rest = tail;
        Some(fragment)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_join_to_the_text() {
        for text in ["", " ", "one", "one two", "  one\n\ntwo  ", "é 🙂\u{a0}x"] {
            assert_eq!(fragments(text).collect::<String>(), text);
        }
        assert_eq!(fragments("a bc  d ").collect::<Vec<_>>(), ["a", " bc", "  d", " "]);
    }

    #[test]
    fn bounds_an_answer() {
        let mut builder = AnswerBuilder::default();
        let mut out = Vec::new();
        let at = builder.start(AnswerItem::Message { content: vec![] }, &mut out).expect("the first item");
        let key = PartKey { kind: PartKind::Main, number: 0 };
        let fragment = "x".repeat(ANSWER_BYTES_MAX / 2);
        builder.text(at, key, &fragment, &mut out).expect("half of what is allowed");
        builder.text(at, key, &fragment, &mut out).expect_err("more than is allowed");
        let mut builder = AnswerBuilder::default();
        let message = || AnswerItem::Message { content: vec![] };
        let started = (0..).take_while(|_| builder.start(message(), &mut out).is_ok()).count();
        assert_eq!(started, ANSWER_ITEMS_MAX);
    }
}
