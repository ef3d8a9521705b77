//! From names to addresses.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;

use crate::target::Target;

/// Resolves names. It is asked once for each connection, and what it answers is judged and dialled as it is.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of a target, best first.
    ///
    /// # Errors
    /// The name leads nowhere, or nobody knows.
    async fn resolve(&self, target: &Target) -> io::Result<Vec<SocketAddr>>;
}

/// What this machine resolves names with.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, target: &Target) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((target.host().as_str(), target.port())).await?.collect())
    }
}

/// A fixed table from `host:port` to addresses, which may have another port: for tests.
#[derive(Debug, Clone, Default)]
pub struct TableResolver {
    addresses: HashMap<String, Vec<SocketAddr>>,
}

impl TableResolver {
    /// The same with addresses for `target`, written `host:port`.
    #[must_use]
    pub fn with(mut self, target: &str, addresses: &[SocketAddr]) -> Self {
        self.addresses.insert(target.to_owned(), addresses.to_vec());
        self
    }
}

#[async_trait]
impl Resolver for TableResolver {
    async fn resolve(&self, target: &Target) -> io::Result<Vec<SocketAddr>> {
        let found = self.addresses.get(&target.to_string());
        found.cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "not in the table"))
    }
}
