//! Tokens that are good, and the many that are not.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use weirgate_protocol::{ErrorCode, Priority};

use super::*;
use crate::auth::jwks::KeySource;

/// An issuer with a key of each kind that can be made here.
pub(super) struct Issuer {
    edwards: Ed25519KeyPair,
    p256: EcdsaKeyPair,
}

impl Issuer {
    pub(super) fn new() -> Issuer {
        let random = SystemRandom::new();
        let edwards = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Issuer {
            edwards: Ed25519KeyPair::from_pkcs8(edwards.as_ref()).unwrap(),
            p256: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref(), &random).unwrap(),
        }
    }

    pub(super) fn jwks(&self) -> Value {
        let point = self.p256.public_key().as_ref();
        let of = |bytes: &[u8]| BASE64.encode(bytes);
        json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": of(self.edwards.public_key().as_ref()) },
            { "kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "x": of(&point[1..33]), "y": of(&point[33..]) },
            { "kty": "RSA", "kid": "rsa", "alg": "RS256", "n": of(&[0xc5; 256]), "e": "AQAB" },
            { "kty": "oct", "kid": "shared", "alg": "HS256", "k": of(b"a secret that must not count") },
            { "kty": "RSA", "kid": "encrypts", "use": "enc", "n": of(&[0xc5; 256]), "e": "AQAB" },
        ] })
    }

    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let encoded = |value: &Value| BASE64.encode(value.to_string());
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let bytes = message.as_bytes();
        let signature = match header["alg"].as_str().unwrap() {
            "EdDSA" => self.edwards.sign(bytes).as_ref().to_vec(),
            "ES256" => self.p256.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec(),
            // As if the public key, or what the set says, were a shared secret.
            "HS256" => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[0xc5; 256]), bytes).as_ref().to_vec(),
            _ => Vec::new(),
        };
        format!("{message}.{}", BASE64.encode(signature))
    }
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(super) fn claims() -> Value {
    json!({ "iss": "https://issuer.test", "aud": ["other", "weirgate"], "sub": "alice", "exp": now() + 600 })
}

pub(super) fn with(field: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[field] = value;
    claims
}

fn without(field: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(field);
    claims
}

fn tokens(issuer: &Issuer, defaults: &str) -> Tokens {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("weirgate-jwks-{}-{next}", std::process::id()));
    std::fs::write(&path, issuer.jwks().to_string()).unwrap();
    let (jwks, _) = Jwks::open(KeySource::File(path.clone())).unwrap();
    std::fs::remove_file(path).unwrap();
    by(jwks, defaults)
}

pub(super) fn by(jwks: Arc<Jwks>, defaults: &str) -> Tokens {
    let config = TokensConfig {
        issuer: "https://issuer.test".to_owned(),
        audience: "weirgate".to_owned(),
        defaults: defaults.parse().unwrap(),
    };
    Tokens::new(config, jwks)
}

pub(super) async fn caller(tokens: &Tokens, token: &str) -> Result<Arc<Caller>> {
    tokens.caller(token.as_bytes(), SystemTime::now()).await
}

pub(super) fn header(algorithm: &str, id: &str) -> Value {
    json!({ "alg": algorithm, "kid": id, "typ": "JWT" })
}

#[tokio::test]
async fn a_good_token_names_its_caller_and_what_it_may_use() {
    let issuer = Issuer::new();
    let tokens = tokens(&issuer, "{services: [default/*], requestsPerSecond: 5}");
    for (algorithm, id) in [("EdDSA", "ed"), ("ES256", "ec")] {
        let token = issuer.sign(&header(algorithm, id), &claims());
        let alice = caller(&tokens, &token).await.unwrap();
        assert_eq!(&*alice.identity().name, "alice");
        assert!(alice.may_use("default", "x") && !alice.may_use("prod", "x"));
        assert!(Arc::ptr_eq(&alice, &caller(&tokens, &token).await.unwrap()), "it is verified once");
    }
    let own = json!({ "services": ["prod/x"], "priority": "high", "explain": true });
    let token = issuer.sign(&header("EdDSA", "ed"), &with("weirgate", own));
    let bob = caller(&tokens, &token).await.unwrap();
    assert!(bob.may_use("prod", "x") && !bob.may_use("default", "x"));
    assert_eq!((bob.identity().priority, bob.identity().explains), (Priority::High, true));
    // A key need not be named where only one fits.
    let token = issuer.sign(&json!({ "alg": "ES256" }), &claims());
    assert!(caller(&tokens, &token).await.is_ok());
}

#[tokio::test]
async fn what_a_subject_has_used_does_not_begin_anew_with_another_token() {
    let issuer = Issuer::new();
    let tokens = tokens(&issuer, "{services: ['*'], requestsPerSecond: 0.001, burst: 1}");
    let of = |exp: u64| issuer.sign(&header("EdDSA", "ed"), &with("exp", exp.into()));
    let first = caller(&tokens, &of(now() + 600)).await.unwrap();
    assert!(first.enter(0.0).is_ok());
    let second = caller(&tokens, &of(now() + 700)).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &second) && second.enter(0.0).is_err());
}

#[tokio::test]
async fn who_goes_on_calling_is_not_forgotten_for_many_others() {
    let issuer = Issuer::new();
    let tokens = tokens(&issuer, "{services: ['*'], requestsPerSecond: 0.001, burst: 1}");
    let of = |exp: u64| issuer.sign(&header("EdDSA", "ed"), &with("exp", exp.into()));
    let known = of(now() + 600);
    assert!(caller(&tokens, &known).await.unwrap().enter(0.0).is_ok());
    for turn in 0..3 {
        caller(&tokens, &known).await.unwrap();
        for other in 0..MOST - 1 {
            let meter = Arc::new(Mutex::new(Meter::new(Default::default(), Instant::now())));
            tokens.used.lock().put(format!("{turn}-{other}").into(), meter);
        }
    }
    assert!(caller(&tokens, &of(now() + 700)).await.unwrap().enter(0.0).is_err());
}

#[tokio::test]
async fn everything_else_is_refused_and_says_why() {
    let issuer = Issuer::new();
    let tokens = tokens(&issuer, "{services: ['*']}");
    let ed = header("EdDSA", "ed");
    let good = issuer.sign(&ed, &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = message.split_once('.').unwrap();
    let forged = format!("{head}.{}.{signature}", BASE64.encode(with("sub", "mallory".into()).to_string()));
    let crit = json!({ "alg": "EdDSA", "kid": "ed", "crit": ["exp"], "exp": 1 });
    let bad_policy = json!({ "services": ["*"], "requestPerSecond": 1 });
    for (token, expected) in [
        (issuer.sign(&header("none", "ed"), &claims()), "algorithm"),
        (issuer.sign(&header("None", "ed"), &claims()), "algorithm"),
        (issuer.sign(&header("HS256", "rsa"), &claims()), "algorithm"),
        (issuer.sign(&header("HS256", "shared"), &claims()), "algorithm"),
        (issuer.sign(&header("RS256", "ed"), &claims()), "does not publish"),
        (issuer.sign(&header("EdDSA", "ec"), &claims()), "does not publish"),
        (issuer.sign(&header("EdDSA", "unknown"), &claims()), "does not publish"),
        (issuer.sign(&header("RS256", "encrypts"), &claims()), "does not publish"),
        (issuer.sign(&header("RS256", "rsa"), &claims()), "signature"),
        (Issuer::new().sign(&ed, &claims()), "signature"),
        (forged, "signature"),
        (format!("{message}."), "signature"),
        (format!("{message}.{}", &signature[..signature.len() - 4]), "signature"),
        (issuer.sign(&crit, &claims()), "crit"),
        (issuer.sign(&ed, &with("exp", (now() - 61).into())), "expired"),
        (issuer.sign(&ed, &with("exp", "tomorrow".into())), "exp a time"),
        (issuer.sign(&ed, &with("nbf", (now() + 120).into())), "not valid yet"),
        (issuer.sign(&ed, &with("nbf", "never".into())), "not valid"),
        (issuer.sign(&ed, &with("iss", "https://other.test".into())), "another issuer"),
        (issuer.sign(&ed, &with("aud", "other".into())), "another audience"),
        (issuer.sign(&ed, &with("sub", "".into())), "sub"),
        (issuer.sign(&ed, &with("sub", "x".repeat(257).into())), "sub"),
        (issuer.sign(&ed, &with("weirgate", bad_policy)), "claims can't be read"),
        (issuer.sign(&ed, &without("exp")), "exp a time"),
        (issuer.sign(&ed, &without("aud")), "lacks"),
        (issuer.sign(&ed, &without("iss")), "lacks"),
        (issuer.sign(&ed, &without("sub")), "sub is a text"),
        ("a.b.c".to_owned(), "header"),
        ("..".to_owned(), "header"),
        (issuer.sign(&ed, &with("weirgate", "x".repeat(20 << 10).into())), "16 KiB"),
    ] {
        let Err(error) = caller(&tokens, &token).await else { panic!("it passed, and was to fail by: {expected}") };
        assert_eq!(error.code(), ErrorCode::Unauthenticated, "{expected}");
        assert!(error.message().contains(expected), "{expected}: {error}");
        assert!(!error.message().contains(&token[..token.len().min(40)]) || token.len() < 10, "{error}");
    }
}

#[tokio::test]
async fn clocks_may_differ_a_little_and_a_good_token_ends_in_time() {
    let issuer = Issuer::new();
    let tokens = tokens(&issuer, "{services: ['*']}");
    let token = issuer.sign(&header("EdDSA", "ed"), &with("exp", (now() - 30).into()));
    assert!(caller(&tokens, &token).await.is_ok());
    let later = SystemTime::now() + Duration::from_secs(31);
    // It is known, and no longer good by then: it is verified anew, by the clock of now.
    let known = tokens.good.lock().get(&<[u8; 32]>::from(Sha256::digest(token.as_bytes()))).unwrap();
    assert!(known.expires < later);
    let token = issuer.sign(&header("EdDSA", "ed"), &with("nbf", (now() + 30).into()));
    assert!(caller(&tokens, &token).await.is_ok());
}
