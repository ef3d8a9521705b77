//! Whether a call rests on a grant.

use std::collections::BTreeSet;

use serde_json::{Number, Value};
use tenure_journal::{Grant, Timestamp};

/// Whether `grant` covers a call of `tool` with these arguments at `now`.
///
/// Every argument that it pins must be as pinned, and each name in `critical` must be pinned. How often it was
/// used before is its holder's to know.
#[must_use]
pub fn covers(
    grant: &Grant,
    tool: &str,
    arguments: &Value,
    critical: &BTreeSet<String>,
    now: Timestamp,
) -> bool {
    let given = |name: &str| arguments.get(name).unwrap_or(&Value::Null);
    grant.tool == tool
        && grant.expires_at.is_none_or(|expires_at| now < expires_at)
        && grant.arguments.iter().all(|(name, pin)| is_same(pin, given(name)))
        && critical.iter().all(|name| grant.arguments.contains_key(name))
}

/// Equality of JSON values; a number is what it counts, however it is written.
fn is_same(pin: &Value, given: &Value) -> bool {
    match (pin, given) {
        (Value::Number(pin), Value::Number(given)) => is_same_number(pin, given),
        (Value::Array(pin), Value::Array(given)) => {
            pin.len() == given.len() && pin.iter().zip(given).all(|(pin, given)| is_same(pin, given))
        }
        (Value::Object(pin), Value::Object(given)) => {
            let same = |(name, pin)| given.get(name).is_some_and(|given| is_same(pin, given));
            pin.len() == given.len() && pin.iter().all(same)
        }
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => pin == given,
    }
}

fn is_same_number(pin: &Number, given: &Number) -> bool {
    crate::words::decimal(pin) == crate::words::decimal(given)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tenure_journal::GrantSource;

    use super::*;

    const TOOL: &str = "bank/pay";

    fn grant(arguments: Value) -> Grant {
        Grant {
            tool: TOOL.to_owned(),
            arguments: serde_json::from_value(arguments).expect("a map"),
            uses_max: 1,
            expires_at: Some(Timestamp::from_millis(10)),
            by: GrantSource::Caller,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "tables of literals read better without borrows")]
    fn covered(pins: Value, critical: &[&str], arguments: Value) -> bool {
        let critical = critical.iter().map(ToString::to_string).collect();
        covers(&grant(pins), TOOL, &arguments, &critical, Timestamp::from_millis(9))
    }

    #[test]
    fn every_pin_and_every_critical_argument_must_fit() {
        let pins = || json!({"to": "CH1", "amount": 50});
        assert!(covered(pins(), &["to", "amount"], json!({"to": "CH1", "amount": 50, "memo": "any"})));
        assert!(covered(pins(), &["to"], json!({"to": "CH1", "amount": 50.0})));
        assert!(!covered(pins(), &["to"], json!({"to": "CH1", "amount": 51})));
        assert!(!covered(pins(), &["to"], json!({"to": "CH1"})), "a pinned argument is there");
        assert!(!covered(pins(), &["to"], json!({"to": "ch1", "amount": 50})));
        assert!(!covered(pins(), &["to"], json!({"to": ["CH1"], "amount": 50})));
        assert!(!covered(pins(), &["to"], json!({"to": "CH1 ", "amount": 50})));
        assert!(!covered(pins(), &["to"], json!({"to": "CH1", "amount": "50"})), "a text is no number");
        assert!(!covered(json!({"amount": 50}), &["to", "amount"], json!({"to": "CH1", "amount": 50})));
        assert!(covered(json!({}), &[], json!({"memo": "any"})), "nothing is critical");
        assert!(covered(json!({"to": null}), &[], json!({"memo": "any"})), "pinned to be left out");
        assert!(!covered(json!({"to": null}), &[], json!({"to": "CH1"})));
        assert!(!covered(json!({"to": [1, 2]}), &["to"], json!({"to": [1, 2, 3]})));
        assert!(!covered(json!({"to": {"a": 1}}), &["to"], json!({"to": {"a": 1, "b": 2}})));
        assert!(covered(json!({"to": {"a": 1.0}}), &["to"], json!({"to": {"a": 1}})));
    }

    #[test]
    fn a_grant_is_for_one_tool_and_ends() {
        let (none, arguments) = (BTreeSet::new(), json!({}));
        let at = |tool, now| covers(&grant(json!({})), tool, &arguments, &none, Timestamp::from_millis(now));
        assert!(at(TOOL, 9) && !at(TOOL, 10) && !at("bank/pay2", 9) && !at("evil/pay", 9) && !at("pay", 9));
        let forever = Grant { expires_at: None, ..grant(json!({})) };
        assert!(covers(&forever, TOOL, &arguments, &none, Timestamp::from_millis(i64::MAX)));
    }
}
