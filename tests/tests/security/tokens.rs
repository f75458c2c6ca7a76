//! Tokens of an issuer whose keys are in a file, or at a URL: signed by openssl, as RS256.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use weirgate_tests::http::with;
use weirgate_tests::process::{Folder, run, run_with_input};
use weirgate_tests::{Http1, Server, Service, calls, eventually, row};

use weirgate_tests::upstream::{Upstream, full};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 as tokens have it.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digit = |place: usize| char::from(DIGITS[(number >> (18 - 6 * place)) as usize & 63]);
        text.extend((0..=group.len()).map(digit));
    }
    text
}

struct Issuer {
    folder: Folder,
    id: &'static str,
}

impl Issuer {
    fn new(id: &'static str) -> Issuer {
        let folder = Folder::new();
        let output = run(Command::new("openssl").args(["genrsa", "-out"]).arg(folder.path().join("key")).arg("2048"));
        assert!(output.status.success(), "{output:?}");
        Issuer { folder, id }
    }

    fn jwks(&self) -> String {
        let output =
            run(Command::new("openssl").args(["rsa", "-noout", "-modulus", "-in"]).arg(self.folder.path().join("key")));
        let text = String::from_utf8(output.stdout).unwrap();
        let digits = text.trim().strip_prefix("Modulus=").unwrap().as_bytes().chunks(2);
        let modulus: Vec<_> =
            digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
        json!({ "keys": [{ "kty": "RSA", "kid": self.id, "n": base64(&modulus), "e": "AQAB" }] }).to_string()
    }

    fn token(&self, policy: serde_json::Value) -> String {
        self.sign(json!({ "weirgate": policy }))
    }

    /// A token that is good but for these claims.
    fn sign(&self, others: serde_json::Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let head = json!({ "alg": "RS256", "kid": self.id });
        let mut claims = json!({ "iss": "issuer", "aud": "weirgate", "sub": "alice", "exp": now + 600 });
        claims.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        let message = format!("{}.{}", base64(head.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let mut command = Command::new("openssl");
        let output =
            run_with_input(command.args(["dgst", "-sha256", "-sign"]).arg(self.folder.path().join("key")), &message);
        assert!(output.status.success(), "{output:?}");
        format!("{message}.{}", base64(&output.stdout))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_count_as_keys_do_and_their_keys_are_read_again() {
    let (folder, first) = (Folder::new(), Issuer::new("first"));
    let path = folder.file("jwks.json", &first.jwks());
    let server = Server::with([Service::new("identity"), Service::sum(1)])
        .flag("--jwt-jwks", path.to_str().unwrap())
        .flag("--jwt-issuer", "issuer")
        .flag("--jwt-audience", "weirgate")
        .start()
        .await;
    let mut client = Http1::connect(server.data).await;
    let call =
        |model: &str, token: &str| with(calls::json(model, &row(&[1.0])), "authorization", &format!("Bearer {token}"));
    let token = first.token(json!({ "services": ["default/identity"] }));
    client.send(call("identity", &token)).await.response();
    assert_eq!(client.send(call("sum", &token)).await.status, 403);
    let everything = first.token(json!({}));
    client.send(call("sum", &everything)).await.response();
    let cut = &token[..token.len() - 8];
    let reply = client.send(call("identity", cut)).await;
    assert!(reply.status == 401 && reply.error().contains("signature"), "{reply:?}");
    assert_eq!(client.send(calls::json("identity", &row(&[1.0]))).await.status, 401);
    // Another key: tokens by the old one are good no longer, though they were known.
    let second = Issuer::new("second");
    folder.replace("jwks.json", &second.jwks());
    let newer = second.token(json!({}));
    eventually("the new key", async || (client.send(call("sum", &newer)).await.status == 200).then_some(())).await;
    assert_eq!(client.send(call("identity", &token)).await.status, 401);
    assert!(!server.log().contains(&token[..60]));
}

/// It is asked again for a key that is not known: calls wait for that, and none is refused.
#[tokio::test(flavor = "multi_thread")]
async fn keys_at_a_url_are_asked_for_when_a_token_names_a_new_one() {
    let (first, second) = (Issuer::new("first"), Issuer::new("second"));
    let published = Arc::new(Mutex::new(first.jwks()));
    let set = published.clone();
    let site = Upstream::start(move |_, _| {
        let keys = full(200, set.lock().unwrap().clone());
        async { keys }
    })
    .await;
    let server = Server::with([Service::new("identity")])
        .flag("--jwt-jwks", &format!("{}/keys", site.url()))
        .flag("--jwt-issuer", "issuer")
        .flag("--jwt-audience", "weirgate")
        .start()
        .await;
    let call = |token: &str| with(calls::json("identity", &row(&[1.0])), "authorization", &format!("Bearer {token}"));
    let old = first.token(json!({}));
    let mut client = Http1::connect(server.data).await;
    eventually("the keys", async || (client.send(call(&old)).await.status == 200).then_some(())).await;
    assert_eq!(site.state.count(), 1);
    *published.lock().unwrap() = second.jwks();
    // For some seconds it is not asked again.
    let new = second.token(json!({}));
    eventually("the new key", async || match client.send(call(&new)).await.status {
        200 => Some(()),
        status => {
            assert_eq!(status, 401);
            None
        }
    })
    .await;
    assert_eq!(site.state.count(), 2, "it is asked once, however many call");
    assert_eq!(client.send(call(&old)).await.status, 401);
}

/// A server that takes tokens of this issuer.
async fn server(issuer: &Issuer, folder: &Folder, defaults: &str) -> Server {
    let path = folder.file("jwks.json", &issuer.jwks());
    Server::with([Service::new("identity")])
        .flag("--jwt-jwks", path.to_str().unwrap())
        .flag("--jwt-issuer", "issuer")
        .flag("--jwt-audience", "weirgate")
        .flag("--jwt-defaults", defaults)
        .start()
        .await
}

fn call(token: &str) -> http::Request<weirgate_tests::http::Body> {
    with(calls::json("identity", &row(&[1.0])), "authorization", &format!("Bearer {token}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_token_has_a_text_of_its_own() {
    let (folder, issuer, stranger) = (Folder::new(), Issuer::new("known"), Issuer::new("known"));
    let unknown = Issuer { folder: Folder::new(), id: "unknown" };
    std::fs::copy(issuer.folder.path().join("key"), unknown.folder.path().join("key")).unwrap();
    let server = server(&issuer, &folder, "{services: ['*']}").await;
    let mut client = Http1::connect(server.data).await;
    client.send(call(&issuer.sign(json!({})))).await.response();
    let mut texts = Vec::new();
    for (token, expected) in [
        (issuer.sign(json!({ "exp": 1_000_000_000 })), "it has expired"),
        (issuer.sign(json!({ "nbf": 9_000_000_000_u64 })), "it is not valid yet"),
        (issuer.sign(json!({ "iss": "other" })), "it is of another issuer"),
        (issuer.sign(json!({ "aud": "other" })), "it is for another audience"),
        (stranger.sign(json!({})), "its signature is not that of the issuer's key"),
        (unknown.sign(json!({})), "it is signed by a key that the issuer does not publish"),
    ] {
        let reply = client.send(call(&token)).await;
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")), "{reply:?}");
        assert_eq!(reply.error(), format!("the token is not valid: {expected}"));
        texts.push(reply.error());
    }
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 6);
}

/// Limits are those of the subject, whichever of its tokens it shows, and no other subject's.
#[tokio::test(flavor = "multi_thread")]
async fn subjects_have_limits_by_their_tokens_or_by_default() {
    let (folder, issuer) = (Folder::new(), Issuer::new("known"));
    let server = server(&issuer, &folder, "{services: ['*'], requestsPerSecond: 0.001, burst: 2}").await;
    let mut client = Http1::connect(server.data).await;
    let statuses = async |client: &mut Http1, tokens: &[&String]| {
        let mut statuses = Vec::new();
        for token in tokens {
            statuses.push(client.send(call(token)).await.status);
        }
        statuses
    };
    let (one, other) = (issuer.sign(json!({ "jti": 1 })), issuer.sign(json!({ "jti": 2 })));
    assert_eq!(statuses(&mut client, &[&one, &other, &one, &other]).await, [200, 200, 429, 429]);
    let reply = client.send(call(&one)).await;
    assert!(reply.error().contains("'alice' may use 0.001 requests a second"), "{reply:?}");
    assert!(reply.header("retry-after").is_some(), "{reply:?}");
    // What a token says itself takes the default's place.
    let more = issuer.sign(json!({ "sub": "bob", "weirgate": { "requestsPerSecond": 0.001, "burst": 3 } }));
    assert_eq!(statuses(&mut client, &[&more, &more, &more, &more]).await, [200, 200, 200, 429]);
    let alone = issuer.sign(json!({ "sub": "carol", "weirgate": { "requestsPerSecond": 100, "maxConcurrent": 0 } }));
    let reply = client.send(call(&alone)).await;
    assert!(reply.status == 429 && reply.error().contains("'carol' has 0 calls running"), "{reply:?}");
}
