//! What several nodes that share a database must agree on before they serve.

use serde_json::json;
use tenure_api::keys;
use tenure_journal::{ProjectId, Timestamp};
use tenure_runtime::Runtime;
use tenure_store::{Document, DocumentKind, Order, Page, Receipt, StoreError, StoreErrorKind};

use super::StartError;

pub(super) fn failed(error: StoreError) -> StartError {
    StartError::new("durable state cannot be used").cause(error)
}

/// The project of a server that serves one project directory; made on the first start.
pub(super) async fn default_project(runtime: &Runtime) -> Result<ProjectId, StartError> {
    const NAME: &str = "default";
    let (store, home) = (runtime.store(), keys::system_project());
    let page = Page { after: None, limit: 1, order: Order::Ascending };
    // Twice: another node may make it in between.
    for _ in 0..2 {
        let found = store.documents(home, DocumentKind::Project, Some(NAME), &page).await.map_err(failed)?;
        if let Some(document) = found.first() {
            return document
                .id
                .parse()
                .map_err(|error| StartError::new("the stored project cannot be read").cause(error));
        }
        let (project, now) = (ProjectId::fresh(&runtime.fresh()), runtime.now());
        let document = Document { name: Some(NAME.to_owned()), ..document(project.to_string(), now) };
        match store.put(vec![document], Some(once("project", now))).await {
            Ok(()) => return Ok(project),
            Err(error) if error.kind() == StoreErrorKind::ReceiptExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(StartError::new("the project of this database was removed"))
}

/// A document of the installation, at its first version.
pub(super) fn document(id: String, at: Timestamp) -> Document {
    Document {
        project: keys::system_project(),
        kind: DocumentKind::Project,
        id,
        version: 1,
        name: None,
        body: json!({}),
        created_at: at,
        updated_at: at,
        wake_at: None,
        deleted: false,
    }
}

/// A receipt that only the first of several nodes can write.
fn once(what: &str, at: Timestamp) -> Receipt {
    Receipt {
        project: keys::system_project(),
        key: format!("first:{what}"),
        digest: String::new(),
        status: 0,
        body: String::new(),
        at,
    }
}
