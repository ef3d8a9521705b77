//! Tool servers that ask for a sign-in where the session has no credential, from the 401 to the call, on any node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{ApprovalMode, CredentialAuth, McpTransport, ProjectId, SessionStatus, Tool, VaultId};
use tenure_runtime::{NewCredential, Opening, Runtime, Secrets};
use tenure_session::{Command, SessionNotice};
use tenure_store::MemoryStore;

use crate::support::{Shop, opening, start, until, wait};

const URL: &str = "https://shop.example/mcp";
const TOKEN: &str = "token-of-the-shop";

fn guarded() -> Arc<Shop> {
    Arc::new(Shop::wanting(TOKEN))
}

/// A session that refunds at the shop over HTTP without asking people, and names these vaults.
fn refunding(vaults: &[VaultId]) -> Opening {
    let Opening { mut opened, input } = opening("refund o1");
    opened.agent.approval = ApprovalMode::Never;
    opened.vault_ids = vaults.iter().map(ToString::to_string).collect();
    for tool in &mut opened.agent.tools {
        let Tool::Mcp(mcp) = tool else { continue };
        mcp.transport =
            McpTransport::Http { server_url: URL.to_owned(), headers: BTreeMap::new(), secret: None };
    }
    Opening { opened, input }
}

async fn vault(runtime: &Runtime, project: ProjectId) -> VaultId {
    let saved = runtime.create_vault(project, tenure_journal::Vault::default(), |_| None).await;
    saved.expect("written").id
}

async fn credential(runtime: &Runtime, project: ProjectId, vault: VaultId, server_url: &str, token: &str) {
    let new = NewCredential {
        name: "shop".to_owned(),
        metadata: BTreeMap::new(),
        auth: CredentialAuth::StaticBearer { mcp_server_url: server_url.to_owned() },
        secrets: Secrets { token: Some(token.into()), ..Secrets::default() },
    };
    runtime.create_credential(project, vault, new, |_| None).await.expect("written");
}

#[tokio::test]
async fn a_credential_made_at_one_node_is_shown_by_another() {
    let (store, shop) = (Arc::new(MemoryStore::new()), guarded());
    let (a, b) = (
        start(Arc::clone(&store), Arc::clone(&shop)).await,
        start(Arc::clone(&store), Arc::clone(&shop)).await,
    );
    let project = refunding(&[]).opened.project_id;
    let vaults = [vault(&a, project).await, vault(&a, project).await];
    let (view, stream) = a.open(refunding(&vaults), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    until(&mut stream, SessionNotice::RequiresAction).await;
    wait::until("nobody holds what waits", || a.active_sessions() == 0).await;
    credential(&b, project, vaults[0], "https://other.example/mcp", TOKEN).await;
    credential(&b, project, vaults[1], URL, TOKEN).await;
    until(&mut stream, SessionNotice::Idle).await;
    assert_eq!(shop.keys.lock().expect("no panics").len(), 1, "one call");
    let seen = b.view(view.key).await.expect("readable").expect("there");
    assert!(
        seen.agent.tools.iter().all(|tool| matches!(tool, Tool::Mcp(mcp) if mcp.credential_id.is_some()))
    );
    a.shutdown(Duration::from_secs(5)).await;
    b.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn one_that_comes_at_any_moment_of_the_refusal_is_found() {
    let (store, shop) = (Arc::new(MemoryStore::new()), guarded());
    let (a, b) = (
        start(Arc::clone(&store), Arc::clone(&shop)).await,
        start(Arc::clone(&store), Arc::clone(&shop)).await,
    );
    let project = refunding(&[]).opened.project_id;
    for calls in 1..=40 {
        let vault = vault(&a, project).await;
        let (opened, ()) = tokio::join!(a.open(refunding(&[vault]), None, true), async {
            for _ in 0..calls {
                tokio::task::yield_now().await;
            }
            credential(&b, project, vault, URL, TOKEN).await;
        });
        let (_, stream) = opened.expect("opens");
        until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
        assert_eq!(shop.keys.lock().expect("no panics").len(), calls, "one call each");
    }
    a.shutdown(Duration::from_secs(5)).await;
    b.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn each_of_many_that_wait_is_told_and_who_was_cancelled_is_not_held_up() {
    let (store, shop) = (Arc::new(MemoryStore::new()), guarded());
    let runtime = start(Arc::clone(&store), Arc::clone(&shop)).await;
    let project = refunding(&[]).opened.project_id;
    let vault = vault(&runtime, project).await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let (view, stream) = runtime.open(refunding(&[vault]), None, true).await.expect("opens");
        let mut stream = stream.expect("subscribed");
        until(&mut stream, SessionNotice::RequiresAction).await;
        waiting.push((view.key, stream));
    }
    let (cancelled, mut stream) = waiting.pop().expect("there are eight");
    runtime.submit(cancelled, vec![Command::Cancel], None).await.expect("accepted");
    until(&mut stream, SessionNotice::Idle).await;
    credential(&runtime, project, vault, URL, TOKEN).await;
    for (_, stream) in &mut waiting {
        until(stream, SessionNotice::Idle).await;
    }
    assert_eq!(shop.keys.lock().expect("no panics").len(), waiting.len());
    let seen = runtime.view(cancelled).await.expect("readable").expect("there");
    assert_eq!(seen.status, SessionStatus::Idle);
    assert!(
        seen.agent.tools.iter().all(|tool| matches!(tool, Tool::Mcp(mcp) if mcp.credential_id.is_none()))
    );
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn where_the_last_vault_goes_the_refusal_counts() {
    let (store, shop) = (Arc::new(MemoryStore::new()), guarded());
    let runtime = start(Arc::clone(&store), Arc::clone(&shop)).await;
    let project = refunding(&[]).opened.project_id;
    let vaults = [vault(&runtime, project).await, vault(&runtime, project).await];
    let (view, stream) = runtime.open(refunding(&vaults), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    until(&mut stream, SessionNotice::RequiresAction).await;
    runtime.delete_vault(project, vaults[0]).await.expect("deleted");
    // It asked again, and waits for the vault that is left.
    until(&mut stream, SessionNotice::RequiresAction).await;
    runtime.delete_vault(project, vaults[1]).await.expect("deleted");
    until(&mut stream, SessionNotice::Idle).await;
    let seen = runtime.view(view.key).await.expect("readable").expect("there");
    assert_eq!(
        (seen.status, seen.error.clone()),
        (SessionStatus::Idle, None),
        "it goes on without the server"
    );
    assert_eq!(shop.keys.lock().expect("no panics").len(), 0);
    runtime.shutdown(Duration::from_secs(5)).await;
}
