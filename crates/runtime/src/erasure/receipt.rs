//! The receipt: what was asked, what went, how that was verified, and what an erasure does not reach.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tenure_audit::Receipt;
use tenure_journal::json as canonical;
use tenure_memory::rfc3339;

use super::job::{Asked, Job};
use crate::handle::Shared;
use crate::{RuntimeError, RuntimeErrorKind};

/// Places that are named where something was found.
const PLACES_MAX: usize = 32;

/// What this server cannot reach, whatever it erases.
const OUTSIDE: &[&str] = &[
    "backups and replicas of the store that were made before",
    "files and logs that were exported",
    "messages that webhooks were sent, and traces that were exported",
    "what providers of models and tool servers keep of requests they were sent",
];

/// The signed receipt of an erasure whose rows and payloads are gone, and of which so much was found since.
///
/// # Errors
/// `Damaged`: it says more than a note can hold.
pub(super) fn sign(
    shared: &Shared,
    job: &Job,
    texts: usize,
    found: &BTreeMap<String, u64>,
) -> Result<String, RuntimeError> {
    let receipt = Receipt { body: canonical::canonical(&body(shared, job, texts, found)) };
    receipt.sign(&shared.signing_key(job.project)).map_err(|_| RuntimeErrorKind::Damaged.into())
}

fn body(shared: &Shared, job: &Job, texts: usize, found: &BTreeMap<String, u64>) -> Value {
    // Journals do not know of vectors.
    let vectors = shared.embedding.routes(&shared.models);
    let routes: BTreeSet<&String> = job.outside.routes.iter().chain(&vectors).collect();
    let sessions: Vec<String> = job.sessions.iter().map(ToString::to_string).collect();
    let asked = match &job.asked {
        Asked::Subject { digest } => json!({ "subject_digest": digest }),
        Asked::Session { session } => json!({ "session": session }),
        Asked::File { file } => json!({ "file": file }),
        Asked::Fact { fact } => json!({ "fact": fact }),
        Asked::Scope { digest } => json!({ "scope_digest": digest }),
    };
    let gone: BTreeMap<&str, u64> = job.gone.iter().collect();
    let found: BTreeMap<&str, u64> =
        found.iter().take(PLACES_MAX).map(|(place, count)| (place.as_str(), *count)).collect();
    json!({
        "erasure": job.id,
        "project": job.project,
        "asked": asked,
        "asked_by": job.by,
        "asked_at": rfc3339(job.asked_at),
        "done_at": rfc3339(shared.clock.now()),
        "rows": gone,
        "sessions": { "count": sessions.len(), "digest": canonical::digest(&json!(sessions)) },
        "payloads": { "count": job.payloads.removed, "bytes": job.payloads.bytes },
        "verified": { "store": "scrubbed, then searched", "texts": texts, "found": found },
        "outside": {
            "kinds": OUTSIDE,
            "routes": routes,
            "tool_servers": job.outside.servers,
        },
    })
}
