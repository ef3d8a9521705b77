//! Policies when a server starts: those of its files, and what was published beside them.

use tenure_journal::{
    Author, PolicySource, ProjectId, RequestFact, RequestKind, RequestOutcome, RequestRecord, json,
};
use tenure_runtime::{Publication, Runtime};
use tenure_store::AuditEntry;

use super::StartError;
use super::cluster::failed;

/// Tells the audit log which policies are in force from here on: those of the project's files, at each start.
pub(super) async fn record(runtime: &Runtime, project: ProjectId, digest: &str) -> Result<(), StartError> {
    runtime
        .record(published(runtime, project, digest))
        .await
        .map_err(|error| StartError::new("the audit log cannot be written").cause(error))
}

/// Withdraws what was published, where it is asked for, and sees whether what is left can be decided with.
/// Gives what an operator should know.
pub(super) async fn settle(
    runtime: &Runtime,
    project: ProjectId,
    withdraw: bool,
) -> Result<Option<String>, StartError> {
    let before = runtime.published(project, None).await.map_err(failed)?;
    let before = before.filter(|published| !published.sources.is_empty());
    if let (Some(before), true) = (&before, withdraw) {
        withdraw_from(runtime, project, before.version).await?;
        return Ok(Some(format!("the published policies of version {} are withdrawn", before.version)));
    }
    let set = runtime.policies(project).await.map_err(failed)?;
    let closed = set.closed().map(|why| {
        format!(
            "everything is denied: the published policies do not fit the files ({why}); publish others, or start \
             with --withdraw-policies"
        )
    });
    let in_force = || {
        let published = before.map(|before| before.version)?;
        Some(format!("policies of version {published} are published beside the files"))
    };
    Ok(closed.or_else(in_force))
}

async fn withdraw_from(runtime: &Runtime, project: ProjectId, after: u64) -> Result<(), StartError> {
    let nothing = runtime
        .try_policies(Vec::<PolicySource>::new())
        .await
        .map_err(|error| StartError::new("the policies cannot be used").cause(error))?;
    let publication = Publication {
        after,
        note: Some("withdrawn by who started the server".to_owned()),
        by: Author::ProjectFiles.principal(),
        restores: Some(0),
        // What the files say was the operator's to check before the start.
        proof: None,
    };
    let record = published(runtime, project, nothing.set.digest());
    let withdrawn = runtime.publish_policies(project, &nothing, publication, None, vec![record]).await;
    withdrawn.map(drop).map_err(failed)
}

fn published(runtime: &Runtime, project: ProjectId, digest: &str) -> AuditEntry {
    let fact = RequestFact {
        kind: RequestKind::Changed,
        action: "policy.publish".to_owned(),
        resource: digest.to_owned(),
        arguments: json::digest(&digest.into()),
        by: Author::ProjectFiles.principal(),
        outcome: RequestOutcome::Done,
    };
    let record = RequestRecord { at: runtime.now(), project, fact };
    AuditEntry { project, record: record.to_bytes().into() }
}
