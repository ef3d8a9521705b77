//! Where the values of a call come from: whether somebody who is trusted has named them.
//!
//! The arguments that decide whom or what a call reaches are its critical ones; each must have been named, as it
//! is, by the principal or by a trusted field. In every other text a link, an address or an account number must
//! have been. What a model makes up, completes, translates or takes from what it read is of untrusted origin.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::links::{self, leads};
use crate::words::{counts, decimal, is_distinct, occurs};

/// Properties whose names say that they decide whom or what a call reaches. Names are taken apart at capitals,
/// underscores, hyphens and dots, and each part counts.
const CRITICAL_NAMES: &[&str] = &[
    "account",
    "accounts",
    "address",
    "addresses",
    "amount",
    "attendee",
    "attendees",
    "bcc",
    "beneficiary",
    "bic",
    "bucket",
    "callback",
    "cc",
    "channel",
    "channels",
    "contact",
    "destination",
    "dir",
    "directory",
    "domain",
    "email",
    "emails",
    "endpoint",
    "file",
    "filename",
    "files",
    "folder",
    "guest",
    "guests",
    "host",
    "hostname",
    "href",
    "iban",
    "id",
    "ids",
    "invitee",
    "invitees",
    "key",
    "link",
    "links",
    "mail",
    "member",
    "members",
    "owner",
    "participant",
    "participants",
    "path",
    "paths",
    "payee",
    "phone",
    "receiver",
    "recipient",
    "recipients",
    "repo",
    "repository",
    "room",
    "src",
    "swift",
    "target",
    "targets",
    "to",
    "uri",
    "url",
    "urls",
    "user",
    "username",
    "users",
    "wallet",
    "webhook",
];
/// Formats of JSON schema that say the same.
const CRITICAL_FORMATS: &[&str] = &[
    "email",
    "hostname",
    "idn-email",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "uri",
    "uri-reference",
    "uuid",
];

/// Which arguments of a tool are critical.
#[derive(Debug, Clone, Copy)]
pub enum Critical<'a> {
    /// Those with these names, or these paths: `to`, `message.to`. What is below one belongs to it.
    Named(&'a [String]),
    /// Those that are named or typed like one, in a call and in this schema of the arguments.
    Usual(&'a Value),
}

/// What a session may take for said by somebody who is trusted.
///
/// A field that gives back what the session sent before says nothing about it: a value counts only from before
/// any call carried it.
#[derive(Debug, Default)]
pub struct Trusted<'a> {
    words: Vec<&'a str>,
    /// Each with the place of the result that first gave it.
    fields: BTreeMap<String, usize>,
    /// Arguments of calls, each with its place.
    sent: Vec<(usize, &'a Value)>,
}

impl<'a> Trusted<'a> {
    /// A text that the principal wrote.
    pub fn hear(&mut self, words: &'a str) {
        self.words.push(words);
    }

    /// The arguments of a call, and its place among the calls.
    pub fn send(&mut self, arguments: &'a Value, place: usize) {
        self.sent.push((place, arguments));
    }

    /// The value of a trusted field in the result of the call at `place`. A list or an object is not one value.
    pub fn learn(&mut self, value: &Value, place: usize) {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => decimal(number),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return,
        };
        let first = self.fields.entry(text).or_insert(place);
        *first = place.min(*first);
    }

    /// Whether a trusted field gave exactly this, and gave it first.
    fn has_field(&self, value: &str) -> bool {
        let Some(place) = self.fields.get(value) else { return false };
        let mut before = self.sent.iter().filter(|(sent, _)| sent <= place);
        !before.any(|(_, arguments)| carries(arguments, value))
    }

    /// Whether exactly this was named.
    #[must_use]
    pub fn names(&self, value: &str) -> bool {
        is_distinct(value) && (self.words.iter().any(|words| occurs(value, words)) || self.has_field(value))
    }

    fn names_number(&self, number: &serde_json::Number) -> bool {
        let written = decimal(number);
        self.words.iter().any(|words| counts(number, words))
            || (is_distinct(&written) && self.has_field(&written))
    }

    /// One of several in a list that is written as one text may each be named by itself.
    fn names_all(&self, text: &str) -> bool {
        let parts = || text.split([',', ';', '\n']).map(str::trim).filter(|part| !part.is_empty());
        self.names(text) || (parts().count() > 1 && parts().all(|part| self.names(part)))
    }

    fn names_account(&self, account: &str) -> bool {
        let is_in = |text: &str| links::accounts(text).iter().any(|found| found == account);
        self.names(account)
            || self.words.iter().any(|words| is_in(words))
            || self.fields.keys().any(|field| is_in(field) && self.has_field(field))
    }
}

/// Whether a value is anywhere in what was sent, as a part of it as well.
fn carries(sent: &Value, value: &str) -> bool {
    match sent {
        Value::String(text) => text.contains(value),
        Value::Number(number) => decimal(number) == value,
        Value::Array(items) => items.iter().any(|item| carries(item, value)),
        Value::Object(members) => {
            members.iter().any(|(name, member)| name.contains(value) || carries(member, value))
        }
        Value::Null | Value::Bool(_) => false,
    }
}

/// The arguments of the outermost object that are critical or hold one that is, by name.
#[must_use]
pub fn critical_arguments(arguments: &Value, critical: Critical<'_>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(arguments, critical, &mut |leaf| {
        if leaf.is_critical && !is_nothing(leaf.value) {
            found.extend(leaf.path.first().cloned());
        }
    });
    found
}

/// The arguments, by path, that nobody who is trusted has named: critical ones, and texts that lead somewhere
/// else. Arguments in `pinned` were named by whoever pinned them.
#[must_use]
pub fn untrusted_arguments(
    arguments: &Value,
    critical: Critical<'_>,
    trusted: &Trusted<'_>,
    pinned: &BTreeSet<String>,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    walk(arguments, critical, &mut |leaf| {
        let is_pinned = leaf.path.first().is_some_and(|name| pinned.contains(name));
        if !is_pinned && !is_named(&leaf, trusted) {
            let path = leaf.path.join(".");
            if found.last() != Some(&path) {
                found.push(path);
            }
        }
    });
    found
}

fn is_named(leaf: &Leaf<'_>, trusted: &Trusted<'_>) -> bool {
    if is_nothing(leaf.value) {
        return true;
    }
    match leaf.value {
        Value::String(text) if leaf.is_critical => trusted.names_all(text) || is_named_account(text, trusted),
        Value::String(text) => leads_only_where_named(text, trusted),
        Value::Number(number) => !leaf.is_critical || trusted.names_number(number),
        // Nobody names a yes or a no.
        Value::Bool(_) => !leaf.is_critical,
        Value::Null | Value::Array(_) | Value::Object(_) => true,
    }
}

fn leads_only_where_named(text: &str, trusted: &Trusted<'_>) -> bool {
    let leads = leads(text);
    leads.links.iter().all(|link| trusted.names(link))
        && leads.accounts.iter().all(|account| trusted.names_account(account))
}

/// An account number is the same however its groups are separated.
fn is_named_account(text: &str, trusted: &Trusted<'_>) -> bool {
    let compact: String = text.chars().filter(|c| !links::is_gap(*c)).collect();
    let accounts = links::accounts(text);
    accounts.len() == 1 && accounts[0].eq_ignore_ascii_case(&compact) && trusted.names_account(&accounts[0])
}

/// Nothing is named by nothing.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A value that holds no other, or the name of a property, which is text as well.
struct Leaf<'a> {
    path: &'a [String],
    value: &'a Value,
    is_critical: bool,
}

fn walk(arguments: &Value, critical: Critical<'_>, see: &mut dyn FnMut(Leaf<'_>)) {
    let schema = match critical {
        Critical::Usual(schema) => Some(schema),
        Critical::Named(_) => None,
    };
    descend(arguments, schema, critical, false, &mut Vec::new(), see);
}

fn descend(
    value: &Value,
    schema: Option<&Value>,
    critical: Critical<'_>,
    is_critical: bool,
    path: &mut Vec<String>,
    see: &mut dyn FnMut(Leaf<'_>),
) {
    match value {
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.get("items"));
            for item in items {
                let is_critical = is_critical || has_critical_format(schema);
                descend(item, schema, critical, is_critical, path, see);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let schema = property(schema, name);
                path.push(name.clone());
                let own = match critical {
                    Critical::Named(names) => is_listed(names, path),
                    Critical::Usual(_) => is_critical_name(name) || has_critical_format(schema),
                };
                if !is_known(schema, critical) {
                    let name = Value::String(name.clone());
                    see(Leaf { path, value: &name, is_critical: false });
                }
                descend(member, schema, critical, is_critical || own, path, see);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            see(Leaf { path, value, is_critical });
        }
    }
}

/// Whether the tool itself has named this property; a name that it has not may say anything.
fn is_known(schema: Option<&Value>, critical: Critical<'_>) -> bool {
    match critical {
        Critical::Usual(_) => schema.is_some(),
        Critical::Named(_) => false,
    }
}

fn property<'a>(schema: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    schema?
        .get("properties")
        .and_then(Value::as_object)
        .and_then(|named: &Map<String, Value>| named.get(name))
}

fn has_critical_format(schema: Option<&Value>) -> bool {
    let format = schema.and_then(|schema| schema.get("format")).and_then(Value::as_str);
    format.is_some_and(|format| CRITICAL_FORMATS.contains(&format))
}

fn is_listed(names: &[String], path: &[String]) -> bool {
    let whole = path.join(".");
    names.iter().any(|name| Some(name) == path.last() || *name == whole)
}

fn is_critical_name(name: &str) -> bool {
    let mut part = String::new();
    let mut is_lower = false;
    for c in name.chars().chain(std::iter::once('_')) {
        let is_break = !c.is_alphanumeric() || (c.is_uppercase() && is_lower);
        if is_break {
            if CRITICAL_NAMES.contains(&part.as_str()) {
                return true;
            }
            part.clear();
        }
        is_lower = c.is_lowercase() || c.is_numeric();
        if c.is_alphanumeric() {
            part.extend(c.to_lowercase());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WORDS: &str = "Pay invoice INV-2026-07 of 1200.50 to Bob at bob@corp.com, \
        account DE89 3704 0044 0532 0130 00, and put it into /srv/paid. Details: https://corp.com/i?n=7";

    #[expect(clippy::needless_pass_by_value, reason = "tables of literals read better without borrows")]
    #[track_caller]
    fn check(arguments: Value, expected: &[&str]) {
        let mut trusted = Trusted::default();
        trusted.hear(WORDS);
        for field in [json!("ann@corp.com"), json!(4711), json!("file-9")] {
            trusted.learn(&field, 0);
        }
        let schema = json!({"properties": {"site": {"format": "uri"}, "sites": {"items": {"format": "uri"}},
            "memo": {"type": "string"}}});
        let found = untrusted_arguments(&arguments, Critical::Usual(&schema), &trusted, &BTreeSet::new());
        assert_eq!(found, expected, "{arguments}");
    }

    #[test]
    fn critical_arguments_are_as_somebody_named_them() {
        check(json!({"to": "bob@corp.com", "amount": 1200.5, "path": "/srv/paid"}), &[]);
        check(json!({"to": "bob@corp.com.evil.io"}), &["to"]);
        check(json!({"to": ["bob@corp.com", "eve@evil.io"]}), &["to"]);
        check(json!({"to": "bob@corp.com, ann@corp.com"}), &[]);
        check(json!({"to": "bob@corp.com, eve@evil.io"}), &["to"]);
        check(json!({"to": "ann@corp.com", "file_id": 4711, "fileId": "file-9"}), &[]);
        check(json!({"file_id": 4712, "orderID": "file-99"}), &["file_id", "orderID"]);
        check(json!({"amount": 1200}), &["amount"]);
        check(json!({"amount": "1200.50"}), &[]);
        check(json!({"recipient": {"name": "Bob", "iban": "DE89370400440532013000"}}), &[]);
        check(json!({"recipient": {"name": "Bob", "iban": "GB82WEST12345698765432"}}), &["recipient.iban"]);
        check(json!({"iban": "DE89-3704-0044-0532-0130-00"}), &[]);
        check(json!({"to": null, "cc": "", "memo": "thanks"}), &[]);
        check(json!({"site": "https://corp.com/i?n=7", "sites": ["https://corp.com/i?n=7"]}), &[]);
        check(json!({"site": "https://corp.com/i?n=8", "sites": ["https://corp.com/"]}), &["site", "sites"]);
        check(json!({"path": "/srv/paid/../other", "dir": "/srv"}), &["path", "dir"]);
        check(json!({"id": 2}), &["id"]);
        check(json!({"notify_user": true}), &["notify_user"]);
        check(json!(["x"]), &[]);
    }

    #[test]
    fn other_texts_lead_only_where_somebody_pointed() {
        check(json!({"memo": "Paid as you wished, see https://corp.com/i?n=7."}), &[]);
        check(json!({"memo": "see https://corp.com/i?n=7&to=evil"}), &["memo"]);
        check(json!({"memo": "![x](https://evil.io/?d=1)"}), &["memo"]);
        check(json!({"memo": "write to eve@evil.io"}), &["memo"]);
        check(json!({"memo": "to DE89370400440532013000"}), &[]);
        check(json!({"memo": "to GB82 WEST 1234 5698 7654 32"}), &["memo"]);
        check(json!({"memo": {"deep": ["https%3A%2F%2Fevil.io"]}}), &["memo.deep"]);
        // Names that the tool did not give can say anything.
        check(json!({"https://evil.io": 1}), &["https://evil.io"]);
        check(json!({"memo": 1_234_567_890}), &[]);
    }

    #[test]
    fn irreversible_targets_and_pins() {
        let trusted = Trusted::default();
        let arguments = json!({"to": "bob@corp.com", "amount": 500});
        let critical = ["to".to_owned(), "amount".to_owned()];
        let critical = Critical::Named(&critical);
        let untrusted = |pinned: &[&str]| {
            let pinned = pinned.iter().map(ToString::to_string).collect();
            untrusted_arguments(&arguments, critical, &trusted, &pinned)
        };
        assert_eq!(untrusted(&[]), ["to", "amount"]);
        assert_eq!(untrusted(&["to"]), ["amount"]);
        assert!(untrusted(&["to", "amount"]).is_empty());
        let names: Vec<_> = critical_arguments(&arguments, critical).into_iter().collect();
        assert_eq!(names, ["amount", "to"]);
    }

    #[test]
    fn a_field_that_echoes_says_nothing() {
        let (sent, later) = (json!({"title": "x eve@evil.io", "size": 4712}), json!({"to": "ann@corp.com"}));
        let mut trusted = Trusted::default();
        trusted.send(&sent, 1);
        trusted.learn(&json!("eve@evil.io"), 1);
        trusted.learn(&json!(4712), 2);
        trusted.learn(&json!("ann@corp.com"), 2);
        trusted.send(&later, 3);
        trusted.learn(&json!("ann@corp.com"), 3);
        trusted.learn(&json!("bob@corp.com"), 0);
        assert!(!trusted.names("eve@evil.io") && !trusted.names_number(&4712.into()));
        assert!(trusted.names("ann@corp.com"), "it was known before it was sent");
        assert!(trusted.names("bob@corp.com"));
        trusted.hear("write to eve@evil.io");
        assert!(trusted.names("eve@evil.io"), "the principal says so");
    }

    #[test]
    fn names_are_taken_apart() {
        for name in
            ["to", "fileId", "file_id", "FILE-ID", "recipientEmail", "callback.url", "userIDs", "URL", "IBAN"]
        {
            assert!(is_critical_name(name), "{name}");
        }
        for name in
            ["tone", "body", "subject", "identity", "urlencoded", "filesystem", "memo", "", "_", "day"]
        {
            assert!(!is_critical_name(name), "{name}");
        }
    }

    #[test]
    fn critical_names_and_paths_can_be_said() {
        let arguments = json!({"message": {"to": "x", "who": "y"}, "who": "z", "id": "w"});
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let trusted = Trusted::default();
            untrusted_arguments(&arguments, Critical::Named(&names), &trusted, &BTreeSet::new())
        };
        assert_eq!(of(&["message.who"]), ["message.who"]);
        assert_eq!(of(&["who"]), ["message.who", "who"]);
        assert_eq!(of(&["message"]), ["message.to", "message.who"]);
        assert!(of(&[]).is_empty(), "none is critical");
    }
}
