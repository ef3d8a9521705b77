//! Records in the form of the Open Cybersecurity Schema Framework, version 1.4, one JSON object a line: what a SIEM
//! reads.
//!
//! Every record is an *API Activity* (class 6003): somebody asked for an operation on a resource, and something came
//! of it. The record itself is in `unmapped`, so nothing is lost on the way and its hash can be computed there.

use serde_json::{Value, json};

use super::super::output::text;

const CATEGORY: u64 = 6;
const CLASS: u64 = 6003;

/// One record of the log `origin`.
pub(super) fn event(origin: &str, index: u64, record: &Value) -> Value {
    let fact = &record["fact"];
    let word = |name: &str| text(fact, name).to_owned();
    let operation = match word("/action") {
        action if action.is_empty() => word("/type"),
        action => action,
    };
    let (activity_id, activity_name) = activity(fact, &operation);
    let (status_id, status) = status(fact);
    let mut event = json!({
        "activity_id": activity_id,
        "activity_name": activity_name,
        "category_uid": CATEGORY,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "type_uid": CLASS * 100 + activity_id,
        "time": record["at"],
        "severity_id": if status_id == 2 { 3 } else { 1 },
        "status_id": status_id,
        "status": status,
        "metadata": {"version": "1.4.0", "uid": index.to_string(), "log_name": origin, "sequence": index,
            "product": {"name": "Tenure", "vendor_name": "Tenure", "version": env!("CARGO_PKG_VERSION")}},
        "api": {"operation": operation, "service": {"name": "tenure"}},
        // Addresses are not recorded: who asked is known by what they showed.
        "src_endpoint": {"name": origin},
        "actor": actor(record),
        "unmapped": record,
    });
    let resource = word("/resource");
    if !resource.is_empty() {
        event["resources"] = json!([{"name": resource}]);
    }
    event
}

fn actor(record: &Value) -> Value {
    let mut actor = json!({});
    let by = text(record, "/fact/by");
    if !by.is_empty() {
        actor["user"] = json!({"uid": by});
    }
    let (agent, session) = (text(record, "/agent"), text(record, "/session"));
    if !agent.is_empty() {
        actor["app_name"] = json!("agent");
        actor["app_uid"] = json!(agent);
    } else if by.is_empty() {
        actor["app_name"] = json!("tenure");
    }
    if !session.is_empty() {
        actor["session"] = json!({"uid": session});
    }
    actor
}

fn activity(fact: &Value, operation: &str) -> (u64, &'static str) {
    let verb = operation.rsplit(['.', '_']).next().unwrap_or_default();
    match (text(fact, "/type"), verb) {
        ("read", _) | (_, "list" | "read") => (2, "Read"),
        (_, "create" | "opened" | "forked" | "requested") => (1, "Create"),
        (_, "update" | "updated" | "rewound" | "decided" | "publish") => (3, "Update"),
        (_, "delete" | "deleted" | "revoke") => (4, "Delete"),
        (_, _) => (99, "Other"),
    }
}

fn status(fact: &Value) -> (u64, &'static str) {
    match (text(fact, "/type"), text(fact, "/outcome")) {
        ("refused" | "session_failed", _) | (_, "failed" | "denied") => (2, "Failure"),
        (_, "unknown") => (0, "Unknown"),
        (_, _) => (1, "Success"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_an_activity() {
        let table = [
            (json!({"type": "allowed", "action": "tool.call", "resource": "pay/refund"}), 99, 1, "tool.call"),
            (json!({"type": "refused", "action": "tool.call", "resource": "pay/refund"}), 99, 2, "tool.call"),
            (json!({"type": "attempt_ended", "outcome": "unknown"}), 99, 0, "attempt_ended"),
            (json!({"type": "session_opened"}), 1, 1, "session_opened"),
            (
                json!({"type": "changed", "action": "keys.revoke", "by": "key_1", "outcome": "done"}),
                4,
                1,
                "keys.revoke",
            ),
            (
                json!({"type": "changed", "action": "agent.update", "by": "key_1", "outcome": "denied"}),
                3,
                2,
                "agent.update",
            ),
            (json!({"type": "read", "action": "GET /files", "by": "person_1"}), 2, 1, "GET /files"),
        ];
        for (fact, activity, status, operation) in table {
            let record =
                json!({"at": 7, "project": "proj_1", "agent": "agt_1", "session": "sess_1", "fact": fact});
            let event = event("tenure/proj_1", 41, &record);
            assert_eq!(event["activity_id"], activity, "{fact}");
            assert_eq!(
                (&event["status_id"], &event["type_uid"]),
                (&json!(status), &json!(600_300 + activity))
            );
            assert_eq!((&event["api"]["operation"], &event["time"]), (&json!(operation), &json!(7)));
            assert_eq!((&event["metadata"]["uid"], &event["unmapped"]), (&json!("41"), &record));
            let by = fact["by"].as_str();
            assert_eq!(event["actor"]["user"]["uid"].as_str(), by, "{fact}");
        }
    }
}
