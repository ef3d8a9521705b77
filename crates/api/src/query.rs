//! Query strings and pages of lists.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_store::{Order, Page};

use crate::error::{ApiError, Dialect};
use crate::read::shortened;

/// Things on one page when the client names no number.
const LIMIT_DEFAULT: usize = 20;
/// Things on one page at most.
const LIMIT_MAX: usize = 100;
/// Pairs of one metadata filter.
const METADATA_FILTERS_MAX: usize = 16;
/// Names under which keys are put into URLs by mistake; URLs end up in logs.
const CREDENTIAL_NAMES: &[&str] =
    &["api_key", "apikey", "api-key", "key", "token", "access_token", "auth", "authorization"];

/// Decoded pairs, in the order they were sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

/// What happens to a limit out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The nearest allowed one is used.
    Clamped,
    /// The request is refused.
    Strict,
}

impl Query {
    /// Decodes a query string; a credential in it is refused before anything else happens.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode(name).zip(decode(value));
            let Some(pair) = decoded else {
                return Err(ApiError::invalid("The query string is not valid UTF-8 text.").code("bad_query"));
            };
            pairs.push(pair);
        }
        let is_credential = |(name, value): &(String, String)| {
            let is_named = CREDENTIAL_NAMES.iter().any(|known| known.eq_ignore_ascii_case(name));
            is_named || crate::keys::looks_like_key(value)
        };
        if pairs.iter().any(is_credential) {
            tracing::warn!("a request carried a credential in its URL; that key should be revoked");
            let message = "Credentials do not belong in a URL; send the key in the Authorization header and \
                           revoke it if it was sent.";
            return Err(ApiError::invalid(message).code("credential_in_url"));
        }
        Ok(Self { pairs })
    }

    /// The decoded pairs, in the order they were sent.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The one value of `name`.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values =
            self.pairs.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(repeated(name)),
        }
    }

    /// The values of `name` and of `name[]`.
    pub(crate) fn many(&self, name: &str) -> Result<Vec<&str>, ApiError> {
        let listed = format!("{name}[]");
        let mut values: Vec<&str> = self
            .pairs
            .iter()
            .filter(|(found, _)| *found == listed)
            .map(|(_, value)| value.as_str())
            .collect();
        values.extend(self.one(name)?);
        Ok(values)
    }

    /// Pairs sent as `name[key]=value`.
    pub(crate) fn map(&self, name: &str) -> Result<BTreeMap<String, String>, ApiError> {
        let mut map = BTreeMap::new();
        for (found, value) in &self.pairs {
            let key = found.strip_prefix(name).and_then(|rest| rest.strip_prefix('['));
            let Some(key) = key.and_then(|rest| rest.strip_suffix(']')) else { continue };
            if map.insert(key.to_owned(), value.clone()).is_some() {
                return Err(repeated(found));
            }
        }
        if map.len() > METADATA_FILTERS_MAX {
            return Err(bad(name, &format!("expected at most {METADATA_FILTERS_MAX} pairs")));
        }
        Ok(map)
    }

    /// Refuses what is sent twice and, in the strict dialect, what is not one of `known`.
    pub(crate) fn check(&self, dialect: Dialect, known: &[&str]) -> Result<(), ApiError> {
        let mut seen = BTreeSet::new();
        for (name, _) in &self.pairs {
            if !seen.insert(name) && !name.ends_with("[]") {
                return Err(repeated(name));
            }
            if dialect == Dialect::Problem && !known.contains(&name.as_str()) {
                let name = shortened(name);
                let message = format!("Unknown query parameter: '{name}'.");
                return Err(ApiError::invalid(message).code("unknown_parameter").param(name));
            }
        }
        Ok(())
    }

    /// The page a client asks for, with one more than it gets, so that it can be told whether more follow.
    pub(crate) fn page(&self, limit: Limit) -> Result<Page, ApiError> {
        let order = match self.one("order")? {
            None | Some("desc") => Order::Descending,
            Some("asc") => Order::Ascending,
            Some(_) => return Err(bad("order", "expected 'asc' or 'desc'")),
        };
        let after = match self.one("after")? {
            Some("") => return Err(crate::error::bad_cursor()),
            after => after.map(str::to_owned),
        };
        let limit = self.limit(limit)?;
        Ok(Page { after, limit: limit + 1, order })
    }

    fn limit(&self, rule: Limit) -> Result<usize, ApiError> {
        let Some(text) = self.one("limit")? else { return Ok(LIMIT_DEFAULT) };
        let range = || bad("limit", &format!("expected an integer from 1 to {LIMIT_MAX}"));
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(range());
        }
        // A number too large for the type is out of range like any other.
        let number = text.parse::<i64>().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX });
        let clamped = number.clamp(1, LIMIT_MAX as i64);
        if rule == Limit::Strict && clamped != number {
            return Err(range());
        }
        Ok(usize::try_from(clamped).unwrap_or(LIMIT_DEFAULT))
    }
}

fn bad(name: &str, why: &str) -> ApiError {
    ApiError::invalid(format!("Invalid '{name}': {why}.")).code("bad_parameter").param(name)
}

fn repeated(name: &str) -> ApiError {
    bad(&shortened(name), "it is given more than once")
}

/// Undoes percent-encoding and `+`; nothing for text that is not UTF-8, has a NUL or a stray `%`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                rest = tail;
                hex(digits)?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// The byte of two hexadecimal digits.
pub(crate) fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u8::from_str_radix(text, 16).ok()
}

/// Cuts `rows`, one more than asked for, to the page, and says whether more follow.
pub(crate) fn cut<T>(rows: &mut Vec<T>, page: &Page) -> bool {
    let has_more = rows.len() >= page.limit;
    rows.truncate(page.limit - 1);
    has_more
}

/// The list envelope.
pub(crate) fn list(data: Vec<Value>, has_more: bool) -> Response {
    let id = |item: Option<&Value>| item.and_then(|item| item.get("id")).cloned().unwrap_or_default();
    let mut envelope = json!({
        "object": "list",
        "first_id": id(data.first()),
        "last_id": id(data.last()),
        "has_more": has_more,
    });
    envelope["data"] = Value::Array(data);
    Json(envelope).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).expect("a query")
    }

    #[test]
    fn limits_are_clamped_or_refused() {
        for (text, clamped, strict) in [
            ("", Some(21), Some(21)),
            ("limit=1", Some(2), Some(2)),
            ("limit=100", Some(101), Some(101)),
            ("limit=0", Some(2), None),
            ("limit=-1", Some(2), None),
            ("limit=1000000000", Some(101), None),
            ("limit=99999999999999999999999", Some(101), None),
            ("limit=abc", None, None),
            ("limit=1e9", None, None),
            ("limit=", None, None),
            ("limit=1&limit=2", None, None),
        ] {
            let limit = |rule| query(text).page(rule).ok().map(|page| page.limit);
            assert_eq!((limit(Limit::Clamped), limit(Limit::Strict)), (clamped, strict), "{text}");
        }
    }

    #[test]
    fn orders_and_cursors() {
        assert_eq!(query("").page(Limit::Clamped).expect("a page").order, Order::Descending);
        assert_eq!(query("order=asc").page(Limit::Clamped).expect("a page").order, Order::Ascending);
        assert!(query("order=up").page(Limit::Clamped).is_err());
        assert!(query("after=").page(Limit::Clamped).is_err());
    }

    #[test]
    fn filters_by_pairs_and_words() {
        let query = query("metadata%5Ba%5D=1&metadata[b]=x+y&status[]=idle&status%5B%5D=failed&other=1");
        let pairs = query.map("metadata").expect("pairs");
        assert_eq!(
            pairs.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "x y".to_owned())]
        );
        assert_eq!(query.many("status").expect("words"), ["idle", "failed"]);
        assert!(query.check(Dialect::OpenAi, &[]).is_ok());
        assert!(query.check(Dialect::Problem, &["other"]).is_err());
    }

    #[test]
    fn refuses_what_cannot_be_text_and_what_is_secret() {
        for text in ["a=%ff", "a=%00", "a=%g0", "a=%2", "a=%+1"] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
        for text in ["api_key=x", "x=1&Access_Token=y", "q=tnr_00_11_22"] {
            let error = Query::parse(text).expect_err("a credential");
            assert_eq!(error.stable_code(), "credential_in_url", "{text}");
        }
    }

    #[test]
    fn a_page_says_whether_more_follow() {
        let page = query("limit=2").page(Limit::Clamped).expect("a page");
        let mut rows = vec![1, 2, 3];
        assert!(cut(&mut rows, &page));
        assert_eq!(rows, [1, 2]);
        assert!(!cut(&mut rows, &page));
    }
}
