//! A visitor: opens one session after the other, sends messages, steers, cancels, approves, denies and
//! answers functions, and writes down what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use super::client::Client;
use super::reader::{Reader, Readings};

pub(crate) const SESSIONS: &str = "/v1/agents/sessions";
/// How long a turn may take, over all kills.
const TURN: Duration = Duration::from_secs(180);
/// The words that the script knows.
const WORDS: [&str; 10] = ["look", "refund", "ship", "all", "chain", "weigh", "busy", "cut", "slow", "team"];

/// What all visitors share.
pub(crate) struct Town {
    /// The pause between two looks at a session.
    look_every: Duration,
    /// Numbers orders.
    next_order: AtomicU64,
    /// Numbers idempotency keys.
    next_key: AtomicU64,
    /// Whether visitors are to finish what they do and go.
    pub(crate) closing: AtomicBool,
}

impl Town {
    pub(crate) fn new(look_every: Duration) -> Self {
        Self {
            look_every,
            next_order: AtomicU64::default(),
            next_key: AtomicU64::default(),
            closing: AtomicBool::default(),
        }
    }
}

/// What a visitor knows about one of its sessions.
pub(crate) struct Visited {
    pub(crate) id: String,
    pub(crate) careful: bool,
    /// The text of every acknowledged message, in order.
    pub(crate) sent: Vec<String>,
    /// What was answered about a tool and an order: `courier ord_7`.
    pub(crate) decided: BTreeMap<String, bool>,
    /// Whether the visitor went away and left something unanswered.
    pub(crate) left: bool,
    /// What was met while the session was read as well.
    pub(crate) readings: Readings,
}

impl Visited {
    pub(crate) fn new(id: String, careful: bool, sent: Vec<String>) -> Self {
        let (decided, readings) = (BTreeMap::new(), Readings::default());
        Self { id, careful, sent, decided, left: false, readings }
    }
}

pub(crate) struct Visitor {
    pub(crate) client: Client,
    pub(crate) town: Arc<Town>,
    pub(crate) chance: Rng,
    /// Whether it reads its sessions' streams meanwhile.
    pub(crate) reads: bool,
}

impl Visitor {
    /// Visits until the town closes, once at least.
    pub(crate) async fn visit(mut self) -> Vec<Visited> {
        let mut visited = Vec::new();
        loop {
            visited.push(self.session().await);
            if self.town.closing.load(Ordering::Relaxed) {
                return visited;
            }
        }
    }

    async fn session(&mut self) -> Visited {
        let careful = self.chance.bool();
        let mut visited = self.begin(careful).await;
        let reader = self.reads.then(|| Reader::open(&self.client, &visited.id));
        self.talk(&mut visited).await;
        if let Some(reader) = reader {
            visited.readings = reader.caught_up().await;
        }
        visited
    }

    /// Opens a session with a message.
    pub(crate) async fn begin(&mut self, careful: bool) -> Visited {
        let text = self.message();
        let agent = if careful { "careful" } else { "bold" };
        let body = json!({"agent_id": agent, "environment": {"type": "none"}, "input": text});
        let (status, session) = self.post(SESSIONS, &body).await;
        assert_eq!(status, 201, "{session}");
        Visited::new(session["id"].as_str().expect("an id").to_owned(), careful, vec![text])
    }

    async fn talk(&mut self, visited: &mut Visited) {
        for turn in 0..self.chance.u32(1..5) {
            if turn > 0 {
                self.send(visited).await;
            }
            if self.chance.u8(..) < 80 {
                self.send(visited).await;
            }
            if self.chance.u8(..) < 50 {
                tokio::time::sleep(Duration::from_millis(self.chance.u64(0..80))).await;
                self.submit(visited, json!({"type": "agent.session.input.cancel"})).await;
            }
            let leaves = self.chance.u8(..) < 12;
            if !self.attend(visited, leaves).await {
                visited.left = true;
                return;
            }
        }
    }

    pub(crate) fn message(&mut self) -> String {
        let word = WORDS[self.chance.usize(..WORDS.len())];
        format!("{word} {}", self.order())
    }

    /// An order that nobody else has.
    pub(crate) fn order(&self) -> String {
        format!("ord_{}", self.town.next_order.fetch_add(1, Ordering::Relaxed))
    }

    async fn send(&mut self, visited: &mut Visited) {
        let text = self.message();
        let content = json!([{"type": "input_text", "text": text}]);
        let message =
            json!({"type": "agent.session.input.message", "input": [{"role": "user", "content": content}]});
        self.submit(visited, message).await;
        visited.sent.push(text);
    }

    /// Answers whatever the session asks until it is idle. With `leaves`, goes away at the first question
    /// and gives false.
    pub(crate) async fn attend(&mut self, visited: &mut Visited, leaves: bool) -> bool {
        let deadline = Instant::now() + TURN;
        loop {
            let session = self.client.get(&format!("{SESSIONS}/{}", visited.id)).await;
            match session["status"].as_str().expect("a status") {
                "idle" => return true,
                "requires_action" if leaves => return false,
                "requires_action" => {
                    for action in session["required_actions"].as_array().expect("actions") {
                        self.answer(visited, action).await;
                    }
                }
                "in_progress" => {}
                other => panic!("{} is {other}: {session}", visited.id),
            }
            assert!(Instant::now() < deadline, "{} does not end: {session}", visited.id);
            tokio::time::sleep(self.town.look_every).await;
        }
    }

    async fn answer(&mut self, visited: &mut Visited, action: &Value) {
        let yes = self.chance.u8(..) < 190;
        let event = match action["type"].as_str() {
            Some("function_call") => {
                let mut result = json!({"type": "agent.session.input.tool_result", "success": yes,
                    "turn_id": action["turn_id"], "call_id": action["call_id"]});
                result[if yes { "output" } else { "error" }] = json!("two kilograms");
                result
            }
            Some("mcp_approval_request") => {
                let request = &action["request"];
                let server = request["server_label"].as_str().expect("a server");
                let order = order_of(&request["arguments"]);
                let before = visited.decided.insert(format!("{server} {order}"), yes);
                assert_eq!(before, None, "asked again after it was answered: {action}");
                let decision = if yes { "approve" } else { "deny" };
                json!({"type": "agent.session.input.mcp_approval_request_result",
                    "request_id": action["request_id"],
                    "response": {"type": "mcp_tool_call", "decision": decision}})
            }
            _ => panic!("nobody knows what to do about {action}"),
        };
        self.submit(visited, event).await;
    }

    async fn submit(&self, visited: &Visited, event: Value) {
        let path = format!("{SESSIONS}/{}/events", visited.id);
        let (status, answer) = self.post(&path, &json!({ "events": [event] })).await;
        assert_eq!(status, 202, "{event}: {answer}");
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let key = format!("key-{}", self.town.next_key.fetch_add(1, Ordering::Relaxed));
        self.client.post(path, body, &key).await
    }
}

/// The order that a call is about; arguments may be text or an object.
pub(crate) fn order_of(arguments: &Value) -> String {
    let parsed = arguments.as_str().map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
    let arguments = parsed.as_ref().unwrap_or(arguments);
    arguments["order_id"].as_str().or(arguments["id"].as_str()).expect("an order").to_owned()
}
