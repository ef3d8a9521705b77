//! Those who come by the clock: automations that open sessions or wake one, while nodes die. Each occurrence is
//! to happen once.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::client::Client;
use super::visitor::{Visited, Visitor};

const AUTOMATIONS: &str = "/v1/agents/automations";
/// Every minute, and an expression that is due in a year at most: as good as never.
const EVERY_MINUTE: &str = "* * * * *";
const FAR_AWAY: &str = "0 0 29 2 *";
/// Seconds until a single occurrence is due: more than the time in which some node takes the request.
const DUE_IN: std::ops::Range<u64> = 3..10;
/// How long a delivery may take: a node that dies in the middle keeps the others from it for half a minute.
const DELIVERY: Duration = Duration::from_secs(180);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl Visitor {
    /// Makes one automation after the other that is due once, until the town closes. Half of them open a
    /// session, the others wake one that is there.
    pub(crate) async fn schedule(mut self) -> Vec<Visited> {
        let mut woken = self.begin(false).await;
        self.attend(&mut woken, false).await;
        let mut visited = Vec::new();
        while !self.town.closing.load(Ordering::Relaxed) {
            let text = self.message_of("look");
            let opened = self.once(opening(&text)).await;
            visited.push(Visited::new(opened, false, vec![text]));
            let text = self.message_of("refund");
            let target = json!({"type": "existing_session", "session_id": woken.id, "instructions": text});
            assert_eq!(self.once(target).await, woken.id);
            woken.sent.push(text);
        }
        for session in visited.iter_mut().chain([&mut woken]) {
            self.attend(session, false).await;
        }
        visited.push(woken);
        visited
    }

    /// Lets sessions be opened every minute until the town closes.
    pub(crate) async fn every_minute(mut self) -> Vec<Visited> {
        // The text is the same each time, and so it must not ask for anything that happens to an order once.
        let text = self.message_of("slow");
        let automation = json!({"type": "periodic", "name": "minutely", "expression": EVERY_MINUTE,
            "timezone": "UTC", "target": opening(&text)});
        let (status, made) = self.post(AUTOMATIONS, &automation).await;
        assert_eq!(status, 201, "{made}");
        let made_at = made["created_at"].as_u64().expect("seconds");
        while !self.town.closing.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // What is due by now is still delivered.
        let path = format!("{AUTOMATIONS}/{}", made["id"].as_str().expect("an id"));
        let (status, changed) = self.post(&path, &json!({ "expression": FAR_AWAY })).await;
        assert_eq!(status, 200, "{changed}");
        let invocations = delivered(&self.client, &path).await;
        check_minutes(made_at, &invocations);
        let mut visited = Vec::new();
        for invocation in invocations.iter().filter(|one| one["status"] == "completed") {
            let session = invocation["session_id"].as_str().expect("a session");
            let mut one = Visited::new(session.to_owned(), false, vec![text.clone()]);
            self.attend(&mut one, false).await;
            visited.push(one);
        }
        visited
    }

    /// Makes an automation that is due once and waits until it was delivered; gives the session it reached.
    async fn once(&mut self, target: Value) -> String {
        let (run_at, made) = loop {
            let run_at = now() + self.chance.u64(DUE_IN);
            let automation = json!({"type": "once", "name": "once", "run_at": run_at, "target": target});
            match self.post(AUTOMATIONS, &automation).await {
                (201, made) => break (run_at, made),
                // No node took it before it was too late.
                (400, refused) => assert_eq!(refused["error"]["code"], "bad_time", "{refused}"),
                (status, other) => panic!("{status}: {other}"),
            }
        };
        let path = format!("{AUTOMATIONS}/{}", made["id"].as_str().expect("an id"));
        let invocations = delivered(&self.client, &path).await;
        let [invocation] = &invocations[..] else { panic!("due once: {invocations:?}") };
        assert_eq!(invocation["status"], "completed", "{invocation}");
        assert_eq!(invocation["scheduled_at"], run_at, "{invocation}");
        invocation["session_id"].as_str().expect("a session").to_owned()
    }

    /// A message with that word.
    fn message_of(&self, word: &str) -> String {
        format!("{word} {}", self.order())
    }
}

fn opening(text: &str) -> Value {
    let input = json!([{"role": "user", "content": [{"type": "input_text", "text": text}]}]);
    json!({"type": "new_session", "agent_id": "bold", "environment": {"type": "none"}, "input": input})
}

/// The invocations of an automation once there are some and none waits, oldest first.
async fn delivered(client: &Client, automation: &str) -> Vec<Value> {
    let deadline = Instant::now() + DELIVERY;
    loop {
        let invocations = client.list(&format!("{automation}/invocations")).await;
        if !invocations.is_empty() && invocations.iter().all(|one| one["status"] != "queued") {
            return invocations;
        }
        assert!(Instant::now() < deadline, "{automation} is not delivered: {invocations:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Every minute has one occurrence, from the first after the automation was made; one that came while the one
/// before it was not delivered yet was skipped.
fn check_minutes(made_at: u64, invocations: &[Value]) {
    let due: BTreeSet<u64> =
        invocations.iter().map(|one| one["scheduled_at"].as_u64().expect("seconds")).collect();
    assert_eq!(due.len(), invocations.len(), "an occurrence happened twice: {invocations:?}");
    let first = (made_at / 60 + 1) * 60;
    let expected: BTreeSet<u64> = (0..due.len() as u64).map(|minute| first + minute * 60).collect();
    assert_eq!(due, expected, "made at {made_at}: {invocations:?}");
    let is_either = |one: &Value| one["status"] == "completed" || one["status"] == "skipped";
    assert!(invocations.iter().all(is_either), "{invocations:?}");
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
