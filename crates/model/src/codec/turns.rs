//! A context as alternating turns of blocks, which is how Anthropic Messages and Bedrock Converse want it.
//!
//! Both refuse what this builds around: a conversation that the assistant begins or ends, two turns of one role
//! after another, a result that does not stand at the head of the turn after its call, text without a word in it,
//! thinking that leads nowhere. Notes have no role of their own there, so they are marked text of the user's turn.

use std::borrow::Cow;

use serde_json::Value;
use tenure_journal::{ContextItem, FunctionOutput, InputPart};

use super::arguments_text;

/// Thinking of Claude, as `encrypted` keeps it. The words before it say whose it is: no other format sends it
/// back, and this one sends back no other's.
const SIGNATURE: &str = "claude:signature:";
const REDACTED: &str = "claude:redacted:";
/// Bedrock wraps redacted thinking once more, so what it sent goes back to it alone.
const REDACTED_BYTES: &str = "claude:redacted-bytes:";

/// Marks what the runtime says in the user's turn.
pub(super) const NOTE: &str = "[Note of the runtime] ";

/// Stands where a conversation would begin with the assistant.
const BEGINNING: &str = "(The beginning of the conversation was left out.)";
/// Stands where it would end with the assistant.
const GO_ON: &str = "Go on.";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Assistant,
}

impl Role {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// What one side said before the other went on; never empty.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) role: Role,
    pub(super) blocks: Vec<Block<'a>>,
}

#[derive(Debug)]
pub(super) enum Block<'a> {
    Text(Cow<'a, str>),
    Image(Image<'a>),
    Thinking { text: String, opaque: Opaque<'a> },
    Call { id: &'a str, name: &'a str, input: Value },
    Result { id: &'a str, content: Vec<Block<'a>> },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Image<'a> {
    /// Base64, with its media type.
    Data {
        media_type: &'a str,
        data: &'a str,
    },
    Url(&'a str),
}

/// The opaque part of thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opaque<'a> {
    Signature(&'a str),
    Redacted(&'a str),
    RedactedBytes(&'a str),
}

impl<'a> Opaque<'a> {
    pub(super) fn of(encrypted: &'a str) -> Option<Self> {
        let rest = |tag: &str| encrypted.strip_prefix(tag);
        rest(SIGNATURE)
            .map(Self::Signature)
            .or_else(|| rest(REDACTED).map(Self::Redacted))
            .or_else(|| rest(REDACTED_BYTES).map(Self::RedactedBytes))
    }

    /// What `encrypted` begins with.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::Signature(_) => SIGNATURE,
            Self::Redacted(_) => REDACTED,
            Self::RedactedBytes(_) => REDACTED_BYTES,
        }
    }

    /// What `encrypted` holds.
    pub(super) fn to_encrypted(self) -> String {
        let (Self::Signature(text) | Self::Redacted(text) | Self::RedactedBytes(text)) = self;
        format!("{}{text}", self.tag())
    }
}

/// The turns of a context, beginning and ending with the user's.
pub(super) fn turns(items: &[ContextItem]) -> Vec<Turn<'_>> {
    let mut turns = Turns::default();
    for item in items {
        match item {
            ContextItem::User { content } => {
                for part in content {
                    turns.push(Role::User, part_block(part));
                }
            }
            ContextItem::Note { text } => {
                let marked = (!text.trim().is_empty()).then(|| format!("{NOTE}{text}"));
                turns.push(Role::User, marked.map(|text| Block::Text(text.into())));
            }
            ContextItem::Assistant { text, phase: _ } => turns.push(Role::Assistant, text_block(text)),
            ContextItem::Reasoning { summary, encrypted, .. } => {
                let opaque = encrypted.as_deref().and_then(Opaque::of);
                let thought = opaque.map(|opaque| Block::Thinking { text: summary.join("\n"), opaque });
                turns.push(Role::Assistant, thought);
            }
            ContextItem::Call { call_id, name, arguments } => {
                let input = serde_json::from_str(&arguments_text(arguments)).unwrap_or(Value::Null);
                turns.push(Role::Assistant, Some(Block::Call { id: call_id, name, input }));
            }
            ContextItem::CallResult { call_id, output } => turns.result(call_id, output),
        }
    }
    turns.finish()
}

#[derive(Default)]
struct Turns<'a> {
    done: Vec<Turn<'a>>,
}

impl<'a> Turns<'a> {
    fn turn(&mut self, role: Role) -> &mut Vec<Block<'a>> {
        if self.done.last().is_none_or(|last| last.role != role) {
            self.close();
            // Closing may have removed a turn, and with it the reason for a new one.
            if self.done.last().is_none_or(|last| last.role != role) {
                self.done.push(Turn { role, blocks: Vec::new() });
            }
        }
        let last = self.done.len() - 1;
        &mut self.done[last].blocks
    }

    fn push(&mut self, role: Role, block: Option<Block<'a>>) {
        if let Some(block) = block {
            self.turn(role).push(block);
        }
    }

    fn result(&mut self, id: &'a str, output: &'a FunctionOutput) {
        let content = match output {
            FunctionOutput::Text(text) => text_block(text).into_iter().collect(),
            FunctionOutput::Content(parts) => parts.iter().filter_map(part_block).collect(),
        };
        let blocks = self.turn(Role::User);
        let head = blocks.iter().take_while(|block| matches!(block, Block::Result { .. })).count();
        blocks.insert(head, Block::Result { id, content });
    }

    /// Takes thinking off the end of the assistant's turn: what it led to is missing.
    fn close(&mut self) {
        let Some(last) = self.done.last_mut() else { return };
        while matches!(last.blocks.last(), Some(Block::Thinking { .. })) {
            last.blocks.pop();
        }
        if last.blocks.is_empty() {
            self.done.pop();
        }
    }

    fn finish(mut self) -> Vec<Turn<'a>> {
        self.close();
        let text = |text: &'static str| Turn { role: Role::User, blocks: vec![Block::Text(text.into())] };
        if self.done.first().is_none_or(|first| first.role == Role::Assistant) {
            self.done.insert(0, text(BEGINNING));
        }
        if self.done.last().is_some_and(|last| last.role == Role::Assistant) {
            self.done.push(text(GO_ON));
        }
        self.done
    }
}

fn text_block(text: &str) -> Option<Block<'_>> {
    (!text.trim().is_empty()).then(|| Block::Text(text.into()))
}

fn part_block(part: &InputPart) -> Option<Block<'_>> {
    match part {
        InputPart::Text { text } => text_block(text),
        InputPart::Image { image_url } => Some(Block::Image(image(image_url))),
    }
}

fn image(url: &str) -> Image<'_> {
    let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match data {
        Some((media_type, data)) => Image::Data { media_type, data },
        None => Image::Url(url),
    }
}
