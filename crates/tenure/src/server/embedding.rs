//! The model that makes vectors of what is remembered, where the project names one.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tenure_embed::{Model, ModelError, ModelErrorKind};
use tenure_project::{Embedding, EmbeddingModel, Settings};
use tenure_runtime::{EmbedError, Embedder, EmbeddingRoutes, ModelTable, Provider, Runtime};

use super::StartError;

/// One: vectors of what was said are made beside everything else this server does.
const THREADS: NonZeroUsize = NonZeroUsize::MIN;

/// A model of this machine.
pub(crate) struct Local(Arc<Model>);

impl Local {
    /// Reads a model's directory.
    pub(crate) async fn open(directory: &Path) -> Result<Self, ModelError> {
        let directory = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || Model::open(&directory)).await;
        let model = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        Ok(Self(Arc::new(model)))
    }

    /// Numbers of a vector.
    pub(crate) fn dimensions(&self) -> usize {
        self.0.dimensions()
    }
}

#[async_trait]
impl Embedder for Local {
    fn model(&self) -> &str {
        self.0.name()
    }

    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedError> {
        let model = Arc::clone(&self.0);
        let run = move || {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            model.encode(&texts, THREADS)
        };
        tokio::task::spawn_blocking(run).await.map_err(|error| EmbedError::new(error.to_string()))
    }
}

/// What the settings say of vectors, ready to be used.
pub(super) enum Configured {
    Here(Arc<dyn Embedder>),
    Routed(EmbeddingRoutes),
}

/// What the settings say, if they say something.
pub(super) async fn configured(
    settings: &Settings,
    models: &ModelTable,
    root: &Path,
) -> Result<Option<Configured>, StartError> {
    match &settings.memory.embedding {
        None => Ok(None),
        Some(Embedding::Directory(directory)) => {
            local(&root.join(directory)).await.map(|local| Some(Configured::Here(local)))
        }
        Some(Embedding::Model(written)) => routed(written, models).map(Configured::Routed).map(Some),
    }
}

/// Begins to make vectors, and says what an operator wants to know of it.
pub(super) fn begin(runtime: &Runtime, configured: Configured) -> String {
    match configured {
        Configured::Here(embedder) => {
            let note = format!("memory by meaning through `{}`", embedder.model());
            runtime.embed_with(embedder);
            note
        }
        Configured::Routed(routes) => {
            let name = routes.model.clone();
            let kept = runtime.embed_through(routes).unwrap_or_default();
            format!(
                "memory by meaning through routes to `{name}`, kept as `{kept}`; texts leave this server where policy permits it"
            )
        }
    }
}

async fn local(directory: &Path) -> Result<Arc<dyn Embedder>, StartError> {
    let local = Local::open(directory).await.map_err(|error| {
        let fix = match error.kind() {
            ModelErrorKind::Unreadable => {
                "name a directory with config.json, model.safetensors and tokenizer.json or vocab.txt in tenure.yaml; \
                 nothing is downloaded"
            }
            ModelErrorKind::Malformed => "put the file there again, whole",
            ModelErrorKind::Unsupported => "use a sentence encoder of the BERT family, such as all-MiniLM-L6-v2",
        };
        StartError::new("`memory.embedding.directory` in tenure.yaml is no model that can be used").cause(error).fix(fix)
    })?;
    Ok(Arc::new(local))
}

/// Every route of the model has to lead to a provider that makes vectors.
fn routed(written: &EmbeddingModel, models: &ModelTable) -> Result<EmbeddingRoutes, StartError> {
    let EmbeddingModel { model, dimensions, texts_max, question_timeout_ms } = written;
    let providers: Vec<&Arc<Provider>> = match models.named.get(model) {
        Some(routes) => routes.iter().map(|route| &route.provider).collect(),
        None => models.fallback.iter().collect(),
    };
    if providers.is_empty() {
        return Err(StartError::new(format!("`memory.embedding.model` is `{model}`, which has no provider"))
            .fix("name it under `models` in tenure.yaml, with its provider"));
    }
    if let Some(other) = providers.iter().find(|provider| !provider.makes_vectors()) {
        let message = format!(
            "`memory.embedding.model` is `{model}`, and the provider `{}` makes no vectors of texts",
            other.name()
        );
        let fix = "use a provider of type `openai` or `azure`, or one that speaks as OpenAI does";
        return Err(StartError::new(message).fix(fix));
    }
    Ok(EmbeddingRoutes {
        model: model.clone(),
        dimensions: *dimensions,
        texts_max: *texts_max,
        question_timeout: Duration::from_millis(*question_timeout_ms),
    })
}
