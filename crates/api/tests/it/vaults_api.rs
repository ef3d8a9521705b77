//! Vaults between projects: what is another's looks like what never was.

use serde_json::{Value, json};

use crate::support::{OTHER_KEY, World};

fn bearer() -> Value {
    json!({"name": "n", "auth": {"type": "static_bearer", "mcp_server_url": "https://x.example/mcp", "token": "s3cr3t-token"}})
}

#[tokio::test]
async fn another_projects_vaults_look_like_nothing() {
    let world = World::new().await;
    let (status, vault) = world.call("POST", "/v1/vaults", Some(json!({"name": "v"}))).await;
    assert_eq!(status, 201);
    let vault = vault["id"].as_str().expect("an id").to_owned();
    let (status, credential) =
        world.call("POST", &format!("/v1/vaults/{vault}/credentials"), Some(bearer())).await;
    assert_eq!(status, 201);
    let credential = credential["id"].as_str().expect("an id").to_owned();
    let authorization = format!("Bearer {OTHER_KEY}");
    let foreign = [("authorization", authorization.as_str())];
    let never = |id: &str| format!("{}{}", &id[..id.len() - 1], if id.ends_with('0') { '1' } else { '0' });
    let (no_vault, no_credential) = (never(&vault), never(&credential));
    for (method, path, body) in [
        ("GET", "/v1/vaults/V", None),
        ("POST", "/v1/vaults/V", Some(json!({"name": "x"}))),
        ("DELETE", "/v1/vaults/V", None),
        ("GET", "/v1/vaults/V/credentials", None),
        ("POST", "/v1/vaults/V/credentials", Some(bearer())),
        ("GET", "/v1/vaults/V/credentials/C", None),
        ("POST", "/v1/vaults/V/credentials/C", Some(json!({"metadata": {}}))),
        ("DELETE", "/v1/vaults/V/credentials/C", None),
        ("GET", "/v1/tenure/vaults/V/credentials", None),
        ("POST", "/v1/tenure/vaults/V/sign_ins", Some(json!({"mcp_server_url": "https://x.example/mcp"}))),
    ] {
        let at = |vault: &str, credential: &str| path.replace('V', vault).replace('C', credential);
        let (status, mut theirs) =
            world.call_with(method, &at(&vault, &credential), body.clone(), &foreign).await;
        let (_, mut nobodys) = world.call_with(method, &at(&no_vault, &no_credential), body, &foreign).await;
        assert_eq!(status, 404, "{method} {path}: {theirs}");
        for answer in [&mut theirs, &mut nobodys] {
            answer.as_object_mut().expect("an error").remove("request_id");
        }
        assert_eq!(theirs, nobodys, "{method} {path}");
    }
    let body = json!({"agent": {"model": "m"}, "environment": {"type": "none"}, "input": "hi", "vault_ids": [vault]});
    assert_eq!(world.call_with("POST", "/v1/agents/sessions", Some(body), &foreign).await.0, 404);
    let (status, mine) =
        world.call("GET", &format!("/v1/vaults/{vault}/credentials/{credential}"), None).await;
    assert_eq!(status, 200);
    assert!(!mine.to_string().contains("s3cr3t"), "{mine}");
}

#[tokio::test]
async fn a_repeated_creation_makes_one_credential_and_its_receipt_holds_no_secret() {
    let world = World::new().await;
    let (_, vault) = world.call("POST", "/v1/vaults", None).await;
    let path = format!("/v1/vaults/{}/credentials", vault["id"].as_str().expect("an id"));
    let once = [("idempotency-key", "k1")];
    let first = world.call_with("POST", &path, Some(bearer()), &once).await;
    let again = world.call_with("POST", &path, Some(bearer()), &once).await;
    assert_eq!((first.0, &first), (201, &again));
    assert!(!again.1.to_string().contains("s3cr3t"));
    let (_, listed) = world.call("GET", &path, None).await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));
    let other = json!({"name": "other", "auth": bearer()["auth"]});
    assert_eq!(world.call_with("POST", &path, Some(other), &once).await.0, 409);
}
