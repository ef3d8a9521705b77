//! Tokens of a real little provider, honest and hostile.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tenure_identity::{
    Algorithm, KeySet, LIFETIME, Minter, Provider, ProviderError, Rules, SpiffeId, Token, TokenErrorKind,
    discover, looks_like_token,
};
use tenure_testkit::oidc::{EC_ID, Oidc, RSA_ID, Signer};

const NOW: i64 = 1_790_000_000;
const AUDIENCE: &str = "tenure";

fn rules(issuer: &str) -> Rules {
    Rules {
        issuer: issuer.to_owned(),
        audience: AUDIENCE.to_owned(),
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
        groups_claim: "groups".to_owned(),
    }
}

async fn provider() -> (Oidc, Provider) {
    // Whichever test is first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let oidc = Oidc::start().await;
    let provider = Provider::new(rules(oidc.issuer())).expect("a client");
    (oidc, provider)
}

fn claims(issuer: &str) -> Value {
    json!({"iss": issuer, "aud": AUDIENCE, "sub": "ann", "name": "Ann", "email": "ann@example.com",
        "groups": ["ops", "dev"], "iat": NOW, "exp": NOW + 3_600})
}

fn with(mut value: Value, changes: &Value) -> Value {
    for (name, change) in changes.as_object().expect("an object") {
        if change.is_null() {
            value.as_object_mut().expect("an object").remove(name);
        } else {
            value[name] = change.clone();
        }
    }
    value
}

fn kind(error: &ProviderError) -> Option<TokenErrorKind> {
    match error {
        ProviderError::Token(error) => Some(error.kind()),
        ProviderError::Unreachable(_) | ProviderError::Discovery(_) | ProviderError::Keys(_) => None,
    }
}

#[tokio::test]
async fn a_person_is_who_the_provider_says() {
    let (oidc, provider) = provider().await;
    for signer in [Signer::Rsa, Signer::Ec, Signer::Ed] {
        let token = oidc.token(signer, &json!({}), &claims(oidc.issuer()));
        assert!(looks_like_token(&token));
        let found = provider.verify(&token, NOW).await.expect("accepted");
        assert_eq!((found.subject.as_str(), found.name.as_deref()), ("ann", Some("Ann")));
        assert_eq!(found.email.as_deref(), Some("ann@example.com"));
        assert_eq!((found.groups, found.expires_at), (vec!["ops".into(), "dev".into()], NOW + 3_600));
    }
    assert_eq!(oidc.asked(), 1, "the keys were read once");
}

#[tokio::test]
async fn every_hostile_token_is_refused_for_its_reason() {
    use TokenErrorKind::{
        Algorithm as WrongAlgorithm, Audience, Claims, Critical, Expired, Issuer, Key, Malformed, NotYet,
        Signature, TooLong, Type,
    };
    let (oidc, provider) = provider().await;
    let good = claims(oidc.issuer());
    let changed = |changes: Value| oidc.token(Signer::Rsa, &json!({}), &with(good.clone(), &changes));
    let headed = |header: Value| oidc.token(Signer::Rsa, &header, &good);
    let signed = |signer| oidc.token(signer, &json!({}), &good);
    let token = signed(Signer::Rsa);
    let parts: Vec<&str> = token.split('.').collect();
    let foreign = oidc.token(Signer::Rsa, &json!({}), &with(good.clone(), &json!({"sub": "root"})));
    let forged_payload = format!("{}.{}.{}", parts[0], foreign.split('.').nth(1).expect("a part"), parts[2]);
    let table = [
        ("no signature at all", signed(Signer::Nobody), WrongAlgorithm),
        ("`none` in another spelling", headed(json!({"alg": "nOnE"})), WrongAlgorithm),
        ("HMAC with the public key", signed(Signer::HmacWithPublicKey), WrongAlgorithm),
        ("an algorithm that is not the issuer's", signed(Signer::Pss), WrongAlgorithm),
        ("an algorithm in lower case", headed(json!({"alg": "rs256"})), WrongAlgorithm),
        ("an algorithm of another kind of key", headed(json!({"alg": "ES256"})), Signature),
        ("another key's name", headed(json!({"kid": EC_ID})), Signature),
        ("a key that does not exist", headed(json!({"kid": "rsa-2"})), Key),
        ("a symmetric key that is published", headed(json!({"kid": "shared"})), Key),
        ("no key", headed(json!({"kid": null})), Key),
        ("an empty key", headed(json!({"kid": ""})), Key),
        ("a key that is no text", headed(json!({"kid": 1})), Malformed),
        ("a forged signature", signed(Signer::Garbage), Signature),
        ("another payload", forged_payload, Signature),
        ("a signature cut off", token[..token.len() - 2].to_owned(), Signature),
        ("no signature part", format!("{}.{}.", parts[0], parts[1]), Signature),
        ("padding", format!("{token}=="), Malformed),
        ("a fourth part", format!("{token}.x"), Malformed),
        ("two parts", format!("{}.{}", parts[0], parts[1]), Malformed),
        ("not base64url", format!("{}+.{}.{}", parts[0], parts[1], parts[2]), Malformed),
        ("a line break", format!("{}\n.{}.{}", parts[0], parts[1], parts[2]), Malformed),
        ("an extension that must be understood", headed(json!({"crit": ["b64"], "b64": false})), Critical),
        ("a logout token", headed(json!({"typ": "logout+jwt"})), Type),
        ("a proof of possession", headed(json!({"typ": "dpop+jwt"})), Type),
        (
            "a security event",
            changed(json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}})),
            Type,
        ),
        ("another issuer", changed(json!({"iss": "https://evil.example"})), Issuer),
        ("the issuer with a slash", changed(json!({"iss": format!("{}/", oidc.issuer())})), Issuer),
        ("no issuer", changed(json!({"iss": null})), Issuer),
        ("another audience", changed(json!({"aud": "other"})), Audience),
        ("no audience", changed(json!({"aud": null})), Audience),
        ("among other audiences", changed(json!({"aud": ["other", "third"]})), Audience),
        ("several audiences and no party", changed(json!({"aud": [AUDIENCE, "other"]})), Audience),
        (
            "several audiences and another party",
            changed(json!({"aud": [AUDIENCE, "other"], "azp": "other"})),
            Audience,
        ),
        ("the beginning of the audience", changed(json!({"aud": "tenur"})), Audience),
        ("over", changed(json!({"exp": NOW - 60})), Expired),
        ("never over", changed(json!({"exp": null})), Claims),
        ("over at a word", changed(json!({"exp": "tomorrow"})), Claims),
        ("not yet", changed(json!({"nbf": NOW + 61})), NotYet),
        ("from the future", changed(json!({"iat": NOW + 61})), NotYet),
        ("no subject", changed(json!({"sub": null})), Claims),
        ("an empty subject", changed(json!({"sub": ""})), Claims),
        ("a long subject", changed(json!({"sub": "a".repeat(256)})), Claims),
        ("a subject that is no text", changed(json!({"sub": 7})), Claims),
        ("a megabyte", changed(json!({"x": "a".repeat(1 << 20)})), TooLong),
    ];
    for (what, token, expected) in table {
        let refused = provider.verify(&token, NOW).await.expect_err(what);
        assert_eq!(kind(&refused), Some(expected), "{what}");
    }
    assert_eq!(oidc.asked(), 1, "unknown keys ask the provider once a minute at most");
}

#[tokio::test]
async fn what_only_looks_odd_is_accepted() {
    let (oidc, provider) = provider().await;
    let good = claims(oidc.issuer());
    let changed = |changes: Value| oidc.token(Signer::Rsa, &json!({}), &with(good.clone(), &changes));
    let headed = |header: Value| oidc.token(Signer::Rsa, &header, &good);
    let evil = "http://127.0.0.1:1/keys";
    for (what, token) in [
        (
            "keys elsewhere, which are not looked at",
            headed(json!({"jku": evil, "x5u": evil, "jwk": {"kty": "oct"}})),
        ),
        ("no kind, as some providers have it", headed(json!({"typ": null}))),
        ("an access token", headed(json!({"typ": "at+jwt"}))),
        ("within the leeway of its end", changed(json!({"exp": NOW - 59}))),
        ("within the leeway of its beginning", changed(json!({"nbf": NOW + 60, "iat": NOW + 60}))),
        ("one audience in a list", changed(json!({"aud": [AUDIENCE]}))),
        ("several audiences, asked for by us", changed(json!({"aud": [AUDIENCE, "x"], "azp": AUDIENCE}))),
        ("broken seconds", changed(json!({"iat": 1_789_999_999.5}))),
        ("no groups", changed(json!({"groups": null}))),
    ] {
        provider.verify(&token, NOW).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let one = provider.verify(&changed(json!({"groups": "ops"})), NOW).await.expect("accepted");
    assert_eq!(one.groups, ["ops"]);
    let strange =
        provider.verify(&changed(json!({"groups": [1, {"a": 2}, "dev"], "name": "A\u{7}nn"})), NOW).await;
    let strange = strange.expect("accepted");
    assert_eq!((strange.groups, strange.name.as_deref()), (vec!["dev".to_owned()], Some("Ann")));
}

#[tokio::test]
async fn a_key_that_is_gone_verifies_nothing_once_it_is_read_again() {
    let (oidc, _) = provider().await;
    let mut rotated = oidc.key_set();
    rotated["keys"].as_array_mut().expect("a list").retain(|key| key["kid"] != RSA_ID);
    oidc.publish(rotated);
    let provider = Provider::new(rules(oidc.issuer())).expect("a client");
    let ec = oidc.token(Signer::Ec, &json!({}), &claims(oidc.issuer()));
    provider.verify(&ec, NOW).await.expect("the other key is there");
    let rsa = oidc.token(Signer::Rsa, &json!({}), &claims(oidc.issuer()));
    assert_eq!(kind(&provider.verify(&rsa, NOW).await.expect_err("gone")), Some(TokenErrorKind::Key));
}

#[tokio::test]
async fn many_at_once_ask_once() {
    let (oidc, provider) = provider().await;
    let provider = Arc::new(provider);
    let token = oidc.token(Signer::Rsa, &json!({}), &claims(oidc.issuer()));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (provider, token) = (Arc::clone(&provider), token.clone());
        all.spawn(async move { provider.verify(&token, NOW).await.is_ok() });
    }
    assert!(all.join_all().await.into_iter().all(|accepted| accepted));
    assert_eq!(oidc.asked(), 1);
}

#[tokio::test]
async fn a_document_of_another_issuer_is_not_believed() {
    let (oidc, _) = provider().await;
    let alias = oidc.issuer().replace("127.0.0.1", "localhost");
    assert!(matches!(discover(&alias).await, Err(ProviderError::Discovery(_))), "it names itself otherwise");
    let found = discover(oidc.issuer()).await.expect("its own");
    assert!(found.jwks_uri.starts_with(oidc.issuer()));
    for issuer in ["http://198.51.100.7", "ftp://127.0.0.1", "http://user@127.0.0.1:1", "nothing"] {
        assert!(matches!(discover(issuer).await, Err(ProviderError::Discovery(_))), "{issuer} is not asked");
    }
}

#[test]
fn a_key_set_is_read_with_suspicion() {
    let huge = json!({"keys": vec![json!({}); 65]}).to_string();
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, &huge] {
        assert!(KeySet::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let odd = json!({"keys": [
        {"kty": "RSA", "kid": "no modulus", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "kid": "short point", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "secp256k1", "kid": "another curve", "x": "AA", "y": "AA"},
        {"kty": "RSA", "kid": "for encryption", "use": "enc", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "kid": "for another algorithm", "alg": "RS512", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "kid": "weak", "n": "AQAB", "e": "AQAB"},
        7,
    ]});
    let keys = KeySet::parse(odd.to_string().as_bytes()).expect("keys that verify nothing are passed over");
    assert!(keys.has("weak") && !keys.has("for encryption") && !keys.has("no modulus"));
    assert!(
        !keys.verifies("weak", Algorithm::Rs256, b"m", &[0; 256]),
        "too short a modulus verifies nothing"
    );
}

#[tokio::test]
async fn an_agent_shows_who_it_is_for_five_minutes() {
    let key = Minter::generate().expect("random bytes");
    let minter = Minter::new("https://tenure.example".into(), &key).expect("a key");
    let again = Minter::new("https://tenure.example".into(), &key).expect("a key");
    assert_eq!(minter.key_set(), again.key_set(), "every node signs with the same key");
    assert!(!minter.key_set().to_string().contains("\"d\""), "the public half alone");
    let agent = SpiffeId {
        domain: "tenure.example".into(),
        project: "proj_1".into(),
        agent: "agt_1".into(),
        version: Some(3),
    };
    assert_eq!(agent.to_string(), "spiffe://tenure.example/project/proj_1/agent/agt_1/v/3");
    let token = minter.mint(&agent, "https://tools.example", NOW).expect("minted");
    let keys = KeySet::parse(minter.key_set().to_string().as_bytes()).expect("keys");
    let rules = |audience: &str| Rules {
        issuer: "https://tenure.example".into(),
        audience: audience.into(),
        algorithms: vec![Algorithm::Es256],
        groups_claim: "groups".into(),
    };
    let check = |audience: &str, now: i64| {
        let checked = rules(audience).check(&Token::parse(&token).expect("a token"), &keys, now);
        checked.map(|claims| claims.subject).map_err(|error| error.kind())
    };
    let lifetime = i64::try_from(LIFETIME.as_secs()).expect("small");
    assert_eq!(check("https://tools.example", NOW), Ok(agent.to_string()));
    assert_eq!(check("https://other.example", NOW), Err(TokenErrorKind::Audience), "it is for one server");
    assert_eq!(check("https://tools.example", NOW + lifetime + 60), Err(TokenErrorKind::Expired));
    assert!(Minter::new(String::new(), b"no key").is_err());
}

proptest! {
    /// Whatever comes is a token or refused, and never a panic.
    #[test]
    fn reading_never_panics(text in "(eyJ)?[A-Za-z0-9_.=\\-]{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Token::parse(&text);
        let _ = Token::parse(&String::from_utf8_lossy(&bytes));
        let _ = KeySet::parse(&bytes);
    }
}
