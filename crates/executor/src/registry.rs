//! The registry's two answers: an executor registers, and asks whether a server's key may use it.
//!
//! Pure: JSON in, JSON out. Nothing is stored, so that any node of a cluster answers any of them. What must
//! be remembered between the two travels with the executor, under the server's seal: the address that an
//! executor is told to dial holds its registration, and the authorization in the first message of a
//! handshake holds the server's key. Both end when they say.
//!
//! A ticket is no secret worth stealing. Who dials with one must still prove the key that is in it, or, on
//! the direct transport, sign the handshake.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::noise::{NoiseError, PublicKey, Random};

/// The one profile of encrypted registrations.
pub const SECURITY_PROFILE: &str = "noise_hybrid_ik_v1";
/// The one direct transport.
pub const DIRECT_TRANSPORT: &str = "direct_jsonrpc_v1";
/// Bytes of an environment's id, which is a part of paths.
pub const ENVIRONMENT_ID_BYTES_MAX: usize = 256;
/// Bytes of a registration's body; the keys of one have 1,700.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// Seconds in which a ticket may be dialled. An executor may dial again with the one it has, after a pause
/// of at most half a minute, and registers anew when it is refused.
pub const TICKET_SECONDS: u64 = 10 * 60;
/// Seconds in which an authorization is good: a handshake takes one, the executor waits for ten.
pub const AUTHORIZATION_SECONDS: u64 = 60;
const REGISTRATION_ID_BYTES: usize = 16;
const MAC_BYTES: usize = 32;

/// Seconds since 1970.
pub type Seconds = u64;

/// Seals tickets and authorizations, and knows its own again.
pub struct Authority {
    key: hmac::Key,
}

/// An executor that registered, and how it will speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// For which environment.
    pub environment_id: EnvironmentId,
    /// Which one; fresh each time.
    pub id: String,
    /// How it speaks.
    pub transport: Transport,
}

/// How a registered executor speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Frames of the relay, encrypted to this key.
    Noise(PublicKey),
    /// JSON in text, on a socket whose handshake is signed.
    Direct,
}

/// An environment's id as executors accept it: letters, digits, `-` and `_`, at most 256.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentId(String);

/// Why a registration or a ticket was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What the caller can do.
    pub kind: RefusalKind,
    /// The member of the request that is at fault, if one is.
    pub field: Option<&'static str>,
    /// For a person.
    pub message: String,
}

/// What the caller of the registry can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Correct the request.
    Invalid,
    /// Register again: the ticket has ended, or is not one.
    Ticket,
    /// Nothing; there is no randomness here.
    Unavailable,
}

impl RefusalKind {
    /// The status code to answer with. For a ticket it is the one upon which executors register again.
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Ticket => 409,
            Self::Unavailable => 503,
        }
    }
}

#[derive(Deserialize)]
struct RegisterRequest {
    security_profile: String,
    executor_public_key: PublicKey,
}

#[derive(Serialize)]
struct RegisterResponse<'a> {
    environment_id: &'a str,
    url: &'a str,
    security_profile: &'static str,
    executor_registration_id: &'a str,
}

#[derive(Deserialize)]
struct DirectRequest {
    transport: String,
}

#[derive(Serialize)]
struct DirectResponse<'a> {
    environment_id: &'a str,
    transport: &'static str,
    registration_id: &'a str,
    url: &'a str,
}

#[derive(Deserialize)]
struct ValidateRequest {
    executor_registration_id: String,
    harness_public_key: PublicKey,
    harness_key_authorization: String,
}

#[derive(Serialize)]
struct ValidateResponse {
    valid: bool,
}

impl EnvironmentId {
    /// # Errors
    /// Empty, too long, or with another character.
    pub fn new(id: impl Into<String>) -> Result<Self, Refusal> {
        let id = id.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=ENVIRONMENT_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(allowed) {
            return Ok(Self(id));
        }
        let message = "an environment id has 1 to 256 letters, digits, `-` or `_`";
        Err(Refusal {
            kind: RefusalKind::Invalid,
            field: Some("environment_id"),
            message: message.to_owned(),
        })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvironmentId({})", self.0)
    }
}

impl Authority {
    /// All nodes of a server share the secret; 32 random bytes are enough.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// `POST …/cloud/environment/{id}/register`. The caller has checked the key in the request's header.
    /// `url` makes the address to dial from a ticket.
    ///
    /// # Errors
    /// The body is not a registration of [`SECURITY_PROFILE`].
    pub fn register(
        &self,
        environment_id: &EnvironmentId,
        body: &[u8],
        now: Seconds,
        url: impl FnOnce(&str) -> String,
    ) -> Result<Vec<u8>, Refusal> {
        let request: RegisterRequest = parse(body)?;
        if request.security_profile != SECURITY_PROFILE {
            return Err(invalid("security_profile", format!("the profile is `{SECURITY_PROFILE}`")));
        }
        let transport = Transport::Noise(request.executor_public_key);
        let (registration, url) = self.issue(environment_id, transport, now, url)?;
        Ok(json(&RegisterResponse {
            environment_id: environment_id.as_str(),
            url: &url,
            security_profile: SECURITY_PROFILE,
            executor_registration_id: &registration.id,
        }))
    }

    /// `POST …/cloud/environment/{id}/direct/register`. The caller has verified the request's signature.
    ///
    /// # Errors
    /// The body is not a registration of [`DIRECT_TRANSPORT`].
    pub fn register_direct(
        &self,
        environment_id: &EnvironmentId,
        body: &[u8],
        now: Seconds,
        url: impl FnOnce(&str) -> String,
    ) -> Result<Vec<u8>, Refusal> {
        let request: DirectRequest = parse(body)?;
        if request.transport != DIRECT_TRANSPORT {
            return Err(invalid("transport", format!("the transport is `{DIRECT_TRANSPORT}`")));
        }
        let (registration, url) = self.issue(environment_id, Transport::Direct, now, url)?;
        Ok(json(&DirectResponse {
            environment_id: environment_id.as_str(),
            transport: DIRECT_TRANSPORT,
            registration_id: &registration.id,
            url: &url,
        }))
    }

    /// `POST …/cloud/environment/{id}/validate`: whether we gave that key that authorization, for that
    /// registration, not long ago. A question that cannot be read is an error; a wrong answer is not.
    ///
    /// # Errors
    /// The body is not a question.
    pub fn validate(
        &self,
        environment_id: &EnvironmentId,
        body: &[u8],
        now: Seconds,
    ) -> Result<Vec<u8>, Refusal> {
        let request: ValidateRequest = parse(body)?;
        let claim = |expires| {
            claim(environment_id, &request.executor_registration_id, &request.harness_public_key, expires)
        };
        let valid = request
            .harness_key_authorization
            .split_once('.')
            .and_then(|(expires, mac)| {
                let expires: Seconds = expires.parse().ok()?;
                let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
                hmac::verify(&self.key, &claim(expires), &mac).ok()?;
                (now < expires).then_some(())
            })
            .is_some();
        Ok(json(&ValidateResponse { valid }))
    }

    /// What the first message of a handshake carries so that [`Authority::validate`] agrees.
    pub fn authorize(&self, registration: &Registration, server: &PublicKey, now: Seconds) -> String {
        let expires = now + AUTHORIZATION_SECONDS;
        let claim = claim(&registration.environment_id, &registration.id, server, expires);
        format!("{expires}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &claim)))
    }

    /// The registration in a ticket that an executor dials with.
    ///
    /// # Errors
    /// `Ticket`: it has ended, was changed, or is not one of ours.
    pub fn redeem(&self, ticket: &str, now: Seconds) -> Result<Registration, Refusal> {
        let refusal = || Refusal {
            kind: RefusalKind::Ticket,
            field: None,
            message: "this address is no longer valid; register again".to_owned(),
        };
        let bytes = URL_SAFE_NO_PAD.decode(ticket).map_err(|_| refusal())?;
        let (sealed, mac) =
            bytes.len().checked_sub(MAC_BYTES).map(|at| bytes.split_at(at)).ok_or_else(refusal)?;
        hmac::verify(&self.key, sealed, mac).map_err(|_| refusal())?;
        let (expires, registration) = unseal(sealed).ok_or_else(refusal)?;
        if now < expires { Ok(registration) } else { Err(refusal()) }
    }

    fn issue(
        &self,
        environment_id: &EnvironmentId,
        transport: Transport,
        now: Seconds,
        url: impl FnOnce(&str) -> String,
    ) -> Result<(Registration, String), Refusal> {
        let unavailable = |error: NoiseError| Refusal {
            kind: RefusalKind::Unavailable,
            field: None,
            message: error.to_string(),
        };
        let id = Random::<REGISTRATION_ID_BYTES>::fresh().map_err(unavailable)?;
        let id = format!("exreg_{}", URL_SAFE_NO_PAD.encode(id.piece::<REGISTRATION_ID_BYTES>(0)));
        let registration = Registration { environment_id: environment_id.clone(), id, transport };
        let mut ticket = seal(&registration, now + TICKET_SECONDS);
        let mac = hmac::sign(&self.key, &ticket);
        ticket.extend_from_slice(mac.as_ref());
        let url = url(&URL_SAFE_NO_PAD.encode(ticket));
        Ok((registration, url))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(..)")
    }
}

/// Both kinds of seal begin with a word of their own, so that neither is ever taken for the other.
const TICKET: &str = "ticket/1";
const AUTHORIZATION: &str = "authorization/1";

fn claim(
    environment_id: &EnvironmentId,
    registration_id: &str,
    server: &PublicKey,
    expires: Seconds,
) -> Vec<u8> {
    let mut out = Vec::new();
    for part in [AUTHORIZATION.as_bytes(), environment_id.0.as_bytes(), registration_id.as_bytes()] {
        put(&mut out, part);
    }
    put(&mut out, &server.to_bytes());
    put(&mut out, &expires.to_be_bytes());
    out
}

fn seal(registration: &Registration, expires: Seconds) -> Vec<u8> {
    let key = match &registration.transport {
        Transport::Noise(key) => key.to_bytes(),
        Transport::Direct => Vec::new(),
    };
    let mut out = Vec::new();
    for part in [TICKET.as_bytes(), registration.environment_id.0.as_bytes(), registration.id.as_bytes()] {
        put(&mut out, part);
    }
    put(&mut out, &key);
    put(&mut out, &expires.to_be_bytes());
    out
}

fn unseal(mut sealed: &[u8]) -> Option<(Seconds, Registration)> {
    let mut part = || {
        let (length, rest) = sealed.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        sealed = rest;
        Some(part)
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    if part()? != TICKET.as_bytes() {
        return None;
    }
    let environment_id = EnvironmentId::new(text(part()?)?).ok()?;
    let id = text(part()?)?;
    let transport = match part()? {
        [] => Transport::Direct,
        key => Transport::Noise(PublicKey::from_bytes(key).ok()?),
    };
    let expires = Seconds::from_be_bytes(part()?.try_into().ok()?);
    Some((expires, Registration { environment_id, id, transport }))
}

fn put(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u32).to_be_bytes());
    out.extend_from_slice(part);
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    let refusal = |message: String| Refusal { kind: RefusalKind::Invalid, field: None, message };
    if body.len() > BODY_BYTES_MAX {
        return Err(refusal(format!("the body is longer than {BODY_BYTES_MAX} bytes")));
    }
    serde_json::from_slice(body).map_err(|error| refusal(format!("the body cannot be read: {error}")))
}

fn invalid(field: &'static str, message: String) -> Refusal {
    Refusal { kind: RefusalKind::Invalid, field: Some(field), message }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and booleans are JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::noise::{Identity, IdentitySeed};

    const NOW: Seconds = 1_800_000_000;

    fn authority(secret: u8) -> Authority {
        Authority::new(&[secret; 32])
    }

    fn key(seed: u8) -> PublicKey {
        Identity::new(&IdentitySeed::from_bytes([seed; 96])).public().clone()
    }

    fn environment() -> EnvironmentId {
        EnvironmentId::new("env_1").expect("valid")
    }

    fn register(body: &Value) -> Result<Value, Refusal> {
        let body = body.to_string();
        let url = |ticket: &str| format!("wss://host/{ticket}");
        let response = authority(1).register(&environment(), body.as_bytes(), NOW, url)?;
        Ok(serde_json::from_slice(&response).expect("JSON"))
    }

    fn ticket(response: &Value) -> &str {
        response["url"].as_str().and_then(|url| url.strip_prefix("wss://host/")).expect("our address")
    }

    #[test]
    fn the_address_holds_the_registration() {
        let request = json!({"security_profile": SECURITY_PROFILE, "executor_public_key": key(2)});
        let response = register(&request).expect("registers");
        assert_eq!(response["environment_id"], "env_1");
        assert_eq!(response["security_profile"], SECURITY_PROFILE);
        let registration = authority(1).redeem(ticket(&response), NOW).expect("ours");
        assert_eq!(response["executor_registration_id"], registration.id.as_str());
        assert_eq!(registration.transport, Transport::Noise(key(2)));
        let again = register(&request).expect("registers");
        assert_ne!(response["executor_registration_id"], again["executor_registration_id"]);

        let refused = |authority: &Authority, ticket: &str, now| {
            authority.redeem(ticket, now).expect_err("refused").kind.status()
        };
        assert_eq!(refused(&authority(2), ticket(&response), NOW), 409);
        assert_eq!(refused(&authority(1), ticket(&response), NOW + TICKET_SECONDS), 409);
        assert_eq!(refused(&authority(1), &ticket(&response)[1..], NOW), 409);
        assert_eq!(refused(&authority(1), "", NOW), 409);
    }

    #[test]
    fn direct_registrations_hold_no_key() {
        let body = json!({"transport": DIRECT_TRANSPORT}).to_string();
        let url = |ticket: &str| format!("wss://host/{ticket}");
        let response =
            authority(1).register_direct(&environment(), body.as_bytes(), NOW, url).expect("registers");
        let response: Value = serde_json::from_slice(&response).expect("JSON");
        assert_eq!(response["transport"], DIRECT_TRANSPORT);
        let registration = authority(1).redeem(ticket(&response), NOW).expect("ours");
        assert_eq!(registration.transport, Transport::Direct);
        assert_eq!(response["registration_id"], registration.id.as_str());
    }

    #[test]
    fn bad_registrations_say_what_is_wrong() {
        for (request, field, message) in [
            (json!({}), None, "missing field `security_profile`"),
            (
                json!({"security_profile": "none", "executor_public_key": key(2)}),
                Some("security_profile"),
                "noise_hybrid_ik_v1",
            ),
            (json!({"security_profile": SECURITY_PROFILE}), None, "missing field `executor_public_key`"),
            (
                json!({"security_profile": SECURITY_PROFILE, "executor_public_key": {"suite": "", "x25519_public_key": "", "mlkem768_public_key": ""}}),
                None,
                "`suite` is not the one of this protocol",
            ),
        ] {
            let refusal = register(&request).expect_err("refused");
            assert_eq!((refusal.kind.status(), refusal.field), (400, field), "{request}");
            assert!(refusal.message.contains(message), "{}", refusal.message);
        }
        assert!(register(&Value::String("a".repeat(BODY_BYTES_MAX))).is_err());
    }

    #[test]
    fn an_authorization_is_for_one_key_one_registration_and_a_while() {
        let registration = Registration {
            environment_id: environment(),
            id: "exreg_1".to_owned(),
            transport: Transport::Noise(key(2)),
        };
        let authorization = authority(1).authorize(&registration, &key(3), NOW);
        let validate = |id: &str, key: PublicKey, authorization: &str, now| {
            let body = json!({
                "executor_registration_id": id, "harness_public_key": key, "harness_key_authorization": authorization,
            });
            let response = authority(1).validate(&environment(), body.to_string().as_bytes(), now);
            String::from_utf8(response.expect("a question")).expect("UTF-8")
        };
        let valid = r#"{"valid":true}"#;
        assert_eq!(validate("exreg_1", key(3), &authorization, NOW), valid);
        assert_eq!(validate("exreg_1", key(3), &authorization, NOW + AUTHORIZATION_SECONDS - 1), valid);
        let later = format!("9{authorization}");
        for (id, key, authorization, now) in [
            ("exreg_2", key(3), authorization.as_str(), NOW),
            ("exreg_1", key(2), &authorization, NOW),
            ("exreg_1", key(3), &authorization, NOW + AUTHORIZATION_SECONDS),
            ("exreg_1", key(3), &later, NOW),
            ("exreg_1", key(3), "", NOW),
            ("exreg_1", key(3), "1.!", NOW),
        ] {
            assert_eq!(validate(id, key, authorization, now), r#"{"valid":false}"#, "{id} {authorization}");
        }
    }

    #[test]
    fn environment_ids_are_one_part_of_a_path() {
        for id in ["env_1", "A-b_9", &"a".repeat(256)] {
            assert!(EnvironmentId::new(id).is_ok(), "{id}");
        }
        for id in ["", "a/b", "..", "a b", "ü", &"a".repeat(257)] {
            assert!(EnvironmentId::new(id).is_err(), "{id}");
        }
    }
}
