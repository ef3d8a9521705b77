//! A model that lets calls through one by one and knows how many there were at once.

use std::sync::Mutex;

use async_trait::async_trait;
use tenure_journal::{AnswerItem, Failure, FailureKind, ModelAnswer, ModelRequest, Stop};
use tenure_model::{Delta, Model};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The model.
pub(crate) struct Crowd {
    counts: Mutex<Counts>,
    /// A call is answered for each permit.
    pub(crate) answers: Semaphore,
}

/// What a [`Crowd`] saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Calls that wait for their answer.
    pub(crate) waiting: usize,
    /// The most that ever waited at once.
    pub(crate) waiting_max: usize,
    /// Calls that were answered.
    pub(crate) answered: usize,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { counts: Mutex::default(), answers: Semaphore::new(0) }
    }
}

impl Crowd {
    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock().expect("no panics")
    }

    fn enter(&self) -> Waiting<'_> {
        let mut counts = self.counts.lock().expect("no panics");
        counts.waiting += 1;
        counts.waiting_max = counts.waiting_max.max(counts.waiting);
        Waiting(self)
    }
}

/// A call that waits, until it is dropped.
struct Waiting<'a>(&'a Crowd);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.counts.lock().expect("no panics").waiting -= 1;
    }
}

#[async_trait]
impl Model for Crowd {
    async fn answer(
        &self,
        _: &ModelRequest,
        _: &mut (dyn FnMut(Delta) + Send),
        cancel: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        let _waiting = self.enter();
        let answered = tokio::select! {
            answer = self.answers.acquire() => answer.is_ok_and(|permit| { permit.forget(); true }),
            () = cancel.cancelled() => false,
        };
        if !answered {
            let message = "cancelled".to_owned();
            return Err(Failure { kind: FailureKind::ConnectionFailed, message, retry_after_ms: None });
        }
        self.counts.lock().expect("no panics").answered += 1;
        let items = vec![AnswerItem::Message { content: vec!["Fine.".to_owned()] }];
        Ok(ModelAnswer { items, usage: None, stop: Stop::Complete, response_id: None })
    }
}
