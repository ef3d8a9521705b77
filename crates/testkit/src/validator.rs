//! A strict reading of upstream requests, in every wire format.
//!
//! Providers differ in what they refuse; this refuses what any of them might. A runtime whose every request
//! passes here never sends a transcript that some provider rejects, whatever happened to the session before.
//! The rules come from the public API references. Each violation is one line of text that begins with the
//! place, such as `input[3]: …`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

mod anthropic;
mod chat;
mod converse;
mod responses;
mod tools;

pub use anthropic::validate as anthropic;
pub use chat::validate as chat;
pub use converse::validate as converse;
pub use responses::validate as responses;

/// Bytes of a call's id.
const CALL_ID_BYTES_MAX: usize = 64;

/// What is wrong with a request, so far.
#[derive(Default)]
struct Report {
    violations: Vec<String>,
}

impl Report {
    fn add(&mut self, at: &str, message: impl AsRef<str>) {
        self.violations.push(format!("{at}: {}", message.as_ref()));
    }

    /// The object at `at`, none of whose members is unknown.
    fn object<'v>(&mut self, value: &'v Value, at: &str, members: &[&str]) -> Option<&'v Map<String, Value>> {
        let Some(object) = value.as_object() else {
            self.add(at, "must be an object");
            return None;
        };
        for key in object.keys().filter(|key| !members.contains(&key.as_str())) {
            self.add(at, format!("unknown member `{key}`"));
        }
        Some(object)
    }

    /// A string member that must be there.
    fn string<'v>(&mut self, object: &'v Map<String, Value>, key: &str, at: &str) -> Option<&'v str> {
        let found = object.get(key).and_then(Value::as_str);
        if found.is_none() {
            self.add(at, format!("`{key}` must be a string"));
        }
        found
    }

    /// A string member that must say something.
    fn words<'v>(&mut self, object: &'v Map<String, Value>, key: &str, at: &str) -> Option<&'v str> {
        let found = self.string(object, key, at);
        if found == Some("") {
            self.add(at, format!("`{key}` is empty"));
        }
        found
    }

    /// A member that, if there, is one of a few words.
    fn choice(&mut self, object: &Map<String, Value>, key: &str, words: &[&str], at: &str) {
        if let Some(value) = object.get(key)
            && !value.as_str().is_some_and(|word| words.contains(&word))
        {
            self.add(at, format!("`{key}` must be one of {}", words.join(", ")));
        }
    }

    /// A member that, if there, is a boolean.
    fn boolean(&mut self, object: &Map<String, Value>, key: &str, at: &str) {
        if object.get(key).is_some_and(|value| !value.is_boolean()) {
            self.add(at, format!("`{key}` must be true or false"));
        }
    }

    /// An image, by URL.
    fn image(&mut self, url: Option<&Value>, at: &str) {
        let is_image = url
            .and_then(Value::as_str)
            .is_some_and(|url| url.starts_with("https://") || url.starts_with("http://") || is_data_url(url));
        if !is_image {
            self.add(at, "an image must be an `https:` or a base64 `data:image/…` URL");
        }
    }
}

fn is_data_url(url: &str) -> bool {
    let rest = url.strip_prefix("data:image/");
    rest.and_then(|rest| rest.split_once(";base64,")).is_some_and(|(kind, data)| {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        !kind.is_empty() && !data.is_empty() && data.bytes().all(is_base64)
    })
}

/// Calls and their results, as they must pair up.
///
/// ```text
///   call ──▶ Open ── result ──▶ closed
///              └── any message, or the end: a violation
/// ```
#[derive(Default)]
struct Pairing {
    seen: BTreeSet<String>,
    open: Vec<String>,
}

impl Pairing {
    fn call(&mut self, id: &str, at: &str, report: &mut Report) {
        if id.is_empty() {
            report.add(at, "the call's id is empty");
        } else if id.len() > CALL_ID_BYTES_MAX {
            report.add(at, "the call's id is longer than 64 bytes");
        } else if !self.seen.insert(id.to_owned()) {
            report.add(at, format!("a second call with the id `{id}`"));
        }
        self.open.push(id.to_owned());
    }

    fn result(&mut self, id: &str, at: &str, report: &mut Report) {
        match self.open.iter().position(|open| open == id) {
            Some(index) => drop(self.open.remove(index)),
            None if self.seen.contains(id) => report.add(at, format!("a second result of the call `{id}`")),
            None => report.add(at, format!("a result without a call: `{id}`")),
        }
    }

    fn closed(&mut self, at: &str, report: &mut Report) {
        for id in self.open.drain(..) {
            report.add(at, format!("the call `{id}` has no result before this"));
        }
    }
}
