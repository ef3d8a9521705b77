//! Whether the secrets of a vault may be put into a session's environment: asked for each of them and each host that
//! it may be shown to, when the environment is used, and recorded before anything of it begins.
//!
//! The machine cannot ask that with the command, as it does for the credential of a tool server: which secrets lie in
//! a vault is known when they are looked for. What policy does not allow is left out, as are hosts of a restricted
//! network; what needs an approval counts as not allowed.

use tenure_journal::{AuditRecord, Failure, FailureKind};
use tenure_policy::{Action, PolicySet, SecretFacts, Verdict};
use tenure_session::{Frozen, Standing};
use tenure_store::AuditEntry;

use super::access::failure;
use crate::handle::Shared;

/// The hosts that a secret may be shown to, as policy says it. Only [`Asking`] makes one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Permitted(Vec<String>);

impl Permitted {
    pub(super) fn hosts(&self) -> &[String] {
        &self.0
    }
}

/// The questions of one attempt.
pub(super) struct Asking<'a> {
    shared: &'a Shared,
    standing: &'a Standing,
    policy: std::sync::Arc<PolicySet>,
    frozen: std::sync::Arc<Frozen>,
    records: Vec<AuditRecord>,
}

impl<'a> Asking<'a> {
    /// With the policies and freezes of this moment.
    ///
    /// # Errors
    /// `Overloaded`: they cannot be read now.
    pub(super) async fn new(shared: &'a Shared, standing: &'a Standing) -> Result<Self, Failure> {
        let project = standing.project();
        let policy = shared.policies.of(&*shared.store, project).await.map_err(|error| unread(&error))?;
        let frozen = shared.freezes.of(&*shared.store, project).await.map_err(|error| unread(&error))?;
        Ok(Self { shared, standing, policy, frozen, records: Vec::new() })
    }

    /// Which of `audiences` the secret of a credential may be shown to; nothing if that is none.
    pub(super) fn ask(&mut self, credential: &str, audiences: &[String]) -> Option<Permitted> {
        let (at, secret) = (self.shared.clock.now(), SecretFacts { id: credential, audiences });
        let mut permitted = Vec::new();
        for host in audiences {
            let action = Action::SecretUse { secret, host };
            let (verdict, record) = self.standing.decide(&self.policy, &self.frozen, action, at);
            match verdict {
                Verdict::Allow(_) => permitted.push(host.clone()),
                Verdict::Ask(_) | Verdict::Deny(_) => {
                    tracing::info!(credential, host, "policy keeps a secret out of an environment");
                }
            }
            self.records.push(record);
        }
        // A secret that is for no host goes nowhere, and there is nothing to ask.
        (audiences.is_empty() || !permitted.is_empty()).then_some(Permitted(permitted))
    }

    /// Writes down what was decided. Durable when it returns; nothing may be used before.
    ///
    /// # Errors
    /// `Overloaded`: it cannot be written now.
    pub(super) async fn record(self) -> Result<(), Failure> {
        if self.records.is_empty() {
            return Ok(());
        }
        let entry =
            |record: AuditRecord| AuditEntry { project: record.project, record: record.to_bytes().into() };
        let entries = self.records.into_iter().map(entry).collect();
        let written = self.shared.store.put_recorded(Vec::new(), None, entries).await;
        written.map_err(|error| unread(&error))?;
        self.shared.unsealed.tell();
        Ok(())
    }
}

fn unread(error: &tenure_store::StoreError) -> Failure {
    tracing::warn!(%error, "whether secrets may be used cannot be decided or written down now");
    failure(FailureKind::Overloaded, "whether the session's credentials may be used cannot be decided now")
}
