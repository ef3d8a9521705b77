//! Clients: what they ask, how they repeat what was not answered, and what they may expect in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure_journal::{
    AgentConfig, AgentId, AgentPatch, BlobRef, Capabilities, ContainerSize, Decision, Effect, EffectId,
    EffectKind, Environment, EnvironmentFile, EnvironmentId, EnvironmentOpened, Event, Extraction,
    ExtractionChoice, Fresh, FunctionOutput, HostedEnvironment, InputPart, MultiAgent, Network, Packages,
    ProjectId, Recorded, ScopeKind, SelfHostedEnvironment, SessionId, SessionKey, SessionOpened,
    SessionPatch, SpendLimit, Timestamp, Trust, limit,
};
use tenure_session::{Command, RequiredAction, Session};

use crate::shell::{INBOX_MAX, Message};
use crate::subagents::{Asking, receipt_key};
use crate::world::{Happening, Stop, World};
use crate::{Bug, Property, Violation, outside};

/// The longest a client waits before it repeats a request, in milliseconds.
const PATIENCE_MS_MAX: u64 = 8_000;
/// The longest a client thinks, in milliseconds.
const THINK_MS_MAX: u64 = 30_000;
/// The longest time that an environment waits for its session.
const WAITS_MS_MAX: u64 = 5 * 60 * 1_000;
/// Clients, forks' included.
const CLIENTS_MAX: usize = 6;
/// Rounds of answers that are given after the faults before a session is left alone.
const LAST_ROUNDS_MAX: u32 = 40;

/// What a request asks.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Open the client's session.
    Open(Box<SessionOpened>, Vec<Vec<InputPart>>),
    /// Make the environment ready that the client's session is then opened in.
    Prewarm(Box<EnvironmentOpened>),
    /// Open the client's session as a fork of another, at one of its versions.
    Fork(SessionKey, u64),
    /// Go back to one of the session's versions.
    Rewind(u64),
    /// Carry out commands.
    Commands(Vec<Command>),
}

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// It is not.
    Refused,
}

/// A request, sent until it is answered.
#[derive(Debug)]
pub(crate) struct Request {
    number: usize,
    pub(crate) key: SessionKey,
    pub(crate) ask: Ask,
    answer: Option<Answer>,
    from: From,
    /// How often it was sent to one of several nodes: while one refuses it, another may still have it.
    copies: u32,
}

/// Who sends a request.
#[derive(Debug)]
enum From {
    /// A client, until it is answered.
    Client,
    /// A process for a parent session, as long as the process lives; under the receipt of an effect, or none.
    Parent(Asking, Option<EffectId>),
    /// Whoever looks into a vault for whom it has to tell something, until it is answered; under no receipt.
    Vault,
}

impl Request {
    pub(crate) fn idempotency_key(&self) -> Option<String> {
        match &self.from {
            From::Client => Some(format!("request-{}", self.number)),
            From::Parent(_, receipt) => receipt.map(receipt_key),
            From::Vault => None,
        }
    }

    /// The process that has to carry it out, where it is not whichever serves clients.
    fn process(&self) -> Option<u64> {
        match &self.from {
            From::Client | From::Vault => None,
            From::Parent(asking, _) => Some(asking.process),
        }
    }
}

#[derive(Debug)]
struct Client {
    key: SessionKey,
    /// How much it still thinks of.
    left: u32,
    /// Whether it answers what is asked of it.
    responsive: bool,
    rounds: u32,
}

/// All clients and all their requests.
#[derive(Debug)]
pub(crate) struct Clients {
    clients: Vec<Client>,
    requests: Vec<Request>,
    /// How many answers are missing until an attempt to stop subagents is done.
    missing: BTreeMap<(EffectId, u32, u64), usize>,
}

fn marked(number: usize, part: usize) -> String {
    format!("message {part} of request {number}")
}

impl Clients {
    pub(crate) fn new(rng: &mut fastrand::Rng) -> Self {
        let fresh = Fresh::new(Timestamp::from_millis(1_700_000_000_000), 1);
        let project = ProjectId::fresh(&fresh);
        let client = |rng: &mut fastrand::Rng| Client {
            key: SessionKey { project, session: SessionId::fresh(&fresh) },
            left: rng.u32(4..28),
            responsive: rng.u8(..4) > 0,
            rounds: 0,
        };
        let clients = (0..rng.usize(1..4)).map(|_| client(rng)).collect();
        Self { clients, requests: Vec::new(), missing: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn key(&self, client: usize) -> SessionKey {
        self.clients[client].key
    }

    pub(crate) fn request(&self, number: usize) -> &Request {
        &self.requests[number]
    }

    /// Records the first answer; gives the parent that waits for it.
    pub(crate) fn answered(&mut self, number: usize, answer: Answer) -> Option<Asking> {
        let request = &mut self.requests[number];
        let first = request.answer.is_none();
        request.answer.get_or_insert(answer);
        match &request.from {
            From::Parent(asking, _) if first => Some(asking.clone()),
            From::Parent(..) | From::Client | From::Vault => None,
        }
    }

    fn add(&mut self, key: SessionKey, ask: Ask) {
        let number = self.requests.len();
        self.requests.push(Request { number, key, ask, answer: None, from: From::Client, copies: 0 });
    }

    /// Adds what a vault has to tell a session.
    pub(crate) fn add_note(&mut self, key: SessionKey, command: Command) -> usize {
        let number = self.requests.len();
        let ask = Ask::Commands(vec![command]);
        self.requests.push(Request { number, key, ask, answer: None, from: From::Vault, copies: 0 });
        number
    }

    /// Adds a request of a parent to its subagent.
    pub(crate) fn add_internal(
        &mut self,
        key: SessionKey,
        ask: Ask,
        asking: Asking,
        receipt: Option<EffectId>,
    ) -> usize {
        let number = self.requests.len();
        let from = From::Parent(asking, receipt);
        self.requests.push(Request { number, key, ask, answer: None, from, copies: 0 });
        number
    }

    /// Expects so many answers for one attempt.
    pub(crate) fn expect(&mut self, effect: EffectId, attempt: u32, process: u64, answers: usize) {
        self.missing.insert((effect, attempt, process), answers);
    }

    /// Whether the answer that just came was the last one expected.
    pub(crate) fn is_last(&mut self, effect: EffectId, attempt: u32, process: u64) -> bool {
        let Some(missing) = self.missing.get_mut(&(effect, attempt, process)) else { return false };
        *missing -= 1;
        *missing == 0
    }

    /// A request that was never answered.
    pub(crate) fn unanswered(&self) -> Option<String> {
        let open = |request: &&Request| request.answer.is_none() && matches!(request.from, From::Client);
        let open = self.requests.iter().find(open);
        open.map(|request| format!("request {} is never answered: {:?}", request.number, request.ask))
    }

    /// Compares what was acknowledged for a session with its journal.
    pub(crate) fn judge(&self, key: SessionKey, journal: &[Recorded]) -> Result<(), Violation> {
        let mut texts: BTreeMap<&str, usize> = BTreeMap::new();
        for recorded in journal {
            for text in words(&recorded.event) {
                *texts.entry(text).or_default() += 1;
            }
        }
        for request in self.requests.iter().filter(|request| request.key == key) {
            request.judge(&texts)?;
        }
        Ok(())
    }

    /// Sessions that were acknowledged and do not exist.
    pub(crate) fn judge_lost(&self, keys: &[SessionKey]) -> Result<(), Violation> {
        let opened = |request: &&Request| {
            let opens = matches!(request.ask, Ask::Open(..) | Ask::Prewarm(_) | Ask::Fork(..));
            opens && request.answer == Some(Answer::Done)
        };
        let lost = self.requests.iter().filter(opened).find(|request| !keys.contains(&request.key));
        match lost {
            Some(request) => {
                let detail = format!("session {} was opened and is lost", request.key.session);
                Err(Violation::new(Property::AcknowledgedIsKept, detail))
            }
            None => Ok(()),
        }
    }
}

/// The texts by which an event shows which request it came from.
fn words(event: &Event) -> Vec<&str> {
    match event {
        Event::InputAccepted { input } => input.content.iter().filter_map(text_of).collect(),
        Event::SessionUpdated { patch } => {
            patch.metadata.iter().flat_map(|metadata| metadata.values()).map(String::as_str).collect()
        }
        Event::FunctionReturned { output: Some(FunctionOutput::Text(text)), .. } => vec![text],
        Event::EffectRequested { effect: Effect { kind: EffectKind::PlaceFiles { files }, .. } } => {
            files.iter().map(|file| file.path.as_str()).collect()
        }
        Event::EnvironmentOpened(_)
        | Event::EnvironmentExpired
        | Event::EnvironmentSuspended
        | Event::EnvironmentResumed
        | Event::EnvironmentReset
        | Event::SessionOpened(_)
        | Event::SessionFailed { .. }
        | Event::SessionDeleted
        | Event::InputJoined { .. }
        | Event::TurnCreated { .. }
        | Event::TurnStarted { .. }
        | Event::TurnEnded { .. }
        | Event::ItemAdded { .. }
        | Event::ItemClosed { .. }
        | Event::FunctionsLoaded { .. }
        | Event::EffectRequested { .. }
        | Event::AttemptStarted { .. }
        | Event::AttemptEnded { .. }
        | Event::EffectAbandoned { .. }
        | Event::ApprovalRequested { .. }
        | Event::ApprovalDecided { .. }
        | Event::FunctionReturned { .. }
        | Event::SubagentOpened { .. }
        | Event::SubagentClosed { .. }
        | Event::SubagentResumed { .. }
        | Event::PolicyRefused { .. }
        | Event::Granted { .. }
        | Event::Governed { .. }
        | Event::EnvironmentConnected
        | Event::EnvironmentDisconnected
        | Event::SignedIn
        | Event::CredentialBound { .. }
        | Event::SecretPermitted { .. }
        | Event::ConnectionAwaited { .. }
        | Event::ConnectionLapsed
        | Event::ArtifactDeleted { .. }
        | Event::ContextCompacted(_)
        | Event::ContextTrimmed { .. }
        | Event::ExtractionSkipped { .. }
        | Event::OutputsShortened { .. }
        | Event::BlocksTaken { .. }
        | Event::ProceduresTaken { .. }
        | Event::Forked(_)
        | Event::Rewound(_) => vec![],
    }
}

fn text_of(part: &InputPart) -> Option<&str> {
    match part {
        InputPart::Text { text } => Some(text),
        InputPart::Image { .. } => None,
    }
}

impl Request {
    /// The texts that its events carry, if it was carried out.
    fn marks(&self) -> Vec<&str> {
        match &self.ask {
            Ask::Open(_, messages) => messages.iter().flatten().filter_map(text_of).collect(),
            Ask::Fork(..) | Ask::Rewind(_) => vec![],
            Ask::Commands(commands) => commands.iter().flat_map(command_marks).collect(),
            Ask::Prewarm(_) => vec![],
        }
    }

    fn judge(&self, texts: &BTreeMap<&str, usize>) -> Result<(), Violation> {
        let counts: Vec<usize> =
            self.marks().iter().map(|mark| texts.get(mark).copied().unwrap_or(0)).collect();
        let broken = |property, what: &str| {
            Err(Violation::new(property, format!("request {} {what}: {:?}", self.number, self.ask)))
        };
        if counts.windows(2).any(|pair| pair[0] != pair[1]) {
            return broken(Property::WholeOrAbsent, "happened in part");
        }
        match (counts.first(), self.answer) {
            (Some(0), Some(Answer::Done)) => {
                broken(Property::AcknowledgedIsKept, "was acknowledged and is lost")
            }
            (Some(2..), _) => broken(Property::RequestOnce, "happened more than once"),
            (Some(_), Some(Answer::Refused)) if counts[0] > 0 && self.copies <= 1 => {
                broken(Property::WholeOrAbsent, "was refused and happened")
            }
            (Some(_) | None, _) => Ok(()),
        }
    }
}

fn command_marks(command: &Command) -> Vec<&str> {
    match command {
        Command::Message { content } | Command::OwnMessage { content } => {
            content.iter().filter_map(text_of).collect()
        }
        Command::Update { patch } => {
            patch.metadata.iter().flat_map(|metadata| metadata.values()).map(String::as_str).collect()
        }
        // A result may be given twice, by two requests: it is judged by the one that gave it first.
        Command::FunctionResult { .. }
        | Command::Cancel
        | Command::Grant { .. }
        | Command::GrantAgain { .. }
        | Command::AwaitConnection { .. }
        | Command::Decide { .. }
        | Command::Release { .. }
        | Command::Delete
        | Command::DeleteArtifact { .. }
        | Command::SignedIn
        | Command::BindCredential { .. }
        | Command::ExpireEnvironment
        | Command::SuspendEnvironment
        | Command::Rewind { .. }
        | Command::Parent(_) => vec![],
        Command::OpenSession { messages, .. } => messages.iter().flatten().filter_map(text_of).collect(),
        Command::PlaceFiles { files } => files.iter().map(|file| file.path.as_str()).collect(),
    }
}

impl World {
    /// Sends a request to the process that serves, and again later if no answer comes.
    pub(crate) fn send(&mut self, number: usize) -> Result<(), Stop> {
        if self.clients.requests[number].answer.is_some() {
            return Ok(());
        }
        // A parent that died asks no more; the next one asks anew.
        let asks = self.clients.requests[number].process();
        if asks.is_some_and(|process| self.process(process).is_none()) {
            return Ok(());
        }
        let patience = self.rng.u64(PATIENCE_MS_MAX / 8..PATIENCE_MS_MAX);
        if self.bug != Some(Bug::TellOnce) || !matches!(self.clients.requests[number].from, From::Vault) {
            self.after(patience, Happening::Send { request: number });
        }
        let key = self.clients.requests[number].key;
        let process = match self.clients.requests[number].process() {
            Some(process) => self.process(process).map(|process| process.id),
            None => self.serving(),
        };
        let Some(process) = process else { return Ok(()) };
        self.clients.requests[number].copies += u32::from(self.cluster.is_some());
        self.deliver(process, key, Message::Request(number))
    }

    fn ask(&mut self, key: SessionKey, ask: Ask) {
        let number = self.clients.requests.len();
        self.note(|| format!("request {number}: {ask:?}"));
        self.clients.add(key, ask);
        self.after(0, Happening::Send { request: number });
    }

    /// A client thinks of something.
    pub(crate) fn act(&mut self, index: usize) {
        let key = self.clients.clients[index].key;
        let known = self.clients.requests.iter().any(|request| request.key == key);
        if known {
            self.act_on(key);
        } else {
            match self.opening(key) {
                Ask::Open(opened, messages) if opened.environment.hosted().is_some() => {
                    self.open_in_environment(key, opened, messages);
                }
                ask @ (Ask::Open(..)
                | Ask::Commands(_)
                | Ask::Prewarm(_)
                | Ask::Fork(..)
                | Ask::Rewind(_)) => self.ask(key, ask),
            }
        }
        let client = &mut self.clients.clients[index];
        client.left -= 1;
        if client.left > 0 {
            let think = self.rng.u64(..THINK_MS_MAX);
            self.after(think, Happening::Act { client: index });
        }
    }

    /// Whether facts are read out of turns; where they are kept for a user, there is none.
    fn extraction(&mut self) -> Option<ExtractionChoice> {
        let scope = match self.rng.u8(..6) {
            0 => return Some(ExtractionChoice::Off),
            1 => ScopeKind::User,
            2 | 3 => ScopeKind::Space,
            _ => return None,
        };
        let facts_max = limit::EXTRACTED_FACTS_DEFAULT;
        let procedures = scope == ScopeKind::Space;
        Some(ExtractionChoice::On(Extraction { model: "m".to_owned(), scope, facts_max, procedures }))
    }

    fn opening(&mut self, key: SessionKey) -> Ask {
        let fresh = Fresh::new(Timestamp::from_millis(1_700_000_000_000), self.rng.u64(..));
        let number = self.clients.requests.len();
        let tools = self.tools();
        let agent = AgentConfig {
            name: Some("clerk".to_owned()),
            tools,
            multi_agent: MultiAgent {
                enabled: self.rng.u8(..3) == 0,
                max_concurrent_subagents: Some(self.rng.u32(1..4)),
            },
            compaction_async: self.rng.bool(),
            time_awareness: self.rng.bool(),
            extraction: self.extraction(),
            ..AgentConfig::new(AgentId::fresh(&fresh), "m")
        };
        let opened = SessionOpened {
            environment: self.environment(key),
            spend_limit: self.spend_limit(),
            trust: Trust { grants: vec![outside::grant(self.rng.u32(1..4))], ..Trust::default() },
            ..SessionOpened::new(key.project, agent)
        };
        let messages =
            (0..self.rng.usize(..3)).map(|part| vec![InputPart::text(marked(number, part))]).collect();
        Ask::Open(Box::new(opened), messages)
    }

    /// Opens a session that has an environment: at once, or the environment first and then the session in it.
    fn open_in_environment(
        &mut self,
        key: SessionKey,
        opened: Box<SessionOpened>,
        messages: Vec<Vec<InputPart>>,
    ) {
        let Some(environment) = opened.environment.hosted().filter(|_| self.rng.bool()).cloned() else {
            return self.ask(key, Ask::Open(opened, messages));
        };
        let expires_at = self.clock(0).plus_millis(self.rng.u64(..WAITS_MS_MAX));
        let project_id = opened.project_id;
        self.ask(
            key,
            Ask::Prewarm(Box::new(EnvironmentOpened {
                project_id,
                environment,
                expires_at,
                vault_ids: Vec::new(),
                digest_key: None,
            })),
        );
    }

    /// What clients do while an environment waits for its session: of several that open one, one does.
    fn act_on_waiting(&mut self, key: SessionKey) {
        match self.rng.u8(..6) {
            0 => self.ask(key, Ask::Commands(vec![Command::ExpireEnvironment])),
            1 => self.ask(key, Ask::Commands(vec![Command::Delete])),
            2 => {
                let path = marked(self.clients.requests.len(), 0);
                let file = EnvironmentFile::inline(path, BlobRef::of(b"bytes"));
                self.ask(key, Ask::Commands(vec![Command::PlaceFiles { files: vec![file] }]));
            }
            _ => {
                for _ in 0..self.rng.usize(1..4) {
                    let Ask::Open(opened, messages) = self.opening(key) else { return };
                    self.ask(key, Ask::Commands(vec![Command::OpenSession { opened, messages }]));
                }
            }
        }
    }

    fn environment(&mut self, key: SessionKey) -> Environment {
        let network = match self.rng.u8(..8) {
            0 => Network::Disabled,
            1 => Network::Enabled,
            2 | 3 => {
                self.start_executor(key);
                return Environment::SelfHosted(Box::new(SelfHostedEnvironment {
                    id: EnvironmentId::of_session(key.session),
                    remote_url: "http://127.0.0.1/connect".to_owned(),
                    workspace_directory: "/srv/shop".to_owned(),
                    capability_directories: Vec::new(),
                    found: Vec::new(),
                    servers: tenure_journal::PluginServers::default(),
                }));
            }
            _ => return Environment::None,
        };
        Environment::Hosted(Box::new(HostedEnvironment {
            id: EnvironmentId::of_session(key.session),
            network,
            size: ContainerSize::Medium,
            files: Vec::new(),
            packages: Packages::default(),
            setup: Vec::new(),
            variables: None,
            base: None,
            capabilities: Capabilities::default(),
        }))
    }

    fn spend_limit(&mut self) -> Option<SpendLimit> {
        (self.rng.u8(..3) == 0).then(|| SpendLimit { limit: Some(self.rng.u64(..4)) })
    }

    fn act_on(&mut self, key: SessionKey) {
        if let Some(state) = self.shown(key).filter(|state| state.hosted().is_some()) {
            if state.awaits_session() {
                return self.act_on_waiting(key);
            }
            if self.rng.u8(..6) == 0 {
                self.ask(key, Ask::Commands(vec![Command::SuspendEnvironment]));
            }
        }
        let number = self.clients.requests.len();
        let message =
            |number, part| Command::Message { content: vec![InputPart::text(marked(number, part))] };
        match self.rng.u8(..21) {
            0..=7 => self.ask(key, Ask::Commands(vec![message(number, 0)])),
            8..=9 => self.ask(key, Ask::Commands(vec![message(number, 0), message(number, 1)])),
            10..=11 => self.ask(key, Ask::Commands(vec![Command::Cancel])),
            12..=13 => {
                let patch = Box::new(self.patch(number));
                self.ask(key, Ask::Commands(vec![Command::Update { patch }]));
            }
            14 if self.rng.u8(..4) == 0 => self.ask(key, Ask::Commands(vec![Command::Delete])),
            19 => {
                let until = self.clock(0).plus_millis(self.rng.u64(..60_000));
                self.ask(key, Ask::Commands(vec![Command::AwaitConnection { until }]));
            }
            16 if self.rng.bool() => {
                let file = EnvironmentFile::inline(marked(number, 0), BlobRef::of(b"bytes"));
                self.ask(key, Ask::Commands(vec![Command::PlaceFiles { files: vec![file] }]));
            }
            17 => {
                let version = self.rng.u64(..);
                self.ask(key, Ask::Rewind(version));
            }
            18 if self.clients.len() < CLIENTS_MAX => self.fork(key),
            15 if self.rng.u8(..4) == 0 => {
                for more in 0..INBOX_MAX + 4 {
                    self.ask(key, Ask::Commands(vec![message(number + more, 0)]));
                }
            }
            _ => {
                if let Some(command) = self.required(key) {
                    let again = (self.rng.u8(..4) == 0).then(|| command.clone());
                    self.ask(key, Ask::Commands(vec![command]));
                    if let Some(command) = again {
                        self.ask(key, Ask::Commands(vec![command]));
                    }
                }
            }
        }
    }

    /// A client thinks of a fork, and from then on of both.
    fn fork(&mut self, parent: SessionKey) {
        let fresh = Fresh::new(Timestamp::from_millis(1_700_000_000_000), self.rng.u64(..));
        let key = SessionKey { session: SessionId::fresh(&fresh), ..parent };
        let (version, left) = (self.rng.u64(..), self.rng.u32(2..12));
        self.ask(key, Ask::Fork(parent, version));
        self.clients.clients.push(Client { key, left, responsive: true, rounds: 0 });
        let think = self.rng.u64(..THINK_MS_MAX);
        self.after(think, Happening::Act { client: self.clients.len() - 1 });
    }

    fn patch(&mut self, number: usize) -> SessionPatch {
        let metadata = Some([("mark".to_owned(), marked(number, 0))].into());
        let mut patch = SessionPatch { metadata, ..SessionPatch::default() };
        match self.rng.u8(..3) {
            0 => patch.spend_limit = Some(self.spend_limit()),
            1 => {
                let mut tools = self.tools();
                tools.remove(self.rng.usize(..tools.len()));
                patch.agent = Some(AgentPatch { tools: Some(tools), ..AgentPatch::default() });
            }
            _ => patch.agent = Some(AgentPatch { model: Some("n".to_owned()), ..AgentPatch::default() }),
        }
        patch
    }

    /// The session as a client sees it.
    fn shown(&mut self, key: SessionKey) -> Option<Arc<Session>> {
        if self.cluster.is_some() {
            // A property that reading breaks is broken for the next reader, too.
            return self.stored(key).ok().flatten().map(Arc::new);
        }
        self.live.as_ref()?.actors.get(&key)?.state.clone()
    }

    /// An answer to something the session waits for, as far as the client can see.
    fn required(&mut self, key: SessionKey) -> Option<Command> {
        let state = self.shown(key)?;
        let mut actions = state.view().required_actions;
        if actions.is_empty() {
            return None;
        }
        let chosen = self.rng.usize(..actions.len());
        Some(match actions.swap_remove(chosen) {
            RequiredAction::FunctionCall { turn_id, call_id, .. } => Command::FunctionResult {
                turn_id,
                call_id,
                success: true,
                output: Some(FunctionOutput::Text(format!("result {}", self.rng.u8(..2)))),
                error: None,
            },
            // Executors come and go by themselves.
            RequiredAction::EnvironmentConnection { .. } | RequiredAction::SignIn { .. } => return None,
            RequiredAction::Approval(approval) => Command::Decide {
                approval_id: approval.id,
                decision: match self.rng.u8(..4) {
                    0 => Decision::Deny,
                    1 => Decision::Cancel,
                    _ => Decision::Approve,
                },
                by: tenure_journal::Party::service("ann", &["approvers"]),
            },
        })
    }

    /// After the faults, responsive clients answer what is still asked of them. Returns whether one did.
    pub(crate) fn ask_what_is_left(&mut self) -> bool {
        let mut asked = false;
        for index in 0..self.clients.len() {
            let client = &mut self.clients.clients[index];
            let key = client.key;
            if !client.responsive || client.rounds >= LAST_ROUNDS_MAX {
                continue;
            }
            client.rounds += 1;
            if let Some(command) = self.required(key) {
                self.ask(key, Ask::Commands(vec![command]));
                asked = true;
            }
        }
        asked
    }
}
