//! LoCoMo: ten long talks with questions whose evidence is annotated (Maharana et al., 2024). Its data may not be
//! used commercially and is never part of this project; who has a copy names its path.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tenure_journal::{Episode, Fresh, ItemId, Labels, SessionId, Speaker, Timestamp};

use super::{Asked, Conversation, Kind};

/// The talks that weights are tuned on; the others tell what they are worth.
pub const TUNING: [&str; 5] = ["conv-26", "conv-30", "conv-41", "conv-42", "conv-43"];

/// Why a file is not LoCoMo.
#[derive(Debug, thiserror::Error)]
pub enum LocomoError {
    /// It is no JSON of that shape.
    #[error("the file is not in the shape of `locomo10.json`")]
    Shape(#[from] serde_json::Error),
    /// A session has no time that can be read.
    #[error("`{conversation}` has no time of the form `1:56 pm on 8 May, 2023` for `{session}`")]
    Time {
        /// Which talk.
        conversation: String,
        /// Which session.
        session: String,
    },
}

#[derive(Deserialize)]
struct Sample {
    sample_id: String,
    conversation: Map<String, Value>,
    qa: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    question: String,
    #[serde(default)]
    evidence: Vec<String>,
    category: u8,
}

#[derive(Deserialize)]
struct Turn {
    speaker: String,
    dia_id: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    blip_caption: Option<String>,
}

/// Reads `locomo10.json`. Questions that have no answer in the talk (category 5), and those without evidence, are
/// left out. What a shared picture shows stands behind the turn's text, as the data's captions say it.
///
/// # Errors
/// The bytes are something else.
pub fn read(bytes: &[u8]) -> Result<Vec<Conversation>, LocomoError> {
    let samples: Vec<Sample> = serde_json::from_slice(bytes)?;
    samples.into_iter().map(conversation).collect()
}

fn conversation(sample: Sample) -> Result<Conversation, LocomoError> {
    let fresh = Fresh::new(Timestamp::EPOCH, 1);
    let mut episodes = Vec::new();
    let mut items: HashMap<String, ItemId> = HashMap::new();
    let mut now = Timestamp::EPOCH;
    for number in 1.. {
        let name = format!("session_{number}");
        let Some(time) = sample.conversation.get(&format!("{name}_date_time")) else { break };
        let Some(turns) = sample.conversation.get(&name) else { continue };
        let turns: Vec<Turn> = serde_json::from_value(turns.clone())?;
        let begun = time.as_str().and_then(moment).ok_or_else(|| LocomoError::Time {
            conversation: sample.sample_id.clone(),
            session: name.clone(),
        })?;
        let session = SessionId::fresh(&fresh);
        for (ordinal, turn) in (0..).zip(turns) {
            let item = ItemId::fresh(&fresh);
            items.insert(turn.dia_id, item);
            let text = match turn.blip_caption {
                Some(caption) => format!("{} [{caption}]", turn.text),
                None => turn.text,
            };
            let at = begun.plus_millis(ordinal * TURN_MS);
            let speaker = Speaker::User;
            episodes.push(Episode {
                session,
                item,
                ordinal,
                at,
                speaker,
                name: Some(turn.speaker),
                text,
                labels: Labels::NEUTRAL,
            });
        }
        now = now.max(begun.plus_millis(TURN_MS * 1_000));
    }
    let asked = sample.qa.into_iter().filter_map(|entry| asked(entry, &items)).collect();
    Ok(Conversation { name: sample.sample_id, episodes, asked, now })
}

/// Between two turns, as the data does not say.
const TURN_MS: u64 = 20_000;

fn asked(entry: Entry, items: &HashMap<String, ItemId>) -> Option<Asked> {
    let kind = match entry.category {
        1 => Kind::MultiHop,
        2 => Kind::Time,
        3 => Kind::Open,
        4 => Kind::Single,
        _ => return None,
    };
    // A few entries name several turns in one string.
    let named = entry.evidence.iter().flat_map(|given| given.split([';', ' ', ',']));
    let mut evidence: Vec<ItemId> = named.filter_map(|id| items.get(id.trim()).copied()).collect();
    evidence.sort_unstable();
    evidence.dedup();
    (!evidence.is_empty()).then_some(Asked { question: entry.question, evidence, kind })
}

/// `1:56 pm on 8 May, 2023`, in UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let at = jiff::fmt::strtime::parse("%I:%M %p on %d %B, %Y", text).ok()?.to_datetime().ok()?;
    let zoned = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}
