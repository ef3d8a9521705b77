//! Ids: opaque, time-ordered, printable with a readable prefix, parsed in one place.
//!
//! An id is a version 7 UUID (RFC 9562, section 5.7) printed as `prefix_` and 32 hexadecimal digits.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::Timestamp;

/// Text that is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id of the form `{prefix}_` and 32 lower-case hexadecimal digits")]
pub struct IdError {
    prefix: &'static str,
    text: String,
}

fn parse(prefix: &'static str, text: &str) -> Result<Uuid, IdError> {
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    let canonical = |digits: &&str| {
        digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    digits
        .filter(canonical)
        .and_then(|digits| Uuid::try_parse(digits).ok())
        .ok_or_else(|| IdError { prefix, text: text.chars().take(64).collect() })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix every id of this kind prints with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// The next fresh id of this kind.
            #[must_use]
            pub fn fresh(fresh: &Fresh) -> Self {
                Self(fresh.next())
            }

            /// The sixteen bytes, in an order that sorts by creation time.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, self.0.as_simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse($prefix, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A project: the unit of tenancy.
    ProjectId = "proj";
    /// An API key's public half; the secret is stored hashed.
    KeyId = "key";
    /// A saved agent, or the agent defined inline by one session.
    AgentId = "agt";
    /// A session.
    SessionId = "sess";
    /// A turn of a session.
    TurnId = "turn";
    /// An item of a session.
    ItemId = "item";
    /// An accepted input that may still wait for its turn.
    InputId = "inp";
    /// An effect: a durable intention to touch the world.
    EffectId = "eff";
    /// A subagent of a session.
    SubagentId = "subagent";
    /// A hosted environment of a session.
    EnvironmentId = "env";
    /// A reusable configuration of hosted environments.
    TemplateId = "envtmpl";
    /// A file that a turn published.
    ArtifactId = "artifact";
    /// A person's pending or given answer about one exact effect.
    ApprovalId = "apr";
    /// A sealed secret, kept outside the journal.
    SecretId = "sec";
    /// One request to the server, for correlation in logs.
    RequestId = "req";
    /// An automation: a schedule and what it delivers.
    AutomationId = "auto";
    /// One delivery made by an automation.
    InvocationId = "inv";
    /// A running server process: one of a cluster's nodes, or the only one.
    NodeId = "node";
    /// A webhook: an address that is told of events.
    WebhookId = "wh";
    /// An uploaded file.
    FileId = "file";
    /// A stored skill.
    SkillId = "skill";
    /// A vault: a collection of credentials.
    VaultId = "vault";
    /// A credential of a vault.
    CredentialId = "cred";
    /// A person, as an identity provider knows them.
    PersonId = "person";
    /// An erasure: a request that something be gone, and what came of it.
    ErasureId = "erasure";
    /// A fact of the long-term memory.
    FactId = "fact";
}

impl ProjectId {
    /// What stands for the installation itself where something belongs to a project: no project has this id.
    #[must_use]
    pub fn installation() -> Self {
        Self(Uuid::nil())
    }
}

impl ItemId {
    /// What stands for an item where something was said in none: no item has this id.
    #[must_use]
    pub fn none() -> Self {
        Self(Uuid::nil())
    }

    /// The id of output `index` of one attempt at a model call.
    ///
    /// Deriving it lets deltas name an item before the answer that contains it is committed, and gives a
    /// second attempt other ids than the first.
    #[must_use]
    pub fn of_output(effect: EffectId, attempt: u32, index: u32) -> Self {
        let (millis, _) = split(effect.0);
        Self(derived(millis, &[effect.as_bytes(), &attempt.to_be_bytes(), &index.to_be_bytes()]))
    }
}

impl PersonId {
    /// The id of whom `issuer` calls `subject`: the same at every sign-in, on every node.
    #[must_use]
    pub fn of(issuer: &str, subject: &str) -> Self {
        // The length keeps two pairs apart whose texts only meet at another place.
        let length = (issuer.len() as u64).to_be_bytes();
        Self(derived(0, &[b"person", &length, issuer.as_bytes(), subject.as_bytes()]))
    }
}

impl FactId {
    /// The id of the fact that says `statement`, normalised, in the scope with this mark: whoever says it at the same
    /// time makes the same. `before` is the fact that said so earlier and is believed no more.
    #[must_use]
    pub fn of(mark: &str, statement: &str, before: Option<Self>) -> Self {
        let before = before.map_or([0; 16], |before| *before.as_bytes());
        Self(derived(0, &[b"fact", mark.as_bytes(), &before, statement.as_bytes()]))
    }
}

impl SessionId {
    /// What stands for a session where something was said in none: no session has this id.
    #[must_use]
    pub fn none() -> Self {
        Self(Uuid::nil())
    }
}

impl AutomationId {
    /// The id of the automation that an effect makes: the same at every attempt.
    #[must_use]
    pub fn of_effect(effect: EffectId) -> Self {
        let (millis, _) = split(effect.0);
        Self(derived(millis, &[b"automation", effect.as_bytes()]))
    }
}

impl InvocationId {
    /// The id of one occurrence of an automation: every node that finds it due makes the same.
    #[must_use]
    pub fn of_occurrence(automation: AutomationId, scheduled_at: Timestamp) -> Self {
        let millis = u64::try_from(scheduled_at.as_millis()).unwrap_or(0);
        Self(derived(millis, &[automation.as_bytes(), &scheduled_at.as_millis().to_be_bytes()]))
    }
}

/// Ids that belong to one session and get another form in a fork of it.
macro_rules! forked {
    ($($name:ident)*) => {$(
        impl $name {
            /// What this id becomes in a fork: another one for each fork, in the order of the originals.
            #[must_use]
            pub fn in_fork(self, fork: SessionId) -> Self {
                Self(in_fork(self.0, fork))
            }
        }
    )*};
}

forked! { TurnId ItemId ArtifactId }

/// The first half stays, for it holds time and order; the second follows from both.
fn in_fork(id: Uuid, fork: SessionId) -> Uuid {
    let mut bytes = *id.as_bytes();
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"fork").update(fork.as_bytes()).update(id.as_bytes());
    bytes[8..].copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    uuid::Builder::from_bytes(bytes).with_variant(uuid::Variant::RFC4122).into_uuid()
}

/// An id that follows from `parts`, sorted where `millis` stands.
fn derived(millis: u64, parts: &[&[u8]]) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut tail = [0; 10];
    tail.copy_from_slice(&hasher.finalize().as_bytes()[..10]);
    uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

impl SubagentId {
    /// The subagent that an effect creates, however often it is attempted. Subagents sort as their effects do.
    #[must_use]
    pub fn of_effect(effect: EffectId) -> Self {
        Self(effect.0)
    }

    /// The session that the subagent is. Each names the other.
    #[must_use]
    pub fn session(self) -> SessionId {
        SessionId(self.0)
    }
}

impl AgentId {
    /// What stands for the agent of a session that has none yet.
    #[must_use]
    pub fn of_session(session: SessionId) -> Self {
        Self(session.0)
    }
}

impl EnvironmentId {
    /// The environment of a session.
    #[must_use]
    pub fn of_session(session: SessionId) -> Self {
        Self(session.0)
    }

    /// The session whose environment it is. Each names the other.
    #[must_use]
    pub fn session(self) -> SessionId {
        SessionId(self.0)
    }
}

impl ArtifactId {
    /// The id of file `index` of what an effect publishes: the same at every attempt.
    #[must_use]
    pub fn of_output(effect: EffectId, index: u32) -> Self {
        let (millis, _) = split(effect.0);
        Self(derived(millis, &[b"artifact", effect.as_bytes(), &index.to_be_bytes()]))
    }
}

fn split(id: Uuid) -> (u64, u64) {
    let (high, low) = id.as_u64_pair();
    (high >> 16, low)
}

/// Fresh ids for one decision: a clock reading, a seed and a counter.
///
/// Two sources with different seeds never meet in practice (62 random bits in the same millisecond);
/// one source never repeats and is strictly increasing.
#[derive(Debug)]
pub struct Fresh {
    millis: u64,
    seed: u64,
    drawn: AtomicU64,
}

impl Fresh {
    /// A source for a decision made at `now`, with a seed no other decision was given.
    #[must_use]
    pub fn new(now: Timestamp, seed: u64) -> Self {
        Self { millis: u64::try_from(now.as_millis()).unwrap_or(0), seed, drawn: AtomicU64::new(0) }
    }

    fn next(&self) -> Uuid {
        let count = self.drawn.fetch_add(1, Ordering::Relaxed);
        // The twelve bits after the timestamp count, so that ids of one millisecond keep their order.
        let millis = self.millis + (count >> 12);
        let mut tail = [0; 10];
        tail[..2].copy_from_slice(&u16::to_be_bytes((count & 0xfff) as u16));
        tail[2..].copy_from_slice(&mix(self.seed ^ count.rotate_left(32)).to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
    }
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection, so distinct inputs stay distinct.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_with_its_prefix() {
        let fresh = Fresh::new(Timestamp::from_millis(1_790_000_000_000), 7);
        let id = SessionId::fresh(&fresh);
        assert!(id.to_string().starts_with("sess_"));
        assert_eq!(id.to_string().parse::<SessionId>(), Ok(id));
        assert!(id.to_string().parse::<TurnId>().is_err());
        for wrong in ["", "sess_", "sess", "sess_12", &id.to_string().to_uppercase(), &format!("{id}0")] {
            assert!(wrong.parse::<SessionId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn fresh_ids_are_unique_and_rise_past_the_counter() {
        let fresh = Fresh::new(Timestamp::from_millis(1_790_000_000_000), 42);
        let ids: Vec<_> = (0..10_000).map(|_| ItemId::fresh(&fresh)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn ids_of_occurrences_follow_their_time() {
        let automation = AutomationId::of_effect(EffectId::fresh(&Fresh::new(Timestamp::from_millis(5), 1)));
        let at =
            |minute: i64| InvocationId::of_occurrence(automation, Timestamp::from_millis(minute * 60_000));
        assert_eq!(at(7), at(7));
        assert!((0..1_000).all(|minute| at(minute) < at(minute + 1)));
        let other = AutomationId::of_effect(EffectId::fresh(&Fresh::new(Timestamp::from_millis(5), 2)));
        assert_ne!(at(7), InvocationId::of_occurrence(other, Timestamp::from_millis(7 * 60_000)));
    }

    #[test]
    fn ids_in_a_fork_keep_their_order_and_are_its_own() {
        let fresh = Fresh::new(Timestamp::from_millis(1_790_000_000_000), 3);
        let forks = [SessionId::fresh(&fresh), SessionId::fresh(&fresh)];
        let ids: Vec<_> = (0..1_000).map(|_| TurnId::fresh(&fresh)).collect();
        for fork in forks {
            let forked: Vec<_> = ids.iter().map(|id| id.in_fork(fork)).collect();
            assert!(forked.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(ids.iter().zip(&forked).all(|(id, forked)| id != forked));
            assert_eq!(forked[7].to_string().parse(), Ok(forked[7]));
        }
        assert_ne!(ids[0].in_fork(forks[0]), ids[0].in_fork(forks[1]));
    }

    #[test]
    fn a_person_is_who_one_issuer_says() {
        let id = PersonId::of("https://id.example", "ann");
        assert_eq!(id, PersonId::of("https://id.example", "ann"));
        for (issuer, subject) in [("https://id.example", "bob"), ("https://id.exampl", "eann"), ("ann", "x")]
        {
            assert_ne!(id, PersonId::of(issuer, subject));
        }
        assert!(id.to_string().starts_with("person_"));
    }

    #[test]
    fn output_ids_differ_by_attempt_and_index() {
        let effect = EffectId::fresh(&Fresh::new(Timestamp::from_millis(5), 1));
        let first = ItemId::of_output(effect, 1, 0);
        assert_eq!(first, ItemId::of_output(effect, 1, 0));
        assert_ne!(first, ItemId::of_output(effect, 2, 0));
        assert_ne!(first, ItemId::of_output(effect, 1, 1));
    }
}
