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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tenure_policy::PolicySet;
    use tenure_runtime::{EnvironmentConfig, Limits, ModelTable, Outbound, Parts, Sealer};
    use tenure_store::MemoryStore;
    use tenure_tools::McpServers;

    use super::*;

    /// Nobody publishes.
    const LOCKED: &str = r#"@id("locked") forbid (principal, action == Action::"policy.publish", resource);"#;

    async fn start() -> Runtime {
        // What webhooks are sent with; another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let servers = McpServers::new(Vec::new(), tenure_tools::Limits::default()).expect("TLS is set up");
        let parts = Parts {
            store: Arc::new(MemoryStore::unshared()),
            models: ModelTable { named: BTreeMap::new(), fallback: None },
            servers: Arc::new(servers),
            project_servers: BTreeMap::new(),
            policy: Arc::new(PolicySet::defaults()),
            sealer: Sealer::ephemeral(),
            limits: Limits::default(),
            outbound: Outbound::default(),
            environments: EnvironmentConfig::default(),
        };
        Runtime::start(parts).await.expect("starts")
    }

    #[tokio::test]
    async fn who_starts_the_server_withdraws_what_was_published() {
        let runtime = start().await;
        let project = ProjectId::fresh(&runtime.fresh());
        assert_eq!(
            settle(&runtime, project, true).await.expect("settled"),
            None,
            "there is nothing to withdraw"
        );
        let sources = vec![PolicySource { name: "own.cedar".into(), text: LOCKED.into() }];
        let locked = runtime.try_policies(sources).await.expect("valid");
        let by_ann = Publication { by: "ann".into(), ..Publication::default() };
        runtime.publish_policies(project, &locked, by_ann, None, Vec::new()).await.expect("published");
        let beside = "policies of version 1 are published beside the files";
        assert_eq!(settle(&runtime, project, false).await.expect("settled").as_deref(), Some(beside));
        assert_eq!(runtime.policies(project).await.expect("readable").digest(), locked.set.digest());

        let withdrawn = "the published policies of version 1 are withdrawn";
        assert_eq!(settle(&runtime, project, true).await.expect("settled").as_deref(), Some(withdrawn));
        let files = runtime.file_policies().digest().to_owned();
        assert_eq!(runtime.policies(project).await.expect("readable").digest(), files);
        let now = runtime.published(project, None).await.expect("readable").expect("a version");
        assert_eq!((now.version, now.restores, now.sources.len()), (2, Some(0), 0));
        assert_eq!(now.by.as_deref(), Some("project_files"));
        let records = runtime.store().unsealed(&[], usize::MAX).await.expect("readable");
        let told = records.iter().map(|record| String::from_utf8_lossy(&record.record).into_owned());
        let told: Vec<String> = told.filter(|record| record.contains("policy.publish")).collect();
        assert!(matches!(told.as_slice(), [one] if one.contains(&files)), "it is recorded: {told:?}");
        assert_eq!(settle(&runtime, project, true).await.expect("settled"), None, "once is enough");
    }
}
