//! A proxy with its socket, and hosts on loopback, in clear and with TLS, that say what they saw.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tenure_egress::{
    AddressGuard, Handle, HostName, Placeholder, Proxy, Record, Resolver, Rules, Secret, SecretHosts,
    TableResolver, Trust,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must come.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes soon")
}

pub(crate) fn name(text: &str) -> HostName {
    HostName::parse(text).expect("a name")
}

pub(crate) fn secret(variable: &str, value: &str, hosts: &[&str]) -> Secret {
    let placeholder = Placeholder::generate().expect("random bytes");
    let hosts = SecretHosts::Listed(hosts.iter().map(|host| name(host)).collect());
    Secret::new(variable, placeholder, value, hosts).expect("a secret")
}

/// Answers a request, given as text, with pieces that are sent one by one.
pub(crate) type Answer = Arc<dyn Fn(&str) -> Vec<Vec<u8>> + Send + Sync>;

pub(crate) fn always(text: &str) -> Answer {
    let text = text.as_bytes().to_vec();
    Arc::new(move |_| vec![text.clone()])
}

pub(crate) fn ok(body: &str) -> Answer {
    always(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// A host: where it is, and the requests that it saw.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    seen: UnboundedReceiver<String>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Host {
    /// One in clear.
    pub(crate) async fn plain(answer: Answer) -> Self {
        Self::new(answer, None).await
    }

    /// One whose certificate for `host` is from `authority`.
    pub(crate) async fn tls(authority: &TestAuthority, host: &str, answer: Answer) -> Self {
        Self::new(answer, Some(authority.acceptor(host))).await
    }

    async fn new(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, seen) = unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (answer, sender, tls) = (Arc::clone(&answer), sender.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, &answer, &sender).await,
                        // Whoever does not trust it goes away.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => converse(stream, &answer, &sender).await,
                            Err(_) => sender.send("no TLS".to_owned()).unwrap_or(()),
                        },
                    }
                });
            }
        });
        Self { address, seen, task }
    }

    /// The next request it saw, as text.
    pub(crate) async fn saw(&mut self) -> String {
        soon(self.seen.recv()).await.expect("the host lives")
    }

    /// That it saw nothing more.
    pub(crate) fn saw_nothing(&mut self) {
        assert_eq!(self.seen.try_recv().ok(), None);
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &Answer,
    seen: &UnboundedSender<String>,
) {
    while let Some(request) = read_message(&mut stream).await {
        let pieces = answer(&request);
        let _ = seen.send(request);
        for piece in pieces {
            if stream.write_all(&piece).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}

/// Reads a head and as many bytes after it as its `Content-Length` says, or up to the last chunk.
pub(crate) async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse::<usize>().expect("a length"));
            let is_chunked = head.contains("transfer-encoding: chunked");
            let is_whole = if is_chunked { body.ends_with("0\r\n\r\n") } else { body.len() >= length };
            if is_whole {
                return Some(text);
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

/// An authority that a test's proxy trusts.
pub(crate) struct TestAuthority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
}

impl TestAuthority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("random bytes");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "root of a test");
        let certificate = params.self_signed(&key).expect("signed").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn acceptor(&self, host: &str) -> TlsAcceptor {
        let key = KeyPair::generate().expect("random bytes");
        let params = CertificateParams::new([host.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").der().clone();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], private)
            .expect("a certificate");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A sandbox, seen from its proxy.
pub(crate) struct Sandbox {
    pub(crate) proxy: Handle,
    pub(crate) socket: PathBuf,
    records: UnboundedReceiver<Record>,
    _directory: TempDir,
}

impl Sandbox {
    /// A proxy with these rules, to which names lead as `resolver` says.
    pub(crate) fn new(rules: Rules, resolver: impl Resolver, authority: &TestAuthority) -> Self {
        let directory = TempDir::new().expect("a directory");
        let socket = directory.path().join("egress.sock");
        let (sender, records) = unbounded_channel();
        let sink = Arc::new(move |record| sender.send(record).unwrap_or(()));
        let trust = Trust::only(std::slice::from_ref(&authority.certificate)).expect("a root");
        let proxy = Proxy::bind(&socket, rules, Arc::new(resolver), trust, sink).expect("bound");
        Self { proxy, socket, records, _directory: directory }
    }

    /// Rules for `targets`, written `host:port`, each of which leads to a host on loopback.
    pub(crate) fn with_hosts(
        targets: &[(&str, &Host)],
        secrets: Vec<Secret>,
        authority: &TestAuthority,
    ) -> Self {
        Self::new(rules(targets, secrets), table(targets), authority)
    }

    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.expect("the proxy listens")
    }

    /// Sends a head and reads the answer.
    pub(crate) async fn ask(&self, head: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(head).await.expect("writable");
        soon(read_message(&mut stream)).await.expect("an answer")
    }

    /// Asks for a tunnel.
    pub(crate) async fn tunnel(&self, target: &str) -> Result<UnixStream, String> {
        let mut stream = self.connect().await;
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("writable");
        let answer = soon(read_message(&mut stream)).await.expect("an answer");
        if answer.starts_with("HTTP/1.1 200 ") { Ok(stream) } else { Err(answer) }
    }

    /// TLS to a host through the proxy, trusting `root` alone.
    pub(crate) async fn tls(
        &self,
        target: &str,
        root: CertificateDer<'static>,
    ) -> std::io::Result<TlsStream<UnixStream>> {
        let (host, _) = target.split_once(':').expect("a port");
        self.tls_for(host, target, root).await
    }

    /// The same, asking for a host of another name at the end of the tunnel.
    pub(crate) async fn tls_for(
        &self,
        host: &str,
        target: &str,
        root: CertificateDer<'static>,
    ) -> std::io::Result<TlsStream<UnixStream>> {
        let stream = self.tunnel(target).await.expect("granted");
        let mut roots = RootCertStore::empty();
        roots.add(root).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).expect("a name");
        soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }

    /// The certificate of the environment's authority.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.proxy.certificate_pem().as_bytes()).expect("a certificate")
    }

    /// Sends a request over TLS that the proxy intercepts, and reads the answer.
    pub(crate) async fn ask_tls(&self, target: &str, request: &str) -> String {
        let mut stream = self.tls(target, self.certificate()).await.expect("trusted");
        exchange(&mut stream, request).await
    }

    /// The next record.
    pub(crate) async fn record(&mut self) -> Record {
        soon(self.records.recv()).await.expect("the proxy lives")
    }

    /// The records of a proxy that has been closed.
    pub(crate) async fn close(mut self) -> Vec<Record> {
        soon(self.proxy.close()).await;
        let mut records = Vec::new();
        while let Ok(record) = self.records.try_recv() {
            records.push(record);
        }
        records
    }
}

/// Sends a request over a connection and reads the answer.
pub(crate) async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("writable");
    stream.flush().await.expect("writable");
    soon(read_message(stream)).await.expect("an answer")
}

pub(crate) fn rules(targets: &[(&str, &Host)], secrets: Vec<Secret>) -> Rules {
    let hosts = targets.iter().map(|(target, _)| name(target.split_once(':').expect("a port").0));
    let addresses: Vec<_> = targets.iter().map(|(_, host)| host.address).collect();
    let rules = Rules::new(hosts).expect("hosts").with_addresses(AddressGuard::public_and(&addresses));
    rules.with_secrets(secrets).expect("secrets")
}

pub(crate) fn table(targets: &[(&str, &Host)]) -> TableResolver {
    targets.iter().fold(TableResolver::default(), |table, (target, host)| table.with(target, &[host.address]))
}

/// The body of a chunked answer, put together.
pub(crate) fn unchunked(answer: &str) -> String {
    let (_, mut rest) = answer.split_once("\r\n\r\n").expect("a head");
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    body
}

/// The first line of an answer, and why the proxy gave it, if it did.
pub(crate) fn why(answer: &str) -> String {
    let status = answer.split(' ').nth(1).expect("a status");
    let reason = answer.lines().find_map(|line| line.strip_prefix("tenure-egress: "));
    reason.map_or_else(|| status.to_owned(), |reason| format!("{status} {reason}"))
}
