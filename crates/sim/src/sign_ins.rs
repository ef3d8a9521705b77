//! Sign-ins: a tool server that may ask for one, the vault that all sessions of a world name, and a person who comes
//! and goes.
//!
//! ```text
//!   attempt: 401 ──▶ noted in the vault ──▶ looked into the vault ──▶ the session waits
//!                          │ the person makes a credential, signs in, or deletes either
//!                          ▼
//!            whoever is noted is told, until it is in the session's journal
//! ```
//!
//! Each arrow is a step of a process that may die or pause before it. What is in the vault is durable with its
//! transaction, and whom it has to tell with it; how the runtime writes such notes is `vaults/tell.rs` there.

use std::collections::{BTreeMap, BTreeSet};

use tenure_journal::{
    CredentialId, Effect, EffectId, Event, Failure, FailureKind, Fresh, McpTool, McpTransport, Next, Outcome,
    Recorded, SessionKey, Timestamp, Tool,
};
use tenure_session::{Attempted, Command, RequiredAction, Session};

use crate::call::Call;
use crate::world::{FAULTS_MS, Happening, Stop, World};
use crate::{Bug, Property, Violation, outside};

/// Separates what is drawn for sign-ins from everything else that a seed gives.
const SIGN_IN_SEED: u64 = 0x7661_756c_7473_6f6e;
/// One in so many worlds has a tool server that asks for a sign-in.
const WORLDS_PER_VAULT: u32 = 3;
/// The tool server.
pub(crate) const LABEL: &str = "shop";
/// Where it is.
const URL: &str = "https://shop.example/mcp";
/// The longest between two steps of a process that was refused, in milliseconds.
const STEP_MS_MAX: u64 = 4_000;
/// How often the person comes during the faults, at most.
const VISITS_MAX: usize = 10;

/// The vault of a world whose tool server asks for a sign-in.
#[derive(Debug, Default)]
pub(crate) struct Vault {
    is_gone: bool,
    credential: Option<Credential>,
    /// Credentials that were ever made.
    made: u64,
    /// Who waits for one.
    wanted: BTreeSet<SessionKey>,
}

#[derive(Debug)]
struct Credential {
    id: String,
    /// Whether the server takes its token.
    works: bool,
    /// Who waits until it does.
    waiting: BTreeSet<SessionKey>,
}

/// What a request shows its tool server.
#[derive(Debug)]
pub(crate) enum Shown {
    /// The session has no such server.
    NoServer,
    Nothing,
    Credential(String),
}

/// How the server meets a request.
enum Greeting {
    /// It does what is asked.
    Welcome,
    /// The server, or its credential, is not known any more.
    Unknown,
    /// It asks for a sign-in.
    Refused,
}

/// What the person does.
#[derive(Debug)]
enum Deed {
    Make {
        works: bool,
    },
    SignIn,
    /// The server takes the token no more.
    Revoke,
    DeleteCredential,
    DeleteVault,
}

/// What a process does after its request was refused.
#[derive(Debug)]
pub(crate) enum Step {
    Note,
    Look,
}

impl Vault {
    /// That of a seed's world, if it has one.
    pub(crate) fn drawn(seed: u64) -> Option<Self> {
        let mut rng = fastrand::Rng::with_seed(seed ^ SIGN_IN_SEED);
        if rng.u32(..WORLDS_PER_VAULT) > 0 {
            return None;
        }
        let mut vault = Self::default();
        if rng.u8(..3) == 0 {
            vault.make(rng.bool());
        }
        Some(vault)
    }

    fn make(&mut self, works: bool) -> String {
        self.made += 1;
        let id = CredentialId::fresh(&Fresh::new(Timestamp::from_millis(1_700_000_000_000), self.made))
            .to_string();
        self.credential = Some(Credential { id: id.clone(), works, waiting: BTreeSet::new() });
        id
    }

    /// The tools of an agent whose server is bound as the vault is now.
    pub(crate) fn bind(&self, tools: &mut [Tool]) {
        for tool in tools {
            if let Tool::Mcp(mcp) = tool {
                let server_url = URL.to_owned();
                mcp.transport = McpTransport::Http { server_url, headers: BTreeMap::new(), secret: None };
                mcp.credential_id = self.credential.as_ref().map(|credential| credential.id.clone());
            }
        }
    }

    fn greeting(&self, shown: &Shown) -> Greeting {
        let shown = match shown {
            Shown::NoServer => return Greeting::Unknown,
            Shown::Nothing => return Greeting::Refused,
            Shown::Credential(shown) => shown,
        };
        match self.credential.as_ref().filter(|credential| credential.id == *shown) {
            Some(credential) if credential.works => Greeting::Welcome,
            Some(_) => Greeting::Refused,
            None => Greeting::Unknown,
        }
    }

    /// Has the server take the token from here on, or not; gives who waited until it does.
    fn set_works(&mut self, works: bool) -> BTreeSet<SessionKey> {
        let Some(credential) = &mut self.credential else { return BTreeSet::new() };
        credential.works = works;
        if works { std::mem::take(&mut credential.waiting) } else { BTreeSet::new() }
    }

    /// Deletes the credential; gives who waited for it.
    fn lose_credential(&mut self) -> BTreeSet<SessionKey> {
        self.credential.take().map(|credential| credential.waiting).unwrap_or_default()
    }

    /// What a session that waits in the end at this server ought to know.
    fn missed(&self, key: SessionKey, server: Option<&McpTool>) -> &'static str {
        let Some(server) = server else { return "the server is gone" };
        match (&server.credential_id, &self.credential) {
            (None, _) if self.is_gone => "the vault is gone",
            (None, Some(_)) => "there is a credential",
            (None, None) if self.wanted.contains(&key) => "nobody came",
            (None, None) => "nobody knows that it waits",
            (Some(bound), Some(credential)) if credential.id == *bound => "a person signed in",
            (Some(_), _) => "its credential is gone",
        }
    }
}

/// What an effect that begins now shows its server.
pub(crate) fn shown(state: &Session, effect: &Effect) -> Shown {
    match effect.kind.asked_server().and_then(|label| state.server(label)) {
        None => Shown::NoServer,
        Some(McpTool { credential_id: Some(id), .. }) => Shown::Credential(id.clone()),
        Some(McpTool { credential_id: None, .. }) => Shown::Nothing,
    }
}

impl World {
    /// The tools of a new agent.
    pub(crate) fn tools(&self) -> Vec<Tool> {
        let mut tools = outside::tools();
        if let Some(vault) = &self.vault {
            vault.bind(&mut tools);
        }
        tools
    }

    /// Schedules the visits of the person.
    pub(crate) fn begin_sign_ins(&mut self) {
        if self.vault.is_none() {
            return;
        }
        for _ in 0..self.rng.usize(1..VISITS_MAX) {
            let at = self.rng.u64(..FAULTS_MS);
            self.after(at, Happening::Visit);
        }
    }

    /// What comes of a request at the server before it does anything; nothing if it does what is asked.
    pub(crate) fn greet(&mut self, call: Call) -> Option<Call> {
        let Some(vault) = &self.vault else { return Some(call) };
        if call.effect.kind.asked_server().is_none() {
            return Some(call);
        }
        match vault.greeting(&call.shown) {
            Greeting::Welcome => Some(call),
            Greeting::Unknown => {
                self.fails(&call, FailureKind::Authentication);
                None
            }
            Greeting::Refused => {
                // Somebody may be at it already.
                if self.rng.u8(..3) == 0 {
                    let soon = self.rng.u64(..STEP_MS_MAX * 2);
                    self.after(soon, Happening::Visit);
                }
                self.next_step(call, Step::Note);
                None
            }
        }
    }

    fn next_step(&mut self, call: Call, step: Step) {
        let pause = if self.rng.bool() { self.rng.u64(..STEP_MS_MAX) } else { 0 };
        self.after(pause, Happening::Wants { call: Box::new(call), step });
    }

    fn fails(&mut self, call: &Call, kind: FailureKind) {
        let failure = Failure { kind, message: "simulated".to_owned(), retry_after_ms: None };
        self.tell(call.process, call.key, &call.effect, call.attempt, Attempted::Failed(failure));
    }

    /// A process whose request was refused goes on.
    pub(crate) fn wants(&mut self, call: Call, step: Step) -> Result<(), Stop> {
        let now = self.now;
        let Some(found) = self.process(call.process) else { return Ok(()) };
        if found.paused_until > now {
            let wait = found.paused_until - now;
            self.after(wait, Happening::Wants { call: Box::new(call), step });
            return Ok(());
        }
        self.acting = Some(call.process);
        self.step("before a wait is noted")?;
        let looks_first = self.bug == Some(Bug::LookFirst);
        match step {
            Step::Note => {
                let Some(vault) = &mut self.vault else { return Ok(()) };
                let noted = match (&call.shown, &mut vault.credential) {
                    (Shown::NoServer, _) => return Ok(()),
                    (Shown::Nothing, _) if vault.is_gone => false,
                    (Shown::Nothing, Some(_)) if looks_first => {
                        vault.wanted.insert(call.key);
                        self.look(call.key);
                        self.fails(&call, FailureKind::SignInRequired);
                        return Ok(());
                    }
                    (Shown::Nothing, _) => {
                        if !looks_first {
                            vault.wanted.insert(call.key);
                        }
                        self.next_step(call, Step::Look);
                        return Ok(());
                    }
                    (Shown::Credential(shown), Some(credential)) if credential.id == *shown => {
                        if credential.works {
                            self.fails(&call, FailureKind::Overloaded);
                            return Ok(());
                        }
                        credential.waiting.insert(call.key);
                        true
                    }
                    (Shown::Credential(_), _) => false,
                };
                let kind = if noted { FailureKind::SignInRequired } else { FailureKind::Authentication };
                self.fails(&call, kind);
            }
            Step::Look => {
                if looks_first && let Some(vault) = &mut self.vault {
                    vault.wanted.insert(call.key);
                } else {
                    self.look(call.key);
                }
                self.fails(&call, FailureKind::SignInRequired);
            }
        }
        Ok(())
    }

    /// Gives a session that waits the credential that is there.
    fn look(&mut self, key: SessionKey) {
        let Some(vault) = &mut self.vault else { return };
        let Some(credential) = &vault.credential else { return };
        let id = credential.id.clone();
        // Whoever made it may have been faster.
        if vault.wanted.remove(&key) {
            self.tells([key].into(), &binding(id));
        }
    }

    /// The person comes, and does something about the vault.
    pub(crate) fn visit(&mut self) {
        let (choice, works) = (self.rng.u8(..10), self.rng.u8(..4) > 0);
        let Some(vault) = self.vault.as_ref().filter(|_| !self.healed) else { return };
        let deed = match (&vault.credential, choice) {
            (_, 0) => Deed::DeleteVault,
            (None, _) => Deed::Make { works },
            (Some(_), 1 | 2) => Deed::DeleteCredential,
            (Some(Credential { works: true, .. }), _) => Deed::Revoke,
            (Some(Credential { works: false, .. }), _) => Deed::SignIn,
        };
        self.does(&deed);
    }

    /// After the faults the person sees to it that nobody has to wait any more.
    pub(crate) fn last_visit(&mut self) {
        let Some(vault) = &self.vault else { return };
        let deed = match &vault.credential {
            _ if self.rng.bool() => Deed::DeleteVault,
            None => Deed::Make { works: true },
            Some(Credential { works: false, .. }) => Deed::SignIn,
            Some(Credential { works: true, .. }) => return,
        };
        self.does(&deed);
    }

    fn does(&mut self, deed: &Deed) {
        let Some(vault) = self.vault.as_mut().filter(|vault| !vault.is_gone) else { return };
        let mut command = Command::SignedIn;
        let told = match deed {
            Deed::DeleteVault => {
                vault.is_gone = true;
                let mut told = vault.lose_credential();
                told.append(&mut vault.wanted);
                told
            }
            Deed::DeleteCredential => vault.lose_credential(),
            Deed::Make { works } => {
                command = binding(vault.make(*works));
                std::mem::take(&mut vault.wanted)
            }
            Deed::Revoke => {
                vault.set_works(false);
                BTreeSet::new()
            }
            Deed::SignIn => vault.set_works(true),
        };
        self.note(|| format!("{deed:?}, of which are told {told:?}"));
        self.tells(told, &command);
    }

    /// Tells sessions something, each at least once.
    fn tells(&mut self, sessions: BTreeSet<SessionKey>, command: &Command) {
        for key in sessions {
            let times = if self.rng.u8(..4) == 0 { 2 } else { 1 };
            for _ in 0..times {
                let number = self.clients.add_note(key, command.clone());
                let travel = self.rng.u64(..STEP_MS_MAX);
                self.after(travel, Happening::Send { request: number });
            }
        }
    }

    /// Nothing waits for a sign-in in the end: it was made, or nobody can make it.
    pub(crate) fn judge_sign_ins(&self, key: SessionKey, journal: &[Recorded]) -> Result<(), Violation> {
        let (Some(vault), Some(state)) = (&self.vault, Session::fold(key, None, journal)) else {
            return Ok(());
        };
        for action in state.view().required_actions {
            let RequiredAction::SignIn { server_label } = action else { continue };
            let why = vault.missed(key, state.server(&server_label));
            let detail = format!("session {} waits for a sign-in at {server_label}: {why}", key.session);
            return Err(Violation::new(Property::SignInGoesOn, detail));
        }
        Ok(())
    }
}

fn binding(credential_id: String) -> Command {
    Command::BindCredential { server_url: URL.to_owned(), credential_id }
}

/// The waits of one session, as its journal tells them.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    asked: BTreeMap<EffectId, String>,
    waiting: BTreeSet<EffectId>,
    /// Servers that were given a credential since their tools were last said.
    bound: BTreeSet<String>,
}

impl Waits {
    /// Reads an event: nothing that waits begins before a person signed in, and no server is given two credentials.
    pub(crate) fn read(&mut self, recorded: &Recorded) -> Result<(), Violation> {
        let broken = |detail: String| Err(Violation::new(Property::SignInGoesOn, detail));
        if let Event::EffectRequested { effect } = &recorded.event
            && let Some(label) = effect.kind.asked_server()
        {
            self.asked.insert(effect.id, label.to_owned());
        }
        if let Event::AttemptEnded {
            effect_id,
            outcome: Outcome::Failed { failure: Failure { kind: FailureKind::SignInRequired, .. } },
            next: Next::Retry { at },
            ..
        } = &recorded.event
            && *at > recorded.at
        {
            self.waiting.insert(*effect_id);
        }
        if let Event::SignedIn = &recorded.event {
            self.waiting.clear();
        }
        if let Event::CredentialBound { server_label, .. } = &recorded.event {
            if !self.bound.insert(server_label.clone()) {
                return broken(format!("{server_label} is given a second credential"));
            }
            let asked = &self.asked;
            self.waiting.retain(|effect| asked.get(effect) != Some(server_label));
        }
        if let Event::AttemptStarted { effect_id, .. } = &recorded.event
            && self.waiting.contains(effect_id)
        {
            return broken(format!("{effect_id} begins again, and nobody signed in"));
        }
        if let Event::SessionUpdated { .. } | Event::Rewound(_) = &recorded.event {
            self.bound.clear();
        }
        Ok(())
    }
}
