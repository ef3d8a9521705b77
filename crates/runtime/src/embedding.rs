//! Vectors of what is remembered: made in the background, after the commit, a batch at a time.
//!
//! ```text
//!   append with episodes ──▶ tell ──▶ what has no vectors of the model ──▶ make them ──▶ keep them ──▶ again
//! ```
//!
//! Recall never waits for it: what has no vectors yet is found by its terms. A process that dies anywhere here leaves
//! episodes without vectors, for the next to find; two nodes that make the same ones write the same. Another model is
//! the same case as none: everything has no vectors of it.

mod routed;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tenure_journal::{Labels, MemorySpace, Party};
use tenure_memory::meaning;
use tenure_session::Rememberer;
use tenure_store::{DocumentKind, Embedded, StoreError, Unembedded};
use tenure_vector::Vectors;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::routed::{Failing, Questioner, Routed};
use crate::handle::Shared;
use crate::{ModelTable, Runtime};

pub use self::routed::{EmbeddingRoutes, QUESTION_TIMEOUT, TEXTS_MIN};

/// Episodes whose vectors are made and written together.
const EPISODES_AT_ONCE: usize = 32;
/// How often a node looks for what others left.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often it looks at everything: for what took the place of something older, and for what failed.
const SWEEP_EVERY: Duration = Duration::from_secs(15 * 60);
/// How long it waits after something failed; twice as long each time it fails again.
const PAUSE: Duration = Duration::from_secs(15);
/// The longest it waits.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

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
    source: OnceLock<Source>,
    news: Notify,
}

/// Where vectors come from.
#[derive(Clone)]
enum Source {
    /// A model of this machine: nothing leaves it.
    Here(Arc<dyn Embedder>),
    /// A provider's, by routes.
    Routed(Arc<Routed>),
}

impl Source {
    fn model(&self) -> &str {
        match self {
            Self::Here(embedder) => embedder.model(),
            Self::Routed(routed) => routed.name(),
        }
    }
}

impl Embedding {
    /// What makes the vector of a question that an agent asks in a session, whose model has seen what `flow` says.
    pub(crate) fn of_session(
        &self,
        shared: &Arc<Shared>,
        (rememberer, flow): (&Rememberer, &Labels),
    ) -> Option<Arc<dyn Embedder>> {
        Some(match self.source.get()? {
            Source::Here(embedder) => Arc::clone(embedder),
            Source::Routed(routed) => Arc::new(Questioner {
                shared: Arc::clone(shared),
                routed: Arc::clone(routed),
                rememberer: rememberer.clone(),
                flow: flow.clone(),
            }),
        })
    }

    /// What makes the vector of a question by which somebody searches the memory of an agent.
    ///
    /// # Errors
    /// The agent cannot be looked up.
    pub(crate) async fn of_search(
        &self,
        shared: &Arc<Shared>,
        space: &MemorySpace,
        by: Option<Party>,
    ) -> Result<Option<Arc<dyn Embedder>>, StoreError> {
        let Some(source) = self.source.get() else { return Ok(None) };
        if let Source::Here(embedder) = source {
            return Ok(Some(Arc::clone(embedder)));
        }
        let id = space.agent.to_string();
        let saved = shared.store.document(space.project, DocumentKind::Agent, &id, None).await?;
        let (name, version) = saved.map_or((None, None), |saved| (saved.name, Some(saved.version)));
        let rememberer = Rememberer::searched(space, name, version, by);
        Ok(self.of_session(shared, (&rememberer, &Labels::NEUTRAL)))
    }

    /// The names of the routes that texts may take on their way to become vectors.
    pub(crate) fn routes(&self, models: &ModelTable) -> Vec<String> {
        match self.source.get() {
            Some(Source::Routed(routed)) => models.route_names(routed.model()),
            Some(Source::Here(_)) | None => Vec::new(),
        }
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
        self.embed_from(Source::Here(embedder));
    }

    /// The same with a model of a provider, by the routes that policy permits for each text. Gives the name that its
    /// vectors are kept with; `None` if the model has no route.
    pub fn embed_through(&self, routes: EmbeddingRoutes) -> Option<String> {
        let upstream = self.shared.models.upstream(&routes.model);
        if upstream.is_empty() {
            return None;
        }
        let routed = Routed::new(routes, &upstream);
        let name = routed.name().to_owned();
        self.embed_from(Source::Routed(Arc::new(routed)));
        Some(name)
    }

    fn embed_from(&self, source: Source) {
        if self.shared.embedding.source.set(source.clone()).is_ok() {
            self.shared.tasks.spawn(run(Arc::clone(&self.shared), source));
        }
    }
}

async fn run(shared: Arc<Shared>, source: Source) {
    let mut pass = Pass::default();
    let mut again_in = LOOK_EVERY;
    let mut sweeping_until_end = true;
    let mut swept_at = Instant::now();
    let mut pause_next = PAUSE;
    loop {
        let making = some(&shared, &source, &mut pass);
        let made = match &source {
            Source::Here(_) => tokio::select! {
                () = shared.stop.cancelled() => return,
                made = making => made,
            },
            // It cuts itself off, and settles what it began.
            Source::Routed(_) => making.await,
        };
        if shared.stop.is_cancelled() {
            return;
        }
        let pause = match made {
            Ok(left) => {
                pause_next = PAUSE;
                match left {
                    Left::More => continue,
                    Left::Nothing => {}
                }
                if pass.failing.is_empty() && std::mem::take(&mut sweeping_until_end) {
                    tracing::info!(model = source.model(), "everything remembered has its vectors");
                }
                None
            }
            Err(error) => {
                tracing::warn!(%error, model = source.model(), "no vectors are made now; recall is lexical for what has none");
                let pause = pause_next;
                pause_next = (pause_next * 2).min(PAUSE_MAX);
                Some(pause)
            }
        };
        let told = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    tokio::select! {
                        () = shared.embedding.news.notified() => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                }
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = told => {}
        }
        // Only from its end: one that failures make slow gets to what comes after them all the same.
        let sweep_in = if pass.failing.is_empty() { SWEEP_EVERY } else { again_in };
        if pause.is_none() && swept_at.elapsed() >= sweep_in {
            again_in = if pass.failing.is_empty() { LOOK_EVERY } else { (again_in * 2).min(SWEEP_EVERY) };
            (pass, swept_at) = (Pass::default(), Instant::now());
        }
    }
}

/// One way through everything that has no vectors.
#[derive(Default)]
struct Pass {
    /// The number of the last episode that was looked at.
    after: u64,
    /// What is tried again in the next.
    failing: Failing,
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

/// Makes vectors of a few episodes, the next of a pass. It moves on even if a route fails, which may be that of one
/// project; but not if the store or this machine's model does.
async fn some(shared: &Shared, source: &Source, pass: &mut Pass) -> Result<Left, Failed> {
    let lacking = shared.store.unembedded(source.model(), pass.after, EPISODES_AT_ONCE).await?;
    let Some(last) = lacking.last().map(|one| one.number) else { return Ok(Left::Nothing) };
    match source {
        Source::Here(embedder) => {
            let (texts, counts) = texts(&lacking);
            let embedded = embedded(lacking, &counts, embedder.embed(texts).await?)?;
            shared.store.embed(embedder.model(), embedded).await?;
        }
        Source::Routed(routed) => {
            let made = routed::make(shared, routed, lacking, &mut pass.failing).await;
            if !matches!(made, Err(Failed::Store(_))) {
                pass.after = last;
            }
            return made.map(|()| Left::More);
        }
    }
    pass.after = last;
    Ok(Left::More)
}

/// What the vectors of some episodes are made of, and how many belong to each.
fn texts(lacking: &[Unembedded]) -> (Vec<String>, Vec<usize>) {
    let texts: Vec<Vec<String>> =
        lacking.iter().map(|one| meaning::texts(one.before.as_ref(), &one.episode)).collect();
    let counts = texts.iter().map(Vec::len).collect();
    (texts.into_iter().flatten().collect(), counts)
}

/// The episodes with their vectors.
///
/// # Errors
/// The model gave something other than one vector for each text.
fn embedded(
    lacking: Vec<Unembedded>,
    counts: &[usize],
    vectors: Vec<Vec<f32>>,
) -> Result<Vec<Embedded>, EmbedError> {
    let mut vectors = vectors.into_iter();
    let strange = || EmbedError::new("the model did not give a vector of the same length for each text");
    let mut embedded = Vec::with_capacity(lacking.len());
    for (one, count) in lacking.into_iter().zip(counts) {
        let own: Vec<Vec<f32>> = vectors.by_ref().take(*count).collect();
        let vectors = Vectors::of(&own).filter(|_| own.len() == *count).ok_or_else(strange)?;
        embedded.push(Embedded { project: one.project, episode: one.episode, vectors });
    }
    Ok(embedded)
}
