//! Tool servers that ask for a sign-in where the session has no credential, from the 401 to the call, on any node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{
    ApprovalMode, CredentialAuth, CredentialId, InputPart, McpTransport, MultiAgent, OauthAuth, OauthState,
    ProjectId, SessionId, SessionKey, SessionStatus, Timestamp, Tool, VaultId, WantedCredential,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_runtime::{CredentialChange, NewCredential, Opening, Rotation, Runtime, SavedVault, Secrets};
use tenure_session::{Command, SessionNotice};
use tenure_store::{Document, DocumentKind, MemoryStore, Order, Page, Store};

use crate::support::{Shop, opening, start, start_with, until, wait};

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
    let auth = CredentialAuth::StaticBearer { mcp_server_url: server_url.to_owned() };
    keep(runtime, project, vault, auth, token).await;
}

async fn keep(
    runtime: &Runtime,
    project: ProjectId,
    vault: VaultId,
    auth: CredentialAuth,
    token: &str,
) -> CredentialId {
    let secrets = Secrets { token: Some(token.into()), ..Secrets::default() };
    let new = NewCredential { name: "shop".to_owned(), metadata: BTreeMap::new(), auth, secrets };
    runtime.create_credential(project, vault, new, |_| None).await.expect("written").id
}

/// Tokens that have expired, with no way to get others but a person's sign-in.
fn expired() -> CredentialAuth {
    CredentialAuth::McpOauth(Box::new(OauthAuth {
        mcp_server_url: URL.to_owned(),
        expires_at: Some(Timestamp::EPOCH),
        refresh: None,
        state: OauthState::Ready,
        releasing: Vec::new(),
    }))
}

/// A session that refunds at the shop with this credential.
fn refunding_with(vault: VaultId, credential: CredentialId) -> Opening {
    let mut opening = refunding(&[vault]);
    for tool in &mut opening.opened.agent.tools {
        let Tool::Mcp(mcp) = tool else { continue };
        mcp.credential_id = Some(credential.to_string());
    }
    opening
}

/// How many sessions a vault or a credential remembers as waiting.
const WAITING_MAX: usize = 1_000;

/// Has a vault remember so many that this session waits, each time for another server.
async fn crowd(store: &MemoryStore, vault: SavedVault, session: SessionId, count: usize) {
    let SavedVault { document, mut body, .. } = vault;
    let wanted = (0..count).map(|number| {
        let mcp_server_url = format!("https://other.example/{number}");
        WantedCredential { session, mcp_server_url }
    });
    body.wanted.extend(wanted);
    let body = serde_json::to_value(&body).expect("it was read as such");
    let next = Document { version: document.version + 1, body, ..document };
    store.put(vec![next], None).await.expect("written");
}

async fn wanted(runtime: &Runtime, project: ProjectId, vault: VaultId) -> Vec<SessionId> {
    let vault = runtime.vault(project, vault).await.expect("there");
    vault.body.wanted.iter().map(|one| one.session).collect()
}

/// Opens a session and reads until it reaches `status`.
async fn opened(runtime: &Runtime, opening: Opening, status: SessionNotice) -> SessionKey {
    let (view, stream) = runtime.open(opening, None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), status).await;
    view.key
}

async fn reaches(store: &MemoryStore, key: SessionKey, wanted: SessionStatus) {
    wait::until("the session gets there", || status(store, key) == wanted).await;
}

/// How many notes there are of sign-ins that nobody can make any more.
async fn lost(store: &MemoryStore, project: ProjectId) -> usize {
    let page = Page { after: None, limit: 100, order: Order::Ascending };
    store.documents(project, DocumentKind::LostSignIn, None, &page).await.expect("readable").len()
}

fn status(store: &MemoryStore, key: SessionKey) -> SessionStatus {
    store.head_now(key).expect("readable").expect("there").status
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

#[tokio::test]
async fn who_waits_for_what_was_deleted_is_told_though_the_process_died_between() {
    let (store, shop) = (Arc::new(MemoryStore::new()), guarded());
    let project = refunding(&[]).opened.project_id;
    let runtime = start(Arc::clone(&store), Arc::clone(&shop)).await;
    let (gone, kept) = (vault(&runtime, project).await, vault(&runtime, project).await);
    let credential = keep(&runtime, project, kept, expired(), TOKEN).await;
    let mut waiting = Vec::new();
    for opening in [refunding(&[gone]), refunding(&[gone]), refunding_with(kept, credential)] {
        waiting.push(opened(&runtime, opening, SessionNotice::RequiresAction).await);
    }
    // What tells them has ended: of each deletion there is what one transaction wrote, and nothing after it.
    runtime.shutdown(Duration::from_secs(5)).await;
    runtime.delete_vault(project, gone).await.expect("deleted");
    runtime.delete_credential(project, kept, credential).await.expect("deleted");
    for key in &waiting {
        assert_eq!(status(&store, *key), SessionStatus::RequiresAction);
    }
    assert_eq!(lost(&store, project).await, 2, "one for each deletion");
    // The next process has a store that is away at first.
    store.fail_loads(2);
    let runtime = start(Arc::clone(&store), Arc::clone(&shop)).await;
    for key in waiting {
        reaches(&store, key, SessionStatus::Idle).await;
    }
    wait::answered("nobody is left to tell", async || (lost(&store, project).await == 0).then_some(())).await;
    assert_eq!(shop.keys.lock().expect("no panics").len(), 0);
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_deletion_at_any_moment_of_the_refusal_is_heard_of() {
    let (store, shop) = (Arc::new(MemoryStore::new()), guarded());
    let (a, b) = (
        start(Arc::clone(&store), Arc::clone(&shop)).await,
        start(Arc::clone(&store), Arc::clone(&shop)).await,
    );
    let project = refunding(&[]).opened.project_id;
    for yields in 1..=60 {
        let vault = vault(&a, project).await;
        let (opened, ()) = tokio::join!(a.open(refunding(&[vault]), None, true), async {
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            b.delete_vault(project, vault).await.expect("deleted");
        });
        let (_, stream) = opened.expect("opens");
        until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    }
    assert_eq!(lost(&store, project).await, 0);
    assert_eq!(shop.keys.lock().expect("no panics").len(), 0);
    a.shutdown(Duration::from_secs(5)).await;
    b.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_full_vault_makes_nobody_wait_and_forgets_who_has_ended() {
    let (store, shop) = (Arc::new(MemoryStore::new()), guarded());
    let runtime = start(Arc::clone(&store), Arc::clone(&shop)).await;
    let project = refunding(&[]).opened.project_id;
    let (full, other) = (vault(&runtime, project).await, vault(&runtime, project).await);
    let first = opened(&runtime, refunding(&[full]), SessionNotice::RequiresAction).await;
    let saved = runtime.vault(project, full).await.expect("there");
    crowd(&store, saved, first.session, WAITING_MAX - 1).await;
    // The next one is not remembered: the refusal is a failure, as where there is no vault.
    let next = opened(&runtime, refunding(&[full]), SessionNotice::Idle).await;
    assert!(!wanted(&runtime, project, full).await.contains(&next.session));
    // In another vault of its own it is.
    let both = opened(&runtime, refunding(&[full, other]), SessionNotice::RequiresAction).await;
    assert_eq!(wanted(&runtime, project, other).await, [both.session]);
    // All that were noted have ended, and make room.
    runtime.submit(first, vec![Command::Cancel], None).await.expect("accepted");
    reaches(&store, first, SessionStatus::Idle).await;
    let last = opened(&runtime, refunding(&[full]), SessionNotice::RequiresAction).await;
    assert_eq!(wanted(&runtime, project, full).await, [last.session]);
    credential(&runtime, project, full, URL, TOKEN).await;
    reaches(&store, last, SessionStatus::Idle).await;
    assert_eq!(shop.keys.lock().expect("no panics").len(), 1);
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_credential_that_many_wait_for_makes_nobody_else_wait_and_forgets_who_has_ended() {
    let (store, shop) = (Arc::new(MemoryStore::new()), guarded());
    let runtime = start(Arc::clone(&store), Arc::clone(&shop)).await;
    let project = refunding(&[]).opened.project_id;
    let (vault, elsewhere) = (vault(&runtime, project).await, vault(&runtime, project).await);
    let first = opened(&runtime, refunding(&[elsewhere]), SessionNotice::RequiresAction).await;
    let CredentialAuth::McpOauth(mut oauth) = expired() else { panic!("it is one") };
    oauth.state = OauthState::NeedsSignIn {
        why: "its token is refused".to_owned(),
        since: Timestamp::EPOCH,
        waiting: vec![first.session; WAITING_MAX],
        resource_metadata: None,
        scope: None,
    };
    let credential = keep(&runtime, project, vault, CredentialAuth::McpOauth(oauth), "old").await;
    opened(&runtime, refunding_with(vault, credential), SessionNotice::Idle).await;
    runtime.submit(first, vec![Command::Cancel], None).await.expect("accepted");
    reaches(&store, first, SessionStatus::Idle).await;
    let last = opened(&runtime, refunding_with(vault, credential), SessionNotice::RequiresAction).await;
    let rotation = Rotation::McpOauth { access_token: Some(TOKEN.into()), expires_at: None, refresh: None };
    let change = CredentialChange { metadata: None, rotation: Some(rotation) };
    runtime.update_credential(project, (vault, credential), &change, |_| None).await.expect("written");
    reaches(&store, last, SessionStatus::Idle).await;
    assert_eq!(shop.keys.lock().expect("no panics").len(), 1);
    runtime.shutdown(Duration::from_secs(5)).await;
}

/// A session gives the refund to a subagent.
const DELEGATING: &str = r#"
rules:
  - when: { result_of: wait_for_subagents }
    reply: [{ text: "{{ result }}" }]
  - when: { result_of: create_subagent }
    reply: [{ call: { tool: wait_for_subagents, arguments: {} } }]
  - when: { result_of: shop__refund }
    reply: [{ text: "That is that." }]
  - when: { user: '^delegate' }
    reply: [{ call: { tool: create_subagent, arguments: { task: "refund o1", name: one } } }]
  - reply: [{ call: { tool: shop__refund, arguments: { order: "o1" } } }]
"#;

#[tokio::test]
async fn a_subagent_waits_for_itself_in_the_vaults_of_its_parent() {
    for is_deleted in [false, true] {
        let (store, shop) = (Arc::new(MemoryStore::new()), Arc::new(Shop::wanting_at_calls(TOKEN)));
        let script = Arc::new(Script::parse(DELEGATING).expect("a valid script"));
        let model = Arc::new(ScriptedModel::new(script));
        let runtime = start_with(Arc::clone(&store), Arc::clone(&shop), model).await;
        let project = refunding(&[]).opened.project_id;
        let vault = vault(&runtime, project).await;
        let mut opening = refunding(&[vault]);
        opening.opened.agent.multi_agent = MultiAgent { enabled: true, max_concurrent_subagents: Some(1) };
        opening.input = vec![vec![InputPart::text("delegate")]];
        let (view, stream) = runtime.open(opening, None, true).await.expect("opens");
        let child = wait::answered("the subagent waits", async || {
            let [child] = wanted(&runtime, project, vault).await[..] else { return None };
            let head = store.head_now(SessionKey { session: child, ..view.key }).ok()??;
            (head.status == SessionStatus::RequiresAction).then_some(child)
        })
        .await;
        assert_ne!(child, view.key.session);
        assert_eq!(status(&store, view.key), SessionStatus::InProgress, "it waits for its subagent");
        if is_deleted {
            runtime.delete_vault(project, vault).await.expect("deleted");
        } else {
            credential(&runtime, project, vault, URL, TOKEN).await;
        }
        until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
        assert_eq!(shop.keys.lock().expect("no panics").len(), usize::from(!is_deleted));
        runtime.shutdown(Duration::from_secs(5)).await;
    }
}
