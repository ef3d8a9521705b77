//! Bodies that open or change a session.

use std::collections::BTreeMap;

use serde_json::Value;
use tenure_journal::{
    AgentPatch, ApprovalMode, Effort, InputPart, PromptCache, Review, SessionPatch, SpendLimit, Trust,
};

use super::agent::{AgentFields, AgentScope, NAME_CHARS_MAX, read_model, read_service_tier};
use super::environment::NewEnvironment;
use super::input::read_input;
use super::metadata::{APPROVAL_KEY, approval_of, read_metadata};
use super::reader::{Field, Reader, missing};
use super::tool::{ToolScope, Tools, refuse_unavailable_tools};
use super::trust::read_trust;
use super::vault::read_vault_ids;
use crate::error::ApiError;

/// The most a spending limit can be, in cents: a thousand million dollars.
const SPEND_CENTS_MAX: u64 = 100_000_000_000;
/// How long a provider keeps prompts when the client names no time.
const CACHE_TTL_DEFAULT: &str = "30m";

/// A session that a client asks for.
#[derive(Debug)]
pub(crate) struct NewSession<'a> {
    /// A saved agent's id or exact name.
    pub(crate) agent_id: Option<String>,
    pub(crate) agent: AgentFields,
    pub(crate) environment: NewEnvironment,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) approval: Option<ApprovalMode>,
    pub(crate) review: Option<Review>,
    pub(crate) spend_limit: Option<SpendLimit>,
    pub(crate) prompt_cache: Option<PromptCache>,
    pub(crate) stream: bool,
    pub(crate) vault_ids: Vec<String>,
    pub(crate) trust: Trust,
    input: Option<&'a Value>,
}

impl<'a> NewSession<'a> {
    /// Everything but the input, whose mistakes come after those of the configuration.
    pub(crate) fn read(body: &'a Value) -> Result<Self, ApiError> {
        let mut reader = Reader::new("", body)?;
        let r = &mut reader;
        let agent_id = r.optional_or_null("agent_id");
        let agent_id = agent_id.map(|field| field.text(NAME_CHARS_MAX).map(str::to_owned)).transpose()?;
        let agent = match r.optional_or_null("agent") {
            Some(field) => AgentFields::read(field.object()?, AgentScope::Session)?,
            None => AgentFields::default(),
        };
        if agent_id.is_none() && agent.model.is_none() {
            return Err(ApiError::invalid("agent.model is required when agent_id is omitted")
                .code("missing_required_parameter")
                .param("agent.model"));
        }
        let environment = NewEnvironment::read(r.required("environment")?)?;
        let metadata = r.optional("metadata").map(read_metadata).transpose()?.unwrap_or_default();
        let approval = approval_of(&metadata, "metadata")?;
        let review = r.optional("review").map(read_review).transpose()?.flatten();
        let spend_limit = r.optional("spend_control").map(read_spend).transpose()?.flatten();
        let prompt_cache = r.optional("prompt_cache_options").map(read_cache).transpose()?.flatten();
        let stream = r.optional_or_null("stream").map(|field| field.bool()).transpose()?.unwrap_or(false);
        if let Some(options) = r.optional_or_null("stream_options") {
            read_stream_options(options, stream)?;
        }
        let vault_ids = r.optional_or_null("vault_ids").map(|field| read_vault_ids(&field)).transpose()?;
        let trust = r.optional_or_null("tenure").map(read_trust).transpose()?;
        let input = r.optional_or_null("input").map(|field| field.value());
        reader.finish()?;
        Ok(Self {
            agent_id,
            agent,
            environment,
            metadata,
            approval,
            review,
            spend_limit,
            prompt_cache,
            stream,
            vault_ids: vault_ids.unwrap_or_default(),
            trust: trust.unwrap_or_else(Trust::of_clients),
            input,
        })
    }

    /// The first messages; without an environment there must be one.
    pub(crate) fn input(&self) -> Result<Vec<Vec<InputPart>>, ApiError> {
        match self.input {
            Some(value) => {
                let body = serde_json::json!({"input": value});
                let input = Reader::new("", &body)?.required("input")?;
                read_input(&input)
            }
            None if self.environment.is_none() => Err(missing("input")),
            None if self.stream && !self.environment.is_self_hosted() => Err(missing("input")),
            None => Ok(Vec::new()),
        }
    }
}

fn read_review(field: Field<'_>) -> Result<Option<Review>, ApiError> {
    let Some(field) = field.nullable() else { return Ok(None) };
    let review = field.word(&["none", "auto_review"], |word| match word {
        "none" => Some(Review::None),
        "auto_review" => Some(Review::AutoReview),
        _ => None,
    })?;
    Ok(Some(review))
}

/// A limit; a null, or a null limit, is no limit.
fn read_spend(field: Field<'_>) -> Result<Option<SpendLimit>, ApiError> {
    let Some(field) = field.nullable() else { return Ok(None) };
    let mut reader = field.object()?;
    let limit = reader.required("limit")?.nullable();
    let limit = limit.map(|field| field.integer(1, SPEND_CENTS_MAX)).transpose()?;
    reader.finish()?;
    Ok(limit.map(|limit| SpendLimit { limit: Some(limit) }))
}

fn read_cache(field: Field<'_>) -> Result<Option<PromptCache>, ApiError> {
    let Some(field) = field.nullable() else { return Ok(None) };
    let mut reader = field.object()?;
    let words = &["30m", "12h"];
    let ttl = reader.optional_or_null("ttl");
    let ttl = ttl.map(|field| field.word(words, |word| words.contains(&word).then(|| word.to_owned())));
    let ttl = ttl.transpose()?.unwrap_or_else(|| CACHE_TTL_DEFAULT.to_owned());
    reader.finish()?;
    Ok(Some(PromptCache { ttl }))
}

fn read_stream_options(field: Field<'_>, stream: bool) -> Result<(), ApiError> {
    if !stream {
        let message = "'stream_options' is only allowed when 'stream' is true.";
        return Err(field.refuse("invalid_value", message));
    }
    let mut reader = field.object()?;
    if let Some(obfuscation) = reader.optional_or_null("include_obfuscation") {
        obfuscation.bool()?;
    }
    reader.finish()
}

/// A change of a session. Its tools wait to be sealed.
#[derive(Debug)]
pub(crate) struct SessionChange {
    pub(crate) patch: SessionPatch,
    pub(crate) tools: Option<Tools>,
}

impl SessionChange {
    /// Reads an update; one without any member is refused.
    pub(crate) fn read(body: &Value) -> Result<Self, ApiError> {
        let mut reader = Reader::new("", body)?;
        if reader.is_empty() {
            return Err(ApiError::invalid("The update changes nothing: give at least one parameter.")
                .code("empty_update"));
        }
        let r = &mut reader;
        let (agent, tools) = match r.optional("agent") {
            Some(field) => read_patch(field.object()?)?,
            None => (None, None),
        };
        let patch = SessionPatch {
            metadata: r.optional("metadata").map(read_metadata).transpose()?,
            agent,
            review: r.optional("review").map(read_review).transpose()?,
            spend_limit: r.optional("spend_control").map(read_spend).transpose()?,
            prompt_cache: r.optional("prompt_cache_options").map(read_cache).transpose()?,
        };
        reader.finish()?;
        Ok(Self { patch, tools })
    }

    /// Refuses a change of the approval mode, which is fixed when a session is created: a key that looked
    /// accepted and changed nothing would be a control silently ignored.
    pub(crate) fn check_approval(&self, current: ApprovalMode) -> Result<(), ApiError> {
        let Some(metadata) = &self.patch.metadata else { return Ok(()) };
        match approval_of(metadata, "metadata")? {
            Some(mode) if mode != current => Err(ApiError::invalid(format!(
                "Invalid 'metadata.{APPROVAL_KEY}': this session was created with '{}', which cannot be changed.",
                current.as_str()
            ))
            .code("immutable")
            .param(format!("metadata.{APPROVAL_KEY}"))),
            Some(_) | None => Ok(()),
        }
    }
}

fn read_patch(mut reader: Reader<'_>) -> Result<(Option<AgentPatch>, Option<Tools>), ApiError> {
    let tools_path = format!("{}.tools", reader.path());
    let model = reader.optional("model").map(|field| read_model(&field)).transpose()?;
    let effort = reader.optional("reasoning").map(read_effort).transpose()?.flatten();
    let service_tier = reader.optional("service_tier").map(read_service_tier).transpose()?;
    let tools = reader.optional("tools").map(|field| Tools::read(field, ToolScope::Session)).transpose()?;
    reader.finish()?;
    if let Some(tools) = &tools {
        refuse_unavailable_tools(tools.as_slice(), &tools_path)?;
    }
    Ok((Some(AgentPatch { model, effort, service_tier, tools: None }), tools))
}

/// The effort, absent when not sent; a null restores the model's default.
fn read_effort(field: Field<'_>) -> Result<Option<Option<Effort>>, ApiError> {
    let mut reader = field.object()?;
    let effort = reader.optional("effort").map(|field| match field.nullable() {
        None => Ok(None),
        Some(field) => field.word(Effort::WORDS, Effort::from_word).map(Some),
    });
    let effort = effort.transpose()?;
    reader.finish()?;
    Ok(effort)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::read::tests::refusal;

    fn base() -> Value {
        json!({"agent": {"model": "m"}, "environment": {"type": "none"}, "input": "hi"})
    }

    fn with(name: &str, value: Value) -> Value {
        let mut body = base();
        body[name] = value;
        body
    }

    #[track_caller]
    fn refused(body: &Value, message: &str, param: &str) {
        let outcome = NewSession::read(body).and_then(|new| new.input().map(|_| ()));
        assert_eq!(refusal(outcome), (message.to_owned(), Some(param.to_owned())));
    }

    #[test]
    fn reads_the_smallest_session() {
        let body = base();
        let new = NewSession::read(&body).expect("accepted");
        assert!(new.environment.is_none());
        assert!(!new.stream && new.agent_id.is_none() && new.review.is_none() && new.spend_limit.is_none());
        assert_eq!(new.input().expect("input"), [vec![InputPart::text("hi")]]);
    }

    #[test]
    fn reads_every_member() {
        let body = json!({"agent_id": "helper", "environment": {"type": "none"}, "input": "x", "stream": true,
            "metadata": {"tenure.approval": "never"}, "vault_ids": [], "review": "auto_review",
            "stream_options": {"include_obfuscation": false}, "spend_control": {"limit": 5},
            "prompt_cache_options": {}});
        let new = NewSession::read(&body).expect("accepted");
        assert!(new.stream);
        assert_eq!(new.approval, Some(ApprovalMode::Never));
        assert_eq!(new.review, Some(Review::AutoReview));
        assert_eq!(new.spend_limit, Some(SpendLimit { limit: Some(5) }));
        assert_eq!(new.prompt_cache, Some(PromptCache { ttl: "30m".into() }));
        for unlimited in [json!(null), json!({"limit": null})] {
            let body = with("spend_control", unlimited);
            assert_eq!(NewSession::read(&body).expect("accepted").spend_limit, None);
        }
    }

    #[test]
    fn names_the_mistake() {
        refused(
            &json!({"environment": {"type": "none"}, "input": "x"}),
            "agent.model is required when agent_id is omitted",
            "agent.model",
        );
        refused(&json!({"agent_id": "a"}), "Missing required parameter: 'environment'.", "environment");
        refused(
            &json!({"agent_id": "a", "environment": {"type": "none"}}),
            "Missing required parameter: 'input'.",
            "input",
        );
        refused(&with("input", json!("")), "Invalid 'input': it must not be empty.", "input");
        refused(&with("input", json!([])), "Invalid 'input': it must not be empty.", "input");
        refused(
            &with("environment", json!({"type": "self_hosted"})),
            "Missing required parameter: 'environment.workspace_directory'.",
            "environment.workspace_directory",
        );
        refused(
            &with("environment", json!({"type": "self_hosted", "workspace_directory": "src"})),
            "Invalid 'environment.workspace_directory': a directory must be absolute, such as '/workspace'.",
            "environment.workspace_directory",
        );
        refused(
            &with(
                "environment",
                json!({"type": "self_hosted", "workspace_directory": "/w",
                "capability_directories": ["/w/../skills"]}),
            ),
            "Invalid 'environment.capability_directories[0]': a directory must not contain '.', '..' or control \
             characters.",
            "environment.capability_directories[0]",
        );
        refused(
            &with("environment", json!({"type": "self_hosted", "workspace_directory": "/w", "env": {}})),
            "Unknown parameter: 'environment.env'.",
            "environment.env",
        );
        refused(
            &with("stream_options", json!({})),
            "'stream_options' is only allowed when 'stream' is true.",
            "stream_options",
        );
        refused(
            &with("vault_ids", json!(["vault_1", "vault_1"])),
            "Invalid 'vault_ids[1]': the vault is named twice.",
            "vault_ids[1]",
        );
        refused(
            &with("spend_control", json!({"limit": 0})),
            "Invalid 'spend_control.limit': expected an integer from 1 to 100000000000.",
            "spend_control.limit",
        );
        refused(
            &with("prompt_cache_options", json!({"ttl": "1h"})),
            "Invalid value: '1h'. Supported values are: '30m' and '12h'.",
            "prompt_cache_options.ttl",
        );
        refused(&with("colour", json!(1)), "Unknown parameter: 'colour'.", "colour");
    }

    #[test]
    fn mistakes_of_configuration_come_before_those_of_input() {
        let body = json!({"agent": {"model": "m", "tools": [{"type": "function"}]}, "environment": {"type": "none"}});
        refused(&body, "Missing required parameter: 'agent.tools[0].name'.", "agent.tools[0].name");
    }

    #[test]
    fn an_update_tells_absent_from_null() {
        let change = SessionChange::read(&json!({"agent": {"reasoning": {"effort": null}}, "review": null}))
            .expect("accepted");
        let agent = change.patch.agent.expect("an agent patch");
        assert_eq!(agent.effort, Some(None));
        assert_eq!(agent.model, None);
        assert_eq!(change.patch.review, Some(None));
        assert_eq!(change.patch.spend_limit, None);
        let cleared =
            SessionChange::read(&json!({"metadata": null, "spend_control": null})).expect("accepted");
        assert_eq!(cleared.patch.metadata, Some(BTreeMap::new()));
        assert_eq!(cleared.patch.spend_limit, Some(None));
    }

    #[test]
    fn an_update_changes_something_and_not_the_approval_mode() {
        let (message, param) = refusal(SessionChange::read(&json!({})));
        assert_eq!(
            (message.as_str(), param),
            ("The update changes nothing: give at least one parameter.", None)
        );
        let change =
            SessionChange::read(&json!({"metadata": {"tenure.approval": "never"}})).expect("accepted");
        assert_eq!(change.check_approval(ApprovalMode::Never), Ok(()));
        let (message, _) = refusal(change.check_approval(ApprovalMode::Always));
        assert!(message.contains("was created with 'always'"), "{message}");
        let (_, param) =
            refusal(SessionChange::read(&json!({"agent": {"tools": [{"type": "computer_use"}]}})));
        assert_eq!(param.as_deref(), Some("agent.tools[0]"));
    }
}
