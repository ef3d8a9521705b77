//! What an environment may reach.

use std::collections::BTreeSet;

use crate::address::AddressGuard;
use crate::host::HostName;
use crate::record::Refusal;
use crate::secret::Secret;
use crate::target::Target;

/// Hosts of one environment.
pub const HOSTS_MAX: usize = 100;
/// Ports of one environment.
pub const PORTS_MAX: usize = 16;
/// Secrets of one environment: those of ten vaults, and what an answer can be searched for without delay.
pub const SECRETS_MAX: usize = 64;
/// The ports that are allowed unless others are listed.
pub const PORTS_DEFAULT: &[u16] = &[80, 443, 8443];
/// Bytes to the outside unless another cap is set: enough for pushing code, little for a database.
pub const BYTES_OUT_MAX_DEFAULT: u64 = 1 << 30;
/// Bytes from the outside unless another cap is set: many packages and a few models.
pub const BYTES_IN_MAX_DEFAULT: u64 = 16 << 30;

/// Rules of one environment. They can be replaced while the proxy runs.
#[derive(Debug, Clone)]
pub struct Rules {
    hosts: BTreeSet<HostName>,
    ports: BTreeSet<u16>,
    secrets: Vec<Secret>,
    byte_caps: ByteCaps,
    addresses: AddressGuard,
}

/// Bytes that an environment may move in each direction, over all its connections since its proxy began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteCaps {
    /// To the outside.
    pub out: u64,
    /// From the outside.
    pub into: u64,
}

impl Default for ByteCaps {
    fn default() -> Self {
        Self { out: BYTES_OUT_MAX_DEFAULT, into: BYTES_IN_MAX_DEFAULT }
    }
}

/// Why rules cannot be these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// No host, or too many.
    #[error("`hosts` must name 1 to {HOSTS_MAX} hosts")]
    Hosts,
    /// No port, too many, or port 0.
    #[error("`ports` must name 1 to {PORTS_MAX} ports from 1 to 65535")]
    Ports,
    /// Too many.
    #[error("there may be at most {SECRETS_MAX} secrets")]
    Secrets,
    /// Two secrets have one name or one placeholder.
    #[error("two secrets have one name or one placeholder")]
    SecretTwice,
}

impl Rules {
    /// Rules that allow exactly these hosts at public addresses, on the default ports, with the default caps
    /// and no secrets.
    ///
    /// # Errors
    /// `Hosts`.
    pub fn new(hosts: impl IntoIterator<Item = HostName>) -> Result<Self, RulesError> {
        let hosts: BTreeSet<_> = hosts.into_iter().collect();
        if !(1..=HOSTS_MAX).contains(&hosts.len()) {
            return Err(RulesError::Hosts);
        }
        let ports = PORTS_DEFAULT.iter().copied().collect();
        let (byte_caps, addresses) = (ByteCaps::default(), AddressGuard::default());
        Ok(Self { hosts, ports, secrets: Vec::new(), byte_caps, addresses })
    }

    /// The same with other ports.
    ///
    /// # Errors
    /// `Ports`.
    pub fn with_ports(self, ports: &[u16]) -> Result<Self, RulesError> {
        let ports: BTreeSet<u16> = ports.iter().copied().collect();
        if !(1..=PORTS_MAX).contains(&ports.len()) || ports.contains(&0) {
            return Err(RulesError::Ports);
        }
        Ok(Self { ports, ..self })
    }

    /// The same with these secrets. A secret for hosts that are not allowed is never sent anywhere.
    ///
    /// # Errors
    /// `Secrets`, `SecretTwice`.
    pub fn with_secrets(self, secrets: Vec<Secret>) -> Result<Self, RulesError> {
        if secrets.len() > SECRETS_MAX {
            return Err(RulesError::Secrets);
        }
        let names: BTreeSet<_> = secrets.iter().map(Secret::name).collect();
        let placeholders: BTreeSet<_> = secrets.iter().map(Secret::placeholder).collect();
        if names.len() < secrets.len() || placeholders.len() < secrets.len() {
            return Err(RulesError::SecretTwice);
        }
        Ok(Self { secrets, ..self })
    }

    /// The same with other caps. What was moved before counts.
    #[must_use]
    pub fn with_byte_caps(self, byte_caps: ByteCaps) -> Self {
        Self { byte_caps, ..self }
    }

    /// The same with another judgement of addresses.
    #[must_use]
    pub fn with_addresses(self, addresses: AddressGuard) -> Self {
        Self { addresses, ..self }
    }

    /// Whether a target may be reached, as far as its name and port say.
    ///
    /// # Errors
    /// `Host`, `Port`.
    pub fn judge(&self, target: &Target) -> Result<(), Refusal> {
        if !self.hosts.contains(target.host()) {
            return Err(Refusal::Host);
        }
        if !self.ports.contains(&target.port()) {
            return Err(Refusal::Port);
        }
        Ok(())
    }

    /// The secrets that may be sent to a target, if the rules allow it at all.
    #[must_use]
    pub fn secrets_for(&self, target: &Target) -> Vec<&Secret> {
        match self.judge(target) {
            Ok(()) => self.secrets.iter().filter(|secret| secret.is_for(target)).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// All secrets.
    #[must_use]
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// The caps.
    #[must_use]
    pub fn byte_caps(&self) -> ByteCaps {
        self.byte_caps
    }

    /// The judgement of addresses.
    #[must_use]
    pub fn addresses(&self) -> &AddressGuard {
        &self.addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Placeholder, SecretHosts};

    fn host(text: &str) -> HostName {
        HostName::parse(text).expect("a name")
    }

    fn secret(name: &str, hosts: SecretHosts) -> Secret {
        let placeholder = Placeholder::generate().expect("random bytes");
        Secret::new(name, placeholder, "a value of it", hosts).expect("valid")
    }

    #[test]
    fn hosts_are_exact_and_ports_are_few() {
        let rules = Rules::new([host("a.example"), host("b.example")]).expect("valid");
        for (target, expected) in [
            ("a.example:443", Ok(())),
            ("b.example:80", Ok(())),
            ("B.EXAMPLE:8443", Ok(())),
            ("c.example:443", Err(Refusal::Host)),
            ("x.a.example:443", Err(Refusal::Host)),
            ("a.example.evil.example:443", Err(Refusal::Host)),
            ("aa.example:443", Err(Refusal::Host)),
            ("a.example:25", Err(Refusal::Port)),
            ("a.example:22", Err(Refusal::Port)),
            ("a.example:8080", Err(Refusal::Port)),
        ] {
            let target = Target::of_connect(target, &[]).expect("a target");
            assert_eq!(rules.judge(&target), expected, "{target}");
        }
    }

    #[test]
    fn secrets_go_to_their_hosts_over_tls_only() {
        let listed = SecretHosts::Listed(vec![host("a.example"), host("c.example")]);
        let secrets = vec![secret("A", listed), secret("ALL", SecretHosts::Allowed)];
        let rules = Rules::new([host("a.example"), host("b.example")]).expect("valid");
        let rules =
            rules.with_ports(&[80, 443, 8443, 9443]).expect("valid").with_secrets(secrets).expect("valid");
        for (target, expected) in [
            ("a.example:443", "A ALL"),
            ("a.example:8443", "A ALL"),
            ("a.example:80", ""),
            ("a.example:9443", ""),
            ("b.example:443", "ALL"),
            ("c.example:443", ""),
        ] {
            let target = Target::of_connect(target, &[]).expect("a target");
            let names: Vec<_> = rules.secrets_for(&target).into_iter().map(Secret::name).collect();
            assert_eq!(names.join(" "), expected, "{target}");
        }
    }

    #[test]
    fn everything_has_a_limit() {
        let hosts = |count: usize| (0..count).map(|index| host(&format!("h{index}.example")));
        assert!(Rules::new(hosts(HOSTS_MAX)).is_ok());
        assert_eq!(Rules::new(hosts(HOSTS_MAX + 1)).err(), Some(RulesError::Hosts));
        assert_eq!(Rules::new(hosts(0)).err(), Some(RulesError::Hosts));
        let rules = || Rules::new(hosts(1)).expect("valid");
        assert_eq!(rules().with_ports(&[]).err(), Some(RulesError::Ports));
        assert_eq!(rules().with_ports(&[0]).err(), Some(RulesError::Ports));
        let many = |count: usize| {
            (0..count).map(|index| secret(&format!("S{index}"), SecretHosts::Allowed)).collect::<Vec<_>>()
        };
        assert!(rules().with_secrets(many(SECRETS_MAX)).is_ok());
        assert_eq!(rules().with_secrets(many(SECRETS_MAX + 1)).err(), Some(RulesError::Secrets));
        let twice = vec![secret("A", SecretHosts::Allowed), secret("A", SecretHosts::Allowed)];
        assert_eq!(rules().with_secrets(twice).err(), Some(RulesError::SecretTwice));
    }
}
