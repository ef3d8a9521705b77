//! `tenure login`: signing in as a person, without a browser of its own.
//!
//! The authorization code flow with PKCE for native applications (RFC 8252): the address to open is printed, and
//! never handed to a shell; the answer comes to a port of the loopback that is open for it alone. The code is worth
//! nothing without the verifier, and an answer without the state of this command is somebody else's.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tenure_identity::{challenge, discover, unreserved};
use tenure_project::Redacted;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::Context;
use super::client::Client;
use super::error::{CliError, Exit};
use super::output::{self, Column, age, text};
use super::sign_in;
use super::target::Target;

/// How long somebody may take to sign in.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a browser may take to say what it wants, and how much that may be.
const REQUEST_TIME: Duration = Duration::from_secs(10);
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// Bytes of what the provider answers.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Random bytes of a verifier and of a state.
const RANDOM_BYTES: usize = 32;
/// The path that the answer comes to.
const CALLBACK: &str = "/callback";

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// What to ask the provider for; `openid` must be among it
    #[arg(long, value_name = "SCOPES", default_value = "openid profile email")]
    scope: String,
    /// The port of the loopback that the answer comes to; providers that know no other need it [default: a free one]
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    callback_port: u16,
}

/// Signs in at the server that flags, environment and data directory point at.
pub(crate) async fn login(cx: &mut Context, args: &LoginArgs) -> Result<Exit, CliError> {
    let base = cx.base()?;
    let server =
        Client::new(Target { base: base.clone(), key: None })?.get("/.well-known/tenure", &[]).await?;
    let (issuer, client_id) = (text(&server, "/sign_in/issuer"), text(&server, "/sign_in/client_id"));
    if issuer.is_empty() {
        return Err(CliError::failed("no_sign_in", "people cannot sign in at this server")
            .fix("use an API key, or add `people` to the server's tenure.yaml"));
    }
    let provider = |error: tenure_identity::ProviderError| {
        CliError::new(Exit::Unreachable, "no_provider", format!("`{issuer}` cannot be used to sign in"))
            .cause(error.to_string())
    };
    let endpoints = discover(issuer).await.map_err(provider)?;
    let listener = TcpListener::bind(("127.0.0.1", args.callback_port)).await?;
    let redirect = format!("http://127.0.0.1:{}{CALLBACK}", listener.local_addr()?.port());
    let (verifier, state, nonce) = (random()?, random()?, random()?);
    let address = Url::parse_with_params(
        &endpoints.authorization_endpoint,
        [
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", &redirect),
            ("scope", &args.scope),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge(&verifier)),
            ("code_challenge_method", "S256"),
        ],
    );
    let address = address.map_err(|error| damaged(&error.to_string()))?;
    cx.note("open this address in a browser on this machine, and sign in:")?;
    cx.world.err.line(address.as_str())?;
    let code = tokio::time::timeout(PATIENCE, answer(&listener, &state)).await;
    let code =
        code.map_err(|_| CliError::failed("nobody_signed_in", "nobody signed in within ten minutes"))??;
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &redirect),
            ("client_id", client_id),
            ("code_verifier", &verifier),
        ])
        .finish();
    let tokens = redeem(&endpoints.token_endpoint, form).await?;
    let token = text(&tokens, "/id_token");
    let read = tenure_identity::Token::parse(token).map_err(|error| damaged(&error.to_string()))?;
    if read.nonce() != Some(&nonce) {
        return Err(damaged("the token was not made for this sign-in"));
    }
    let client = Client::new(Target { base: base.clone(), key: Some(Redacted::new(token.to_owned())) })?;
    let who = client.get("/v1/tenure/whoami", &[]).await.map_err(|error| {
        error.fix(
            "ask whoever runs the server whether one of your groups is in `people.groups` of tenure.yaml",
        )
    })?;
    sign_in::keep(&cx.world, &base, token, read.expires_at().unwrap_or(cx.world.now))?;
    output::one(&mut cx.world.out, cx.format, &format!("signed in as {}", text(&who, "/name")), &who)?;
    Ok(Exit::Done)
}

/// Forgets the sign-in at the server.
pub(crate) fn logout(cx: &mut Context) -> Result<Exit, CliError> {
    let base = cx.base()?;
    if !sign_in::forget(&cx.world, &base)? {
        return Err(CliError::not_found(format!("nobody is signed in at `{base}`")));
    }
    let shown = json!({"id": base, "signed_in": false});
    output::one(&mut cx.world.out, cx.format, &format!("signed out of {base}"), &shown)?;
    Ok(Exit::Done)
}

/// Who the server says is asking.
pub(crate) async fn whoami(cx: &mut Context) -> Result<Exit, CliError> {
    let who = cx.client()?.get("/v1/tenure/whoami", &[]).await?;
    let scopes = who["scopes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let scopes = scopes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    let line = format!("{} {} ({})\n{scopes}", text(&who, "/type"), text(&who, "/name"), text(&who, "/id"));
    output::one(&mut cx.world.out, cx.format, &line, &who)?;
    Ok(Exit::Done)
}

/// Who has signed in.
pub(crate) async fn people(cx: &mut Context) -> Result<Exit, CliError> {
    let people = cx.client()?.list("/v1/tenure/people", &[]).await?;
    let now = cx.world.now;
    let columns = [
        Column::at("ID", "/id"),
        Column::at("NAME", "/name"),
        Column::at("EMAIL", "/email"),
        Column::new("SEEN", move |person| {
            person["last_seen_at"].as_i64().map(|at| age(now, at)).unwrap_or_default()
        }),
    ];
    output::list(&mut cx.world.out, cx.format, &columns, &people)?;
    Ok(Exit::Done)
}

fn random() -> Result<String, CliError> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        CliError::failed("random", "the system gives no random bytes").cause(error.to_string())
    })?;
    Ok(unreserved(&bytes))
}

fn damaged(cause: &str) -> CliError {
    CliError::failed("provider", "the identity provider's answer cannot be used").cause(cause)
}

/// The code that a browser brings. Whatever else comes to the port is turned away and waited past.
async fn answer(listener: &TcpListener, state: &str) -> Result<String, CliError> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let Ok(Some(target)) = tokio::time::timeout(REQUEST_TIME, target(&mut stream)).await else {
            continue;
        };
        let asked = Url::parse(&format!("http://127.0.0.1{target}")).ok();
        let asked = asked.filter(|url| url.path() == CALLBACK);
        let pairs: HashMap<String, String> = asked
            .iter()
            .flat_map(Url::query_pairs)
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        if pairs.get("state").map(String::as_str) != Some(state) {
            reply(&mut stream, "404 Not Found", "There is nothing here.").await;
            continue;
        }
        if let Some(code) = pairs.get("code") {
            reply(&mut stream, "200 OK", "You are signed in. This window can be closed.").await;
            return Ok(code.clone());
        }
        reply(&mut stream, "200 OK", "You are not signed in. The command line says more.").await;
        let error = pairs.get("error").map_or("nothing", String::as_str);
        let said = pairs.get("error_description").map(String::as_str);
        return Err(CliError::new(Exit::Unauthorized, "not_signed_in", "the identity provider refused")
            .cause(said.map_or_else(|| error.to_owned(), |said| format!("{error}: {said}"))));
    }
}

/// The path and query of a request.
async fn target(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut piece = [0; 1024];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
        if bytes.len() > REQUEST_BYTES_MAX {
            return None;
        }
    }
    let head = String::from_utf8(bytes).ok()?;
    let mut words = head.lines().next()?.split(' ');
    (words.next() == Some("GET")).then(|| words.next().map(str::to_owned)).flatten()
}

async fn reply(stream: &mut TcpStream, status: &str, said: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{said}",
        said.len()
    );
    // A browser that has left needs no answer.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Makes tokens of a code.
async fn redeem(endpoint: &str, form: String) -> Result<Value, CliError> {
    let failed = |error: reqwest::Error| damaged(&error.without_url().to_string());
    let http = reqwest::Client::builder()
        .timeout(REQUEST_TIME)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(failed)?;
    let form = http.post(endpoint).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
    let mut response = form.send().await.map_err(failed)?;
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(damaged("it is too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    Err(damaged(&format!("status {}, {}", status.as_u16(), text(&answer, "/error"))))
}
