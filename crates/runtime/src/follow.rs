//! Following a session that another node holds: its commits are read from the store and told to readers
//! here, as if they had been made here. Deltas stay with the holder; texts come whole.

use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{SessionKey, Version};
use tenure_session::{Session, appends};
use tokio::sync::Notify;

use crate::budget;
use crate::handle::Shared;
use crate::{RuntimeError, RuntimeErrorKind, unreadable};

/// How often a follower looks by itself, in case a wake was lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Events read at once; an append is never that long.
const EVENTS_MAX: usize = 4_096;

/// Tells the session's readers what others commit, until nobody reads.
pub(crate) async fn run(key: SessionKey, shared: Arc<Shared>, wake: Arc<Notify>) {
    let mut follower = None;
    while shared.hub.is_followed(key, &wake) {
        // While the session is held here, its actor tells more than the journal holds.
        if !shared.registry.is_holding(key)
            && !shared.unreadable.sessions.is_left(&key)
            && let Err(error) = catch_up(key, &shared, &mut follower).await
        {
            if *error.kind() == RuntimeErrorKind::Damaged {
                unreadable::let_go(&shared, key, &error).await;
            } else {
                tracing::warn!(session = %key.session, %error, "a session cannot be followed; trying again");
            }
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = wake.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Tells the session's readers now what was committed so far, whoever does it from here on.
pub(crate) async fn tell(key: SessionKey, shared: &Shared) -> Result<(), RuntimeError> {
    catch_up(key, shared, &mut None).await
}

/// Where a follower is: the state, or before the first event.
type Place = Option<Session>;

async fn catch_up(
    key: SessionKey,
    shared: &Shared,
    follower: &mut Option<Place>,
) -> Result<(), RuntimeError> {
    let Some(told) = shared.hub.told(key) else { return Ok(()) };
    let place = match follower.take() {
        Some(place) => place,
        None => at(key, shared, told).await?,
    };
    let place = follower.insert(place);
    loop {
        let after = place.as_ref().map_or(Version::ZERO, Session::version);
        let events = shared.store.events(key, after, EVENTS_MAX).await?;
        let whole = events.len() < EVENTS_MAX;
        let mut parts: Vec<_> = appends(&events).collect();
        if !whole {
            // It may go on in what was not read.
            parts.pop();
        }
        for part in parts {
            let mut batch = Session::follow(key, place.as_ref(), part).ok_or(RuntimeErrorKind::Damaged)?;
            budget::tell(shared, &mut batch).await;
            shared.hub.publish_commit(key, batch.after.version(), batch.notices);
            *place = Some(batch.after);
        }
        if whole {
            return Ok(());
        }
    }
}

/// The session as it was at `version`, or before its first event.
async fn at(key: SessionKey, shared: &Shared, version: Version) -> Result<Place, RuntimeError> {
    if version == Version::ZERO {
        return Ok(None);
    }
    let stored = shared.store.load(key).await?.ok_or(RuntimeErrorKind::NotFound)?;
    let snapshot = stored.snapshot.filter(|snapshot| snapshot.version <= version);
    let state = snapshot.and_then(|snapshot| Session::decode(&snapshot.bytes).ok());
    let after = state.as_ref().map_or(Version::ZERO, Session::version);
    let count = usize::try_from(version.0.saturating_sub(after.0)).unwrap_or(usize::MAX);
    let events = shared.store.events(key, after, count).await?;
    Session::fold(key, state, &events).map(Some).ok_or_else(|| RuntimeErrorKind::Damaged.into())
}
