//! One request and its answer, as they are passed on.
//!
//! Requests are rewritten rather than copied: what belongs to one connection stays on it, `Host` is written
//! from the target, and secrets take the place of their placeholders. Bodies of requests are not looked at: a
//! value in a body may be stored and read back by anyone whom the host serves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, HeaderMap,
    HeaderName, HeaderValue, IF_RANGE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Response, StatusCode, Uri, Version};

use crate::body::{self, Body};
use crate::connection::HEAD_BYTES_MAX;
use crate::dial::Upstream;
use crate::record::{Failure, Outcome, Refusal, Way};
use crate::replace::Replacer;
use crate::rules::Rules;
use crate::secret::{self, PLACEHOLDER_PREFIX, Placeholder, Secret};
use crate::target::{PORT_HTTP, PORT_HTTPS, Target, TargetError};

/// Headers of one connection (RFC 9110, section 7.6.1), and those that only a proxy reads.
static HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    EXPECT,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// What precedes a name and a password in base64.
const BASIC: &str = "Basic ";
const PLACEHOLDER_BYTES: usize = PLACEHOLDER_PREFIX.len() + 32;

/// What must be known of a request to pass its answer on.
pub(crate) struct Exchange {
    /// Names of the secrets that are sent with it.
    pub(crate) sent: Vec<String>,
    /// What to look for in the answer.
    back: Replacer,
    is_head: bool,
}

/// The values of all `Host` headers.
pub(crate) fn hosts(headers: &HeaderMap) -> Vec<&[u8]> {
    headers.get_all(HOST).iter().map(HeaderValue::as_bytes).collect()
}

/// Makes of a request from the inside the one that goes to the target.
pub(crate) fn outgoing(
    parts: &mut request::Parts,
    rules: &Rules,
    target: &Target,
    way: Way,
) -> Result<Exchange, Outcome> {
    let is_head = parts.method == Method::HEAD;
    let (port_default, secrets) = match way {
        Way::Intercepted => (PORT_HTTPS, rules.secrets_for(target)),
        Way::Plain | Way::Tunnel => (PORT_HTTP, Vec::new()),
    };
    remove_hop_by_hop(&mut parts.headers);
    let host = HeaderValue::from_str(&target.to_host_header(port_default));
    let host = host.map_err(|_| Outcome::Refused(Refusal::Target(TargetError::HostHeader)))?;
    parts.headers.insert(HOST, host);
    parts.version = Version::HTTP_11;
    let mut swap = Swap { rules, target, way, secrets: &secrets, sent: Vec::new(), made: Vec::new() };
    swap.headers(&mut parts.headers).map_err(Outcome::Refused)?;
    parts.uri = swap.uri(&parts.uri).map_err(Outcome::Refused)?;
    let (mut sent, made) = (swap.sent, swap.made);
    sent.sort();
    sent.dedup();
    if !sent.is_empty() && head_bytes(parts) > HEAD_BYTES_MAX {
        return Err(Outcome::Refused(Refusal::SecretTooLong));
    }
    let back = secret::inwards(&secrets, &sent, &made);
    if !back.is_empty() {
        // What is compressed cannot be searched.
        parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if !sent.is_empty() {
        // A value that arrives in two answers would be found in neither.
        parts.headers.remove(RANGE);
        parts.headers.remove(IF_RANGE);
    }
    Ok(Exchange { sent, back, is_head })
}

impl Exchange {
    /// Makes of a host's answer the one that goes inside. `upstream` is kept until it has been read, if given.
    pub(crate) fn incoming(
        &self,
        answer: Response<Incoming>,
        upstream: Option<Upstream>,
    ) -> Result<Response<Body>, Outcome> {
        let (mut parts, incoming) = answer.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Outcome::Failed(Failure::Broken));
        }
        let is_readable = is_readable(&parts.headers) && parts.status != StatusCode::PARTIAL_CONTENT;
        if !self.sent.is_empty() && !is_readable {
            return Err(Outcome::Failed(Failure::Unsearchable));
        }
        // A reason phrase and the like of the host's are no header, and were not searched.
        parts.extensions.clear();
        parts.version = Version::HTTP_11;
        if parts.headers.contains_key(TRANSFER_ENCODING) {
            // Two lengths are one too many (RFC 9112, section 6.3).
            parts.headers.remove(CONTENT_LENGTH);
        }
        remove_hop_by_hop(&mut parts.headers);
        let body = if self.back.is_empty() || !is_readable {
            body::passed(incoming, upstream)
        } else {
            parts.headers = self.search(&parts.headers);
            if !self.is_head {
                parts.headers.remove(CONTENT_LENGTH);
            }
            body::searched(incoming, self.back.clone())
        };
        Ok(Response::from_parts(parts, body))
    }

    fn search(&self, headers: &HeaderMap) -> HeaderMap {
        let mut searched = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            if self.back.whole(name.as_str().as_bytes()).is_some() {
                continue;
            }
            let value = match self.back.whole(value.as_bytes()) {
                None => Ok(value.clone()),
                Some((replaced, _)) => HeaderValue::from_bytes(&replaced),
            };
            // A placeholder is fit for a header wherever its value was.
            if let Ok(value) = value {
                searched.append(name, value);
            }
        }
        searched
    }
}

/// Puts values in the place of the placeholders of one request, or says why not.
struct Swap<'a> {
    rules: &'a Rules,
    target: &'a Target,
    way: Way,
    /// Those that may be sent.
    secrets: &'a [&'a Secret],
    sent: Vec<String>,
    /// What was made of values, with what it was made from.
    made: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Swap<'_> {
    fn headers(&mut self, headers: &mut HeaderMap) -> Result<(), Refusal> {
        let replacer = secret::in_headers(self.secrets);
        for (name, value) in headers.iter_mut() {
            let encoded = (name == AUTHORIZATION).then(|| basic(value)).flatten();
            let replaced = match &encoded {
                Some(plain) => self.replace(&replacer, plain)?.map(|swapped| {
                    let made = STANDARD.encode(swapped).into_bytes();
                    self.made.push((made.clone(), STANDARD.encode(plain).into_bytes()));
                    [BASIC.as_bytes(), &made].concat()
                }),
                None => self.replace(&replacer, value.as_bytes())?,
            };
            if let Some(replaced) = replaced {
                *value = HeaderValue::from_bytes(&replaced).map_err(|_| Refusal::Head)?;
                value.set_sensitive(true);
            }
        }
        Ok(())
    }

    /// The target in origin form, with values in its query.
    fn uri(&mut self, uri: &Uri) -> Result<Uri, Refusal> {
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        self.check(path.as_bytes())?;
        let whole = match uri.query() {
            None => path.to_owned(),
            Some(query) => {
                let replaced = self.replace(&secret::in_query(self.secrets), query.as_bytes())?;
                let query = replaced.map_or_else(|| Ok(query.to_owned()), String::from_utf8);
                format!("{path}?{}", query.map_err(|_| Refusal::Head)?)
            }
        };
        PathAndQuery::try_from(whole).map(Uri::from).map_err(|_| Refusal::SecretTooLong)
    }

    fn replace(&mut self, replacer: &Replacer, text: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let Some((replaced, found)) = replacer.whole(text) else {
            self.check(text)?;
            return Ok(None);
        };
        // No value has a placeholder in it, so what is left is one that may not be sent.
        self.check(&replaced)?;
        self.sent.extend(found.into_iter().map(|index| self.secrets[index].name().to_owned()));
        Ok(Some(replaced))
    }

    /// Refuses a text with a placeholder in it.
    fn check(&self, text: &[u8]) -> Result<(), Refusal> {
        let prefix = PLACEHOLDER_PREFIX.as_bytes();
        let Some(at) = text.windows(prefix.len()).position(|window| window == prefix) else { return Ok(()) };
        let found = text.get(at..at + PLACEHOLDER_BYTES).and_then(|found| std::str::from_utf8(found).ok());
        let placeholder = found.and_then(|found| Placeholder::parse(found).ok());
        let whose = |secret: &&Secret| Some(secret.placeholder()) == placeholder.as_ref();
        let Some(secret) = self.rules.secrets().iter().find(whose) else {
            return Err(Refusal::SecretUnknown);
        };
        let name = secret.name().to_owned();
        Err(match self.way {
            Way::Intercepted if secret.is_for(self.target) => Refusal::SecretInPath(name),
            Way::Plain | Way::Tunnel if secret.names(self.target.host()) => Refusal::SecretInClear(name),
            Way::Intercepted | Way::Plain | Way::Tunnel => Refusal::SecretElsewhere(name),
        })
    }
}

/// The name and password of a `Basic` authorization.
fn basic(value: &HeaderValue) -> Option<Vec<u8>> {
    let text = value.to_str().ok()?;
    let (scheme, rest) = text.split_at_checked(BASIC.len())?;
    scheme.eq_ignore_ascii_case(BASIC).then(|| STANDARD.decode(rest.trim()).ok()).flatten()
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Whoever names these wants them lost, not kept to one connection.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Whether an answer's body is as it was written.
fn is_readable(headers: &HeaderMap) -> bool {
    let all_are = |name: HeaderName, plain: &str| {
        headers.get_all(name).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(plain.as_bytes()))
    };
    all_are(CONTENT_ENCODING, "identity") && all_are(TRANSFER_ENCODING, "chunked")
}

fn head_bytes(parts: &request::Parts) -> usize {
    let headers =
        parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    parts.uri.to_string().len() + headers.sum::<usize>()
}
