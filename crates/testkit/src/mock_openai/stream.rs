//! Response bodies that stream, stall and break as a script says.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tenure_model::codec::server::Frame;
use tenure_model::scripted::{Fault, Play};

/// What is still to come of a body.
struct Coming {
    frames: std::vec::IntoIter<Frame>,
    /// Frames until the stall, and its milliseconds.
    stall: Option<(usize, u64)>,
    token_delay_ms: u64,
    breaks: bool,
}

/// A body of `frames` with the delays and the fault of `play`.
pub(super) fn body(mut frames: Vec<Frame>, play: &Play) -> Body {
    let mut stall = None;
    let mut breaks = false;
    match play.fault {
        Some(Fault::Cut { after_tokens }) => {
            frames.truncate(place_after(&frames, after_tokens));
            breaks = true;
        }
        Some(Fault::Stall { ms, after_tokens: Some(after) }) => {
            stall = Some((place_after(&frames, after), ms));
        }
        Some(Fault::Stall { after_tokens: None, .. } | Fault::Status { .. } | Fault::Disconnect) | None => {}
    }
    if stall.is_none() && !breaks && play.token_delay_ms == 0 {
        // Nothing to wait for: one write instead of one for each token.
        return Body::from(frames.into_iter().flat_map(|frame| frame.bytes).collect::<Vec<u8>>());
    }
    let coming = Coming { frames: frames.into_iter(), stall, token_delay_ms: play.token_delay_ms, breaks };
    Body::from_stream(stream::unfold(coming, next))
}

/// A body that fails before its first byte.
pub(super) fn broken() -> Body {
    Body::from_stream(stream::iter([Err::<Bytes, _>(aborted())]))
}

/// How many frames come before the place behind so many tokens: the next token, or what follows the last
/// one. The end of the answer is never before it.
fn place_after(frames: &[Frame], tokens: u64) -> usize {
    let mut places = frames.iter().enumerate().filter(|(_, frame)| frame.is_token).map(|(index, _)| index);
    let tokens = usize::try_from(tokens).unwrap_or(usize::MAX);
    places.clone().nth(tokens).or_else(|| places.next_back().map(|last| last + 1)).unwrap_or(1)
}

async fn next(mut coming: Coming) -> Option<(io::Result<Bytes>, Coming)> {
    if let Some((frames, ms)) = coming.stall.take() {
        if frames == 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        } else {
            coming.stall = Some((frames - 1, ms));
        }
    }
    match coming.frames.next() {
        Some(frame) => {
            if frame.is_token && coming.token_delay_ms > 0 {
                tokio::time::sleep(Duration::from_millis(coming.token_delay_ms)).await;
            }
            Some((Ok(Bytes::from(frame.bytes)), coming))
        }
        None if std::mem::take(&mut coming.breaks) => {
            // What was sent leaves the process before the connection does.
            tokio::task::yield_now().await;
            Some((Err(aborted()), coming))
        }
        None => None,
    }
}

fn aborted() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "a fault of the script")
}
