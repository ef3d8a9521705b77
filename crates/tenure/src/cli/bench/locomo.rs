//! LoCoMo on the whole path: a server of its own in whose sessions every talk is held over the API, and of whose
//! memory every question is asked over the API.
//!
//! One of the two who talk is the user and the other the agent, whose words come from a provider that reads them out.
//! Each session says in its metadata what the user is called and when it was, as whoever brings earlier conversations
//! along would. Nothing else is told to the server, and a question is asked as of the end of its talk.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::post;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tenure_journal::{
    AnswerItem, Episode, ItemId, MEMORY_NAME_KEY, MEMORY_TIME_KEY, MEMORY_USER_KEY, ModelAnswer, Stop, limit,
};
use tenure_memory::bench::{Conversation, Measure, Tally, locomo};
use tenure_memory::rfc3339;
use tenure_model::codec::responses;
use tokio::net::TcpListener;

use super::lab::Site;
use super::{Tell, failed};
use crate::cli::client::{Client, Events};
use crate::cli::decide::post_event;
use crate::cli::error::CliError;
use crate::cli::find::SESSIONS;
use crate::cli::output::text;
use crate::cli::talk::message;
use crate::cli::transcript::{Follower, Happened, TurnEnd};

/// What is said where it is not one's turn. It has no word, so nobody remembers it.
const SILENCE: &str = "…";
/// Questions that are asked at once.
const ASKED_AT_ONCE: usize = 4;
/// What a server says once everything has its vectors, how often that is looked for, and how long.
const EMBEDDED: &str = "everything remembered has its vectors";
const LOOK_EVERY: Duration = Duration::from_millis(200);
const EMBEDDED_WITHIN: Duration = Duration::from_secs(2 * 60 * 60);

/// What the memory of a server is worth on each half of the data.
pub(super) struct Halves {
    pub(super) tuning: Measure,
    pub(super) held_out: Measure,
}

/// Holds the talks of the file at `path`, and asks.
pub(super) async fn measure(
    parent: &Path,
    path: &Path,
    embedding: Option<&Path>,
    tell: Tell<'_>,
) -> Result<Halves, CliError> {
    let bytes = std::fs::read(path).map_err(|error| failed("reading LoCoMo", error))?;
    let talks = locomo::read(&bytes).map_err(|error| failed("reading LoCoMo", error))?;
    let (voice, address) = Voice::serve().await?;
    let site = Site::new(parent, &address)?;
    let mut server = site.serve().await?;
    let client = server.client()?;
    tell(&format!("  holding {} talks of LoCoMo over the API ...", talks.len()))?;
    let held = try_join_all(talks.iter().map(|talk| hold(&client, &voice, talk))).await?;
    if let Some(model) = embedding {
        // Killed, because everything that was said is durable; and with a model from here on, as after a change of it.
        server.kill().await?;
        let model = std::path::absolute(model)?;
        site.set("memory", &json!({"embedding": {"directory": model}}))?;
        server = site.serve_telling("info").await?;
        let passages: usize = talks.iter().map(|talk| talk.episodes.len()).sum();
        tell(&format!("  making vectors of {passages} passages on one processor, which takes minutes ..."))?;
        wait_until_embedded(&site).await?;
    }
    let client = server.client()?;
    let mut tallies = [Tally::default(), Tally::default()];
    for (talk, held) in talks.iter().zip(&held) {
        tell(&format!("  asking {} questions of {} ...", talk.asked.len(), talk.name))?;
        let half = usize::from(!locomo::TUNING.contains(&talk.name.as_str()));
        ask(&client, talk, held, &mut tallies[half]).await?;
    }
    server.kill().await?;
    let [tuning, held_out] = tallies.map(|tally| tally.mean());
    Ok(Halves { tuning, held_out })
}

/// A talk as the server has it.
struct Held {
    agent: String,
    user: String,
    /// The items there, and what they are in the data.
    items: HashMap<String, ItemId>,
}

async fn hold(client: &Client, voice: &Voice, talk: &Conversation) -> Result<Held, CliError> {
    let [user, speaker] = names(talk)?;
    let made = client.post("/v1/agents", &json!({"name": speaker, "model": talk.name})).await?;
    let agent = text(&made, "/id").to_owned();
    let mut items = HashMap::new();
    for session in talk.episodes.chunk_by(|one, next| one.session == next.session) {
        let exchanges = exchanges(session, &user);
        voice.will_say(&talk.name, exchanges.iter().map(|(_, answer)| answer.clone()));
        let begun = session.first().map_or_else(String::new, |first| rfc3339(first.at));
        let metadata = json!({MEMORY_USER_KEY: talk.name, MEMORY_NAME_KEY: user, MEMORY_TIME_KEY: begun});
        let id = converse(client, &agent, &metadata, &exchanges).await?;
        items.extend(pair(client, &id, session).await?);
    }
    Ok(Held { agent, user: talk.name.clone(), items })
}

/// The two who talk, in the order in which they begin.
fn names(talk: &Conversation) -> Result<[String; 2], CliError> {
    let mut names: Vec<&String> = Vec::new();
    for name in talk.episodes.iter().filter_map(|episode| episode.name.as_ref()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names[..] {
        [one, other] => Ok([one.clone(), other.clone()]),
        _ => Err(failed("reading LoCoMo", format!("`{}` is no talk of two", talk.name))),
    }
}

/// What is said in turn, silence where one of them says nothing.
fn exchanges(session: &[Episode], user: &str) -> Vec<(String, String)> {
    let mut exchanges: Vec<(String, String)> = Vec::new();
    let mut is_answered = true;
    for episode in session {
        let said = episode.text.clone();
        if episode.name.as_deref() == Some(user) {
            exchanges.push((said, SILENCE.to_owned()));
            is_answered = false;
        } else if let Some(last) = exchanges.last_mut().filter(|_| !is_answered) {
            last.1 = said;
            is_answered = true;
        } else {
            exchanges.push((SILENCE.to_owned(), said));
        }
    }
    exchanges
}

/// Holds one session and gives its id.
async fn converse(
    client: &Client,
    agent: &str,
    metadata: &Value,
    exchanges: &[(String, String)],
) -> Result<String, CliError> {
    let mut session = String::new();
    let mut events: Option<Events> = None;
    for (words, _) in exchanges {
        match &mut events {
            None => {
                let body = json!({"agent_id": agent, "environment": {"type": "none"}, "metadata": metadata,
                    "input": words, "stream": true});
                let mut opening = client.post_events(SESSIONS, &body).await?;
                session = turn(&mut opening).await?;
                events = Some(client.events(&session).await?);
            }
            Some(events) => {
                post_event(client, &session, message(words)).await?;
                turn(events).await?;
            }
        }
    }
    Ok(session)
}

/// Waits for the end of a turn; the session's id, where the stream begins with it.
async fn turn(events: &mut Events) -> Result<String, CliError> {
    let mut follower = Follower::default();
    let mut session = String::new();
    let mut has_ended = false;
    while let Some(event) = events.next().await? {
        for happened in follower.event(&event) {
            match happened {
                Happened::Opened { session: opened } => session = opened,
                Happened::TurnEnded { end: TurnEnd::Completed, .. } => has_ended = true,
                Happened::Idle if has_ended => return Ok(session),
                Happened::TurnEnded { end: TurnEnd::Cancelled | TurnEnd::Failed { .. }, .. }
                | Happened::SessionFailed(_)
                | Happened::Waits(_) => return Err(failed("a turn", event)),
                Happened::Idle
                | Happened::TurnBegan { .. }
                | Happened::Text(_)
                | Happened::TextEnd
                | Happened::Calling(_)
                | Happened::Item(_)
                | Happened::Fault(_) => {}
            }
        }
    }
    Err(failed("a turn", "its stream ended"))
}

/// Which items of the server are which of the data.
async fn pair(client: &Client, session: &str, said: &[Episode]) -> Result<Vec<(String, ItemId)>, CliError> {
    let items = client.list(&format!("{SESSIONS}/{session}/items"), &[("order", "asc")]).await?;
    let spoken = items.iter().filter(|item| text(item, "/content/0/text") != SILENCE);
    let paired: Vec<(String, ItemId)> = spoken
        .zip(said)
        .filter(|(item, episode)| text(item, "/content/0/text") == episode.text)
        .map(|(item, episode)| (text(item, "/id").to_owned(), episode.item))
        .collect();
    if paired.len() == said.len() {
        Ok(paired)
    } else {
        Err(failed("holding a talk", format!("`{session}` has {} of {} turns", paired.len(), said.len())))
    }
}

/// Asks everything about a talk and counts what comes back.
async fn ask(client: &Client, talk: &Conversation, held: &Held, tally: &mut Tally) -> Result<(), CliError> {
    let most = limit::RECALLED_MAX.to_string();
    let now = rfc3339(talk.now);
    for asked in talk.asked.chunks(ASKED_AT_ONCE) {
        let answers = asked.iter().map(|asked| async {
            let query = [
                ("agent_id", held.agent.as_str()),
                ("user_id", &held.user),
                ("question", &asked.question),
                ("limit", &most),
                ("known_at", &now),
            ];
            let found = client.get("/v1/tenure/memory/search", &query).await?;
            let passages = found.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
            let items = passages.iter().filter_map(|passage| held.items.get(text(passage, "/id")).copied());
            Ok::<Vec<ItemId>, CliError>(items.collect())
        });
        for (asked, answer) in asked.iter().zip(try_join_all(answers).await?) {
            tally.count(asked, &answer);
        }
    }
    Ok(())
}

async fn wait_until_embedded(site: &Site) -> Result<(), CliError> {
    let wait = async {
        while !site.log()?.contains(EMBEDDED) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    match tokio::time::timeout(EMBEDDED_WITHIN, wait).await {
        Ok(waited) => waited,
        Err(_) => Err(failed("making vectors", "they take too long")),
    }
}

/// A provider that says what it was given to say, by the name of the model.
#[derive(Clone, Default)]
struct Voice {
    lines: Arc<Mutex<HashMap<String, VecDeque<String>>>>,
}

impl Voice {
    /// Serves on a free port; gives the address.
    async fn serve() -> Result<(Self, String), CliError> {
        let voice = Self::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = format!("http://{}/v1", listener.local_addr()?);
        let speaking = voice.clone();
        let answer = move |Json(request): Json<Value>| {
            let model = text(&request, "/model").to_owned();
            let said = ModelAnswer {
                items: vec![AnswerItem::Message { content: vec![speaking.next(&model)] }],
                usage: None,
                stop: Stop::Complete,
                response_id: None,
            };
            let frames = responses::server::encode_stream(&said, &model);
            let body: Vec<u8> = frames.into_iter().flat_map(|frame| frame.bytes).collect();
            std::future::ready(([(CONTENT_TYPE, "text/event-stream")], body).into_response())
        };
        let app = axum::Router::new().route("/v1/responses", post(answer));
        // It ends with the process.
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok((voice, address))
    }

    fn will_say(&self, model: &str, lines: impl Iterator<Item = String>) {
        let mut all = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(model.to_owned()).or_default().extend(lines);
    }

    fn next(&self, model: &str) -> String {
        let mut all = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(model).and_then(VecDeque::pop_front).unwrap_or_else(|| SILENCE.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use tenure_journal::{Fresh, Labels, SessionId, Speaker, Timestamp};

    use super::*;

    #[test]
    fn silence_stands_where_nobody_speaks() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let session = SessionId::fresh(&fresh);
        let said = |name: &str, text: &str| Episode {
            session,
            item: ItemId::fresh(&fresh),
            ordinal: 0,
            at: Timestamp::EPOCH,
            speaker: Speaker::User,
            name: Some(name.to_owned()),
            text: text.to_owned(),
            labels: Labels::NEUTRAL,
        };
        let talk = [said("Bob", "1"), said("Ada", "2"), said("Bob", "3"), said("Bob", "4"), said("Ada", "5")];
        let pairs = exchanges(&talk, "Ada");
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(one, two)| (one.as_str(), two.as_str())).collect();
        assert_eq!(pairs, [("…", "1"), ("2", "3"), ("…", "4"), ("5", "…")]);
        assert!(tenure_memory::text::distinct_stems(SILENCE).is_empty(), "nobody remembers it");
    }
}
