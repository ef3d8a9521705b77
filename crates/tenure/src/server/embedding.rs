//! The model that makes vectors of what is remembered, where the project names one.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tenure_embed::{Model, ModelError, ModelErrorKind};
use tenure_project::Settings;
use tenure_runtime::{EmbedError, Embedder};

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

/// The model of the settings, read.
pub(super) async fn embedder(
    settings: &Settings,
    root: &Path,
) -> Result<Option<Arc<dyn Embedder>>, StartError> {
    let Some(embedding) = &settings.memory.embedding else { return Ok(None) };
    let local = Local::open(&root.join(&embedding.directory)).await.map_err(|error| {
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
    Ok(Some(Arc::new(local)))
}
