//! One connection from the inside.
//!
//! ```text
//!   requests ──▶ plain: passed on, one connection to the outside each
//!      │ CONNECT
//!      ├──▶ tunnel: bytes in both directions, for a host without secrets
//!      └──▶ intercepted: TLS ends here, requests are passed on over a TLS connection of ours
//! ```

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::body::{self, Body};
use crate::dial::{self, Upstream};
use crate::exchange::{self, Exchange};
use crate::link::Link;
use crate::meter::{Activity, Metered, Watched};
use crate::proxy::Shared;
use crate::record::{Failure, Outcome, Refusal, Way};
use crate::rules::Rules;
use crate::target::{PORT_HTTPS, Target, TargetError};
use crate::tunnel;

/// Bytes of the head of a request or of an answer.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request or of an answer.
pub const HEADERS_MAX: usize = 100;
/// How long the head of a request may take, from when the connection is ready for it.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a connection lives on which nothing moves: longer than models think between two words.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(300);
/// How long a client may take to begin TLS.
pub(crate) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(15);
/// Requests on one connection. The last one's answer closes it.
pub const REQUESTS_MAX: usize = 1000;
/// Says in one word why the proxy itself answered.
const REASON: HeaderName = HeaderName::from_static("tenure-egress");

struct Inside {
    shared: Arc<Shared>,
    requests: AtomicUsize,
    /// What was last begun, to be told why it ends.
    current: Mutex<Weak<Link>>,
    /// What follows the requests, after a `CONNECT` that was granted.
    next: Mutex<Option<Next>>,
    /// The connection to the outside that intercepted requests share.
    upstream: Mutex<Option<Upstream>>,
}

enum Next {
    Tunnel { upgrade: OnUpgrade, target: Target, link: Arc<Link>, outside: Metered<TcpStream> },
    Intercept { upgrade: OnUpgrade, target: Target },
}

/// Serves a connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, stream: UnixStream) {
    let activity = Arc::new(Activity::new());
    let inside = Arc::new(Inside {
        shared: Arc::clone(&shared),
        requests: AtomicUsize::new(0),
        current: Mutex::default(),
        next: Mutex::default(),
        upstream: Mutex::default(),
    });
    let stream = Watched::new(stream, Arc::clone(&activity));
    // It outlives the choice, so that what it holds can still be told why it ends.
    let mut running = Box::pin(run(&inside, stream));
    tokio::select! {
        () = &mut running => {}
        () = activity.idle(IDLE_TIME_MAX) => inside.settle(Outcome::Failed(Failure::Idle)),
        () = shared.closing.cancelled() => inside.settle(Outcome::Failed(Failure::Closed)),
    }
}

async fn run(inside: &Arc<Inside>, stream: Watched<UnixStream>) {
    let service = {
        let inside = Arc::clone(inside);
        service_fn(move |request| {
            let inside = Arc::clone(&inside);
            async move { Ok::<_, Infallible>(inside.answer(request).await) }
        })
    };
    let served = server().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    if served.is_err_and(|error| error.is_parse()) {
        Link::new(&inside.shared, Way::Plain, None).settle(Outcome::Refused(Refusal::Head));
    }
    let next = inside.next.lock().unwrap_or_else(PoisonError::into_inner).take();
    match next {
        None => {}
        Some(Next::Tunnel { upgrade, target, link, outside }) => {
            if let Ok(upgraded) = upgrade.await {
                tunnel::run(&inside.shared, &target, &link, TokioIo::new(upgraded), outside).await;
            }
        }
        Some(Next::Intercept { upgrade, target }) => {
            if let Ok(upgraded) = upgrade.await {
                intercept(inside, target, TokioIo::new(upgraded)).await;
            }
        }
    }
}

fn server() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
}

async fn intercept(
    inside: &Arc<Inside>,
    target: Target,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let failed = || {
        let link = Link::new(&inside.shared, Way::Intercepted, Some(&target));
        link.settle(Outcome::Failed(Failure::InsideTls));
    };
    let Ok(config) = inside.shared.authority.config(target.host()) else { return failed() };
    let accepted = timeout(HANDSHAKE_TIME_MAX, TlsAcceptor::from(config).accept(stream)).await;
    let Ok(Ok(stream)) = accepted else { return failed() };
    let service = {
        let inside = Arc::clone(inside);
        let target = target.clone();
        service_fn(move |request| {
            let (inside, target) = (Arc::clone(&inside), target.clone());
            async move { Ok::<_, Infallible>(inside.answer_intercepted(request, &target).await) }
        })
    };
    let served = server().serve_connection(TokioIo::new(stream), service).await;
    match served {
        Err(error) if error.is_parse() => {
            let link = Link::new(&inside.shared, Way::Intercepted, Some(&target));
            link.settle(Outcome::Refused(Refusal::Head));
        }
        // Clients leave as they like.
        Ok(()) | Err(_) => {}
    }
}

impl Inside {
    fn settle(&self, outcome: Outcome) {
        let link = self.current.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(link) = link {
            link.settle(outcome);
        }
    }

    fn begin(&self, way: Way, target: Option<&Target>) -> Arc<Link> {
        let link = Link::new(&self.shared, way, target);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&link);
        link
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.shared.rules.borrow())
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let response = if request.method() == Method::CONNECT {
            self.connect(request).await
        } else {
            Box::pin(self.forward(request)).await
        };
        self.counted(response)
    }

    async fn answer_intercepted(&self, request: Request<Incoming>, target: &Target) -> Response<Body> {
        let response = Box::pin(self.forward_intercepted(request, target)).await;
        self.counted(response)
    }

    fn counted(&self, mut response: Response<Body>) -> Response<Body> {
        if self.requests.fetch_add(1, Ordering::Relaxed) + 1 >= REQUESTS_MAX {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Grants a `CONNECT`, or says why not.
    async fn connect(&self, mut request: Request<Incoming>) -> Response<Body> {
        let target = {
            let authority = request.uri().authority().map_or("", |authority| authority.as_str());
            Target::of_connect(authority, &exchange::hosts(request.headers()))
        };
        let target = match target {
            Ok(target) => target,
            Err(error) => return self.malformed(Way::Tunnel, error),
        };
        let rules = self.rules();
        let upgrade = hyper::upgrade::on(&mut request);
        let next = if !rules.secrets_for(&target).is_empty() {
            Next::Intercept { upgrade, target }
        } else {
            let link = self.begin(Way::Tunnel, Some(&target));
            if let Err(refusal) = rules.judge(&target) {
                return refuse(&link, Outcome::Refused(refusal));
            }
            match dial::dial(&self.shared, &target, &link).await {
                Ok(outside) => Next::Tunnel { upgrade, target, link, outside },
                Err(outcome) => return refuse(&link, outcome),
            }
        };
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
        Response::new(body::text(String::new()))
    }

    /// Passes on a request for an `http` URL.
    async fn forward(&self, request: Request<Incoming>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let target = {
            let scheme = parts.uri.scheme_str().unwrap_or_default();
            let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
            Target::of_url(scheme, authority, &exchange::hosts(&parts.headers))
        };
        let target = match target {
            Ok(target) => target,
            Err(error) => return self.malformed(Way::Plain, error),
        };
        let link = self.begin(Way::Plain, Some(&target));
        let rules = self.rules();
        let judged = rules.judge(&target).map_err(Outcome::Refused);
        let prepared = judged.and_then(|()| exchange::outgoing(&mut parts, &rules, &target, Way::Plain));
        let exchange = match prepared {
            Ok(exchange) => exchange,
            Err(outcome) => return refuse(&link, outcome),
        };
        let mut upstream = match dial::dial_http(&self.shared, &target, &link).await {
            Ok(upstream) => upstream,
            Err(outcome) => return refuse(&link, outcome),
        };
        match upstream.sender.send_request(Request::from_parts(parts, body)).await {
            Ok(answer) => answered(&exchange, &link, answer, Some(upstream)),
            Err(_) => refuse(&link, Outcome::Failed(Failure::Broken)),
        }
    }

    /// Passes on a request that came over TLS, with its secrets.
    async fn forward_intercepted(&self, request: Request<Incoming>, target: &Target) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let rules = self.rules();
        let prepared = (|| {
            // Inside TLS there is nothing left to ask a proxy for.
            if parts.method == Method::CONNECT || parts.uri.authority().is_some() {
                return Err(Outcome::Refused(Refusal::Target(TargetError::Form)));
            }
            let agreed = target.agree(&exchange::hosts(&parts.headers), PORT_HTTPS);
            agreed.map_err(|error| Outcome::Refused(Refusal::Target(error)))?;
            rules.judge(target).map_err(Outcome::Refused)?;
            exchange::outgoing(&mut parts, &rules, target, Way::Intercepted)
        })();
        let exchange = match prepared {
            Ok(exchange) => exchange,
            Err(outcome) => return refuse(&self.begin(Way::Intercepted, Some(target)), outcome),
        };
        self.send_intercepted(Request::from_parts(parts, body), &exchange, target).await
    }

    /// Sends a request over the connection that is there, or over a new one.
    async fn send_intercepted(
        &self,
        mut request: Request<Incoming>,
        exchange: &Exchange,
        target: &Target,
    ) -> Response<Body> {
        let kept = self.upstream.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut upstream) = kept
            && upstream.sender.ready().await.is_ok()
        {
            match upstream.sender.try_send_request(request).await {
                Ok(answer) => return self.keep(exchange, answer, upstream),
                Err(mut error) => match error.take_message() {
                    // The host ended the connection before anything was written.
                    Some(unsent) => request = unsent,
                    None => return refuse(&upstream.link, Outcome::Failed(Failure::Broken)),
                },
            }
        }
        let link = self.begin(Way::Intercepted, Some(target));
        let mut upstream = match dial::dial_https(&self.shared, target, &link).await {
            Ok(upstream) => upstream,
            Err(outcome) => return refuse(&link, outcome),
        };
        match upstream.sender.send_request(request).await {
            Ok(answer) => self.keep(exchange, answer, upstream),
            Err(_) => refuse(&link, Outcome::Failed(Failure::Broken)),
        }
    }

    fn keep(&self, exchange: &Exchange, answer: Response<Incoming>, upstream: Upstream) -> Response<Body> {
        let link = Arc::clone(&upstream.link);
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = Some(upstream);
        answered(exchange, &link, answer, None)
    }

    fn malformed(&self, way: Way, error: TargetError) -> Response<Body> {
        refuse(&self.begin(way, None), Outcome::Refused(Refusal::Target(error)))
    }
}

fn answered(
    exchange: &Exchange,
    link: &Link,
    answer: Response<Incoming>,
    upstream: Option<Upstream>,
) -> Response<Body> {
    link.sent_secrets(exchange.sent.iter().cloned());
    exchange.incoming(answer, upstream).unwrap_or_else(|outcome| refuse(link, outcome))
}

/// The proxy's own answer, which says why there is no other.
fn refuse(link: &Link, outcome: Outcome) -> Response<Body> {
    link.settle(outcome);
    let outcome = link.outcome().unwrap_or(&Outcome::Ended);
    let (status, why) = match outcome {
        Outcome::Ended => (StatusCode::BAD_GATEWAY, Failure::Broken.to_string()),
        Outcome::Refused(refusal) => (status_of(refusal), refusal.to_string()),
        Outcome::Failed(Failure::ConnectTime) => {
            (StatusCode::GATEWAY_TIMEOUT, Failure::ConnectTime.to_string())
        }
        Outcome::Failed(failure) => (StatusCode::BAD_GATEWAY, failure.to_string()),
    };
    let mut response = Response::new(body::text(format!("tenure egress: {} ({why})\n", outcome.code())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(REASON, HeaderValue::from_static(outcome.code()));
    response
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Head | Refusal::Target(_) | Refusal::SecretTooLong => StatusCode::BAD_REQUEST,
        Refusal::Host
        | Refusal::Port
        | Refusal::Address
        | Refusal::ServerName
        | Refusal::SecretElsewhere(_)
        | Refusal::SecretInClear(_)
        | Refusal::SecretInPath(_)
        | Refusal::SecretUnknown
        | Refusal::ByteCap
        | Refusal::RulesChanged => StatusCode::FORBIDDEN,
    }
}
