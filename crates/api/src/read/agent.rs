//! The fields of an agent, as they are written on a saved agent and as overrides of a session.

use std::collections::BTreeMap;

use tenure_journal::{
    AgentConfig, Effort, MultiAgent, Reasoning, ReasoningSummary, ServiceTier, TextConfig, TextFormat,
    Verbosity,
};

use super::metadata::read_metadata;
use super::name;
use super::reader::{Field, Reader};
use super::tool::{ToolScope, Tools};
use crate::error::ApiError;

/// Characters of an agent's name.
pub(crate) const NAME_CHARS_MAX: usize = 128;
/// Characters of a model's name.
const MODEL_CHARS_MAX: usize = 256;
/// Characters of instructions: what fits into a request with room for the rest.
const INSTRUCTIONS_CHARS_MAX: usize = 1024 * 1024;
/// Subagents at once, when a client enables them without a number.
const SUBAGENTS_DEFAULT: u32 = 6;
/// Subagents at once that a client may ask for.
const SUBAGENTS_MAX: u64 = 64;

/// Where agent fields are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentScope {
    /// On a saved agent: named, with metadata, without secrets.
    Saved,
    /// On one session.
    Session,
}

/// What a client said about an agent. Absent members were not sent; a null is read as what it restores.
#[derive(Debug, Default)]
pub(crate) struct AgentFields {
    pub(crate) model: Option<String>,
    pub(crate) name: Option<Option<String>>,
    pub(crate) instructions: Option<Option<String>>,
    pub(crate) metadata: Option<BTreeMap<String, String>>,
    pub(crate) reasoning: Option<Reasoning>,
    pub(crate) text: Option<TextConfig>,
    pub(crate) service_tier: Option<ServiceTier>,
    pub(crate) tools: Option<Tools>,
    pub(crate) multi_agent: Option<MultiAgent>,
    pub(crate) compaction_async: Option<bool>,
    pub(crate) time_awareness: Option<bool>,
}

impl AgentFields {
    /// Reads an object that holds agent fields and nothing else.
    pub(crate) fn read(mut reader: Reader<'_>, scope: AgentScope) -> Result<Self, ApiError> {
        let r = &mut reader;
        let mut fields = Self {
            model: r.optional("model").map(|field| read_model(&field)).transpose()?,
            instructions: r.optional("instructions").map(read_instructions).transpose()?,
            reasoning: r.optional("reasoning").map(read_reasoning).transpose()?,
            text: r.optional("text").map(read_text).transpose()?,
            service_tier: r.optional("service_tier").map(read_service_tier).transpose()?,
            multi_agent: r.optional("multi_agent").map(read_multi_agent).transpose()?,
            compaction_async: r.optional("compaction").map(read_compaction).transpose()?,
            time_awareness: r.optional("experimental").map(read_experimental).transpose()?.flatten(),
            tools: None,
            name: None,
            metadata: None,
        };
        let tool_scope = match scope {
            AgentScope::Saved => ToolScope::Saved,
            AgentScope::Session => ToolScope::Session,
        };
        fields.tools = r.optional("tools").map(|field| Tools::read(field, tool_scope)).transpose()?;
        if scope == AgentScope::Saved {
            fields.name = r.optional("name").map(read_name).transpose()?;
            fields.metadata = r.optional("metadata").map(read_metadata).transpose()?;
        }
        reader.finish()?;
        Ok(fields)
    }

    /// Replaces in `config` what was sent, tools excepted: they may hold secrets to be sealed first.
    pub(crate) fn apply(&self, config: &mut AgentConfig) {
        if let Some(model) = &self.model {
            config.model.clone_from(model);
        }
        if let Some(name) = &self.name {
            config.name.clone_from(name);
        }
        if let Some(instructions) = &self.instructions {
            config.instructions.clone_from(instructions);
        }
        if let Some(reasoning) = self.reasoning {
            config.reasoning = reasoning;
        }
        if let Some(text) = &self.text {
            config.text.clone_from(text);
        }
        if let Some(tier) = self.service_tier {
            config.service_tier = tier;
        }
        if let Some(multi_agent) = self.multi_agent {
            config.multi_agent = multi_agent;
        }
        if let Some(compaction_async) = self.compaction_async {
            config.compaction_async = compaction_async;
        }
        if let Some(time_awareness) = self.time_awareness {
            config.time_awareness = time_awareness;
        }
    }
}

pub(super) fn read_model(field: &Field<'_>) -> Result<String, ApiError> {
    field.text(MODEL_CHARS_MAX).map(str::to_owned)
}

pub(super) fn read_name(field: Field<'_>) -> Result<Option<String>, ApiError> {
    match field.nullable() {
        None => Ok(None),
        Some(field) => name::read_name(&field, NAME_CHARS_MAX).map(|name| Some(name.to_owned())),
    }
}

fn read_instructions(field: Field<'_>) -> Result<Option<String>, ApiError> {
    match field.nullable() {
        None => Ok(None),
        Some(field) => field.any_text(INSTRUCTIONS_CHARS_MAX).map(|text| Some(text.to_owned())),
    }
}

fn read_reasoning(field: Field<'_>) -> Result<Reasoning, ApiError> {
    let Some(field) = field.nullable() else { return Ok(Reasoning::default()) };
    let mut reader = field.object()?;
    let effort = reader.optional_or_null("effort");
    let effort = effort.map(|field| field.word(Effort::WORDS, Effort::from_word)).transpose()?;
    let summary = reader.optional_or_null("summary");
    let summary =
        summary.map(|field| field.word(ReasoningSummary::WORDS, ReasoningSummary::from_word)).transpose()?;
    reader.finish()?;
    Ok(Reasoning { effort, summary })
}

fn read_text(field: Field<'_>) -> Result<TextConfig, ApiError> {
    let Some(field) = field.nullable() else { return Ok(TextConfig::default()) };
    let mut reader = field.object()?;
    let format = reader.optional_or_null("format").map(read_format).transpose()?;
    let verbosity = reader.optional_or_null("verbosity");
    let verbosity = verbosity.map(|field| field.word(Verbosity::WORDS, Verbosity::from_word)).transpose()?;
    reader.finish()?;
    Ok(TextConfig {
        format: format.unwrap_or(TextFormat::Text),
        verbosity: verbosity.unwrap_or(Verbosity::Medium),
    })
}

fn read_format(field: Field<'_>) -> Result<TextFormat, ApiError> {
    enum Kind {
        Text,
        JsonSchema,
    }
    let mut reader = field.object()?;
    let kind = reader.required("type")?.word(&["text", "json_schema"], |word| match word {
        "text" => Some(Kind::Text),
        "json_schema" => Some(Kind::JsonSchema),
        _ => None,
    })?;
    let format = match kind {
        Kind::Text => TextFormat::Text,
        Kind::JsonSchema => {
            let schema = reader.required("schema")?;
            schema.map()?;
            let text = |field: Field<'_>| field.text(INSTRUCTIONS_CHARS_MAX).map(str::to_owned);
            TextFormat::JsonSchema {
                schema: schema.value().clone(),
                name: reader.optional_or_null("name").map(text).transpose()?,
                description: reader.optional_or_null("description").map(text).transpose()?,
                strict: reader.optional_or_null("strict").map(|field| field.bool()).transpose()?,
            }
        }
    };
    reader.finish()?;
    Ok(format)
}

pub(super) fn read_service_tier(field: Field<'_>) -> Result<ServiceTier, ApiError> {
    match field.nullable() {
        None => Ok(ServiceTier::Auto),
        Some(field) => field.word(ServiceTier::WORDS, ServiceTier::from_word),
    }
}

fn read_multi_agent(field: Field<'_>) -> Result<MultiAgent, ApiError> {
    let Some(field) = field.nullable() else { return Ok(MultiAgent::default()) };
    let mut reader = field.object()?;
    let enabled = reader.required("enabled")?.bool()?;
    let number = reader.optional_or_null("max_concurrent_subagents");
    let number = number.map(|field| field.integer(1, SUBAGENTS_MAX)).transpose()?;
    reader.finish()?;
    let number = number.map_or(SUBAGENTS_DEFAULT, |number| u32::try_from(number).unwrap_or(u32::MAX));
    Ok(MultiAgent { enabled, max_concurrent_subagents: enabled.then_some(number) })
}

fn read_compaction(field: Field<'_>) -> Result<bool, ApiError> {
    let Some(field) = field.nullable() else { return Ok(false) };
    let mut reader = field.object()?;
    let in_background = reader.optional_or_null("async").map(|field| field.bool()).transpose()?;
    reader.finish()?;
    Ok(in_background.unwrap_or(false))
}

fn read_experimental(field: Field<'_>) -> Result<Option<bool>, ApiError> {
    let mut reader = field.object()?;
    let time_awareness = reader.optional("time_awareness").map(|field| field.bool()).transpose()?;
    reader.finish()?;
    Ok(time_awareness)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::read::tests::refusal;

    fn read(body: &Value) -> Result<AgentFields, ApiError> {
        AgentFields::read(Reader::new("", body)?, AgentScope::Saved)
    }

    #[track_caller]
    fn refused(body: &Value, message: &str, param: &str) {
        assert_eq!(refusal(read(body)), (message.to_owned(), Some(param.to_owned())));
    }

    fn applied(body: &Value) -> AgentConfig {
        let fresh = tenure_journal::Fresh::new(tenure_journal::Timestamp::from_millis(1), 1);
        let mut config = AgentConfig::new(tenure_journal::AgentId::fresh(&fresh), "m");
        read(body).expect("accepted").apply(&mut config);
        config
    }

    #[test]
    fn omitted_members_keep_and_nulls_restore() {
        let fields = read(&json!({})).expect("accepted");
        assert!(fields.model.is_none() && fields.name.is_none() && fields.tools.is_none());
        let nulls = json!({"name": null, "instructions": null, "reasoning": null, "text": null,
            "service_tier": null, "multi_agent": null, "compaction": null, "metadata": null, "tools": null});
        let fields = read(&nulls).expect("accepted");
        assert_eq!(fields.name, Some(None));
        assert_eq!(fields.reasoning, Some(Reasoning::default()));
        assert_eq!(fields.text, Some(TextConfig::default()));
        assert_eq!(fields.compaction_async, Some(false));
        assert_eq!(fields.metadata, Some(BTreeMap::new()));
    }

    #[test]
    fn reads_every_member() {
        let config = applied(&json!({
            "model": "gpt-x", "name": "a", "instructions": "", "service_tier": "flex",
            "reasoning": {"effort": "xhigh", "summary": "auto"},
            "text": {"format": {"type": "json_schema", "schema": {"type": "object"}}, "verbosity": null},
            "multi_agent": {"enabled": true}, "compaction": {"async": true},
            "experimental": {"time_awareness": true},
        }));
        assert_eq!(config.model, "gpt-x");
        assert_eq!(config.instructions.as_deref(), Some(""));
        assert_eq!(config.reasoning.effort, Some(Effort::XHigh));
        assert_eq!(config.text.verbosity, Verbosity::Medium);
        assert!(matches!(config.text.format, TextFormat::JsonSchema { strict: None, .. }));
        assert_eq!(config.multi_agent.max_concurrent_subagents, Some(6));
        assert!(config.compaction_async && config.time_awareness);
        let off = applied(&json!({"multi_agent": {"enabled": false, "max_concurrent_subagents": 3}}));
        assert_eq!(off.multi_agent, MultiAgent::default());
    }

    #[test]
    fn names_the_mistake() {
        refused(&json!({"colour": 1}), "Unknown parameter: 'colour'.", "colour");
        refused(
            &json!({"model": null}),
            "Invalid type for 'model': expected a string, but got null instead.",
            "model",
        );
        refused(&json!({"model": ""}), "Invalid 'model': it must not be empty.", "model");
        refused(
            &json!({"name": "n".repeat(129)}),
            "Invalid 'name': string too long. Expected at most 128 characters.",
            "name",
        );
        refused(
            &json!({"name": "pay\u{202e}lap"}),
            "Invalid 'name': control, invisible and text-direction characters are not allowed.",
            "name",
        );
        refused(
            &json!({"reasoning": {"effort": "huge"}}),
            "Invalid value: 'huge'. Supported values are: 'none', 'minimal', 'low', 'medium', 'high', 'xhigh', \
             and 'max'.",
            "reasoning.effort",
        );
        refused(
            &json!({"text": {"format": {"type": "json_schema"}}}),
            "Missing required parameter: 'text.format.schema'.",
            "text.format.schema",
        );
        refused(
            &json!({"multi_agent": {}}),
            "Missing required parameter: 'multi_agent.enabled'.",
            "multi_agent.enabled",
        );
        refused(
            &json!({"experimental": null}),
            "Invalid type for 'experimental': expected an object, but got null instead.",
            "experimental",
        );
    }

    #[test]
    fn a_session_does_not_name_its_agent() {
        let body = json!({"name": "x"});
        let reader = Reader::new("agent", &body).expect("an object");
        let (message, param) = refusal(AgentFields::read(reader, AgentScope::Session));
        assert_eq!(message, "Unknown parameter: 'agent.name'.");
        assert_eq!(param.as_deref(), Some("agent.name"));
    }
}
