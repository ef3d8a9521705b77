//! The proxy over real sockets: what passes, what does not, and what is told of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{
    Host, PATIENCE, Sandbox, TestAuthority, always, exchange, name, ok, read_message, rules, soon, table, why,
};
use async_trait::async_trait;
use tenure_egress::{
    AddressGuard, BindError, ByteCaps, CONNECTIONS_MAX, Failure, IDLE_TIME_MAX, Outcome, Proxy, REQUESTS_MAX,
    Refusal, Resolver, Rules, TableResolver, Target, Trust, Way,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn get(url: &str, host: &str) -> Vec<u8> {
    format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_request_for_an_allowed_host_is_passed_on() {
    let mut host = Host::plain(ok("hello")).await;
    let mut sandbox = Sandbox::with_hosts(&[("a.example:80", &host)], vec![], &TestAuthority::new());
    let answer = sandbox
        .ask(
            b"POST http://a.example/path?q=1 HTTP/1.1\r\nHost: a.example\r\nProxy-Connection: keep-alive\r\n\
              Proxy-Authorization: Basic eDp5\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Kept: 2\r\nTE: trailers\r\n\
              Content-Length: 4\r\n\r\nbody",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(answer.to_lowercase().contains("content-length: 5"), "{answer}");
    let seen = host.saw().await.to_lowercase();
    assert!(seen.starts_with("post /path?q=1 http/1.1\r\n") && seen.ends_with("\r\n\r\nbody"), "{seen}");
    assert!(seen.contains("\r\nhost: a.example\r\n") && seen.contains("\r\nx-kept: 2\r\n"), "{seen}");
    for absent in ["proxy-", "x-hop", "\r\nte:", "connection:"] {
        assert!(!seen.contains(absent), "{seen}");
    }
    let record = sandbox.record().await;
    assert_eq!(record.bytes_out, seen.len() as u64);
    assert_eq!(record.bytes_in, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".len() as u64);
    assert_eq!((record.host.as_ref(), record.port), (Some(&name("a.example")), Some(80)));
    assert_eq!((record.address, record.way), (Some(host.address), Way::Plain));
    assert_eq!((&record.outcome, record.secrets.len()), (&Outcome::Ended, 0));
    assert!(!format!("{record:?}").contains("path"));
}

#[tokio::test]
async fn a_tunnel_is_untouched() {
    let authority = TestAuthority::new();
    let mut host = Host::tls(&authority, "a.example", ok("hello")).await;
    let mut sandbox = Sandbox::with_hosts(&[("a.example:443", &host)], vec![], &authority);
    // It is the host's own certificate that the client verifies.
    let mut stream = sandbox.tls("a.example:443", authority.certificate.clone()).await.expect("trusted");
    let request = "GET /path HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip\r\n\r\n";
    assert!(exchange(&mut stream, request).await.ends_with("hello"));
    assert_eq!(host.saw().await, request);
    drop(stream);
    let record = sandbox.record().await;
    assert_eq!((record.way, record.outcome), (Way::Tunnel, Outcome::Ended));
    assert!(record.bytes_out > request.len() as u64 && record.bytes_in > 0);
}

/// Row 72: every way to name a host that is not on the list, or not a host.
#[tokio::test]
async fn odd_targets_are_refused() {
    let mut host = Host::plain(ok("hello")).await;
    let targets = [("a.example:80", &host), ("a.example:443", &host), ("a.example:25", &host)];
    let sandbox = Sandbox::with_hosts(&targets, vec![], &TestAuthority::new());
    let get = |url: &str, host: &str| get(url, host);
    let connect = |target: &str| format!("CONNECT {target} HTTP/1.1\r\n\r\n").into_bytes();
    for (head, expected) in [
        (get("http://b.example/", "b.example"), "403 host_not_allowed"),
        (get("http://a.example.b.example/", "a.example.b.example"), "403 host_not_allowed"),
        (get("http://x.a.example/", "x.a.example"), "403 host_not_allowed"),
        (get("http://a.example:8080/", "a.example:8080"), "403 port_not_allowed"),
        (connect("a.example:25"), "403 port_not_allowed"),
        (connect("a.example:22"), "403 port_not_allowed"),
        (connect("a.example"), "400 malformed_target"),
        // Names that some read as the one on the list.
        (get("http://a.example./", "a.example."), "400 malformed_target"),
        (connect("a.example.:443"), "400 malformed_target"),
        (get("http://a.example\0.b.example/", "a.example"), "400"),
        (connect("a.example\0:443"), "400"),
        (get("http://a.example%00.b.example/", "a.example"), "400"),
        (get("http://\u{430}.example/", "a.example"), "400"),
        (connect("\u{ff41}.example:443"), "400"),
        (get("http://xn--a.example/", "xn--a.example"), "400 malformed_target"),
        (get("http://a.example@b.example/", "b.example"), "400 malformed_target"),
        (get("http://user:word@a.example/", "a.example"), "400 malformed_target"),
        (get("http://a.example:80@b.example/", "b.example"), "400 malformed_target"),
        (get("http://a..example/", "a..example"), "400 malformed_target"),
        (get(&format!("http://{}.example/", "a".repeat(64)), "x"), "400 malformed_target"),
        (get("http://localhost/", "localhost"), "400 malformed_target"),
        // Addresses.
        (get("http://127.0.0.1/", "127.0.0.1"), "400 malformed_target"),
        (get("http://127.1/", "127.1"), "400 malformed_target"),
        (get("http://2130706433/", "2130706433"), "400 malformed_target"),
        (get("http://0177.0.0.1/", "0177.0.0.1"), "400 malformed_target"),
        (get("http://0x7f000001/", "0x7f000001"), "400 malformed_target"),
        (get("http://[::1]/", "[::1]"), "400 malformed_target"),
        (connect("[::ffff:127.0.0.1]:443"), "400 malformed_target"),
        (connect("169.254.169.254:80"), "400 malformed_target"),
        // The first line and the header do not agree.
        (get("http://a.example/", "b.example"), "400 malformed_target"),
        (get("http://b.example/", "a.example"), "400 malformed_target"),
        (
            b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n".to_vec(),
            "400 malformed_target",
        ),
        // What is not for a proxy.
        (get("/", "a.example"), "400 malformed_target"),
        (get("https://a.example/", "a.example"), "400 malformed_target"),
        (get("ftp://a.example/", "a.example"), "400 malformed_target"),
    ] {
        assert_eq!(why(&sandbox.ask(&head).await), expected, "{}", String::from_utf8_lossy(&head));
    }
    host.saw_nothing();
    let records = sandbox.close().await;
    assert_eq!(records.len(), 35, "each refusal is told");
    assert!(records.iter().all(|record| record.address.is_none() && record.bytes_out == 0));
    assert!(records.iter().all(|record| matches!(record.outcome, Outcome::Refused(_))), "{records:?}");
}

#[tokio::test]
async fn a_head_is_bounded() {
    let mut sandbox = Sandbox::new(
        Rules::new([name("a.example")]).expect("valid"),
        TableResolver::default(),
        &TestAuthority::new(),
    );
    let long =
        format!("GET http://a.example/ HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(tenure_egress::HEAD_BYTES_MAX));
    assert_eq!(why(&sandbox.ask(long.as_bytes()).await), "431");
    assert_eq!(sandbox.record().await.outcome, Outcome::Refused(Refusal::Head));
    let many = format!(
        "GET http://a.example/ HTTP/1.1\r\n{}\r\n",
        "X: y\r\n".repeat(tenure_egress::HEADERS_MAX + 1)
    );
    assert_eq!(why(&sandbox.ask(many.as_bytes()).await), "431");
    assert_eq!(sandbox.record().await.outcome, Outcome::Refused(Refusal::Head));
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_after_resolution() {
    let mut host = Host::plain(ok("hello")).await;
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let resolver = TableResolver::default()
        .with("loopback.example:80", &[host.address])
        .with("metadata.example:80", &[address("169.254.169.254:80")])
        .with("half.example:80", &[address("1.1.1.1:80"), address("10.0.0.1:80")])
        .with("mapped.example:80", &[address("[::ffff:127.0.0.1]:80")])
        .with("empty.example:80", &[]);
    let names = ["loopback", "metadata", "half", "mapped", "empty", "unknown"];
    let rules = Rules::new(names.map(|front| name(&format!("{front}.example")))).expect("valid");
    let mut sandbox = Sandbox::new(rules.clone(), resolver, &TestAuthority::new());
    for (host, expected, dialled) in [
        ("loopback.example", "403 address_not_allowed", Some(host.address)),
        ("metadata.example", "403 address_not_allowed", Some(address("169.254.169.254:80"))),
        ("half.example", "403 address_not_allowed", Some(address("10.0.0.1:80"))),
        ("mapped.example", "403 address_not_allowed", Some(address("[::ffff:127.0.0.1]:80"))),
        ("empty.example", "502 not_resolved", None),
        ("unknown.example", "502 not_resolved", None),
    ] {
        assert_eq!(why(&sandbox.ask(&get(&format!("http://{host}/"), host)).await), expected, "{host}");
        let record = sandbox.record().await;
        assert_eq!((record.address, record.bytes_out), (dialled, 0), "{host}");
        let refused = sandbox.tunnel(&format!("{host}:80")).await.expect_err("refused");
        assert_eq!(why(&refused), expected, "{host}");
        sandbox.record().await;
    }
    host.saw_nothing();
    // The same name, once exactly that address is allowed; a metadata service stays refused.
    let others = [host.address, address("169.254.169.254:80")];
    sandbox.proxy.replace_rules(rules.with_addresses(AddressGuard::public_and(&others)));
    assert_eq!(why(&sandbox.ask(&get("http://loopback.example/", "loopback.example")).await), "200");
    let answer = sandbox.ask(&get("http://metadata.example/", "metadata.example")).await;
    assert_eq!(why(&answer), "403 address_not_allowed");
}

/// Leads to one address the first time and to another after that, as a name that is rebound does.
struct Rebinding {
    addresses: [SocketAddr; 2],
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Resolver for Rebinding {
    async fn resolve(&self, _: &Target) -> io::Result<Vec<SocketAddr>> {
        let index = self.asked.fetch_add(1, Ordering::Relaxed).min(1);
        Ok(vec![self.addresses[index]])
    }
}

#[tokio::test]
async fn what_was_judged_is_what_is_dialled() {
    let mut first = Host::plain(ok("first")).await;
    let mut second = Host::plain(ok("second")).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let resolver = Rebinding { addresses: [first.address, second.address], asked: Arc::clone(&asked) };
    let rules = rules(&[("a.example:80", &first)], vec![]);
    let mut sandbox = Sandbox::new(rules, resolver, &TestAuthority::new());
    assert!(sandbox.ask(&get("http://a.example/", "a.example")).await.ends_with("first"));
    assert_eq!(asked.load(Ordering::Relaxed), 1, "one resolution for one connection");
    assert_eq!(sandbox.record().await.address, Some(first.address));
    let answer = sandbox.ask(&get("http://a.example/", "a.example")).await;
    assert_eq!(why(&answer), "403 address_not_allowed", "the next connection is judged anew");
    first.saw().await;
    second.saw_nothing();
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_following_it_is_a_request() {
    let there = "http://169.254.169.254/latest/meta-data/";
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n");
    let mut host = Host::plain(always(&answer)).await;
    let sandbox = Sandbox::with_hosts(&[("a.example:80", &host)], vec![], &TestAuthority::new());
    let mut stream = sandbox.connect().await;
    let request = |url: &str, host: &str| String::from_utf8(get(url, host)).expect("text");
    let answer = exchange(&mut stream, &request("http://a.example/", "a.example")).await;
    assert!(answer.starts_with("HTTP/1.1 302 ") && answer.contains(there), "{answer}");
    // As a client does it, on the same connection.
    let answer = exchange(&mut stream, &request(there, "169.254.169.254")).await;
    assert_eq!(why(&answer), "400 malformed_target");
    assert!(answer.contains("must be a name, not an address"), "{answer}");
    host.saw().await;
    host.saw_nothing();
}

#[tokio::test]
async fn a_host_that_is_not_there_is_told_as_such() {
    let gone = Host::plain(ok("")).await;
    let sandbox = Sandbox::with_hosts(&[("a.example:80", &gone)], vec![], &TestAuthority::new());
    drop(gone);
    tokio::task::yield_now().await;
    assert_eq!(why(&sandbox.ask(&get("http://a.example/", "a.example")).await), "502 not_connected");
    let silent = Host::plain(Arc::new(|_| vec![b"nonsense\r\n\r\n".to_vec()])).await;
    let sandbox = Sandbox::with_hosts(&[("a.example:80", &silent)], vec![], &TestAuthority::new());
    assert_eq!(why(&sandbox.ask(&get("http://a.example/", "a.example")).await), "502 connection_broken");
}

/// Row 74: what may leave through an allowed host has an end, and is told.
#[tokio::test]
async fn bytes_out_are_capped_over_all_connections() {
    const CAP: u64 = 10_000;
    let host = Host::plain(ok("hello")).await;
    let targets = [("a.example:80", &host)];
    let caps = ByteCaps { out: CAP, into: 1 << 20 };
    let sandbox =
        Sandbox::new(rules(&targets, vec![]).with_byte_caps(caps), table(&targets), &TestAuthority::new());
    let post = |bytes: usize| {
        let head =
            format!("POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: {bytes}\r\n\r\n");
        [head.into_bytes(), vec![b'x'; bytes]].concat()
    };
    assert_eq!(why(&sandbox.ask(&post(4000)).await), "200");
    assert!((4000..5000).contains(&sandbox.proxy.used().out));
    assert_eq!(why(&sandbox.ask(&post(8000)).await), "403 byte_cap");
    assert_eq!(sandbox.proxy.used().out, CAP, "not one byte more");
    assert_eq!(why(&sandbox.ask(&post(0)).await), "403 byte_cap");
    // A tunnel is under the same cap.
    let mut stream = sandbox.tunnel("a.example:80").await.expect("connecting sends nothing");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("writable");
    assert_eq!(soon(stream.read(&mut [0; 16])).await.expect("closed"), 0);
    // More is allowed.
    let more = rules(&targets, vec![]).with_byte_caps(ByteCaps { out: 2 * CAP, into: 1 << 20 });
    sandbox.proxy.replace_rules(more);
    assert_eq!(why(&sandbox.ask(&post(0)).await), "200");
    let records = sandbox.close().await;
    let capped = records.iter().filter(|record| record.outcome == Outcome::Refused(Refusal::ByteCap));
    assert_eq!(capped.count(), 3, "{records:?}");
    assert!(records.iter().map(|record| record.bytes_out).sum::<u64>() >= CAP);
}

#[tokio::test]
async fn bytes_in_are_capped() {
    const CAP: u64 = 10_000;
    let host = Host::plain(ok(&"x".repeat(20_000))).await;
    let targets = [("a.example:80", &host)];
    let caps = ByteCaps { out: 1 << 20, into: CAP };
    let mut sandbox =
        Sandbox::new(rules(&targets, vec![]).with_byte_caps(caps), table(&targets), &TestAuthority::new());
    let mut stream = sandbox.connect().await;
    stream.write_all(&get("http://a.example/", "a.example")).await.expect("writable");
    let mut answer = Vec::new();
    // The answer breaks off before the length that it promised.
    let _ = soon(stream.read_to_end(&mut answer)).await;
    assert!(answer.len() < 15_000, "{}", answer.len());
    let record = sandbox.record().await;
    assert_eq!((record.bytes_in, record.outcome), (CAP, Outcome::Refused(Refusal::ByteCap)));
    assert_eq!(sandbox.proxy.used().into, CAP);
}

#[tokio::test]
async fn rules_change_while_it_runs() {
    let authority = TestAuthority::new();
    let host = Host::plain(ok("hello")).await;
    let targets = [("a.example:80", &host), ("b.example:80", &host)];
    let mut sandbox = Sandbox::with_hosts(&targets, vec![], &authority);
    let mut kept = sandbox.tunnel("b.example:80").await.expect("granted");
    let mut ended = sandbox.tunnel("a.example:80").await.expect("granted");
    sandbox.proxy.replace_rules(rules(&targets[1..], vec![]));
    assert_eq!(soon(ended.read(&mut [0; 16])).await.expect("closed"), 0);
    let record = sandbox.record().await;
    assert_eq!(record.host, Some(name("a.example")));
    assert_eq!(record.outcome, Outcome::Refused(Refusal::RulesChanged));
    assert_eq!(why(&sandbox.ask(&get("http://a.example/", "a.example")).await), "403 host_not_allowed");
    assert!(exchange(&mut kept, "GET / HTTP/1.1\r\n\r\n").await.ends_with("hello"));
}

/// An answer that never ends is ended with the permission to read it.
#[tokio::test]
async fn a_stream_ends_with_its_permission() {
    let endless = always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let host = Host::plain(endless).await;
    let targets = [("a.example:80", &host), ("b.example:80", &host)];
    let mut sandbox = Sandbox::with_hosts(&targets, vec![], &TestAuthority::new());
    let mut stream = sandbox.connect().await;
    stream.write_all(&get("http://a.example/", "a.example")).await.expect("writable");
    let mut bytes = vec![0; 1024];
    let mut seen = String::new();
    while !seen.ends_with("hello\r\n") {
        let read = soon(stream.read(&mut bytes)).await.expect("readable");
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    sandbox.proxy.replace_rules(rules(&targets[1..], vec![]));
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    assert_eq!(sandbox.record().await.outcome, Outcome::Refused(Refusal::RulesChanged));
}

#[tokio::test]
async fn nothing_moves_for_too_long() {
    let host = Host::plain(ok("hello")).await;
    let mut sandbox = Sandbox::with_hosts(&[("a.example:80", &host)], vec![], &TestAuthority::new());
    let mut stream = sandbox.tunnel("a.example:80").await.expect("granted");
    // From here on time passes whenever nothing else is to be done.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(stream.read(&mut [0; 16]).await.expect("closed"), 0);
    assert!(begun.elapsed() >= IDLE_TIME_MAX - PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(sandbox.record().await.outcome, Outcome::Failed(Failure::Idle));
}

#[tokio::test]
async fn a_connection_carries_so_many_requests() {
    let sandbox = Sandbox::new(
        Rules::new([name("a.example")]).expect("valid"),
        TableResolver::default(),
        &TestAuthority::new(),
    );
    let mut stream = sandbox.connect().await;
    for count in 1..=REQUESTS_MAX {
        let answer = exchange(&mut stream, "GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n").await;
        assert_eq!(answer.contains("connection: close"), count == REQUESTS_MAX, "{count}");
    }
    assert_eq!(soon(stream.read(&mut [0; 16])).await.expect("closed"), 0);
}

#[tokio::test]
async fn closing_ends_everything_and_tells_it() {
    let host = Host::plain(ok("hello")).await;
    let sandbox = Sandbox::with_hosts(&[("a.example:80", &host)], vec![], &TestAuthority::new());
    let mut tunnel = sandbox.tunnel("a.example:80").await.expect("granted");
    let mut idle = sandbox.connect().await;
    let socket = sandbox.socket.clone();
    let records = sandbox.close().await;
    assert_eq!(
        records.iter().map(|record| record.outcome.clone()).collect::<Vec<_>>(),
        [Outcome::Failed(Failure::Closed)]
    );
    assert!(!socket.exists());
    for stream in [&mut tunnel, &mut idle] {
        assert_eq!(soon(read_message(stream)).await, None);
    }
}

#[tokio::test]
async fn a_socket_of_the_dead_is_replaced_and_one_of_the_living_is_not() {
    let authority = TestAuthority::new();
    let directory = tempfile::TempDir::new().expect("a directory");
    let path = directory.path().join("egress.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(path.exists(), "the dead leave it behind");
    let bind = |path: &std::path::Path| {
        let trust = Trust::only(std::slice::from_ref(&authority.certificate)).expect("a root");
        let rules = Rules::new([name("a.example")]).expect("valid");
        Proxy::bind(path, rules, Arc::new(TableResolver::default()), trust, Arc::new(|_| {}))
    };
    let living = bind(&path).expect("replaced");
    assert!(matches!(bind(&path), Err(BindError::Occupied { .. })));
    assert!(matches!(bind(&directory.path().join("none/egress.sock")), Err(BindError::Socket { .. })));
    living.close().await;
    assert!(!path.exists());
}

/// Two lengths are one too many, in either direction.
#[tokio::test]
async fn a_message_has_one_length() {
    let both =
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let mut host = Host::plain(always(both)).await;
    let sandbox = Sandbox::with_hosts(&[("a.example:80", &host)], vec![], &TestAuthority::new());
    let head = "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\
        Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let answer = sandbox.ask(head.as_bytes()).await.to_lowercase();
    assert!(!answer.contains("content-length") && answer.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{answer}");
    let seen = host.saw().await.to_lowercase();
    assert!(!seen.contains("content-length") && seen.ends_with("2\r\nhi\r\n0\r\n\r\n"), "{seen}");
}

#[tokio::test]
async fn a_tunnel_begins_with_tls_for_its_host() {
    let authority = TestAuthority::new();
    let mut host = Host::tls(&authority, "b.example", ok("hello")).await;
    let mut sandbox = Sandbox::with_hosts(&[("a.example:443", &host)], vec![], &authority);
    // Another host that is served at the same address.
    let failed = sandbox.tls_for("b.example", "a.example:443", authority.certificate.clone()).await;
    assert!(failed.is_err());
    assert_eq!(sandbox.record().await.outcome, Outcome::Refused(Refusal::ServerName));
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"SSH-2.0-x\r\n", &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0], &[]] {
        let mut stream = sandbox.tunnel("a.example:443").await.expect("granted");
        stream.write_all(bytes).await.expect("writable");
        stream.shutdown().await.expect("writable");
        assert_eq!(soon(read_message(&mut stream)).await, None);
        let record = sandbox.record().await;
        assert_eq!(
            (record.bytes_out, record.outcome),
            (0, Outcome::Refused(Refusal::ServerName)),
            "{bytes:?}"
        );
    }
    // Connections were made, because the answer to CONNECT waits for them, and nothing was said on them.
    for _ in 0..5 {
        assert_eq!(host.saw().await, "no TLS");
    }
}

#[tokio::test]
async fn more_connections_wait_until_one_ends() {
    let rules = Rules::new([name("a.example")]).expect("valid");
    let sandbox = Sandbox::new(rules, TableResolver::default(), &TestAuthority::new());
    let request = String::from_utf8(get("http://b.example/", "b.example")).expect("text");
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = sandbox.connect().await;
        exchange(&mut stream, &request).await;
        streams.push(stream);
    }
    let mut waiting = sandbox.connect().await;
    waiting.write_all(request.as_bytes()).await.expect("writable");
    // Time passes only when nothing else is to be done.
    tokio::time::pause();
    let answer = tokio::time::timeout(std::time::Duration::from_secs(1), read_message(&mut waiting)).await;
    assert!(answer.is_err(), "{answer:?}");
    tokio::time::resume();
    streams.pop();
    assert!(soon(read_message(&mut waiting)).await.is_some());
}

#[tokio::test]
async fn a_head_that_never_ends_is_not_waited_for() {
    let rules = Rules::new([name("a.example")]).expect("valid");
    let sandbox = Sandbox::new(rules, TableResolver::default(), &TestAuthority::new());
    let mut stream = sandbox.connect().await;
    stream.write_all(b"GET http://a.example/ HTTP/1.1\r\nHost: ").await.expect("writable");
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert!(begun.elapsed() < IDLE_TIME_MAX - PATIENCE, "{:?}", begun.elapsed());
}
