//! A little identity provider over real HTTP: discovery, keys, the authorization code flow with PKCE, and tokens
//! as hostile as a test wants them.
//!
//! Whoever is sent to sign in is signed in at once, as the person the test named. Its RSA key is written down beside
//! this file, because making one takes longer than any test that uses it, and opens nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Query, RawForm, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use ring::{digest, hmac};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An RSA key in PKCS#8 for tests alone, in base64.
const RSA: &str = include_str!("oidc_rsa.txt");
/// The ids of its keys.
pub const RSA_ID: &str = "rsa-1";
/// See [`RSA_ID`].
pub const EC_ID: &str = "ec-1";
/// See [`RSA_ID`].
pub const ED_ID: &str = "ed-1";

/// A running provider. Dropping it ends it.
pub struct Oidc {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    issuer: String,
    address: SocketAddr,
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    random: SystemRandom,
    /// Claims that the next sign-in gets beside the fixed ones.
    person: Mutex<Value>,
    /// What is published in the place of the key set, where a test says so.
    published: Mutex<Option<Value>>,
    /// Codes that wait to be redeemed, with what they were asked for.
    codes: Mutex<HashMap<String, HashMap<String, String>>>,
    key_sets: AtomicUsize,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// RS256.
    Rsa,
    /// PS256.
    Pss,
    /// ES256.
    Ec,
    /// `EdDSA`.
    Ed,
    /// HS256, with the published RSA modulus as the secret: what a confused verifier accepts.
    HmacWithPublicKey,
    /// Not at all.
    Nobody,
    /// RS256, by a key that is nobody's.
    Garbage,
}

impl Oidc {
    /// A provider on a free port of the loopback.
    ///
    /// # Panics
    /// If no port or no random bytes can be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let random = SystemRandom::new();
        let rsa = STANDARD.decode(RSA.split_whitespace().collect::<String>()).expect("written as base64");
        let ec =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("random bytes");
        let ed = Ed25519KeyPair::generate_pkcs8(&random).expect("random bytes");
        let shared = Arc::new(Shared {
            issuer: format!("http://{address}"),
            address,
            rsa: RsaKeyPair::from_pkcs8(&rsa).expect("a key"),
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random)
                .expect("a key"),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).expect("a key"),
            random,
            person: Mutex::new(json!({})),
            published: Mutex::default(),
            codes: Mutex::default(),
            key_sets: AtomicUsize::new(0),
        });
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(redeem))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, app).await;
        });
        Self { shared, task }
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Who signs in from now on: claims such as `sub`, `name` and `groups`.
    pub fn signs_in(&self, claims: Value) {
        *lock(&self.shared.person) = claims;
    }

    /// Publishes another key set.
    pub fn publish(&self, keys: Value) {
        *lock(&self.shared.published) = Some(keys);
    }

    /// The key set it publishes by itself.
    #[must_use]
    pub fn key_set(&self) -> Value {
        self.shared.key_set()
    }

    /// How often the key set was asked for.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.shared.key_sets.load(Ordering::Relaxed)
    }

    /// A token with this header and payload. Members of the header beside `alg` are taken as they are.
    ///
    /// # Panics
    /// If the key cannot sign, which it can.
    #[must_use]
    pub fn token(&self, signer: Signer, header: &Value, payload: &Value) -> String {
        self.shared.token(signer, header, payload)
    }
}

impl Drop for Oidc {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Signer {
    fn algorithm(self) -> &'static str {
        match self {
            Self::Rsa | Self::Garbage => "RS256",
            Self::Pss => "PS256",
            Self::Ec => "ES256",
            Self::Ed => "EdDSA",
            Self::HmacWithPublicKey => "HS256",
            Self::Nobody => "none",
        }
    }

    fn key_id(self) -> &'static str {
        match self {
            Self::Rsa | Self::Pss | Self::HmacWithPublicKey | Self::Nobody | Self::Garbage => RSA_ID,
            Self::Ec => EC_ID,
            Self::Ed => ED_ID,
        }
    }
}

impl Shared {
    fn key_set(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let rsa = self.modulus_and_exponent();
        let point = &self.ec.public_key().as_ref()[1..];
        json!({"keys": [
            {"kty": "RSA", "kid": RSA_ID, "use": "sig",
                "n": text(&rsa.n),
                "e": text(&rsa.e)},
            {"kty": "EC", "crv": "P-256", "kid": EC_ID, "use": "sig", "alg": "ES256",
                "x": text(&point[..32]), "y": text(&point[32..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": ED_ID, "use": "sig", "alg": "EdDSA",
                "x": text(self.ed.public_key().as_ref())},
            {"kty": "oct", "kid": "shared", "k": text(b"a secret that a careless provider publishes")},
        ]})
    }

    fn modulus_and_exponent(&self) -> RsaPublicKeyComponents<Vec<u8>> {
        self.rsa.public().into()
    }

    fn token(&self, signer: Signer, header: &Value, payload: &Value) -> String {
        let mut whole = json!({"alg": signer.algorithm(), "kid": signer.key_id(), "typ": "JWT"});
        for (name, value) in header.as_object().into_iter().flatten() {
            whole[name] = value.clone();
        }
        if let Some(members) = whole.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&whole), part(payload));
        let signature = self.sign(signer, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, signer: Signer, message: &[u8]) -> Vec<u8> {
        let rsa = |scheme| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(scheme, &self.random, message, &mut signature).expect("it signs");
            signature
        };
        match signer {
            Signer::Rsa => rsa(&RSA_PKCS1_SHA256),
            Signer::Pss => rsa(&RSA_PSS_SHA256),
            Signer::Ec => self.ec.sign(&self.random, message).expect("it signs").as_ref().to_vec(),
            Signer::Ed => self.ed.sign(message).as_ref().to_vec(),
            Signer::HmacWithPublicKey => {
                let secret = self.modulus_and_exponent().n;
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message).as_ref().to_vec()
            }
            Signer::Nobody => Vec::new(),
            Signer::Garbage => vec![0x5a; self.rsa.public().modulus_len()],
        }
    }

    fn random_text(&self) -> String {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes).expect("random bytes");
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", shared.issuer);
    Json(json!({"issuer": shared.issuer, "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"), "jwks_uri": at("/keys")}))
}

async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.key_sets.fetch_add(1, Ordering::Relaxed);
    let published = lock(&shared.published).clone();
    Json(published.unwrap_or_else(|| shared.key_set()))
}

async fn authorize(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let word = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let is_loopback = word("redirect_uri").starts_with("http://127.0.0.1:");
    let is_complete = word("response_type") == "code"
        && word("code_challenge_method") == "S256"
        && !word("code_challenge").is_empty()
        && !word("state").is_empty()
        && word("scope").split(' ').any(|scope| scope == "openid");
    if !is_loopback || !is_complete {
        return (StatusCode::BAD_REQUEST, "an incomplete request").into_response();
    }
    let code = shared.random_text();
    let target = format!("{}?code={code}&state={}", word("redirect_uri"), word("state"));
    lock(&shared.codes).insert(code, asked);
    (StatusCode::FOUND, [(header::LOCATION, target)]).into_response()
}

async fn redeem(State(shared): State<Arc<Shared>>, RawForm(form): RawForm) -> Response {
    let Query(form): Query<HashMap<String, String>> = match Query::try_from_uri(
        &format!("/?{}", String::from_utf8_lossy(&form)).parse().unwrap_or_default(),
    ) {
        Ok(form) => form,
        Err(_) => return (StatusCode::BAD_REQUEST, "not a form").into_response(),
    };
    let word = |name: &str| form.get(name).cloned().unwrap_or_default();
    let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response();
    // A code works once, whatever comes of it.
    let Some(asked) = lock(&shared.codes).remove(&word("code")) else { return refused("invalid_grant") };
    let hash = digest::digest(&digest::SHA256, word("code_verifier").as_bytes());
    let same = |name: &str| asked.get(name).cloned().unwrap_or_default() == word(name);
    if word("grant_type") != "authorization_code"
        || !same("redirect_uri")
        || !same("client_id")
        || asked.get("code_challenge") != Some(&URL_SAFE_NO_PAD.encode(hash))
    {
        return refused("invalid_grant");
    }
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let mut claims = json!({"iss": shared.issuer, "aud": word("client_id"), "iat": now, "exp": now + 3_600,
        "nonce": asked.get("nonce")});
    for (name, value) in lock(&shared.person).as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    let id_token = shared.token(Signer::Rsa, &json!({}), &claims);
    Json(json!({"token_type": "Bearer", "expires_in": 3_600, "id_token": id_token,
        "access_token": "opaque"}))
    .into_response()
}
