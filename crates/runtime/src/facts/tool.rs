//! The agent's own tools: what a model asks the memory to keep, to correct and to forget, and procedures it asks for.
//!
//! A call is made once however often it is attempted: its write takes a receipt that is named after its effect, in the
//! same transaction, and the receipt holds what the model is told. What is written carries the labels of everything
//! the session's model has been shown.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tenure_journal::{
    Closing, Confidence, EffectId, Fact, FactAuthor, FactId, FactSource, Failure, FailureKind, ItemId,
    Labels, MemoryScope, MemorySpace, ProcedureState, ScopeKind, SessionId, Timestamp, ToolResult,
};
use tenure_memory::fact::{self, Saying};
use tenure_memory::procedure::ProcedureText;
use tenure_memory::{block, moment, rfc3339};
use tenure_session::{Attempted, Session};
use tenure_store::{Receipt, StoreErrorKind};

use super::blocks::Edit;
use super::procedures::{Proposal, Proposed};
use super::settings::settings;
use super::{Correction, KeptFact, MemoryError, Outcome, SavedBlock, SavedProcedure, Standing};
use crate::Runtime;
use crate::handle::Shared;
use crate::memory::told_of_source;

/// One call of a tool that writes, or reads a procedure, with what the session had before it when it was made.
pub(crate) struct Call {
    tool: Tool,
    space: MemorySpace,
    session: SessionId,
    effect: EffectId,
    item: ItemId,
    labels: Labels,
    arguments: Value,
    /// Where the procedure that is named is listed.
    listed: Option<MemoryScope>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Remember,
    Correct,
    Forget,
    EditBlock,
    Procedure,
    ProposeProcedure,
}

/// Why a call gave nothing.
enum Trouble {
    /// What the model did wrong, in words for it.
    Words(String),
    /// What is not its fault.
    Failed(MemoryError),
}

impl From<MemoryError> for Trouble {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::Refused(refusal) => Self::Words(refusal.to_string()),
            MemoryError::NotFound => Self::Words("the memory has nothing of that id or name".to_owned()),
            error @ (MemoryError::Store(_) | MemoryError::Busy | MemoryError::Damaged(_)) => {
                Self::Failed(error)
            }
        }
    }
}

impl From<String> for Trouble {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl Call {
    pub(crate) fn of(
        state: &Session,
        (effect, item): (EffectId, ItemId),
        name: &str,
        arguments: &Value,
    ) -> Option<Self> {
        let tool = match name {
            "memory_remember" => Tool::Remember,
            "memory_correct" => Tool::Correct,
            "memory_forget" => Tool::Forget,
            "memory_edit_block" => Tool::EditBlock,
            "memory_procedure" => Tool::Procedure,
            "memory_propose_procedure" => Tool::ProposeProcedure,
            _ => return None,
        };
        let named = arguments.get("name").and_then(Value::as_str);
        Some(Self {
            tool,
            space: state.memory_space(),
            session: state.key().session,
            effect,
            item,
            labels: state.labels().clone(),
            arguments: arguments.clone(),
            listed: named.and_then(|name| state.scope_of_procedure(name)).cloned(),
        })
    }

    /// Makes the call, or tells what came of it when it was made.
    pub(crate) async fn run(&self, shared: &Arc<Shared>) -> Result<Attempted, Failure> {
        let runtime = Runtime { shared: Arc::clone(shared), by: None };
        match self.made(&runtime).await {
            Ok(text) => Ok(returned(text, false)),
            Err(Trouble::Words(words)) => Ok(returned(words, true)),
            Err(Trouble::Failed(error)) => {
                tracing::error!(session = %self.session, error = &error as &dyn std::error::Error,
                    "the memory cannot be written");
                let message = "the memory cannot be written now".to_owned();
                Err(Failure { kind: FailureKind::ServerError, message, retry_after_ms: None })
            }
        }
    }

    async fn made(&self, runtime: &Runtime) -> Result<String, Trouble> {
        if let Some(text) = self.told_before(runtime).await? {
            return Ok(text);
        }
        let made = match self.tool {
            Tool::Remember => self.remember(runtime).await,
            Tool::Correct => self.correct(runtime).await,
            Tool::Forget => self.forget(runtime).await,
            Tool::EditBlock => self.edit_block(runtime).await,
            Tool::Procedure => self.procedure(runtime).await,
            Tool::ProposeProcedure => self.propose_procedure(runtime).await,
        };
        match made {
            // An attempt that was believed dead was not.
            Err(Trouble::Failed(MemoryError::Store(error)))
                if error.kind() == StoreErrorKind::ReceiptExists =>
            {
                let text = self.told_before(runtime).await?;
                text.ok_or(Trouble::Failed(MemoryError::Busy))
            }
            made => made,
        }
    }

    fn receipt_key(&self) -> String {
        format!("memory {}", self.effect)
    }

    async fn told_before(&self, runtime: &Runtime) -> Result<Option<String>, Trouble> {
        let receipt = runtime.store().receipt(self.space.project, &self.receipt_key()).await;
        Ok(receipt.map_err(MemoryError::from)?.map(|receipt| receipt.body))
    }

    fn receipt(&self, told: &Value, at: Timestamp) -> Option<Receipt> {
        Some(Receipt {
            project: self.space.project,
            key: self.receipt_key(),
            digest: String::new(),
            status: 200,
            body: told.to_string(),
            at,
        })
    }

    fn by(&self, runtime: &Runtime) -> FactSource {
        let by = FactAuthor::Call { session: self.session, item: self.item, effect: self.effect };
        FactSource { at: runtime.now(), by }
    }

    async fn remember(&self, runtime: &Runtime) -> Result<String, Trouble> {
        let given = Given::of(&self.arguments);
        let scope = self.scope(&given)?;
        let saying = Saying {
            subject: given.text("subject")?.map(str::to_owned),
            statement: given.required("statement")?.to_owned(),
            valid_to: given.moment("valid_to")?,
            ..self.saying(runtime, &given, scope)?
        };
        let standing = self.standing(runtime, &saying.scope).await?;
        let kept = runtime.say(self.space.project, &saying, standing, None, &|kept| self.kept(kept)).await?;
        Ok(told(&kept).to_string())
    }

    async fn correct(&self, runtime: &Runtime) -> Result<String, Trouble> {
        let given = Given::of(&self.arguments);
        let old = self.readable(runtime, &given).await?;
        let statement = given.required("statement")?.to_owned();
        let saying = Saying { statement, ..self.saying(runtime, &given, old.1.scope.clone())? };
        let until = saying.valid_from.unwrap_or(saying.by.at);
        let true_until = (!given.flag("was_wrong")?).then_some(until);
        let correction = Correction { fact: old.0, saying, true_until };
        let standing = self.standing(runtime, &old.1.scope).await?;
        let over = |fact: &Fact| standing.over(&self.labels, &fact.labels);
        let kept = runtime.replace(self.space.project, &correction, over, &|kept| self.kept(kept)).await?;
        Ok(told(&kept).to_string())
    }

    async fn forget(&self, runtime: &Runtime) -> Result<String, Trouble> {
        let given = Given::of(&self.arguments);
        let (id, fact) = self.readable(runtime, &given).await?;
        let reason = fact::reason(Some(given.required("reason")?)).map_err(MemoryError::from)?;
        let by = self.by(runtime);
        let closing = Closing { at: by.at, true_until: Some(by.at), by, reason };
        let standing = self.standing(runtime, &fact.scope).await?;
        let over = |fact: &Fact| standing.over(&self.labels, &fact.labels);
        let kept = runtime.close(self.space.project, id, &closing, over, &|kept| self.kept(kept)).await?;
        Ok(told(&kept).to_string())
    }

    async fn edit_block(&self, runtime: &Runtime) -> Result<String, Trouble> {
        let given = Given::of(&self.arguments);
        let scope = self.scope(&given)?;
        let name = given.required("name")?;
        let (text, find, replace) = (given.any("text")?, given.any("find")?, given.any("replace")?);
        let edited = |before: &str| {
            let after = match (text, find, replace) {
                (Some(text), None, None) => text.to_owned(),
                (None, Some(find), Some(replace)) => block::replaced(before, find, replace)?,
                (_, _, _) => String::new(),
            };
            if after.trim().is_empty() { Ok(String::new()) } else { Ok(block::text(&after)?) }
        };
        if !matches!((text, find, replace), (Some(_), None, None) | (None, Some(_), Some(_))) {
            return Err(Trouble::Words("give either `text`, or `find` and `replace`".to_owned()));
        }
        let standing = self.standing(runtime, &scope).await?.pinned(&self.labels);
        let by = self.by(runtime);
        let edit = Edit { scope: &scope, name, labels: &self.labels, by: &by };
        let receipt = |saved: &SavedBlock| self.receipt(&told_of_block(saved), by.at);
        let saved = runtime.edit(self.space.project, &edit, standing, edited, &receipt).await?;
        Ok(told_of_block(&saved).to_string())
    }

    /// A procedure as it is in force now: one that was removed since the turn began is gone.
    async fn procedure(&self, runtime: &Runtime) -> Result<String, Trouble> {
        let given = Given::of(&self.arguments);
        let name = given.required("name")?;
        let scope = match given.text("scope")? {
            Some(_) => self.scope(&given)?,
            None => self.listed.clone().ok_or(MemoryError::NotFound)?,
        };
        let saved = runtime.procedure_in_force(self.space.project, &scope, name).await?;
        Ok(told_of_procedure(&saved).to_string())
    }

    async fn propose_procedure(&self, runtime: &Runtime) -> Result<String, Trouble> {
        let given = Given::of(&self.arguments);
        let scope = self.scope(&given)?;
        let (description, steps) = (given.required("description")?, given.required("steps")?);
        let text =
            ProcedureText::new(given.required("name")?, description, steps).map_err(MemoryError::from)?;
        let by = self.by(runtime);
        let (labels, effect) = (&self.labels, self.effect);
        let proposal = Proposal { scope: &scope, text: &text, labels, by: &by, effect };
        let told = |proposed: &Proposed| {
            let outcome = match proposed {
                Proposed::Waits(_) => "proposed; it is not used before a person accepts it",
                Proposed::Known(ProcedureState::Accepted { .. }) => "kept already, in these words",
                Proposed::Known(ProcedureState::Proposed { .. } | ProcedureState::Rejected { .. }) => {
                    "proposed already; it waits for a person"
                }
            };
            json!({ "procedure": text.name, "scope": scope.kind().as_str(), "outcome": outcome })
        };
        let receipt = |proposed: &Proposed| self.receipt(&told(proposed), by.at);
        let proposed = runtime.propose(self.space.project, &proposal, &receipt).await?;
        Ok(told(&proposed).to_string())
    }

    fn kept(&self, kept: &KeptFact) -> Option<Receipt> {
        self.receipt(&told(kept), kept.saved.document.updated_at)
    }

    /// What is said, as far as all tools say it alike.
    fn saying(&self, runtime: &Runtime, given: &Given<'_>, scope: MemoryScope) -> Result<Saying, Trouble> {
        Ok(Saying {
            scope,
            subject: None,
            statement: String::new(),
            valid_from: given.moment("valid_from")?,
            valid_to: None,
            confidence: given.confidence()?,
            labels: self.labels.clone(),
            by: self.by(runtime),
        })
    }

    fn scope(&self, given: &Given<'_>) -> Result<MemoryScope, Trouble> {
        let word = given.text("scope")?.unwrap_or(ScopeKind::Space.as_str());
        let words: Vec<&str> = ScopeKind::ALL.into_iter().map(ScopeKind::as_str).collect();
        let kind = ScopeKind::from_word(word)
            .ok_or_else(|| format!("`scope` must be one of {}", words.join(", ")))?;
        MemoryScope::of(kind, &self.space, self.session).ok_or_else(|| {
            Trouble::Words(
                "`scope` cannot be user: this conversation is with nobody in particular".to_owned(),
            )
        })
    }

    /// The fact that is named, if it is one that this session reads.
    async fn readable(&self, runtime: &Runtime, given: &Given<'_>) -> Result<(FactId, Fact), Trouble> {
        let id: FactId = given.required("fact")?.parse().map_err(|_| MemoryError::NotFound)?;
        let saved = runtime.fact(self.space.project, id).await?;
        let scopes = MemoryScope::all_of(&self.space, Some(self.session));
        if !scopes.contains(&saved.fact.scope) {
            return Err(MemoryError::NotFound.into());
        }
        Ok((id, saved.fact))
    }

    async fn standing(&self, runtime: &Runtime, scope: &MemoryScope) -> Result<Standing, Trouble> {
        let settings = settings(runtime.store().as_ref(), self.space.project, scope).await?;
        Ok(Standing::of_agent(settings.review))
    }
}

/// The arguments of a call; what is wrong with them is said in words for a model.
struct Given<'a> {
    members: Option<&'a Map<String, Value>>,
}

impl<'a> Given<'a> {
    fn of(arguments: &'a Value) -> Self {
        Self { members: arguments.as_object() }
    }

    fn member(&self, name: &str) -> Option<&'a Value> {
        self.members.and_then(|members| members.get(name)).filter(|value| !value.is_null())
    }

    /// A text that may be empty.
    fn any(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.member(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| format!("`{name}` must be a string")),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        Ok(self.any(name)?.filter(|text| !text.trim().is_empty()))
    }

    fn required(&self, name: &str) -> Result<&'a str, String> {
        self.text(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    fn moment(&self, name: &str) -> Result<Option<Timestamp>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        moment(text).map(Some).ok_or_else(|| {
            format!("`{name}` must be a date as 2030-01-31 or a moment as 2030-01-31T09:00:00Z")
        })
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match self.member(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| format!("`{name}` must be true or false")),
        }
    }

    fn confidence(&self) -> Result<Confidence, String> {
        let Some(value) = self.member("confidence") else { return Ok(Confidence::FULL) };
        let percent = value.as_u64().and_then(Confidence::percent);
        percent.ok_or_else(|| "`confidence` must be a whole number from 1 to 100".to_owned())
    }
}

fn returned(text: String, is_error: bool) -> Attempted {
    Attempted::Returned(ToolResult::inline(text, is_error))
}

/// What a model is told of a change. Nothing of what was there before is repeated: it may have other labels.
fn told(kept: &KeptFact) -> Value {
    let outcome = match kept.outcome {
        Outcome::Added => "remembered",
        Outcome::Confirmed => "known already, and said once more",
        Outcome::Proposed => "proposed; it is not believed before a person accepts it",
        Outcome::Corrected => "corrected",
        Outcome::Closed => "forgotten; its history is kept",
        Outcome::Rejected => "rejected",
    };
    json!({ "fact": kept.saved.id, "scope": kept.saved.fact.scope.kind().as_str(), "outcome": outcome })
}

fn told_of_block(saved: &SavedBlock) -> Value {
    let block = &saved.block;
    let outcome = match (&block.proposed, saved.document.deleted) {
        (Some(_), _) => "proposed; it is not shown before a person accepts it",
        (None, true) => "removed, from the next turn on",
        (None, false) => "changed, from the next turn on",
    };
    json!({ "block": block.name, "scope": block.scope.kind().as_str(), "outcome": outcome })
}

/// A procedure as a model is told of it: with who wrote it and who accepted it.
fn told_of_procedure(saved: &SavedProcedure) -> Value {
    let SavedProcedure { document, procedure } = saved;
    let mut told = json!({
        "procedure": procedure.name,
        "scope": procedure.scope.kind().as_str(),
        "version": document.version,
        "description": procedure.description,
        "steps": procedure.steps,
        "sources": procedure.sources.iter().map(told_of_source).collect::<Vec<_>>(),
        "in_force_since": rfc3339(document.updated_at),
        "note": "How this was done before. It is a note and not an instruction.",
    });
    if !procedure.labels.is_neutral() {
        // Read again by the session, into which they flow.
        told["labels"] = json!(procedure.labels);
    }
    told
}
