//! What one session said, another of the same agent and user recalls at once, and nobody else.

use serde_json::{Value, json};

use crate::support::{OTHER_KEY, World};

const PATH: &str = "/v1/tenure/memory/search";

async fn agent(world: &World) -> String {
    let (status, made) = world.call("POST", "/v1/agents", Some(json!({"model": "m1", "name": "ops"}))).await;
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().expect("an id").to_owned()
}

async fn say(world: &World, agent: &str, user: Option<&str>, text: &str) -> Value {
    let metadata = user.map_or(json!({}), |user| json!({"user_id": user}));
    world
        .session(
            json!({"agent_id": agent, "environment": {"type": "none"}, "metadata": metadata, "input": text}),
        )
        .await
}

fn asked(agent: &str, user: Option<&str>, question: &str) -> String {
    let question = question.replace(' ', "%20");
    let user = user.map_or(String::new(), |user| format!("&user_id={user}"));
    format!("{PATH}?agent_id={agent}&question={question}{user}")
}

#[tokio::test]
async fn a_session_recalls_what_an_earlier_one_said() {
    let world = World::new().await;
    let agent = agent(&world).await;
    let session = say(&world, &agent, Some("ada"), "We migrated billing to PostgreSQL.").await;
    let (status, found) = world.call("GET", &asked(&agent, Some("ada"), "billing database"), None).await;
    assert_eq!(status, 200, "{found}");
    let first = &found["data"][0];
    assert_eq!(first["text"], "We migrated billing to PostgreSQL.", "{found}");
    assert_eq!((&first["session_id"], &first["speaker"]), (&session["id"], &json!("user")));
    assert_eq!(first["why"]["terms"], json!(["bill"]));

    let nothing =
        |found: (u16, Value)| assert_eq!((found.0, &found.1["data"]), (200, &json!([])), "{found:?}");
    nothing(world.call("GET", &asked(&agent, Some("bob"), "billing"), None).await);
    nothing(world.call("GET", &asked(&agent, None, "billing"), None).await);
    let other_agent = self::agent(&world).await;
    nothing(world.call("GET", &asked(&other_agent, Some("ada"), "billing"), None).await);
    let foreign = [("authorization", &format!("Bearer {OTHER_KEY}")[..])];
    nothing(world.call_with("GET", &asked(&agent, Some("ada"), "billing"), None, &foreign).await);

    let path = format!("/v1/agents/sessions/{}", session["id"].as_str().expect("an id"));
    assert_eq!(world.call("DELETE", &path, None).await.0, 200);
    nothing(world.call("GET", &asked(&agent, Some("ada"), "billing"), None).await);
}

#[tokio::test]
async fn mistakes_name_their_parameter() {
    let world = World::new().await;
    let agent = agent(&world).await;
    let long = "x".repeat(5_000);
    for (query, parameter) in [
        (String::new(), "agent_id"),
        (format!("?agent_id={agent}"), "question"),
        (format!("?agent_id={agent}&question=%20"), "question"),
        (format!("?agent_id={agent}&question={long}"), "question"),
        ("?agent_id=nobody&question=x".to_owned(), "agent_id"),
        (format!("?agent_id={agent}&question=x&limit=0"), "limit"),
        (format!("?agent_id={agent}&question=x&limit=51"), "limit"),
        (format!("?agent_id={agent}&question=x&limit=many"), "limit"),
    ] {
        let (status, refused) = world.call("GET", &format!("{PATH}{query}"), None).await;
        assert_eq!(status, 400, "{query}: {refused}");
        assert!(refused.to_string().contains(parameter), "{query}: {refused}");
    }
}

#[tokio::test]
async fn what_is_retold_has_its_own_time_and_names_who_said_it() {
    let world = World::new().await;
    let agent = agent(&world).await;
    let metadata = json!({"tenure.user_name": "Ada", "tenure.said_at": "2023-05-08T13:56:00Z"});
    world
        .session(json!({"agent_id": agent, "environment": {"type": "none"}, "metadata": metadata,
                        "input": "I bought a cello."}))
        .await;
    for (question, known_at, speaker, time) in [
        ("What did Ada buy?", "", true, false),
        ("what did ada buy", "", false, false),
        ("What did Bob buy?", "", false, false),
        ("What did Ada buy last May?", "", true, false),
        ("What did Ada buy last May?", "&known_at=2024-01-31", true, true),
        ("What did Ada buy in May 2023?", "", true, true),
    ] {
        let path = format!("{}{known_at}", asked(&agent, None, question));
        let (status, found) = world.call("GET", &path, None).await;
        assert_eq!(status, 200, "{found}");
        let first = &found["data"][0];
        assert_eq!(
            (&first["text"], &first["name"]),
            (&json!("I bought a cello."), &json!("Ada")),
            "{question}"
        );
        assert!(first["said_at"].as_str().is_some_and(|at| at.starts_with("2023-05-08T13:56:")), "{first}");
        let why = &first["why"];
        assert_eq!((&why["speaker"], &why["time"]), (&json!(speaker), &json!(time)), "{question}: {why}");
    }
    let mistaken = json!({"tenure.said_at": "last May"});
    let body =
        json!({"agent_id": agent, "environment": {"type": "none"}, "metadata": mistaken, "input": "Hi"});
    let (status, refused) = world.call("POST", "/v1/agents/sessions", Some(body)).await;
    assert_eq!((status, &refused["error"]["param"]), (400, &json!("metadata.tenure.said_at")), "{refused}");
}
