//! `search_history`: what was said earlier in the same session, found by its words or read by its id.
//!
//! What has left a context is in the store with everything else that was said. It is searched as it stands there,
//! newest first and without an index: it is asked for seldom, and a session of a hundred turns is read in
//! milliseconds.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Value, json};
use tenure_journal::{Failure, FailureKind, Item, ItemBody, ItemId, SessionKey, ToolResult, limit};
use tenure_memory::text::distinct_stems;
use tenure_session::{Attempted, Session, plain};
use tenure_store::{Order, Page, StoreError};

use crate::effects::page;
use crate::handle::Shared;

/// Items that are read from the store at once.
const PAGE: usize = 500;
/// Bytes of an item in which single words are looked for. What is looked for exactly is found anywhere.
const SEARCHED_BYTES_MAX: usize = 256 * 1024;
/// Bytes of an item that a search shows.
const SHOWN_BYTES_MAX: usize = 400;
/// Bytes of the words of a search; more is a document.
const WORDS_BYTES_MAX: usize = 1_024;

/// One call of the tool.
pub(crate) struct Call {
    session: SessionKey,
    /// Items that the model is shown whole.
    shown: BTreeSet<ItemId>,
    arguments: Value,
}

impl Call {
    pub(crate) fn of(state: &Session, name: &str, arguments: &Value) -> Option<Self> {
        (name == "search_history").then(|| Self {
            session: state.key(),
            shown: state.shown_whole().collect(),
            arguments: arguments.clone(),
        })
    }
}

pub(crate) async fn run(shared: &Shared, call: &Call) -> Result<Attempted, Failure> {
    let text =
        |name: &str| call.arguments.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let result = match (text("item_id"), text("words")) {
        (Some(id), _) => match id.trim().parse::<ItemId>() {
            Ok(id) => {
                let offset = call.arguments.get("offset").and_then(Value::as_u64).unwrap_or(0);
                read(shared, call.session, id, usize::try_from(offset).unwrap_or(usize::MAX)).await
            }
            Err(_) => Ok(refused("`item_id` is the id of an item, as a search gives it: `item_...`.")),
        },
        (None, Some(words)) if words.len() <= WORDS_BYTES_MAX => search(shared, call, words).await,
        (None, _) => {
            Ok(refused("Give `words` to find, at most 1024 bytes of them, or the `item_id` of an item."))
        }
    };
    result.map(Attempted::Returned).map_err(|error| {
        tracing::error!(session = %call.session.session, %error, "a session's history cannot be read");
        let message = "the history cannot be read now".to_owned();
        Failure { kind: FailureKind::ServerError, message, retry_after_ms: None }
    })
}

fn refused(why: &str) -> ToolResult {
    ToolResult::inline(why.to_owned(), true)
}

/// A part of an item, from a byte of its text on.
async fn read(shared: &Shared, key: SessionKey, id: ItemId, offset: usize) -> Result<ToolResult, StoreError> {
    let mut found = None;
    scan(shared, key, &mut |item| {
        if item.id == id {
            found = Some(item);
        }
        found.is_none()
    })
    .await?;
    let Some(item) = found else {
        return Ok(refused("There is no such item in this conversation; search for its words."));
    };
    if let ItemBody::McpCall { stored: Some(blob), .. }
    | ItemBody::CommandExecution { stored: Some(blob), .. } = &item.body
        && let Some(whole) = shared.store.blob(key.project, *blob).await?
    {
        return Ok(page(&String::from_utf8_lossy(&whole), offset));
    }
    let (_, text) = plain(&item);
    Ok(page(&text, offset))
}

/// An item that was found, and how well it fits.
struct Found {
    /// How many of the words are in it.
    words: usize,
    item: Item,
}

async fn search(shared: &Shared, call: &Call, words: &str) -> Result<ToolResult, StoreError> {
    let wanted: BTreeSet<String> = distinct_stems(words).into_iter().collect();
    let exact = words.trim().to_lowercase();
    let mut found: Vec<Found> = Vec::new();
    scan(shared, call.session, &mut |item| {
        if call.shown.contains(&item.id) || is_search(&item) {
            return true;
        }
        let (_, text) = plain(&item);
        let beginning = &text[..text.floor_char_boundary(SEARCHED_BYTES_MAX.min(text.len()))];
        let stems: BTreeSet<String> = distinct_stems(beginning).into_iter().collect();
        let mut words = wanted.intersection(&stems).count();
        // What is no word, an id for instance, is found as it stands.
        if text.to_lowercase().contains(&exact) {
            words += wanted.len() + 1;
        }
        if words > 0 {
            found.push(Found { words, item });
        }
        true
    })
    .await?;
    // The newest first among those that fit as well.
    found.sort_by_key(|found| std::cmp::Reverse(found.words));
    let more = found.len().saturating_sub(limit::HISTORY_FOUND_MAX);
    let shown: Vec<Value> =
        found.iter().take(limit::HISTORY_FOUND_MAX).map(|found| shown(&found.item, &exact)).collect();
    if shown.is_empty() {
        let note = "Nothing in this conversation has these words. Try others, or single ones.";
        return Ok(ToolResult::inline(json!({ "items": [], "note": note }).to_string(), false));
    }
    let note = if more > 0 { format!("{more} more fit less well.") } else { String::new() };
    Ok(ToolResult::inline(json!({ "items": shown, "note": note }).to_string(), false))
}

/// An earlier search: everything that it found would be found again.
fn is_search(item: &Item) -> bool {
    matches!(&item.body, ItemBody::McpCall { server_label, name, .. }
        if server_label == "tenure" && name == "search_history")
}

fn shown(item: &Item, exact: &str) -> Value {
    let (who, text) = plain(item);
    json!({ "item_id": item.id, "by": who, "text": around(&text, exact) })
}

/// The part of a text in which the words stand, or its beginning.
fn around<'a>(text: &'a str, exact: &str) -> Cow<'a, str> {
    if text.len() <= SHOWN_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    // Lower case may move bytes, so that the place is about right; the cut is at characters all the same.
    let at = text.to_lowercase().find(exact).unwrap_or(0);
    let from = text.floor_char_boundary(at.saturating_sub(SHOWN_BYTES_MAX / 4).min(text.len()));
    let to = text.floor_char_boundary((from + SHOWN_BYTES_MAX).min(text.len()));
    let (before, after) = (if from > 0 { "…" } else { "" }, if to < text.len() { "…" } else { "" });
    Cow::Owned(format!("{before}{}{after}", &text[from..to]))
}

/// Goes through a session's items, newest first, until nothing more is wanted.
async fn scan(
    shared: &Shared,
    key: SessionKey,
    wants_more: &mut (dyn FnMut(Item) -> bool + Send),
) -> Result<(), StoreError> {
    let mut after = None;
    let mut seen = 0;
    while seen < limit::HISTORY_SEARCHED_MAX {
        let page = Page { limit: PAGE, after: after.take(), order: Order::Descending };
        let items = shared.store.items(key, None, &page).await?;
        seen += items.len();
        let is_last = items.len() < PAGE;
        after = items.last().map(|item| item.id.to_string());
        for item in items {
            if !wants_more(item) {
                return Ok(());
            }
        }
        if is_last {
            return Ok(());
        }
    }
    Ok(())
}
