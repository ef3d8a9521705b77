//! The certificate authority of one environment.
//!
//! Its certificate is trusted inside that sandbox and nowhere else; its key never leaves this process. It signs
//! for the hosts that have secrets, when they are first asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::host::HostName;
use crate::rules::HOSTS_MAX;

/// How long the authority's certificate is good: longer than a sandbox lives.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(366 * DAY_SECONDS);
/// How long a host's certificate is good.
const LEAF_LIFETIME: Duration = Duration::from_secs(30 * DAY_SECONDS);
/// After how long another one is made, well before the first ends.
const LEAF_AGE_MAX: Duration = Duration::from_secs(DAY_SECONDS);
/// How far a sandbox's clock may be behind.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(DAY_SECONDS);
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// What clients are offered over TLS. Nothing newer, because requests are read and changed.
const ALPN: &[u8] = b"http/1.1";
/// Characters of a line of PEM (RFC 7468, section 2).
const PEM_LINE: usize = 64;

/// Signs certificates for the inside of one environment.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    leaves: Mutex<HashMap<HostName, Leaf>>,
}

struct Leaf {
    made: SystemTime,
    config: Arc<ServerConfig>,
}

/// A certificate cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("a certificate of the environment's proxy cannot be made")]
pub struct AuthorityError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self(Box::new(error))
    }
}

impl From<rustls::Error> for AuthorityError {
    fn from(error: rustls::Error) -> Self {
        Self(Box::new(error))
    }
}

impl Authority {
    /// A new authority with a new key.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn generate() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("Tenure sandbox egress");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = SystemTime::now();
        params.not_before = (now - CLOCK_SKEW_MAX).into();
        params.not_after = (now + AUTHORITY_LIFETIME).into();
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate, leaves: Mutex::default() })
    }

    /// The certificate that the inside must trust, as PEM.
    #[must_use]
    pub(crate) fn certificate_pem(&self) -> String {
        let text = STANDARD.encode(&self.certificate);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    /// How to speak TLS as `host`.
    pub(crate) fn config(&self, host: &HostName) -> Result<Arc<ServerConfig>, AuthorityError> {
        let now = SystemTime::now();
        let is_young = |made: SystemTime| now.duration_since(made).is_ok_and(|age| age < LEAF_AGE_MAX);
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(host).filter(|leaf| is_young(leaf.made)) {
            return Ok(Arc::clone(&leaf.config));
        }
        let config = Arc::new(self.sign(host, now)?);
        // Only hosts that are allowed come here; those of former rules are let go.
        if leaves.len() >= HOSTS_MAX {
            leaves.clear();
        }
        leaves.insert(host.clone(), Leaf { made: now, config: Arc::clone(&config) });
        Ok(config)
    }

    fn sign(&self, host: &HostName, now: SystemTime) -> Result<ServerConfig, AuthorityError> {
        // The serial number follows from the key, so every certificate has its own.
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([host.to_string()])?;
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = (now - CLOCK_SKEW_MAX).into();
        params.not_after = (now + LEAF_LIFETIME).into();
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate, self.certificate.clone()], private)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn the_certificate_reads_back() {
        let authority = Authority::generate().expect("random bytes");
        let pem = authority.certificate_pem();
        let read = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        assert_eq!(read, authority.certificate);
        assert!(pem.lines().all(|line| line.len() <= PEM_LINE), "{pem}");
    }

    #[test]
    fn a_host_has_one_certificate_and_another_host_another() {
        let authority = Authority::generate().expect("random bytes");
        let config = |host: &str| {
            let host = HostName::parse(host).expect("a name");
            authority.config(&host).expect("signed")
        };
        assert!(Arc::ptr_eq(&config("a.example"), &config("a.example")));
        assert!(!Arc::ptr_eq(&config("a.example"), &config("b.example")));
    }
}
