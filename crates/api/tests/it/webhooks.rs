//! `/v1/tenure/webhooks` through the app.

use serde_json::{Value, json};

use crate::support::{OTHER_KEY, World};

const PATH: &str = "/v1/tenure/webhooks";

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

#[tokio::test]
async fn webhooks_are_made_changed_listed_and_deleted() {
    let world = World::new().await;
    let url = "https://hooks.example/a";
    let (status, made) = world.call("POST", PATH, Some(json!({"url": url}))).await;
    assert_eq!((status, &made["object"]), (201, &json!("webhook_endpoint")));
    assert_eq!(made["event_types"].as_array().map(Vec::len), Some(5));
    let secret = made["signing_secret"].as_str().expect("a secret");
    assert!(secret.starts_with("whsec_"));
    let path = format!("{PATH}/{}", id(&made));
    let (_, shown) = world.call("GET", &path, None).await;
    assert_eq!(shown.get("signing_secret"), None, "a secret is shown once");
    assert_eq!(shown["signing_secret_hint"], made["signing_secret_hint"]);
    assert!(!shown.to_string().contains(&secret[6..20]));

    let change = json!({"name": "crm", "event_types": ["agent.session.idle", "agent.session.idle"]});
    let (status, changed) = world.call("POST", &path, Some(change)).await;
    assert_eq!((status, &changed["name"], &changed["url"]), (200, &json!("crm"), &json!(url)));
    assert_eq!(changed["event_types"], json!(["agent.session.idle"]));
    let (status, rotated) = world.call("POST", &format!("{path}/rotate_secret"), None).await;
    assert_eq!(status, 200);
    assert_ne!(rotated["signing_secret"], made["signing_secret"]);
    let (_, list) = world.call("GET", &format!("{PATH}?limit=1"), None).await;
    assert_eq!((&list["has_more"], &list["data"][0]["id"]), (&json!(false), &made["id"]));
    let (status, dead) = world.call("GET", &format!("{path}/dead_letters"), None).await;
    assert_eq!((status, &dead["data"]), (200, &json!([])));
    let missing = format!("{path}/dead_letters/dlv_1/redeliver");
    assert_eq!(world.call("POST", &missing, None).await.0, 404);

    let (status, deleted) = world.call("DELETE", &path, None).await;
    assert_eq!((status, &deleted["deleted"]), (200, &json!(true)));
    assert_eq!(world.call("DELETE", &path, None).await.0, 404);
    assert_eq!(world.call("GET", &format!("{path}/dead_letters"), None).await.0, 404);
}

#[tokio::test]
async fn what_cannot_be_a_webhook_is_refused() {
    let world = World::new().await;
    for (body, code, param) in [
        (json!({}), "missing_required_parameter", "url"),
        (json!({"url": "http://hooks.example/"}), "url_not_allowed", "url"),
        (json!({"url": "https://127.0.0.1/"}), "url_not_allowed", "url"),
        (json!({"url": "https://169.254.169.254/latest/meta-data"}), "url_not_allowed", "url"),
        (json!({"url": "https://user:word@hooks.example/"}), "url_not_allowed", "url"),
        (json!({"url": "https://a.example/", "event_types": []}), "empty_array", "event_types"),
        (json!({"url": "https://a.example/", "event_types": ["x"]}), "invalid_value", "event_types[0]"),
        (json!({"url": "https://a.example/", "secret": "x"}), "unknown_parameter", "secret"),
    ] {
        let (status, refused) = world.call("POST", PATH, Some(body.clone())).await;
        assert_eq!(
            (status, &refused["code"], &refused["param"]),
            (400, &json!(code), &json!(param)),
            "{body}"
        );
    }
    let url = json!({"url": "https://hooks.example/"});
    for number in 0..33 {
        let (status, refused) = world.call("POST", PATH, Some(url.clone())).await;
        assert_eq!(status, if number < 32 { 201 } else { 409 }, "{refused}");
    }
}

#[tokio::test]
async fn a_webhook_is_its_projects_and_its_administrators() {
    let world = World::new().await;
    let body = Some(json!({"url": "https://hooks.example/"}));
    let (_, made) = world.call("POST", PATH, body.clone()).await;
    let path = format!("{PATH}/{}", id(&made));
    let other = format!("Bearer {OTHER_KEY}");
    for method in ["GET", "DELETE"] {
        let (status, _) = world.call_with(method, &path, None, &[("authorization", &other)]).await;
        assert_eq!(status, 404, "{method}");
    }
    let reader = format!("Bearer {}", world.read_only);
    for (method, path) in [("GET", PATH), ("POST", PATH), ("GET", path.as_str())] {
        let (status, refused) = world.call_with(method, path, None, &[("authorization", &reader)]).await;
        assert_eq!((status, &refused["code"]), (403, &json!("insufficient_scope")), "{method} {path}");
    }
}

#[tokio::test]
async fn a_repeated_request_acts_once_and_shows_no_secret() {
    let world = World::new().await;
    let body = Some(json!({"url": "https://hooks.example/"}));
    let key = [("idempotency-key", "k1")];
    let (_, made) = world.call_with("POST", PATH, body.clone(), &key).await;
    let (status, again) = world.call_with("POST", PATH, body, &key).await;
    assert_eq!((status, &again["id"], &again["signing_secret"]), (201, &made["id"], &Value::Null));
    let rotate = format!("{PATH}/{}/rotate_secret", id(&made));
    let overlap = Some(json!({"overlap_seconds": 0}));
    let (_, rotated) = world.call_with("POST", &rotate, overlap.clone(), &key).await;
    let (_, again) = world.call_with("POST", &rotate, overlap, &key).await;
    assert_eq!(again["signing_secret_hint"], rotated["signing_secret_hint"]);
    assert_eq!(again["signing_secret"], Value::Null);
    let (_, list) = world.call("GET", PATH, None).await;
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["data"][0]["signing_secret_hint"], rotated["signing_secret_hint"]);
    let (status, refused) = world.call("POST", &rotate, Some(json!({"overlap_seconds": 604_801}))).await;
    assert_eq!((status, &refused["param"]), (400, &json!("overlap_seconds")));
}
