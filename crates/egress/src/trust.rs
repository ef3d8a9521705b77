//! Whom the proxy believes to be a host, when it speaks TLS to it.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// Roots that hosts' certificates must lead to. Cheap to clone; one serves all environments.
#[derive(Debug, Clone)]
pub struct Trust {
    pub(crate) config: Arc<ClientConfig>,
}

/// There is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No root certificate was found.
    #[error("no root certificate was found on this system; install its `ca-certificates`")]
    None,
    /// A root certificate cannot be read, or TLS cannot be prepared.
    #[error("TLS cannot be prepared")]
    Tls(#[source] rustls::Error),
}

impl Trust {
    /// The roots that this system trusts, and `others`.
    ///
    /// # Errors
    /// `None`, `Tls`.
    pub fn system_and(others: &[CertificateDer<'static>]) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        // Systems have roots that nobody can read any more; they are left out.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::of(roots, others)
    }

    /// Only `roots`.
    ///
    /// # Errors
    /// `None`, `Tls`.
    pub fn only(roots: &[CertificateDer<'static>]) -> Result<Self, TrustError> {
        Self::of(RootCertStore::empty(), roots)
    }

    fn of(mut roots: RootCertStore, others: &[CertificateDer<'static>]) -> Result<Self, TrustError> {
        for root in others {
            roots.add(root.clone()).map_err(TrustError::Tls)?;
        }
        if roots.is_empty() {
            return Err(TrustError::None);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config) })
    }
}
