//! HTTP requests on the server's behalf.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::time::timeout;

use super::{ServeError, ServeErrorKind};
use crate::message::{Failure, INTERNAL, INVALID_PARAMS};
use crate::protocol::Base64;
use crate::protocol::http::{BodyDelta, Header, Redirects, Request, Response};

/// Bytes of a body that is not streamed.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of one piece of a body that is.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// How long a request without a limit of its own may take to its headers.
const TIMEOUT: Duration = Duration::from_secs(300);

pub(super) struct Client {
    follow: reqwest::Client,
    stop: reqwest::Client,
}

impl Client {
    pub(super) fn new() -> Result<Self, ServeError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let build =
            |policy| {
                reqwest::Client::builder().redirect(policy).referer(false).build().map_err(|error| {
                    ServeError::new(ServeErrorKind::Options, format!("no HTTP client: {error}"))
                })
            };
        let follow = build(reqwest::redirect::Policy::limited(10))?;
        Ok(Self { follow, stop: build(reqwest::redirect::Policy::none())? })
    }

    /// Makes a request. With a streamed body the response is returned at its headers, with the rest.
    pub(super) async fn request(
        &self,
        request: Request,
    ) -> Result<(Response, Option<reqwest::Response>), Failure> {
        let limit = request.timeout_ms.map_or(TIMEOUT, Duration::from_millis);
        let is_streamed = request.stream_response;
        let work = async {
            let response = self.build(request)?.send().await.map_err(failed)?;
            let head = head(&response);
            if is_streamed {
                return Ok((head, Some(response)));
            }
            Ok((Response { body: Base64(whole(response).await?), ..head }, None))
        };
        timeout(limit, work).await.map_err(|_| Failure::new(INTERNAL, "the request took too long"))?
    }

    fn build(&self, request: Request) -> Result<reqwest::RequestBuilder, Failure> {
        let invalid = |what: &str| Failure::new(INVALID_PARAMS, format!("`{what}` is invalid"));
        let method = reqwest::Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid("method"))?;
        let url = url::Url::parse(&request.url).map_err(|_| invalid("url"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("url"));
        }
        let client = match request.redirect_policy {
            Redirects::Follow => &self.follow,
            Redirects::Stop => &self.stop,
        };
        let mut build = client.request(method, url);
        for Header { name, value } in request.headers {
            let name = HeaderName::try_from(name).map_err(|_| invalid("headers"))?;
            build = build.header(name, HeaderValue::try_from(value).map_err(|_| invalid("headers"))?);
        }
        if let Some(body) = request.body {
            build = build.body(body.0);
        }
        Ok(build)
    }
}

/// The pieces of a streamed body, the last of which says so. `each` is awaited before the next is read.
pub(super) async fn stream<F: Future<Output = ()>>(
    response: reqwest::Response,
    request_id: &str,
    mut each: impl FnMut(BodyDelta) -> F,
) {
    let mut seq = 0;
    let mut delta = |bytes, done, error| {
        seq += 1;
        BodyDelta { request_id: request_id.to_owned(), seq, delta: Base64(bytes), done, error }
    };
    let mut body = response.bytes_stream();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(mut piece) => {
                while !piece.is_empty() {
                    let part = piece.split_to(piece.len().min(PIECE_BYTES_MAX));
                    each(delta(part, false, None)).await;
                }
            }
            Err(error) => return each(delta(Bytes::new(), true, Some(failed(error).message))).await,
        }
    }
    each(delta(Bytes::new(), true, None)).await;
}

async fn whole(response: reqwest::Response) -> Result<Bytes, Failure> {
    let (mut body, mut pieces) = (Vec::new(), response.bytes_stream());
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(failed)?);
        if body.len() > BODY_BYTES_MAX {
            return Err(Failure::new(INTERNAL, "the body is too long; ask for it as a stream"));
        }
    }
    Ok(body.into())
}

fn head(response: &reqwest::Response) -> Response {
    let headers = response.headers().iter().filter_map(|(name, value)| {
        Some(Header { name: name.as_str().to_owned(), value: value.to_str().ok()?.to_owned() })
    });
    Response { status: response.status().as_u16(), headers: headers.collect(), body: Base64::default() }
}

/// Without the address, which may hold a secret.
fn failed(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    Failure::new(INTERNAL, format!("the request failed: {error}: {cause}"))
}
