//! A session's stream events over one connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tenure_journal::SessionId;
use tenure_runtime::{Present, Subscription, SubscriptionItem};
use tenure_session::{SessionNotice, StreamEvent};
use tokio_util::sync::CancellationToken;

use crate::call::App;
use crate::show::{self, EventIds};

/// A stream that goes on across turns until the session is deleted or the client leaves.
pub(super) fn open_ended(app: &Arc<App>, session: SessionId, subscription: Subscription) -> Response {
    response(app, session, subscription, End::Never, StatusCode::OK)
}

/// A stream that ends with the first idle after a turn, or when the session fails.
pub(super) fn until_idle(
    app: &Arc<App>,
    session: SessionId,
    subscription: Subscription,
    status: StatusCode,
) -> Response {
    response(app, session, subscription, End::BeforeTurn, status)
}

/// When a stream ends by itself.
///
/// ```text
///   BeforeTurn ──turn ends──▶ AfterTurn ──idle──▶ Reached
///       └───────────── failed ─────────────────────▲
/// ```
///
/// A deletion ends every stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Never,
    BeforeTurn,
    AfterTurn,
    Reached,
}

impl End {
    fn after(self, event: &StreamEvent) -> Self {
        match event {
            StreamEvent::Deleted => Self::Reached,
            StreamEvent::Session { kind: SessionNotice::Failed, .. } if self != Self::Never => Self::Reached,
            StreamEvent::Session { kind: SessionNotice::Idle, .. } if self == Self::AfterTurn => {
                Self::Reached
            }
            StreamEvent::Turn { turn, .. } if self == Self::BeforeTurn && turn.status.is_terminal() => {
                Self::AfterTurn
            }
            StreamEvent::Session { .. }
            | StreamEvent::Turn { .. }
            | StreamEvent::ItemAdded { .. }
            | StreamEvent::ItemDone { .. }
            | StreamEvent::Part { .. }
            | StreamEvent::Subagent { .. }
            | StreamEvent::Environment { .. }
            | StreamEvent::CommandOutput { .. }
            | StreamEvent::Error { .. } => self,
        }
    }
}

struct Feed {
    session: SessionId,
    subscription: Subscription,
    ids: EventIds,
    end: End,
    keepalive: Duration,
    shutdown: CancellationToken,
    /// Counted while it lasts.
    _open: Present,
}

impl Feed {
    /// The next bytes; nothing when the stream is over. Safe to cancel.
    async fn next(&mut self) -> Option<String> {
        while self.end != End::Reached {
            let next = tokio::select! {
                biased;
                next = self.subscription.next() => next,
                () = self.shutdown.cancelled() => return None,
                () = tokio::time::sleep(self.keepalive) => return Some(": keepalive\n\n".into()),
            };
            match next? {
                SubscriptionItem::Lagged => {
                    self.end = End::Reached;
                    return Some(show::lagged(self.session, &mut self.ids));
                }
                SubscriptionItem::Event(event) => {
                    self.end = self.end.after(&event);
                    let frames = show::frames(self.session, &event, &mut self.ids);
                    if !frames.is_empty() {
                        return Some(frames);
                    }
                }
            }
        }
        None
    }
}

fn response(
    app: &Arc<App>,
    session: SessionId,
    subscription: Subscription,
    end: End,
    status: StatusCode,
) -> Response {
    let feed = Feed {
        session,
        subscription,
        ids: EventIds::new(app.next_stream()),
        end,
        keepalive: app.config.keepalive,
        shutdown: app.config.shutdown.clone(),
        _open: app.runtime.metrics().stream_opened(),
    };
    let frames = futures_util::stream::unfold(feed, |mut feed| async move {
        let frame = feed.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(frame)), feed))
    });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (status, headers, Body::from_stream(frames)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::session::tests::view;

    fn session(kind: SessionNotice) -> StreamEvent {
        StreamEvent::Session { kind, session: Arc::new(view()) }
    }

    #[test]
    fn a_creation_stream_ends_after_its_turn() {
        let end = End::BeforeTurn.after(&session(SessionNotice::Idle));
        assert!(end == End::BeforeTurn, "idle before a turn ended is not the end");
        assert!(End::AfterTurn.after(&session(SessionNotice::RequiresAction)) == End::AfterTurn);
        assert!(End::AfterTurn.after(&session(SessionNotice::Idle)) == End::Reached);
        assert!(End::BeforeTurn.after(&session(SessionNotice::Failed)) == End::Reached);
        assert!(End::Never.after(&session(SessionNotice::Failed)) == End::Never);
    }
}
