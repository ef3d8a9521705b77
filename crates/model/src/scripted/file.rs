//! The script file: what was written, checked into what it means.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::reply::{Call, Part};
use super::rule::{Rule, When};
use super::template::{Engine, Template, Tree};
use super::{Fault, Script};
use tenure_journal::{Stop, Usage};

/// Bytes of a script file; larger ones are a mistake.
pub const SCRIPT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// How unlike a known key may be to be suggested for an unknown one; 1 is equal.
const SIMILARITY_MIN: f64 = 0.7;

/// Why a script cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError {
    message: String,
    line: u64,
    column: u64,
    hint: Option<String>,
}

impl ScriptError {
    /// The line, from 1; 0 if the place is unknown.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The column, from 1; 0 if the place is unknown.
    #[must_use]
    pub fn column(&self) -> u64 {
        self.column
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    fn at(location: Location, message: String) -> Self {
        Self { message, line: location.line(), column: location.column(), hint: None }
    }

    fn nowhere(message: &str) -> Self {
        Self { message: message.to_owned(), line: 0, column: 0, hint: None }
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ScriptError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptFile {
    model: Option<String>,
    context_tokens: Option<u64>,
    token_delay_ms: Option<u64>,
    rules: Vec<Spanned<RuleFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    name: Option<String>,
    #[serde(default)]
    when: WhenFile,
    reply: Option<Vec<Spanned<PartFile>>>,
    fault: Option<Spanned<FaultFile>>,
    stop: Option<StopWord>,
    usage: Option<UsageFile>,
    token_delay_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WhenFile {
    model: Option<String>,
    instructions: Option<Spanned<String>>,
    user: Option<Spanned<String>>,
    any_user: Option<Spanned<String>>,
    has_image: Option<bool>,
    no_result: Option<bool>,
    result_of: Option<String>,
    result: Option<Spanned<String>>,
    results: Option<usize>,
    seen_result_of: Option<String>,
    step: Option<u64>,
    calls: Option<u64>,
    tools: Option<Vec<String>>,
    without_tools: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartFile {
    text: Option<Spanned<String>>,
    reasoning: Option<Spanned<String>>,
    call: Option<CallFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallFile {
    tool: Spanned<String>,
    arguments: Option<Spanned<serde_json::Value>>,
    raw_arguments: Option<Spanned<String>>,
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultFile {
    status: Option<u16>,
    code: Option<String>,
    retry_after_ms: Option<u64>,
    disconnect: Option<bool>,
    cut_after_tokens: Option<u64>,
    stall_ms: Option<u64>,
    stall_after_tokens: Option<u64>,
    times: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum StopWord {
    Complete,
    MaxOutputTokens,
    ContentFilter,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageFile {
    input_tokens: u64,
    output_tokens: u64,
    #[serde(default)]
    cached_tokens: u64,
    #[serde(default)]
    reasoning_tokens: u64,
}

pub(super) fn parse(text: &str) -> Result<Script, ScriptError> {
    if text.len() > SCRIPT_BYTES_MAX {
        return Err(ScriptError::nowhere("the script is larger than 1 MiB"));
    }
    let file: ScriptFile = serde_saphyr::from_str(text).map_err(|error| from_yaml(&error))?;
    if file.rules.is_empty() {
        return Err(ScriptError::nowhere("the script has no rules"));
    }
    let templates = Engine::new();
    let checker = Checker { templates: &templates, token_delay_ms: file.token_delay_ms.unwrap_or(0) };
    let rules = file.rules.into_iter().enumerate();
    let rules =
        rules.map(|(index, rule)| checker.rule(index, rule)).collect::<Result<Vec<_>, ScriptError>>()?;
    Ok(Script { model: file.model, context_tokens: file.context_tokens, rules, templates })
}

fn from_yaml(error: &serde_saphyr::Error) -> ScriptError {
    let error = error.without_snippet();
    let location = error.location().unwrap_or(Location::UNKNOWN);
    if let serde_saphyr::Error::SerdeUnknownField { field, expected, .. } = error {
        return ScriptError {
            hint: Some(suggestion(field, expected)),
            ..ScriptError::at(location, format!("unknown key `{field}`"))
        };
    }
    let message = error.to_string();
    // The first line says what; the place is told apart from it.
    let first = message.lines().next().unwrap_or_default();
    let first = first.split(" at line ").next().unwrap_or(first);
    ScriptError::at(location, first.to_owned())
}

fn suggestion(field: &str, expected: &[&'static str]) -> String {
    let scored = expected.iter().map(|key| (strsim::jaro_winkler(field, key), *key));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, key)) if score >= SIMILARITY_MIN => format!("did you mean `{key}`?"),
        _ => format!("the keys here are {}", quoted(expected)),
    }
}

fn quoted(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// Turns what was written into what it means.
struct Checker<'a> {
    templates: &'a Engine,
    token_delay_ms: u64,
}

impl Checker<'_> {
    fn rule(&self, index: usize, spanned: Spanned<RuleFile>) -> Result<Rule, ScriptError> {
        let here = spanned.referenced;
        let rule = spanned.value;
        let fault = rule.fault.map(fault).transpose()?;
        let parts = match (rule.reply, &fault) {
            (Some(parts), _) => parts.into_iter().map(|part| self.part(part)).collect::<Result<_, _>>()?,
            (None, Some((Fault::Status { .. } | Fault::Disconnect, None))) => Vec::new(),
            (None, _) => return Err(ScriptError::at(here, "the rule needs a `reply`".to_owned())),
        };
        Ok(Rule {
            name: rule.name.unwrap_or_else(|| format!("rules[{index}]")),
            when: when(rule.when)?,
            parts,
            fault,
            stop: match rule.stop {
                None | Some(StopWord::Complete) => Stop::Complete,
                Some(StopWord::MaxOutputTokens) => Stop::MaxOutputTokens,
                Some(StopWord::ContentFilter) => Stop::ContentFilter,
            },
            usage: rule.usage.map(|usage| Usage {
                input_tokens: usage.input_tokens,
                cached_tokens: usage.cached_tokens,
                output_tokens: usage.output_tokens,
                reasoning_tokens: usage.reasoning_tokens,
            }),
            token_delay_ms: rule.token_delay_ms.unwrap_or(self.token_delay_ms),
        })
    }

    fn part(&self, spanned: Spanned<PartFile>) -> Result<Part, ScriptError> {
        let here = spanned.referenced;
        match spanned.value {
            PartFile { text: Some(text), reasoning: None, call: None } => Ok(Part::Text(self.text(text)?)),
            PartFile { text: None, reasoning: Some(text), call: None } => {
                Ok(Part::Reasoning(self.text(text)?))
            }
            PartFile { text: None, reasoning: None, call: Some(call) } => Ok(Part::Call(self.call(call)?)),
            _ => {
                let message = "each part of a reply has exactly one of `text`, `reasoning`, `call`";
                Err(ScriptError::at(here, message.to_owned()))
            }
        }
    }

    fn call(&self, call: CallFile) -> Result<Call, ScriptError> {
        let arguments = match (call.arguments, call.raw_arguments) {
            (Some(arguments), None) => {
                let here = arguments.referenced;
                if !arguments.value.is_object() {
                    return Err(ScriptError {
                        hint: Some("use `raw_arguments` for malformed ones".to_owned()),
                        ..ScriptError::at(here, "`arguments` must be a mapping".to_owned())
                    });
                }
                let tree = Tree::parse(arguments.value, self.templates);
                tree.map_err(|message| ScriptError::at(here, message))?
            }
            (None, Some(raw)) => Tree::Raw(self.text(raw)?),
            (None, None) => Tree::Plain(serde_json::json!({})),
            (Some(_), Some(raw)) => {
                let message = "a call has `arguments` or `raw_arguments`, not both";
                return Err(ScriptError::at(raw.referenced, message.to_owned()));
            }
        };
        Ok(Call { tool: self.text(call.tool)?, arguments, id: call.id })
    }

    fn text(&self, text: Spanned<String>) -> Result<Template, ScriptError> {
        let here = text.referenced;
        Template::parse(text.value, self.templates).map_err(|message| ScriptError::at(here, message))
    }
}

fn when(when: WhenFile) -> Result<When, ScriptError> {
    Ok(When {
        model: when.model,
        instructions: pattern(when.instructions)?,
        user: pattern(when.user)?,
        any_user: pattern(when.any_user)?,
        has_image: when.has_image,
        no_result: when.no_result,
        result_of: when.result_of,
        result: pattern(when.result)?,
        results: when.results,
        seen_result_of: when.seen_result_of,
        step: when.step,
        calls: when.calls,
        tools: when.tools.unwrap_or_default(),
        without_tools: when.without_tools.unwrap_or_default(),
    })
}

fn pattern(pattern: Option<Spanned<String>>) -> Result<Option<Regex>, ScriptError> {
    let Some(pattern) = pattern else { return Ok(None) };
    let compiled = RegexBuilder::new(&pattern.value).size_limit(PATTERN_BYTES_MAX).build();
    compiled.map(Some).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        ScriptError::at(pattern.referenced, format!("the pattern is not a regular expression: {reason}"))
    })
}

fn fault(spanned: Spanned<FaultFile>) -> Result<(Fault, Option<u32>), ScriptError> {
    let here = spanned.referenced;
    let file = spanned.value;
    let refuse = |message: &str| Err(ScriptError::at(here, message.to_owned()));
    let disconnect = file.disconnect.filter(|yes| *yes);
    let fault = match (file.status, disconnect, file.cut_after_tokens, file.stall_ms) {
        (Some(status @ 400..=599), None, None, None) => {
            Fault::Status { status, code: file.code, retry_after_ms: file.retry_after_ms }
        }
        (Some(_), None, None, None) => return refuse("`status` must be from 400 to 599"),
        (None, Some(_), None, None) => Fault::Disconnect,
        (None, None, Some(after_tokens), None) => Fault::Cut { after_tokens },
        (None, None, None, Some(ms)) => Fault::Stall { ms, after_tokens: file.stall_after_tokens },
        _ => {
            return refuse(
                "a fault has exactly one of `status`, `disconnect`, `cut_after_tokens`, `stall_ms`",
            );
        }
    };
    Ok((fault, file.times))
}
