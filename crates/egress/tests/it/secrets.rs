//! Row 73: a secret is sent to its hosts and nowhere else, and nobody inside ever sees it.

use std::sync::Arc;

use crate::support::{
    Answer, Host, Sandbox, TestAuthority, exchange, name, ok, read_message, rules, secret, soon, unchunked,
    why,
};
use tenure_egress::{Failure, Outcome, Placeholder, Record, Refusal, Secret, SecretHosts, Way};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const VALUE: &str = "sk-live-1234567890";

fn get(path: &str, host: &str, header: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n\r\n")
}

fn bearer(secret: &Secret) -> String {
    format!("Authorization: Bearer {}", secret.placeholder().as_str())
}

/// Answers with what it was sent, in a header and in a body of several pieces.
fn echo() -> Answer {
    Arc::new(|request| {
        let value = request.lines().find(|line| line.to_lowercase().starts_with("authorization"));
        let (_, value) = value.unwrap_or(": nothing").split_once(": ").expect("a header");
        let mut pieces = vec![
            format!("HTTP/1.1 200 OK\r\nX-Echo: {value}\r\nContent-Length: {}\r\n\r\n", value.len())
                .into_bytes(),
        ];
        // One byte each, so that no piece has the value.
        pieces.extend(value.bytes().map(|byte| vec![byte]));
        pieces
    })
}

fn sent(record: &Record) -> Vec<&str> {
    record.secrets.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn a_value_goes_out_and_its_placeholder_comes_back() {
    let authority = TestAuthority::new();
    let mut host = Host::tls(&authority, "a.example", echo()).await;
    let secret = secret("API_KEY", VALUE, &["a.example"]);
    let mut sandbox = Sandbox::with_hosts(&[("a.example:443", &host)], vec![secret.clone()], &authority);
    let answer = sandbox.ask_tls("a.example:443", &get("/", "a.example", &bearer(&secret))).await;
    let seen = host.saw().await;
    assert!(seen.contains(&format!("authorization: Bearer {VALUE}\r\n")), "{seen}");
    assert!(seen.contains("accept-encoding: identity\r\n"), "{seen}");
    assert!(!answer.contains(VALUE), "{answer}");
    let placeholder = secret.placeholder().as_str();
    assert!(answer.contains(&format!("x-echo: Bearer {placeholder}\r\n")), "{answer}");
    assert_eq!(unchunked(&answer), format!("Bearer {placeholder}"));
    let record = sandbox.record().await;
    assert_eq!((record.way, &record.outcome), (Way::Intercepted, &Outcome::Ended));
    assert_eq!(sent(&record), ["API_KEY"]);
    let told = format!("{record:?} {secret:?} {:?}", sandbox.proxy);
    assert!(!told.contains(VALUE), "{told}");
}

#[tokio::test]
async fn connections_to_the_host_are_shared() {
    let authority = TestAuthority::new();
    let mut host = Host::tls(&authority, "a.example", ok("hello")).await;
    let secret = secret("API_KEY", VALUE, &["a.example"]);
    let mut sandbox = Sandbox::with_hosts(&[("a.example:8443", &host)], vec![secret.clone()], &authority);
    let mut stream = sandbox.tls("a.example:8443", sandbox.certificate()).await.expect("trusted");
    for _ in 0..3 {
        let answer = exchange(&mut stream, &get("/", "a.example:8443", &bearer(&secret))).await;
        assert_eq!(unchunked(&answer), "hello");
        assert!(host.saw().await.contains("host: a.example:8443\r\n"));
    }
    drop(stream);
    let record = sandbox.record().await;
    assert_eq!((record.port, sent(&record)), (Some(8443), vec!["API_KEY"]));
    assert_eq!(sandbox.close().await, [], "there was one connection");
}

#[tokio::test]
async fn a_host_that_ends_connections_is_connected_to_again() {
    let authority = TestAuthority::new();
    let closing =
        crate::support::always("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
    let host = Host::tls(&authority, "a.example", closing).await;
    let secret = secret("API_KEY", VALUE, &["a.example"]);
    let sandbox = Sandbox::with_hosts(&[("a.example:443", &host)], vec![secret.clone()], &authority);
    let mut stream = sandbox.tls("a.example:443", sandbox.certificate()).await.expect("trusted");
    for _ in 0..3 {
        assert_eq!(unchunked(&exchange(&mut stream, &get("/", "a.example", &bearer(&secret))).await), "hi");
    }
    drop(stream);
    assert_eq!(sandbox.close().await.len(), 3);
}

#[tokio::test]
async fn a_value_fits_where_it_is_put() {
    let authority = TestAuthority::new();
    let mut host = Host::tls(&authority, "a.example", echo()).await;
    let secret = secret("API_KEY", "a/b&c=d e", &["a.example"]);
    let sandbox = Sandbox::with_hosts(&[("a.example:443", &host)], vec![secret.clone()], &authority);
    let placeholder = secret.placeholder().as_str();
    sandbox
        .ask_tls("a.example:443", &get(&format!("/p?x=1&key={placeholder}&y=2"), "a.example", "X: y"))
        .await;
    let seen = host.saw().await;
    assert!(seen.starts_with("GET /p?x=1&key=a%2Fb%26c%3Dd%20e&y=2 HTTP/1.1\r\n"), "{seen}");
    // A name and a password, as git sends them: `base64(user:placeholder)`.
    let encode = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let given = encode(&format!("user:{placeholder}"));
    let answer = sandbox
        .ask_tls("a.example:443", &get("/", "a.example", &format!("Authorization: Basic {given}")))
        .await;
    let made = encode("user:a/b&c=d e");
    let seen = host.saw().await;
    assert!(seen.contains(&format!("authorization: Basic {made}\r\n")), "{seen}");
    assert!(!answer.contains(&made) && answer.contains(&format!("x-echo: Basic {given}\r\n")), "{answer}");
    assert_eq!(unchunked(&answer), format!("Basic {given}"));
}

#[tokio::test]
async fn a_secret_at_the_wrong_place_is_refused() {
    let authority = TestAuthority::new();
    let mut a = Host::tls(&authority, "a.example", echo()).await;
    let mut b = Host::tls(&authority, "b.example", echo()).await;
    let mut plain = Host::plain(echo()).await;
    let of_a = secret("OF_A", VALUE, &["a.example"]);
    let of_b = secret("OF_B", "another value", &["b.example"]);
    let targets =
        [("a.example:443", &a), ("b.example:443", &b), ("a.example:80", &plain), ("c.example:80", &plain)];
    let secrets = vec![of_a.clone(), of_b.clone()];
    let mut sandbox = Sandbox::with_hosts(&targets, secrets, &authority);
    let unknown = secret("GONE", "a value", &["a.example"]);
    let basic = {
        use base64::Engine as _;
        let text = format!("user:{}", of_a.placeholder().as_str());
        format!("Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    let path = |secret: &Secret| format!("/p?key={}", secret.placeholder().as_str());
    for (target, request, expected, names) in [
        ("b.example", get("/", "b.example", &bearer(&of_a)), "403 secret_not_for_host", "OF_A"),
        ("b.example", get("/", "b.example", &basic), "403 secret_not_for_host", "OF_A"),
        ("b.example", get(&path(&of_a), "b.example", "X: y"), "403 secret_not_for_host", "OF_A"),
        ("a.example", get(&path(&of_b), "a.example", &bearer(&of_a)), "403 secret_not_for_host", "OF_B"),
        ("a.example", get("/", "a.example", &bearer(&unknown)), "403 secret_unknown", "secret"),
        (
            "a.example",
            get(&path(&of_a).replace("?key=", ""), "a.example", "X: y"),
            "403 secret_in_path",
            "OF_A",
        ),
        // Inside TLS, another host than the one that the certificate is for.
        ("a.example", get("/", "b.example", &bearer(&of_b)), "400 malformed_target", "Host"),
        (
            "a.example",
            get("http://b.example/", "b.example", &bearer(&of_b)),
            "400 malformed_target",
            "CONNECT",
        ),
        ("a.example", "CONNECT b.example:443 HTTP/1.1\r\n\r\n".to_owned(), "400 malformed_target", "CONNECT"),
    ] {
        let answer = sandbox.ask_tls(&format!("{target}:443"), &request).await;
        assert_eq!(why(&answer), expected, "{request}");
        assert!(answer.contains(names) && !answer.contains(VALUE), "{answer}");
        let record = sandbox.record().await;
        assert_eq!((record.bytes_out, sent(&record)), (0, vec![]), "{request}");
        assert!(matches!(record.outcome, Outcome::Refused(_)), "{record:?}");
    }
    for (url, host, expected) in [
        ("http://a.example/", "a.example", "403 secret_needs_tls"),
        ("http://c.example/", "c.example", "403 secret_not_for_host"),
    ] {
        let answer = sandbox.ask(get(url, host, &bearer(&of_a)).as_bytes()).await;
        assert_eq!(why(&answer), expected, "{url}");
    }
    for host in [&mut a, &mut b, &mut plain] {
        host.saw_nothing();
    }
}

/// A tunnel to a host without secrets is not read; what travels there is a word without meaning.
#[tokio::test]
async fn a_host_without_secrets_sees_a_placeholder() {
    let authority = TestAuthority::new();
    let mut host = Host::tls(&authority, "b.example", ok("hello")).await;
    let other = Host::tls(&authority, "a.example", ok("hello")).await;
    let secret = secret("API_KEY", VALUE, &["a.example"]);
    let targets = [("a.example:443", &other), ("b.example:443", &host)];
    let sandbox = Sandbox::with_hosts(&targets, vec![secret.clone()], &authority);
    let mut stream = sandbox.tls("b.example:443", authority.certificate.clone()).await.expect("trusted");
    exchange(&mut stream, &get("/", "b.example", &bearer(&secret))).await;
    let seen = host.saw().await;
    assert!(seen.contains(secret.placeholder().as_str()) && !seen.contains(VALUE), "{seen}");
}

#[tokio::test]
async fn a_host_that_is_not_verified_is_sent_nothing() {
    let (authority, other) = (TestAuthority::new(), TestAuthority::new());
    let mut impostor = Host::tls(&other, "a.example", echo()).await;
    let mut elsewhere = Host::tls(&authority, "elsewhere.example", echo()).await;
    let names = ["a.example:443", "b.example:443"];
    let targets = [(names[0], &impostor), (names[1], &elsewhere)];
    let all = SecretHosts::Allowed;
    let secret =
        Secret::new("API_KEY", Placeholder::generate().expect("random bytes"), VALUE, all).expect("valid");
    let mut sandbox = Sandbox::with_hosts(&targets, vec![secret.clone()], &authority);
    for target in names {
        let host = target.trim_end_matches(":443");
        let answer = sandbox.ask_tls(target, &get("/", host, &bearer(&secret))).await;
        assert_eq!(why(&answer), "502 tls_not_verified", "{target}");
        let record = sandbox.record().await;
        assert_eq!((&record.outcome, sent(&record)), (&Outcome::Failed(Failure::Tls), vec![]));
    }
    for host in [&mut impostor, &mut elsewhere] {
        assert_eq!(host.saw().await, "no TLS", "the handshake failed");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_searched_is_refused() {
    let authority = TestAuthority::new();
    let secret = secret("API_KEY", VALUE, &["a.example"]);
    for (status, header, with, without) in [
        ("200 OK", "Content-Encoding: gzip", "502 answer_not_searchable", "200"),
        ("206 Partial Content", "Content-Range: bytes 0-1/9", "502 answer_not_searchable", "206"),
        ("200 OK", "Content-Encoding: identity", "200", "200"),
        ("101 Switching Protocols", "Upgrade: websocket", "502 connection_broken", "502 connection_broken"),
    ] {
        let answer =
            crate::support::always(&format!("HTTP/1.1 {status}\r\n{header}\r\nContent-Length: 2\r\n\r\nhi"));
        let mut host = Host::tls(&authority, "a.example", answer).await;
        let sandbox = Sandbox::with_hosts(&[("a.example:443", &host)], vec![secret.clone()], &authority);
        let range = "Range: bytes=0-1\r\nIf-Range: x";
        let request = get("/", "a.example", &format!("{}\r\n{range}", bearer(&secret)));
        assert_eq!(why(&sandbox.ask_tls("a.example:443", &request).await), with, "{header}");
        assert!(!host.saw().await.contains("range"), "a part of an answer may have a part of a value");
        let request = get("/", "a.example", range);
        assert_eq!(why(&sandbox.ask_tls("a.example:443", &request).await), without, "{header}");
        assert!(host.saw().await.contains("range: bytes=0-1\r\n"), "{header}");
    }
}

/// Events arrive when they are sent: nothing waits for more unless it could be the beginning of a value.
#[tokio::test]
async fn a_stream_is_not_held_up() {
    let authority = TestAuthority::new();
    let endless =
        crate::support::always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n");
    let host = Host::tls(&authority, "a.example", endless).await;
    let secret = secret("API_KEY", VALUE, &["a.example"]);
    let mut sandbox = Sandbox::with_hosts(&[("a.example:443", &host)], vec![secret.clone()], &authority);
    let mut stream = sandbox.tls("a.example:443", sandbox.certificate()).await.expect("trusted");
    stream.write_all(get("/", "a.example", &bearer(&secret)).as_bytes()).await.expect("writable");
    let mut seen = String::new();
    while !seen.contains("data: 1\n\n") {
        let mut bytes = [0; 1024];
        let read = soon(stream.read(&mut bytes)).await.expect("readable");
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    // The permission to read it ends, and so does the stream.
    let other = Host::plain(ok("")).await;
    sandbox.proxy.replace_rules(rules(&[("b.example:443", &other)], vec![]));
    assert_eq!(soon(read_message(&mut stream)).await, None);
    assert_eq!(sandbox.record().await.outcome, Outcome::Refused(Refusal::RulesChanged));
}

#[tokio::test]
async fn secrets_change_while_it_runs() {
    let authority = TestAuthority::new();
    let mut host = Host::tls(&authority, "a.example", ok("hello")).await;
    let targets = [("a.example:443", &host)];
    let first = secret("API_KEY", VALUE, &["a.example"]);
    let all = SecretHosts::Allowed;
    let rotated = Secret::new("API_KEY", first.placeholder().clone(), "another value", all).expect("valid");
    let (with_rotated, without) = (rules(&targets, vec![rotated]), rules(&targets, vec![]));
    let sandbox = Sandbox::with_hosts(&targets, vec![first.clone()], &authority);
    let mut stream = sandbox.tls("a.example:443", sandbox.certificate()).await.expect("trusted");
    exchange(&mut stream, &get("/", "a.example", &bearer(&first))).await;
    assert!(host.saw().await.contains(VALUE));
    sandbox.proxy.replace_rules(with_rotated);
    exchange(&mut stream, &get("/", "a.example", &bearer(&first))).await;
    assert!(host.saw().await.contains("Bearer another value\r\n"));
    sandbox.proxy.replace_rules(without);
    let answer = exchange(&mut stream, &get("/", "a.example", &bearer(&first))).await;
    assert_eq!(why(&answer), "403 secret_unknown");
    host.saw_nothing();
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_proxy_is_told_of() {
    let authority = TestAuthority::new();
    let mut host = Host::tls(&authority, "a.example", ok("hello")).await;
    let secret = secret("API_KEY", VALUE, &["a.example"]);
    let mut sandbox = Sandbox::with_hosts(&[("a.example:443", &host)], vec![secret], &authority);
    let failed = sandbox.tls("a.example:443", authority.certificate.clone()).await;
    assert!(failed.is_err());
    let record = sandbox.record().await;
    assert_eq!(record.host, Some(name("a.example")));
    assert_eq!(record.outcome, Outcome::Failed(Failure::InsideTls));
    host.saw_nothing();
}

#[tokio::test]
async fn headers_are_searched_one_by_one() {
    let authority = TestAuthority::new();
    let answer = format!(
        "HTTP/1.1 200 Says {VALUE}\r\nSet-Cookie: a={VALUE}\r\nSet-Cookie: b=2\r\n{VALUE}: 1\r\nX-Kept: 3\r\n\
         Transfer-Encoding: chunked\r\nTrailer: X-Last\r\n\r\n2\r\nhi\r\n0\r\nX-Last: {VALUE}\r\n\r\n"
    );
    let host = Host::tls(&authority, "a.example", crate::support::always(&answer)).await;
    let secret = secret("API_KEY", VALUE, &["a.example"]);
    let sandbox = Sandbox::with_hosts(&[("a.example:443", &host)], vec![secret.clone()], &authority);
    let answer = sandbox.ask_tls("a.example:443", &get("/", "a.example", "TE: trailers")).await;
    assert!(!answer.contains(VALUE), "{answer}");
    let cookie = format!("set-cookie: a={}\r\nset-cookie: b=2\r\n", secret.placeholder().as_str());
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains(&cookie), "{answer}");
    assert!(answer.contains("x-kept: 3\r\n") && unchunked(&answer) == "hi", "{answer}");
}
