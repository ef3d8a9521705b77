//! One try: a request to an address that was judged after it was resolved.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, USER_AGENT};

use crate::address::{AddressError, Policy, Target, reach};

/// Bytes of an answer that are read, so that its connection can serve again. What they say is ignored.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How long making a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Connections to one host that are kept for the next message.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// A client that connects to addresses of the policy alone: a name is resolved once, each of its addresses is judged, and
/// redirects are not followed. Literal addresses are judged by [`Target::parse`]. The process must have installed a
/// `rustls` crypto provider.
///
/// # Errors
/// `Tls`, `Client`.
pub fn guarded_client(policy: &Policy, timeout: Duration) -> Result<reqwest::Client, SenderError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(SenderError::Tls);
    }
    reqwest::Client::builder()
        .dns_resolver(Judged { policy: policy.clone() })
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // A proxy would resolve names by itself.
        .no_proxy()
        .connect_timeout(CONNECT_TIME_MAX)
        .timeout(timeout)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .build()
        .map_err(SenderError::Client)
}

/// Sends messages. Cheap to share; connections are kept and used again.
#[derive(Debug, Clone)]
pub struct Sender {
    client: reqwest::Client,
    policy: Policy,
}

/// Why nothing can be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// The process installed no TLS provider.
    #[error("no TLS provider is installed in this process")]
    Tls,
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client(#[source] reqwest::Error),
}

/// One message to a receiver.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its id: the same each time it is sent.
    pub id: &'a str,
    /// When it is sent, in seconds since the epoch.
    pub timestamp: i64,
    /// Its signatures, separated by spaces.
    pub signatures: &'a str,
    /// What it says, in JSON.
    pub body: &'a str,
}

/// A message that was not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct SendError {
    kind: SendErrorKind,
    #[source]
    source: Option<reqwest::Error>,
}

/// Kinds of failure. None of them tells what the receiver said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendErrorKind {
    /// The address may not be used. Nothing was sent.
    #[error("the address is not allowed: {0}")]
    Address(AddressError),
    /// No connection was made, or it broke.
    #[error("the connection failed")]
    Connection,
    /// The receiver took too long.
    #[error("the receiver took too long")]
    Timeout,
    /// The receiver answered with another status than one of success; redirects are not followed.
    #[error("the receiver answered with status {0}")]
    Status(u16),
}

impl SendError {
    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> SendErrorKind {
        self.kind
    }
}

impl Sender {
    /// A sender that gives a receiver `timeout` to answer. The process must have installed a `rustls` crypto
    /// provider.
    ///
    /// # Errors
    /// `Tls`, `Client`.
    pub fn new(policy: Policy, timeout: Duration) -> Result<Self, SenderError> {
        Ok(Self { client: guarded_client(&policy, timeout)?, policy })
    }

    /// Sends a message once. Cancelling it leaves open whether it arrived.
    ///
    /// # Errors
    /// Each of [`SendErrorKind`].
    pub async fn send(&self, url: &str, message: Message<'_>) -> Result<(), SendError> {
        let refused = |error| SendError { kind: SendErrorKind::Address(error), source: None };
        let target = Target::parse(&self.policy, url).map_err(refused)?;
        let request = self
            .client
            .post(target.url().clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("tenure/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", message.signatures)
            .body(message.body.to_owned());
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut read = 0;
        while read < ANSWER_BYTES_MAX {
            match response.chunk().await {
                Ok(Some(chunk)) => read += chunk.len(),
                // The status has decided; an answer that breaks off afterwards changes nothing.
                Ok(None) | Err(_) => break,
            }
        }
        if status.is_success() {
            return Ok(());
        }
        Err(SendError { kind: SendErrorKind::Status(status.as_u16()), source: None })
    }
}

fn failed(error: reqwest::Error) -> SendError {
    let kind = if is_refused(&error) {
        SendErrorKind::Address(AddressError::Address)
    } else if error.is_timeout() {
        SendErrorKind::Timeout
    } else {
        SendErrorKind::Connection
    };
    // The address may hold a token of the receiver's.
    SendError { kind, source: Some(error.without_url()) }
}

/// Whether the resolver below refused what it had found.
fn is_refused(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.downcast_ref::<AddressError>().is_some() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Resolves names, and refuses those with any address that the policy does not allow: a name that is half
/// public is an attempt to get past this.
#[derive(Debug)]
struct Judged {
    policy: Policy,
}

impl Resolve for Judged {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let name = name.as_str();
            // The connector sets the port.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            judge(&policy, name, found.iter().map(SocketAddr::ip))?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn judge(
    policy: &Policy,
    name: &str,
    mut addresses: impl Iterator<Item = IpAddr>,
) -> Result<(), AddressError> {
    if addresses.all(|address| policy.allows(name, reach(address))) {
        Ok(())
    } else {
        Err(AddressError::Address)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const MESSAGE: Message<'_> = Message { id: "dlv_1", timestamp: 7, signatures: "v1,x", body: "{}" };

    fn sender(policy: Policy) -> Sender {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Sender::new(policy, Duration::from_secs(5)).expect("built")
    }

    fn loopback() -> Policy {
        Policy { loopback: true, private_hosts: Vec::new() }
    }

    /// Answers one connection with `answer`; gives its address and what was sent to it.
    async fn receiver(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut seen = Vec::new();
            while !seen.ends_with(b"{}") {
                let mut bytes = [0; 1024];
                let read = stream.read(&mut bytes).await.expect("readable");
                seen.extend_from_slice(&bytes[..read]);
            }
            stream.write_all(answer.as_bytes()).await.expect("writable");
            String::from_utf8(seen).expect("text")
        });
        (address, task)
    }

    #[tokio::test]
    async fn sends_the_headers_of_the_specification() {
        let (address, seen) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
        sender(loopback()).send(&format!("http://{address}/hook"), MESSAGE).await.expect("accepted");
        let seen = seen.await.expect("no panic").to_lowercase();
        for header in ["webhook-id: dlv_1", "webhook-timestamp: 7", "webhook-signature: v1,x"] {
            assert!(seen.contains(&format!("\r\n{header}\r\n")), "{seen}");
        }
        assert!(seen.starts_with("post /hook http/1.1\r\n"));
        assert!(seen.contains("content-type: application/json"));
    }

    #[tokio::test]
    async fn only_success_is_success() {
        for (answer, status) in [
            ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", 500),
            ("HTTP/1.1 302 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", 302),
            ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", 410),
        ] {
            let (address, _seen) = receiver(answer).await;
            let error = sender(loopback()).send(&format!("http://{address}/"), MESSAGE).await;
            assert_eq!(error.expect_err("refused").kind(), SendErrorKind::Status(status));
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_to_an_address_that_is_not_allowed() {
        let (address, seen) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let port = address.port();
        let listed = Policy { loopback: false, private_hosts: vec!["hooks.internal".into()] };
        for policy in [Policy::default(), listed] {
            for url in [format!("http://127.0.0.1:{port}/"), format!("https://localhost:{port}/")] {
                let error = sender(policy.clone()).send(&url, MESSAGE).await.expect_err("refused");
                assert!(matches!(error.kind(), SendErrorKind::Address(_)), "{url}: {error}");
            }
        }
        assert!(!seen.is_finished(), "nothing may have connected");
    }

    #[tokio::test]
    async fn a_name_is_judged_by_all_it_resolves_to() {
        let judged = |policy: &Policy, name: &str, addresses: &[&str]| {
            judge(policy, name, addresses.iter().map(|address| address.parse().expect("an address"))).is_ok()
        };
        let policy = Policy::default();
        assert!(judged(&policy, "hooks.example", &["1.1.1.1", "2606:4700::1111"]));
        assert!(!judged(&policy, "hooks.example", &["1.1.1.1", "10.0.0.1"]));
        assert!(!judged(&policy, "hooks.example", &["::ffff:127.0.0.1"]));
        assert!(!judged(&loopback(), "hooks.example", &["127.0.0.1"]), "a rebound name is not this machine");
        assert!(judged(&loopback(), "localhost", &["127.0.0.1", "::1"]));
    }

    /// The refusal is found again behind what the client makes of it. The listed name is this machine's own,
    /// so its text says nothing and only resolving it does.
    #[tokio::test]
    async fn a_refusal_after_resolution_is_told_as_one() {
        let sender = sender(Policy { loopback: true, private_hosts: Vec::new() });
        let resolver = Judged { policy: Policy::default() };
        let client = reqwest::Client::builder().dns_resolver(resolver).no_proxy().build().expect("built");
        let sender = Sender { client, ..sender };
        let error = sender.send("http://localhost:9/", MESSAGE).await.expect_err("refused");
        assert_eq!(error.kind(), SendErrorKind::Address(AddressError::Address));
    }
}
