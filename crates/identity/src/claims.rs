//! What a checked token says.

use serde_json::{Map, Value};

/// Characters of a name or an address that are kept.
const SHOWN_CHARS_MAX: usize = 256;
/// Groups of one person.
const GROUPS_MAX: usize = 1_000;

/// A person, as their identity provider describes them in a token that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who says so.
    pub issuer: String,
    /// The person, in the issuer's words: the same for ever, and nobody else's.
    pub subject: String,
    /// What people call them.
    pub name: Option<String>,
    /// Their address.
    pub email: Option<String>,
    /// The groups they are in.
    pub groups: Vec<String>,
    /// When the token ends, in seconds since 1970.
    pub expires_at: i64,
}

impl Claims {
    pub(crate) fn read(
        issuer: &str,
        subject: &str,
        expires_at: i64,
        payload: &Map<String, Value>,
        groups_claim: &str,
    ) -> Self {
        let shown = |name: &str| {
            let text = payload.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())?;
            Some(text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect::<String>())
        };
        let groups = match payload.get(groups_claim) {
            Some(Value::Array(groups)) => {
                groups.iter().filter_map(Value::as_str).take(GROUPS_MAX).map(str::to_owned).collect()
            }
            // Some providers say it so where there is one.
            Some(Value::String(group)) => vec![group.clone()],
            Some(_) | None => Vec::new(),
        };
        let name = shown("name").or_else(|| shown("preferred_username"));
        Self {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            name,
            email: shown("email"),
            groups,
            expires_at,
        }
    }
}
