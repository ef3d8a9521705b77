//! The transport against a server on the loopback that behaves exactly as each case says.
#![cfg(feature = "http")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenure_journal::{
    ContextItem, Failure, FailureKind, InputPart, ModelAnswer, ModelRequest, Reasoning, ServiceTier,
    TextConfig,
};
use tenure_model::auth::ClientCredentials;
use tenure_model::http::Timeouts;
use tenure_model::sigv4::{Credentials, Signer};
use tenure_model::{
    Addressing, Auth, Delta, EmbedAnswer, EmbedRequest, Embeddings as _, HttpConfig, HttpModel, Model,
    Secret, Wire, eventstream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Nothing here waits this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

const GREETING: &str = "data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hi\"}\n\n";
const END: &str = "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r1\",\"status\":\"completed\",\"output\":[]}}\n\n";
const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn request() -> ModelRequest {
    ModelRequest {
        model: "m1".into(),
        instructions: None,
        input: vec![ContextItem::User { content: vec![InputPart::text("Hi")] }],
        tools: vec![],
        reasoning: Reasoning::default(),
        text: TextConfig::default(),
        service_tier: ServiceTier::Auto,
        cache_key: String::new(),
        cache_ttl: None,
        output_tokens_max: None,
    }
}

fn model(address: &str, wire: Wire, timeouts: Timeouts) -> HttpModel {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://{address}/v1").parse().expect("a URL");
    let config = HttpConfig { timeouts, ..HttpConfig::new(url, wire, Some(Secret::new("sk-SECRET"))) };
    HttpModel::new(&config).expect("a valid configuration")
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket").to_string();
    (listener, address)
}

/// Reads a whole request and returns its text.
async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = socket.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            // A client that gave up early; the test looks at what it reports.
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
            return text;
        }
    }
}

/// Serves one connection: sends `parts` one by one, then closes or, with `open`, waits for the client.
async fn serve(listener: TcpListener, parts: Vec<String>, open: bool) -> String {
    let (mut socket, _) = listener.accept().await.expect("a connection");
    let request = read_request(&mut socket).await;
    for part in parts {
        if socket.write_all(part.as_bytes()).await.is_err() {
            return request;
        }
    }
    if open {
        wait_for_close(&mut socket).await;
    }
    request
}

async fn wait_for_close(socket: &mut TcpStream) {
    let mut buffer = [0; 64];
    // Zero bytes or a reset: the client is gone.
    while matches!(socket.read(&mut buffer).await, Ok(count) if count > 0) {}
}

async fn ask(model: &HttpModel) -> (Vec<Delta>, Result<ModelAnswer, Failure>) {
    let mut deltas = Vec::new();
    let cancel = CancellationToken::new();
    let request = request();
    let mut sink = |delta| deltas.push(delta);
    let asking = model.answer(&request, &mut sink, &cancel);
    let outcome = tokio::time::timeout(PATIENCE, asking).await.expect("an outcome in time");
    (deltas, outcome)
}

async fn exchange(wire: Wire, response: &str) -> (String, Result<ModelAnswer, Failure>) {
    let (listener, address) = listener().await;
    let server = tokio::spawn(serve(listener, vec![response.to_owned()], false));
    let (_, outcome) = ask(&model(&address, wire, Timeouts::default())).await;
    (server.await.expect("the server's part"), outcome)
}

fn response(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn sends_a_request_and_reads_a_stream() {
    let (sent, outcome) = exchange(Wire::Responses, &format!("{STREAM_HEAD}{GREETING}{END}")).await;
    let answer = outcome.expect("an answer");
    assert_eq!(answer.response_id.as_deref(), Some("r1"));
    assert!(sent.starts_with("POST /v1/responses HTTP/1.1\r\n"), "{sent}");
    assert!(sent.contains("authorization: Bearer sk-SECRET\r\n"), "{sent}");
    assert!(sent.contains(r#""stream":true"#), "{sent}");
}

#[tokio::test]
async fn posts_chat_where_chat_is_spoken_and_reads_a_plain_body() {
    let body = r#"{"id":"c1","choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}"#;
    let (sent, outcome) =
        exchange(Wire::Chat, &response("200 OK\r\ncontent-type: application/json; charset=utf-8", body))
            .await;
    assert_eq!(outcome.expect("an answer").items.len(), 1);
    assert!(sent.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{sent}");
}

#[tokio::test]
async fn maps_statuses_and_keeps_the_providers_words_to_itself() {
    let error = |code: &str| format!(r#"{{"error":{{"message":"sk-SECRET /v1/x","code":"{code}"}}}}"#);
    let cases = [
        ("401 Unauthorized", error("invalid_api_key"), FailureKind::Authentication, None),
        ("404 Not Found", error("model_not_found"), FailureKind::NotFound, None),
        ("400 Bad Request", error("context_length_exceeded"), FailureKind::ContextTooLong, None),
        (
            "429 Too Many\r\nretry-after: 2",
            error("rate_limit_exceeded"),
            FailureKind::RateLimited,
            Some(2000),
        ),
        (
            "429 Too Many\r\nretry-after: 9\r\nretry-after-ms: 70",
            error(""),
            FailureKind::RateLimited,
            Some(70),
        ),
        ("429 Too Many\r\nretry-after: 2", error("insufficient_quota"), FailureKind::CreditExhausted, None),
        (
            "503 Busy\r\nretry-after: Thu, 01 Jan 1970 00:00:00 GMT",
            error(""),
            FailureKind::Overloaded,
            Some(0),
        ),
        ("500 Oops", "<html>".to_owned(), FailureKind::ServerError, None),
    ];
    for (head, body, kind, retry_after_ms) in cases {
        let (_, outcome) = exchange(Wire::Responses, &response(head, &body)).await;
        let failure = outcome.expect_err("a refusal");
        assert_eq!((failure.kind, failure.retry_after_ms), (kind, retry_after_ms), "{head}");
        assert!(!failure.message.contains("SECRET") && !failure.message.contains("/v1"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_torn_stream_is_a_failed_connection() {
    let chunk = format!("{:x}\r\n{GREETING}\r\n", GREETING.len());
    let chunked = STREAM_HEAD.replace("connection: close", "transfer-encoding: chunked") + &chunk;
    for torn in
        [format!("{STREAM_HEAD}{GREETING}"), chunked, STREAM_HEAD.to_owned(), "HTTP/1.1 200".to_owned()]
    {
        let (_, outcome) = exchange(Wire::Responses, &torn).await;
        assert_eq!(outcome.expect_err("torn").kind, FailureKind::ConnectionFailed, "{torn:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_failed_connection() {
    let (listener, address) = listener().await;
    drop(listener);
    let (_, outcome) = ask(&model(&address, Wire::Responses, Timeouts::default())).await;
    assert_eq!(outcome.expect_err("nobody listens").kind, FailureKind::ConnectionFailed);
}

#[tokio::test]
async fn waits_for_the_first_byte_and_between_bytes_only_so_long() {
    let short = 50;
    let cases = [
        (vec![], Timeouts { first_byte_ms: short, ..Timeouts::default() }),
        (vec![STREAM_HEAD, GREETING], Timeouts { idle_ms: short, ..Timeouts::default() }),
        (vec![STREAM_HEAD, GREETING], Timeouts { answer_ms: short, ..Timeouts::default() }),
    ];
    for (parts, timeouts) in cases {
        let (listener, address) = listener().await;
        let parts = parts.into_iter().map(str::to_owned).collect();
        let server = tokio::spawn(serve(listener, parts, true));
        let (_, outcome) = ask(&model(&address, Wire::Responses, timeouts)).await;
        assert_eq!(outcome.expect_err("too late").kind, FailureKind::Timeout, "{timeouts:?}");
        tokio::time::timeout(PATIENCE, server).await.expect("the connection is closed").expect("the server");
    }
}

#[tokio::test]
async fn an_answer_complete_but_for_its_farewell_is_an_answer() {
    let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n";
    let (listener, address) = listener().await;
    let server = tokio::spawn(serve(listener, vec![STREAM_HEAD.to_owned(), chunk.to_owned()], true));
    let timeouts = Timeouts { idle_ms: 50, ..Timeouts::default() };
    let (_, outcome) = ask(&model(&address, Wire::Chat, timeouts)).await;
    assert_eq!(outcome.expect("an answer").items.len(), 1);
    tokio::time::timeout(PATIENCE, server).await.expect("the connection is closed").expect("the server");
}

/// Cancels before the response begins, and in the middle of it; the server sees the connection close.
#[tokio::test]
async fn cancelling_closes_the_connection() {
    for parts in [vec![], vec![STREAM_HEAD, GREETING]] {
        let (listener, address) = listener().await;
        let (asked, was_asked) = oneshot::channel();
        let is_streaming = !parts.is_empty();
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            read_request(&mut socket).await;
            for part in parts {
                socket.write_all(part.as_bytes()).await.expect("the client reads");
            }
            asked.send(()).expect("the test waits");
            wait_for_close(&mut socket).await;
        });
        let cancel = CancellationToken::new();
        let seen = Arc::new(Mutex::new(None::<oneshot::Sender<()>>));
        let (first, first_delta) = oneshot::channel();
        *seen.lock().expect("no panic") = Some(first);
        let asking = tokio::spawn({
            let (model, cancel, seen) =
                (model(&address, Wire::Responses, Timeouts::default()), cancel.clone(), seen);
            async move {
                let mut sink = move |_| {
                    if let Some(first) = seen.lock().expect("no panic").take() {
                        first.send(()).expect("the test waits");
                    }
                };
                model.answer(&request(), &mut sink, &cancel).await
            }
        });
        was_asked.await.expect("the server was asked");
        if is_streaming {
            first_delta.await.expect("a delta arrives");
        }
        cancel.cancel();
        let outcome =
            tokio::time::timeout(PATIENCE, asking).await.expect("a prompt return").expect("no panic");
        assert_eq!(outcome.expect_err("cancelled").kind, FailureKind::ConnectionFailed);
        tokio::time::timeout(PATIENCE, server).await.expect("the connection is closed").expect("the server");
    }
}

#[tokio::test]
async fn follows_no_redirect() {
    let (elsewhere, address) = listener().await;
    let head = format!("307 Temporary Redirect\r\nlocation: http://{address}/v1/responses");
    let (_, outcome) = exchange(Wire::Responses, &response(&head, "")).await;
    assert_eq!(outcome.expect_err("not an answer").kind, FailureKind::Protocol);
    let followed = tokio::time::timeout(Duration::from_millis(50), elsewhere.accept()).await;
    assert!(followed.is_err(), "the key went to another server");
}

/// Asks a server on the loopback that answers `body`, and gives what it was sent.
async fn sent(change: impl FnOnce(&mut HttpConfig), wire: Wire, path: &str, body: &[u8]) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (listener, address) = listener().await;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        if wire == Wire::Converse { "application/vnd.amazon.eventstream" } else { "text/event-stream" },
        body.len()
    );
    let reply = [head.as_bytes(), body].concat();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let request = read_request(&mut socket).await;
        socket.write_all(&reply).await.expect("the client reads");
        request
    });
    let url = format!("http://{address}{path}").parse().expect("a URL");
    let mut config = HttpConfig::new(url, wire, Some(Secret::new("sk-SECRET")));
    change(&mut config);
    let model = HttpModel::new(&config).expect("a valid configuration");
    assert!(!format!("{model:?} {config:?}").contains("SECRET"), "a secret shows");
    ask(&model).await.1.expect("an answer");
    server.await.expect("the server's part")
}

const ANTHROPIC: &[u8] =
    b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n\
event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n\
event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

fn converse() -> Vec<u8> {
    let frame = |name: &str, payload: &str| {
        eventstream::encode(&[(":message-type", "event"), (":event-type", name)], payload.as_bytes())
    };
    let text = r#"{"contentBlockIndex":0,"delta":{"text":"Hi"}}"#;
    [
        frame("contentBlockDelta", text),
        frame("messageStop", r#"{"stopReason":"end_turn"}"#),
        frame("metadata", "{}"),
    ]
    .concat()
}

#[tokio::test]
async fn proves_itself_as_each_provider_wants() {
    let request = sent(|_| {}, Wire::Anthropic, "/v1", ANTHROPIC).await;
    assert!(request.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("x-api-key: sk-SECRET\r\n"), "{request}");
    assert!(request.contains("anthropic-version: 2023-06-01\r\n"), "{request}");
    assert!(!request.contains("authorization:"), "{request}");

    let request = sent(|_| {}, Wire::Converse, "", &converse()).await;
    assert!(request.starts_with("POST /model/m1/converse-stream HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer sk-SECRET\r\n"), "{request}");

    let signer = Signer {
        credentials: Credentials {
            access_key_id: "AKID".into(),
            secret_access_key: Secret::new("SECRET"),
            session_token: None,
        },
        region: "eu-central-1".into(),
        service: "bedrock".into(),
    };
    let signs = |config: &mut HttpConfig| config.auth = Auth::SigV4(Box::new(signer));
    let request = sent(signs, Wire::Converse, "", &converse()).await;
    assert!(request.contains("authorization: AWS4-HMAC-SHA256 Credential=AKID/"), "{request}");
    assert!(
        request.contains("/eu-central-1/bedrock/aws4_request, SignedHeaders=content-type;host;"),
        "{request}"
    );
    assert!(request.contains("x-amz-date: ") && request.contains("x-amz-content-sha256: "), "{request}");

    let deployed = |config: &mut HttpConfig| {
        config.auth = Auth::ApiKey(Secret::new("sk-SECRET"));
        config.addressing = Addressing::Deployments;
    };
    let chat = b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let request = sent(deployed, Wire::Chat, "/openai?api-version=2024-10-21", chat).await;
    let line = "POST /openai/deployments/m1/chat/completions?api-version=2024-10-21 HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
    assert!(request.contains("api-key: sk-SECRET\r\n") && !request.contains("authorization:"), "{request}");
}

#[tokio::test]
async fn a_damaged_frame_ends_the_answer() {
    let mut damaged = converse();
    damaged[20] ^= 1;
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\nconnection: close\r\n\r\n";
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        read_request(&mut socket).await;
        socket.write_all(&[head.as_bytes(), &damaged].concat()).await.expect("the client reads");
    });
    let (_, outcome) = ask(&model(&address, Wire::Converse, Timeouts::default())).await;
    assert_eq!(outcome.expect_err("damaged").kind, FailureKind::Protocol);
}

/// Serves tokens and answers until it is dropped, and counts the tokens it gave.
async fn entra(lifetime: &'static str, refusals: u32) -> (String, Arc<Mutex<(u32, Vec<String>)>>) {
    let (listener, address) = listener().await;
    let seen = Arc::new(Mutex::new((0, Vec::new())));
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let seen = Arc::clone(&shared);
            tokio::spawn(async move {
                let request = read_request(&mut socket).await;
                let reply = if request.starts_with("POST /token ") {
                    let mut seen = seen.lock().expect("no panic");
                    seen.0 += 1;
                    assert!(
                        request.contains("grant_type=client_credentials&client_id=app&client_secret=s%26t")
                    );
                    let token =
                        format!("{{\"access_token\":\"token-{}\",\"expires_in\":{lifetime}}}", seen.0);
                    response("200 OK\r\ncontent-type: application/json", &token)
                } else {
                    let header = request.lines().find(|line| line.starts_with("authorization: "));
                    let mut seen = seen.lock().expect("no panic");
                    seen.1.push(header.unwrap_or_default().to_owned());
                    if seen.1.len() <= refusals as usize {
                        response("401 Unauthorized", "")
                    } else {
                        response("200 OK\r\ncontent-type: text/event-stream", &format!("{GREETING}{END}"))
                    }
                };
                socket.write_all(reply.as_bytes()).await.expect("the client reads");
            });
        }
    });
    (address, seen)
}

fn azure(address: &str) -> HttpModel {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = |path: &str| format!("http://{address}{path}").parse().expect("a URL");
    let mut config = HttpConfig::new(url("/openai/v1"), Wire::Responses, None);
    config.auth = Auth::ClientCredentials(Box::new(ClientCredentials {
        token_url: url("/token"),
        client_id: "app".into(),
        client_secret: Secret::new("s&t"),
        scope: "https://ai.azure.com/.default".into(),
    }));
    HttpModel::new(&config).expect("a valid configuration")
}

#[tokio::test]
async fn one_token_serves_everybody_until_it_nears_its_end() {
    let (address, seen) = entra("3600", 0).await;
    let model = azure(&address);
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let model = model.clone();
            tokio::spawn(async move { ask(&model).await.1 })
        })
        .collect();
    for asked in asking {
        asked.await.expect("no panic").expect("an answer");
    }
    let (tokens, headers) = seen.lock().expect("no panic").clone();
    assert_eq!(tokens, 1, "one fetch for all who wait");
    assert_eq!(headers, vec!["authorization: Bearer token-1".to_owned(); 8]);

    let (address, seen) = entra("0", 0).await;
    let model = azure(&address);
    for _ in 0..2 {
        ask(&model).await.1.expect("an answer");
    }
    assert_eq!(seen.lock().expect("no panic").0, 2, "a token that is over is not used again");
}

#[tokio::test]
async fn a_refused_token_is_not_used_again() {
    let (address, seen) = entra("3600", 1).await;
    let model = azure(&address);
    assert_eq!(ask(&model).await.1.expect_err("refused").kind, FailureKind::Authentication);
    ask(&model).await.1.expect("an answer");
    let (tokens, headers) = seen.lock().expect("no panic").clone();
    assert_eq!((tokens, headers[1].as_str()), (2, "authorization: Bearer token-2"));
}

async fn embed(response: &str) -> (String, Result<EmbedAnswer, Failure>) {
    let (listener, address) = listener().await;
    let server = tokio::spawn(serve(listener, vec![response.to_owned()], false));
    let request =
        EmbedRequest { model: "small".into(), texts: vec!["Hi".into(), String::new()], dimensions: Some(2) };
    let model = model(&address, Wire::Chat, Timeouts::default());
    let outcome = tokio::time::timeout(PATIENCE, model.embed(&request)).await.expect("an outcome in time");
    (server.await.expect("the server's part"), outcome)
}

#[tokio::test]
async fn asks_for_vectors_with_the_key_and_reads_them_whole() {
    let body = r#"{"data":[{"index":0,"embedding":[0,2]},{"index":1,"embedding":[1,0]}],"usage":{"total_tokens":3}}"#;
    let (sent, outcome) = embed(&response("200 OK\r\ncontent-type: application/json", body)).await;
    assert_eq!(outcome, Ok(EmbedAnswer { vectors: vec![vec![0.0, 1.0], vec![1.0, 0.0]], tokens: Some(3) }));
    let (head, body) = sent.split_once("\r\n\r\n").expect("a request");
    assert!(head.starts_with("POST /v1/embeddings HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer sk-SECRET"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let expected = serde_json::json!({"model": "small", "input": ["Hi", "-"], "encoding_format": "float", "dimensions": 2});
    assert_eq!(body, expected);
}

#[tokio::test]
async fn says_why_there_are_no_vectors() {
    let limited = response("429 Too Many Requests\r\nretry-after: 3", r#"{"error":{"message":"SECRET"}}"#);
    for (response, kind, retry_after_ms) in [
        (limited, FailureKind::RateLimited, Some(3_000)),
        (response("401 Unauthorized", ""), FailureKind::Authentication, None),
        (response("400 Bad Request", r#"{"error":{"message":"SECRET"}}"#), FailureKind::InvalidRequest, None),
        (response("500 Oh", ""), FailureKind::ServerError, None),
        (response("200 OK", "<html>SECRET</html>"), FailureKind::Protocol, None),
        (response("200 OK", r#"{"data":[]}"#), FailureKind::Protocol, None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_owned(), FailureKind::ConnectionFailed, None),
    ] {
        let (_, outcome) = embed(&response).await;
        let failure = outcome.expect_err(&response);
        assert_eq!((failure.kind, failure.retry_after_ms), (kind, retry_after_ms), "{response}");
        assert!(!failure.message.contains("SECRET"), "{}", failure.message);
    }
}
