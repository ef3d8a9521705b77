//! A request as rules see it.

use tenure_journal::{ContextItem, FunctionOutput, InputPart, ModelRequest};

/// Characters of each quotation in a report.
const QUOTE_CHARS_MAX: usize = 400;

/// What rules ask about a request.
pub(super) struct View<'a> {
    pub(super) request: &'a ModelRequest,
    /// The texts of all user messages, oldest first.
    pub(super) users: Vec<String>,
    /// The results that end the context; none if a message ends it.
    pub(super) latest: Vec<Latest<'a>>,
    /// The tools of all results.
    pub(super) answered: Vec<&'a str>,
    /// Answers of the model in the whole context.
    pub(super) calls: u64,
    /// Answers of the model since the last user message.
    pub(super) step: u64,
    /// Whether the last user message has an image.
    pub(super) has_image: bool,
}

/// A result and the call it answers.
pub(super) struct Latest<'a> {
    pub(super) tool: &'a str,
    pub(super) arguments: &'a str,
    pub(super) text: String,
}

impl<'a> View<'a> {
    pub(super) fn of(request: &'a ModelRequest) -> Self {
        let mut view = Self {
            request,
            users: Vec::new(),
            latest: Vec::new(),
            answered: Vec::new(),
            calls: 0,
            step: 0,
            has_image: false,
        };
        let mut speaking = false;
        for item in &request.input {
            match item {
                ContextItem::User { content } => {
                    view.users.push(text_of(content));
                    view.has_image = content.iter().any(|part| matches!(part, InputPart::Image { .. }));
                    view.step = 0;
                    view.latest.clear();
                    speaking = false;
                }
                ContextItem::Note { .. } => {}
                ContextItem::Assistant { .. } | ContextItem::Reasoning { .. } | ContextItem::Call { .. } => {
                    if !std::mem::replace(&mut speaking, true) {
                        view.calls += 1;
                        view.step += 1;
                        view.latest.clear();
                    }
                }
                ContextItem::CallResult { call_id, output } => {
                    let (tool, arguments) = call_of(&request.input, call_id);
                    view.answered.push(tool);
                    view.latest.push(Latest { tool, arguments, text: output_text(output) });
                    speaking = false;
                }
            }
        }
        view
    }

    /// The last user message; empty if there is none.
    pub(super) fn user(&self) -> &str {
        self.users.last().map_or("", String::as_str)
    }

    /// What arrived, for whoever writes the script.
    pub(super) fn describe(&self, answers_to: Option<&str>) -> String {
        let mut lines = vec![format!("  model: {}", self.request.model)];
        if let Some(model) = answers_to.filter(|model| *model != self.request.model) {
            lines.push(format!("  the script answers to model `{model}` only"));
        }
        lines.push(format!("  step: {}, calls: {}", self.step, self.calls));
        lines.push(format!("  last user message: {:?}", shortened(self.user())));
        if self.latest.is_empty() {
            lines.push("  latest results: none".to_owned());
        }
        for Latest { tool, text, .. } in &self.latest {
            lines.push(format!("  latest result of {tool}: {:?}", shortened(text)));
        }
        let tools: Vec<_> = self.request.tools.iter().map(|tool| tool.name.as_str()).collect();
        lines.push(format!(
            "  tools offered: {}",
            if tools.is_empty() { "none".into() } else { tools.join(", ") }
        ));
        lines.join("\n")
    }
}

/// The tool and the arguments of the latest call with this id; ids may repeat over a long conversation.
fn call_of<'a>(items: &'a [ContextItem], id: &str) -> (&'a str, &'a str) {
    let named = |item: &'a ContextItem| match item {
        ContextItem::Call { call_id, name, arguments } if call_id == id => {
            Some((name.as_str(), arguments.as_str()))
        }
        ContextItem::Call { .. }
        | ContextItem::User { .. }
        | ContextItem::Note { .. }
        | ContextItem::Assistant { .. }
        | ContextItem::Reasoning { .. }
        | ContextItem::CallResult { .. } => None,
    };
    items.iter().rev().find_map(named).unwrap_or_default()
}

fn text_of(parts: &[InputPart]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        InputPart::Text { text } => Some(text.as_str()),
        InputPart::Image { .. } => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn output_text(output: &FunctionOutput) -> String {
    match output {
        FunctionOutput::Text(text) => text.clone(),
        FunctionOutput::Content(parts) => text_of(parts),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
