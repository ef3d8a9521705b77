//! What a model was shown at a step, as programs ask for it.

use serde_json::json;

use crate::support::{OTHER_KEY, World};

#[tokio::test]
async fn a_context_is_shown_by_section() {
    let world = World::new().await;
    let agent = json!({"model": "m1", "instructions": "Be brief."});
    let session =
        world.session(json!({"agent": agent, "environment": {"type": "none"}, "input": "hello there"})).await;
    let path = format!("/v1/tenure/sessions/{}/context", session["id"].as_str().expect("an id"));
    let (status, shown) = world.call("GET", &path, None).await;
    assert_eq!(status, 200, "{shown}");
    assert_eq!((&shown["object"], &shown["step"]), (&json!("tenure.session.context"), &json!(1)));
    assert_eq!(shown["session_id"], session["id"]);
    let sections: Vec<&str> = shown["sections"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["section"].as_str())
        .collect();
    assert_eq!(sections, ["instructions", "recent"]);
    let entry = &shown["sections"][1]["entries"][0];
    assert_eq!((&entry["why"], &entry["place"], &entry["kind"]), (&json!("kept"), &json!(0), &json!("item")));
    assert_eq!(entry["content"]["content"][0]["text"], "hello there");
    let total: f64 =
        shown["sections"].as_array().expect("a list").iter().filter_map(|one| one["percent"].as_f64()).sum();
    assert!((99.0..=101.0).contains(&total), "{shown}");
    assert!(shown["window"]["tokens"].as_u64() > shown["tokens"]["expected"].as_u64(), "{shown}");
    let (status, same) = world.call("GET", &format!("{path}?step=1"), None).await;
    assert_eq!((status, same), (200, shown));

    for (query, expected) in [("?step=2", 404), ("?step=0", 400), ("?step=x", 400), ("?steps=1", 400)] {
        let (status, refused) = world.call("GET", &format!("{path}{query}"), None).await;
        assert_eq!(status, expected, "{query}: {refused}");
    }
    let foreign = [("authorization", &format!("Bearer {OTHER_KEY}")[..])];
    assert_eq!(world.call_with("GET", &path, None, &foreign).await.0, 404);
}
