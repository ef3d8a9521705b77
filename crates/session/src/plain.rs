//! An item as plain text: for a summary that is made of it, and for whoever searches a session's past.

use std::borrow::Cow;

use tenure_journal::{FunctionOutput, InputPart, Item, ItemBody};

/// What an image is called where only text can stand.
const IMAGE: &str = "[image]";

/// Who said or did it, in a word, and what. What only a model may read, its opaque thinking, is left out.
#[must_use]
pub fn plain(item: &Item) -> (&'static str, Cow<'_, str>) {
    match &item.body {
        ItemBody::UserMessage { content, by_agent: false } => ("user", joined(content)),
        ItemBody::UserMessage { content, by_agent: true } => ("reminder", joined(content)),
        ItemBody::AssistantMessage { content, .. } => ("assistant", texts(content)),
        ItemBody::Reasoning { summary, .. } => ("thinking", texts(summary)),
        ItemBody::FunctionCall { name, arguments, .. } => ("call", format!("{name} {arguments}").into()),
        ItemBody::FunctionCallOutput { call_id, output, error } => {
            let result = match (error, output) {
                (Some(error), _) => Cow::Borrowed(error.as_str()),
                (None, Some(FunctionOutput::Text(text))) => Cow::Borrowed(text.as_str()),
                (None, Some(FunctionOutput::Content(parts))) => joined(parts),
                (None, None) => Cow::Borrowed("failed"),
            };
            ("result", format!("{call_id}: {result}").into())
        }
        ItemBody::McpCall { tool, arguments, output, error, .. }
        | ItemBody::SubagentCall { tool, arguments, output, error, .. } => {
            ("call", format!("{tool} {arguments}{}", result(output.as_deref(), error.as_deref())).into())
        }
        ItemBody::CommandExecution { command, cwd, output, error, exit_code, .. } => {
            let exit = exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
            let result = result(output.as_deref(), error.as_deref());
            ("command", format!("{command} (in {cwd}){exit}{result}").into())
        }
        ItemBody::AgentMessage { content, .. } => ("agent", texts(content)),
        ItemBody::InternalCall { name, arguments, output, .. } => {
            ("call", format!("{name} {arguments}\n-> {output}").into())
        }
    }
}

fn result(output: Option<&str>, error: Option<&str>) -> String {
    match (output, error) {
        (None, None) => String::new(),
        (Some(output), None) => format!("\n-> {output}"),
        (None, Some(error)) => format!("\n-> failed: {error}"),
        (Some(output), Some(error)) => format!("\n-> {output}\n-> {error}"),
    }
}

fn joined(parts: &[InputPart]) -> Cow<'_, str> {
    match parts {
        [InputPart::Text { text }] => Cow::Borrowed(text),
        parts => Cow::Owned(parts.iter().map(text_of).collect::<Vec<_>>().join("\n")),
    }
}

fn text_of(part: &InputPart) -> &str {
    match part {
        InputPart::Text { text } => text,
        InputPart::Image { .. } => IMAGE,
    }
}

fn texts(texts: &[String]) -> Cow<'_, str> {
    match texts {
        [text] => Cow::Borrowed(text),
        texts => Cow::Owned(texts.join("\n")),
    }
}
