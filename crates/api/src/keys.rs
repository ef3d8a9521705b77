//! API keys: documents of a project of their own, found by the digest of the whole key text.
//!
//! Looking a key up by digest takes the same time whether it exists or how much of it is right, and the
//! store never holds a key. A key made here is `tnr_<id>_<secret>_<checksum>`: the id tells an operator which
//! key it is, the checksum tells a secret scanner that it is one. A preset key may be any text.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tenure_journal::{Fresh, KeyId, ProjectId, Timestamp};
use tenure_store::{
    AuditEntry, Document, DocumentKind, Order, Page, Receipt, Store, StoreError, StoreErrorKind,
};

use crate::key_use::KeyUses;
pub use crate::scope::Scope;
use crate::scope::covered;

/// What every key made here begins with.
const PREFIX: &str = "tnr_";
/// Bytes of a key's secret part: more than anyone can try.
const SECRET_BYTES: usize = 24;
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 4;
/// Hexadecimal digits of a key's id.
const ID_DIGITS: usize = 32;
/// Characters of a key that are shown to recognise it by.
const SHOWN_CHARS: usize = 12;
/// Keys remembered as verified; the rest are looked up each time.
const CACHED_MAX: usize = 1024;
/// How long a verified key is remembered, should another process revoke it. Where others share the store it is
/// short, and a revocation is acknowledged after it: from then on every node refuses the key.
const CACHED_FOR: Duration = Duration::from_secs(30);
const CACHED_FOR_SHARED: Duration = Duration::from_secs(1);
/// Documents read at once while listing.
const SCAN_PAGE: usize = 200;
/// Tries of a write that meets another.
const WRITE_ATTEMPTS: u32 = 4;

/// A key without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// The project it opens.
    pub project_id: ProjectId,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Groups that policies know its user by, beside those of its scopes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Its first characters.
    pub prefix: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Whether its text was given to the server at start and not made here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preset: bool,
}

impl Key {
    fn is_valid(&self, now: Timestamp) -> bool {
        !self.revoked && self.expires_at.is_none_or(|at| now < at)
    }

    /// Whether the key may do what needs `scope`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        covered(&self.scopes, &[scope])
    }
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The project it opens.
    pub project_id: ProjectId,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Groups that policies know its user by, beside those of its scopes.
    pub groups: Vec<String>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// The text of a key. Shown once, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyText {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(..)")
    }
}

/// Why a key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Durable state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored key does not decode.
    #[error("a stored key cannot be read")]
    Damaged(#[source] serde_json::Error),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// The project that holds all keys; no key opens it.
#[must_use]
pub fn system_project() -> ProjectId {
    ProjectId::installation()
}

/// Makes a key. The text cannot be had again. `receipt` and `audit` are written with it and must not hold the
/// text.
///
/// # Errors
/// `Store`, with `ReceiptExists` if the receipt's key is taken; `Random`.
pub async fn create(
    store: &Arc<dyn Store>,
    now: Timestamp,
    id: KeyId,
    new: NewKey,
    receipt: Option<Receipt>,
    audit: Vec<AuditEntry>,
) -> Result<(KeyText, Key), KeyError> {
    let text = fresh_text(id)?;
    let key = key_of(id, new, &text, now);
    store.put_recorded(vec![document(&key, &text, 1, now)], receipt, audit).await?;
    Ok((text, key))
}

/// The key of `text` if it is valid at `now`.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn verify(store: &Arc<dyn Store>, now: Timestamp, text: &str) -> Result<Option<Key>, KeyError> {
    if is_mistyped(text) {
        return Ok(None);
    }
    let found = store.document(system_project(), DocumentKind::Key, &digest(text), None).await?;
    let key = found.map(|document| decode(&document)).transpose()?;
    Ok(key.filter(|key| key.is_valid(now)))
}

/// Makes `text`, whatever it looks like, a valid key of the project with all scopes. Repeating it changes
/// nothing; if the key was revoked or belonged to another project, it is valid for this one again.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn ensure_preset(
    store: &Arc<dyn Store>,
    now: Timestamp,
    fresh: &Fresh,
    text: &str,
    project_id: ProjectId,
) -> Result<Key, KeyError> {
    let id = KeyId::fresh(fresh);
    preset(store, now, id, text, project_id).await
}

async fn preset(
    store: &Arc<dyn Store>,
    now: Timestamp,
    id: KeyId,
    text: &str,
    project_id: ProjectId,
) -> Result<Key, KeyError> {
    let scopes = vec![Scope::Read, Scope::Write, Scope::Admin];
    let mut attempt = 1;
    loop {
        let found = store.document(system_project(), DocumentKind::Key, &digest(text), None).await?;
        let old = found.as_ref().map(decode).transpose()?;
        if let Some(old) = &old
            && old.is_valid(now)
            && old.project_id == project_id
            && scopes.iter().all(|scope| old.may(*scope))
        {
            return Ok(old.clone());
        }
        let (name, groups) = ("preset".into(), Vec::new());
        let new = NewKey { project_id, name, scopes: scopes.clone(), groups, expires_at: None };
        let made_here = old.as_ref().is_some_and(|old| !old.preset);
        let key = key_of(old.map_or(id, |old| old.id), new, &KeyText(text.to_owned()), now);
        let key = Key { preset: !made_here, ..key };
        let version = found.map_or(1, |document| document.version + 1);
        match store.put(vec![document(&key, &KeyText(text.to_owned()), version, now)], None).await {
            Ok(()) => return Ok(key),
            Err(error) if is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Revokes every preset key of the project but `text`, and gives those it revoked. Keys that were made here stay
/// valid, even if their text was preset as well.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn revoke_other_presets(
    store: &Arc<dyn Store>,
    now: Timestamp,
    project_id: ProjectId,
    text: &str,
) -> Result<Vec<Key>, KeyError> {
    let kept = verify(store, now, text).await?.map(|key| key.id);
    let mut revoked = Vec::new();
    for key in list(store, project_id, None, usize::MAX).await? {
        if key.preset && Some(key.id) != kept && revoke(store, now, project_id, key.id, Vec::new()).await? {
            revoked.push(key);
        }
    }
    Ok(revoked)
}

/// Keys of a project, revoked ones left out, by when they were made; at most `limit` after `after`.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn list(
    store: &Arc<dyn Store>,
    project_id: ProjectId,
    after: Option<KeyId>,
    limit: usize,
) -> Result<Vec<Key>, KeyError> {
    let mut keys = Vec::new();
    let mut cursor = None;
    loop {
        let page = Page { after: cursor, limit: SCAN_PAGE, order: Order::Ascending };
        let documents = store.documents(system_project(), DocumentKind::Key, None, &page).await?;
        for document in &documents {
            let key = decode(document)?;
            if key.project_id == project_id && !key.revoked && after.is_none_or(|after| key.id > after) {
                keys.push(key);
            }
        }
        match documents.last() {
            Some(last) if documents.len() == SCAN_PAGE => cursor = Some(last.id.clone()),
            _ => break,
        }
    }
    keys.sort_by_key(|key| key.id);
    keys.truncate(limit);
    Ok(keys)
}

/// The key with this id, if it is valid.
///
/// # Errors
/// `Store`, `Damaged`.
pub(crate) async fn by_id(
    store: &Arc<dyn Store>,
    now: Timestamp,
    id: KeyId,
) -> Result<Option<Key>, KeyError> {
    let page = Page { after: None, limit: 1, order: Order::Ascending };
    let found = store.documents(system_project(), DocumentKind::Key, Some(&id.to_string()), &page).await?;
    let key = found.first().map(decode).transpose()?;
    Ok(key.filter(|key| key.is_valid(now)))
}

/// Revokes a key of the project, and writes `audit` with that. False if there is none with that id.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn revoke(
    store: &Arc<dyn Store>,
    now: Timestamp,
    project_id: ProjectId,
    id: KeyId,
    audit: Vec<AuditEntry>,
) -> Result<bool, KeyError> {
    let mut attempt = 1;
    loop {
        let page = Page { after: None, limit: 1, order: Order::Ascending };
        let name = id.to_string();
        let found = store.documents(system_project(), DocumentKind::Key, Some(&name), &page).await?;
        let Some(old) = found.into_iter().next() else { return Ok(false) };
        let mut key = decode(&old)?;
        if key.project_id != project_id || key.revoked {
            return Ok(false);
        }
        key.revoked = true;
        let body = encode(&key);
        let next = Document { version: old.version + 1, updated_at: now, body, ..old };
        match store.put_recorded(vec![next], None, audit.clone()).await {
            Ok(()) => return Ok(true),
            Err(error) if is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// A key as it will be shown once it is made.
pub(crate) fn preview(id: KeyId, new: &NewKey, now: Timestamp) -> Key {
    let begins = format!("{PREFIX}{}", id.to_string().trim_start_matches("key_"));
    let prefix = begins.chars().take(SHOWN_CHARS).collect();
    let NewKey { project_id, name, scopes, groups, expires_at } = new.clone();
    Key {
        id,
        project_id,
        name,
        scopes,
        groups,
        prefix,
        created_at: now,
        expires_at,
        revoked: false,
        preset: false,
    }
}

fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. })
}

fn key_of(id: KeyId, new: NewKey, text: &KeyText, now: Timestamp) -> Key {
    let NewKey { project_id, name, scopes, groups, expires_at } = new;
    // A preset key may be short: at most a third of it is shown.
    let shown = SHOWN_CHARS.min(text.0.chars().count() / 3);
    let prefix = text.0.chars().take(shown).collect();
    Key {
        id,
        project_id,
        name,
        scopes,
        groups,
        prefix,
        created_at: now,
        expires_at,
        revoked: false,
        preset: false,
    }
}

fn document(key: &Key, text: &KeyText, version: u64, now: Timestamp) -> Document {
    Document {
        project: system_project(),
        kind: DocumentKind::Key,
        id: digest(&text.0),
        version,
        name: Some(key.id.to_string()),
        body: encode(key),
        created_at: key.created_at,
        updated_at: now,
        wake_at: None,
        deleted: false,
    }
}

fn encode(key: &Key) -> serde_json::Value {
    serde_json::to_value(key).expect("a key holds only strings, numbers and lists of them")
}

fn decode(document: &Document) -> Result<Key, KeyError> {
    Key::deserialize(&document.body).map_err(KeyError::Damaged)
}

fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn fresh_text(id: KeyId) -> Result<KeyText, KeyError> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(|_| KeyError::Random)?;
    let id = id.to_string();
    let id = id.strip_prefix("key_").unwrap_or(&id);
    let unchecked = format!("{PREFIX}{id}_{}", hex(&secret));
    let checksum = checksum(&unchecked);
    Ok(KeyText(format!("{unchecked}_{checksum}")))
}

fn checksum(text: &str) -> String {
    hex(&blake3::hash(text.as_bytes()).as_bytes()[..CHECKSUM_BYTES])
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

/// Whether text has the form of a key made here and a checksum that is not its own: a slip of whoever copied it.
///
/// A preset key may be any text, and so one of that form with another checksum is none that could work.
#[must_use]
pub fn is_mistyped(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    let Some((unchecked, sum)) = text.rsplit_once('_') else { return false };
    let is_hex =
        |part: &str, digits: usize| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = rest.split('_').collect();
    let [id, secret, _] = parts.as_slice() else { return false };
    let has_form =
        is_hex(id, ID_DIGITS) && is_hex(secret, SECRET_BYTES * 2) && is_hex(sum, CHECKSUM_BYTES * 2);
    has_form && checksum(unchecked) != sum
}

/// Whether text looks like a key of this server.
pub(crate) fn looks_like_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Keys as the API verifies them: a bounded memory of valid ones in front of the store.
#[derive(Clone)]
pub struct KeyRing {
    store: Arc<dyn Store>,
    verified: Arc<Mutex<Verified>>,
    uses: Arc<KeyUses>,
}

/// What a ring remembers.
#[derive(Default)]
struct Verified {
    /// Keys by the digest of their text, and when each was verified.
    keys: HashMap<[u8; 32], (Key, Instant)>,
    /// How many keys were revoked here: what was read before a revocation is not remembered after it.
    revocations: u64,
}

impl KeyRing {
    /// The keys in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, verified: Arc::default(), uses: Arc::default() }
    }

    /// As [`verify`], and notes that the key is used.
    ///
    /// # Errors
    /// As [`verify`].
    pub async fn verify(&self, now: Timestamp, text: &str) -> Result<Option<Key>, KeyError> {
        let key = self.find(now, text).await?;
        if let Some(key) = &key {
            self.used(now, key).await;
        }
        Ok(key)
    }

    /// Notes that a key is used, at most once a minute.
    pub(crate) async fn used(&self, now: Timestamp, key: &Key) {
        self.uses.note(&self.store, now, key.id).await;
    }

    async fn find(&self, now: Timestamp, text: &str) -> Result<Option<Key>, KeyError> {
        let digest = *blake3::hash(text.as_bytes()).as_bytes();
        let cached_for = if self.store.is_shared() { CACHED_FOR_SHARED } else { CACHED_FOR };
        let (cached, revocations) = {
            let verified = self.lock();
            let fresh = verified.keys.get(&digest).filter(|(_, at)| at.elapsed() < cached_for);
            (fresh.map(|(key, _)| key.clone()), verified.revocations)
        };
        if let Some(key) = cached {
            return Ok(Some(key).filter(|key| key.is_valid(now)));
        }
        // The clock first: what is read is at least as fresh as it says.
        let at = Instant::now();
        let key = verify(&self.store, now, text).await?;
        if let Some(key) = &key {
            let mut verified = self.lock();
            if verified.revocations == revocations {
                if verified.keys.len() >= CACHED_MAX {
                    // Refilled from the store within a few requests; keeping an order would cost every request.
                    verified.keys.clear();
                }
                verified.keys.insert(digest, (key.clone(), at));
            }
        }
        Ok(key)
    }

    /// As [`revoke`]; every node refuses the key from the moment this returns, which takes a second where several
    /// share the store.
    ///
    /// # Errors
    /// As [`revoke`].
    pub async fn revoke(
        &self,
        now: Timestamp,
        project: ProjectId,
        id: KeyId,
        audit: Vec<AuditEntry>,
    ) -> Result<bool, KeyError> {
        let revoked = revoke(&self.store, now, project, id, audit).await;
        {
            let mut verified = self.lock();
            verified.revocations += 1;
            verified.keys.retain(|_, (key, _)| key.id != id);
        }
        if self.store.is_shared() && matches!(revoked, Ok(true)) {
            tokio::time::sleep(CACHED_FOR_SHARED).await;
        }
        revoked
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Verified> {
        // A map is whole between its methods, so one poisoned by a panic elsewhere is usable.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tenure_store::MemoryStore;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn store() -> Arc<dyn Store> {
        Arc::new(MemoryStore::new())
    }

    fn project(seed: u64) -> ProjectId {
        ProjectId::fresh(&Fresh::new(NOW, seed))
    }

    async fn make(store: &Arc<dyn Store>, seed: u64, expires_at: Option<Timestamp>) -> (KeyText, Key) {
        let scopes = vec![Scope::Read];
        let (project_id, name, groups) = (project(seed), "ci".into(), Vec::new());
        let new = NewKey { project_id, name, scopes, groups, expires_at };
        create(store, NOW, KeyId::fresh(&Fresh::new(NOW, seed)), new, None, Vec::new()).await.expect("made")
    }

    #[tokio::test]
    async fn a_key_is_verified_until_it_is_revoked_or_expires() {
        let store = store();
        let ring = KeyRing::new(Arc::clone(&store));
        let (text, key) = make(&store, 1, None).await;
        assert_eq!(ring.verify(NOW, text.expose()).await.expect("works"), Some(key.clone()));
        assert!(
            !ring.revoke(NOW, project(2), key.id, Vec::new()).await.expect("works"),
            "another project's key"
        );
        assert!(ring.revoke(NOW, project(1), key.id, Vec::new()).await.expect("works"));
        assert_eq!(ring.verify(NOW, text.expose()).await.expect("works"), None);
        assert!(!ring.revoke(NOW, project(1), key.id, Vec::new()).await.expect("works"), "already revoked");

        let (text, _) = make(&store, 3, Some(NOW.plus_millis(5))).await;
        assert!(ring.verify(NOW, text.expose()).await.expect("works").is_some());
        assert!(ring.verify(NOW.plus_millis(5), text.expose()).await.expect("works").is_none());
    }

    #[tokio::test]
    async fn wrong_and_truncated_keys_are_unknown() {
        let store = store();
        let (text, _) = make(&store, 1, None).await;
        let text = text.expose();
        for wrong in ["", "tnr_", &text[..text.len() - 1], &text.to_uppercase(), &format!("{text} ")] {
            assert!(verify(&store, NOW, wrong).await.expect("works").is_none());
        }
    }

    #[tokio::test]
    async fn a_preset_key_may_be_any_text_and_is_made_once() {
        let store = store();
        let fresh = Fresh::new(NOW, 9);
        let first = ensure_preset(&store, NOW, &fresh, "dev key!", project(1)).await.expect("made");
        let again = ensure_preset(&store, NOW, &fresh, "dev key!", project(1)).await.expect("made");
        assert_eq!(first, again);
        assert_eq!(first.prefix, "de");
        assert!(first.may(Scope::Admin));
        assert!(revoke(&store, NOW, project(1), first.id, Vec::new()).await.expect("works"));
        let back = ensure_preset(&store, NOW, &fresh, "dev key!", project(1)).await.expect("made");
        assert!(!back.revoked && back.id == first.id);
    }

    #[tokio::test]
    async fn a_preset_key_that_was_replaced_works_no_more() {
        let store = store();
        let (made, _) = make(&store, 1, None).await;
        let preset = async |seed: u64, text: &str| {
            ensure_preset(&store, NOW, &Fresh::new(NOW, seed), text, project(1)).await.expect("made");
            revoke_other_presets(&store, NOW, project(1), text).await.expect("works").len()
        };
        ensure_preset(&store, NOW, &Fresh::new(NOW, 5), "other", project(2)).await.expect("made");
        assert_eq!(preset(6, "old").await, 0);
        assert_eq!(preset(7, "old").await, 0, "the same key again");
        assert_eq!(preset(8, "new").await, 1);
        assert_eq!(preset(9, made.expose()).await, 1, "a key made here takes its place");
        for (text, works) in [("old", false), ("new", false), (made.expose(), true), ("other", true)] {
            assert_eq!(verify(&store, NOW, text).await.expect("works").is_some(), works, "{text}");
        }
        assert_eq!(preset(10, "old").await, 0, "a key made here is not revoked");
        assert!(verify(&store, NOW, "old").await.expect("works").is_some(), "preset once more");
        assert!(verify(&store, NOW, made.expose()).await.expect("works").is_some());
    }

    #[tokio::test]
    async fn lists_a_projects_keys_in_pages() {
        let store = store();
        let (_, key) = make(&store, 1, None).await;
        make(&store, 2, None).await;
        assert_eq!(list(&store, project(1), None, 10).await.expect("works"), std::slice::from_ref(&key));
        assert!(list(&store, project(1), Some(key.id), 10).await.expect("works").is_empty());
    }

    #[test]
    fn a_key_tells_what_it_is_and_hides_itself() {
        let id = KeyId::fresh(&Fresh::new(NOW, 1));
        let text = fresh_text(id).expect("random bytes");
        let (unchecked, sum) = text.expose().rsplit_once('_').expect("three underscores");
        assert_eq!(checksum(unchecked), sum);
        assert!(unchecked.starts_with(&format!("tnr_{}_", id.to_string().trim_start_matches("key_"))));
        assert_eq!(format!("{text:?}"), "KeyText(..)");
    }

    #[test]
    fn a_slip_in_a_key_shows() {
        let text = fresh_text(KeyId::fresh(&Fresh::new(NOW, 1))).expect("random bytes");
        let text = text.expose();
        assert!(!is_mistyped(text));
        for at in PREFIX.len()..text.len() {
            let Some(old) = text[at..].chars().next().filter(|old| *old != '_') else { continue };
            let new = if old == '0' { "1" } else { "0" };
            let slip = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            assert!(is_mistyped(&slip), "{at}");
        }
        for other in ["", "tnr_", "dev key!", "tnr_my_own_key", &text[..text.len() - 1]] {
            assert!(!is_mistyped(other), "a preset key may be `{other}`");
        }
    }

    #[tokio::test]
    async fn the_last_use_is_noted_once_a_minute() {
        let store = store();
        let ring = KeyRing::new(Arc::clone(&store));
        let (text, key) = make(&store, 1, None).await;
        let last = async || crate::key_use::last(&store, key.id).await.expect("works");
        assert_eq!(last().await, None);
        for later in [0, 5, 9] {
            assert!(ring.verify(NOW.plus_millis(later), text.expose()).await.expect("works").is_some());
            assert_eq!(last().await, Some(NOW), "the minute is not over");
        }
        let other = KeyRing::new(Arc::clone(&store));
        other.verify(NOW.plus_millis(7), text.expose()).await.expect("works");
        assert_eq!(last().await, Some(NOW.plus_millis(7)), "each node notes for itself");
        assert!(ring.verify(NOW, "nobody's").await.expect("works").is_none());
    }

    #[tokio::test]
    async fn nothing_that_is_stored_is_a_key() {
        let store = store();
        let (text, key) = make(&store, 1, None).await;
        KeyRing::new(Arc::clone(&store)).verify(NOW, text.expose()).await.expect("works");
        let mut dump = String::new();
        for kind in DocumentKind::ALL {
            let page = Page { after: None, limit: 100, order: Order::Ascending };
            let found = store.documents(system_project(), kind, None, &page).await.expect("works");
            dump.extend(found.iter().map(|document| format!("{document:?}\n")));
        }
        let secret = text.expose().split('_').nth(2).expect("four parts");
        assert!(dump.contains(&key.id.to_string()) && !dump.contains(secret), "only a digest of it is");
        for guess in
            dump.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.len() > 8)
        {
            assert!(verify(&store, NOW, guess).await.expect("works").is_none(), "{guess}");
        }
    }

    #[test]
    fn keys_of_earlier_releases_keep_their_scopes() {
        let stored = r#"{"id":"key_00000000000000000000000000000001","project_id":
            "proj_00000000000000000000000000000002","name":"ci","scopes":["read","write","admin"],
            "prefix":"tnr_","created_at":1,"revoked":false}"#;
        let key: Key = serde_json::from_str(stored).expect("a key");
        for word in Scope::WORDS {
            assert!(key.may(Scope::from_word(word).expect("a scope")), "{word}");
        }
    }
}
