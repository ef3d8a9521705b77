//! Vectors of what is remembered: made in the background, after the commit, a batch at a time.
//!
//! ```text
//!   append with episodes ──▶ tell ──▶ what has no vectors of the model ──▶ make them ──▶ keep them ──▶ again
//! ```
//!
//! Recall never waits for it: what has no vectors yet is found by its terms. A process that dies anywhere here leaves
//! episodes without vectors, for the next to find; two nodes that make the same ones write the same. Another model is
//! the same case as none: everything has no vectors of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tenure_journal::Vectors;
use tenure_memory::meaning;
use tenure_store::{Embedded, StoreError, Unembedded};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Runtime;
use crate::handle::Shared;

/// Episodes whose vectors are made and written together.
const EPISODES_AT_ONCE: usize = 32;
/// How often a node looks for what others left.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often it looks at everything: for what took the place of something older.
const SWEEP_EVERY: Duration = Duration::from_secs(15 * 60);
/// How long it waits after something failed.
const PAUSE: Duration = Duration::from_secs(15);

/// A model that makes vectors of texts.
#[async_trait]
pub trait Embedder: Send + Sync + 'static {
    /// What tells its vectors from those of any other model. It is kept with each.
    fn model(&self) -> &str;

    /// A vector of length one for each text, in their order, all of the same length.
    ///
    /// # Errors
    /// The model cannot be reached or gave something else.
    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedError>;
}

/// Why there are no vectors now.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct EmbedError {
    what: String,
}

impl EmbedError {
    /// With what happened, in words that hold no secret and nothing that was said.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

/// The model of this node, if it has one, and who is told of new episodes.
#[derive(Default)]
pub(crate) struct Embedding {
    embedder: OnceLock<Arc<dyn Embedder>>,
    news: Notify,
}

impl Embedding {
    pub(crate) fn embedder(&self) -> Option<&dyn Embedder> {
        self.embedder.get().map(|embedder| &**embedder)
    }

    /// Tells that there are new episodes.
    pub(crate) fn tell(&self) {
        self.news.notify_one();
    }
}

impl Runtime {
    /// Recalls by meaning too from now on, and makes vectors of whatever has none of this model, until the runtime is
    /// shut down. Called once, before requests are answered; a second model is passed over.
    pub fn embed_with(&self, embedder: Arc<dyn Embedder>) {
        if self.shared.embedding.embedder.set(Arc::clone(&embedder)).is_ok() {
            self.shared.tasks.spawn(run(Arc::clone(&self.shared), embedder));
        }
    }
}

async fn run(shared: Arc<Shared>, embedder: Arc<dyn Embedder>) {
    let mut after = 0;
    let mut sweeping_until_end = true;
    let mut swept_at = Instant::now();
    loop {
        let made = tokio::select! {
            () = shared.stop.cancelled() => return,
            made = some(&shared, &*embedder, &mut after) => made,
        };
        let pause = match made {
            Ok(Left::More) => continue,
            Ok(Left::Nothing) => {
                if std::mem::take(&mut sweeping_until_end) {
                    tracing::info!(model = embedder.model(), "everything remembered has its vectors");
                }
                None
            }
            Err(error) => {
                tracing::warn!(%error, model = embedder.model(), "no vectors are made now; recall is lexical for what has none");
                Some(PAUSE)
            }
        };
        let told = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => shared.embedding.news.notified().await,
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = told => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if swept_at.elapsed() > SWEEP_EVERY {
            (after, swept_at) = (0, Instant::now());
        }
    }
}

/// Whether there may be more to do.
enum Left {
    More,
    Nothing,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
}

/// Makes vectors of a few episodes after number `after`, which moves on.
async fn some(shared: &Shared, embedder: &dyn Embedder, after: &mut u64) -> Result<Left, Failed> {
    let lacking = shared.store.unembedded(embedder.model(), *after, EPISODES_AT_ONCE).await?;
    let Some(last) = lacking.last().map(|one| one.number) else { return Ok(Left::Nothing) };
    let embedded = embed(embedder, lacking).await?;
    shared.store.embed(embedder.model(), embedded).await?;
    *after = last;
    Ok(Left::More)
}

/// The vectors of some episodes, made together.
///
/// # Errors
/// The model's; also that it gave something other than one vector for each text.
pub(crate) async fn embed(
    embedder: &dyn Embedder,
    lacking: Vec<Unembedded>,
) -> Result<Vec<Embedded>, EmbedError> {
    let texts: Vec<Vec<String>> =
        lacking.iter().map(|one| meaning::texts(one.before.as_ref(), &one.episode)).collect();
    let counts: Vec<usize> = texts.iter().map(Vec::len).collect();
    let mut vectors = embedder.embed(texts.into_iter().flatten().collect()).await?.into_iter();
    let strange = || EmbedError::new("the model did not give a vector of the same length for each text");
    let mut embedded = Vec::with_capacity(lacking.len());
    for (one, count) in lacking.into_iter().zip(counts) {
        let own: Vec<Vec<f32>> = vectors.by_ref().take(count).collect();
        let vectors = Vectors::of(&own).filter(|_| own.len() == count).ok_or_else(strange)?;
        embedded.push(Embedded { project: one.project, episode: one.episode, vectors });
    }
    Ok(embedded)
}
