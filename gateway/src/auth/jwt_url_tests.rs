//! Tokens whose issuer publishes its keys at a URL: when it has new ones, when it fails, and before it has answered.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use weirgate_protocol::ErrorCode;

use super::tests::{Issuer, by, caller, claims, header, now, with};
use super::*;
use crate::auth::jwks::KeySource;

/// Where an issuer publishes its keys.
struct Site {
    /// None: it fails.
    keys: Mutex<Option<String>>,
    asked: AtomicUsize,
    /// Each answer takes one.
    answers: Semaphore,
}

impl Site {
    async fn answer(&self, listener: TcpListener) {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.answers.acquire().await.unwrap().forget();
            let keys = self.keys.lock().clone();
            let (status, body) = keys.map_or((503, String::new()), |keys| (200, keys));
            let text =
                format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            client.write_all(text.as_bytes()).await.unwrap();
        }
    }

    fn publish(&self, issuer: &Issuer) {
        *self.keys.lock() = Some(issuer.jwks().to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A site that fails, tokens by its keys, and who asks it for them.
async fn site() -> (Arc<Site>, Tokens, Arc<Jwks>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
    let (jwks, _) = Jwks::open(KeySource::Url(url)).unwrap();
    let site = Arc::new(Site { keys: Mutex::default(), asked: AtomicUsize::new(0), answers: Semaphore::new(0) });
    let mut tasks = JoinSet::new();
    let answers = site.clone();
    tasks.spawn(async move { answers.answer(listener).await });
    (site, by(jwks.clone(), "{services: ['*']}"), jwks, tasks)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it does not come: {what}");
}

fn token(issuer: &Issuer) -> String {
    issuer.sign(&header("EdDSA", "ed"), &claims())
}

/// A token by a key that was never published.
fn stranger(issuer: &Issuer) -> String {
    issuer.sign(&header("EdDSA", "other"), &claims())
}

#[tokio::test]
async fn until_the_issuer_has_answered_once_tokens_are_asked_to_come_again() {
    let (site, tokens, jwks, mut tasks) = site().await;
    let issuer = Issuer::new();
    let token = token(&issuer);
    let Err(error) = caller(&tokens, &token).await else { panic!("there are no keys") };
    assert_eq!((error.code(), error.retry_after_seconds()), (ErrorCode::Unavailable, Some(2)));
    tasks.spawn(jwks.refresh());
    site.answers.add_permits(2);
    until("a first attempt that fails", async || site.asked() == 1).await;
    site.publish(&issuer);
    // A failure is followed by another attempt, after a second.
    until("the keys", async || caller(&tokens, &token).await.is_ok()).await;
    assert_eq!(site.asked(), 2);
}

#[tokio::test]
async fn all_who_bring_a_new_key_wait_for_one_and_the_same_attempt() {
    let (site, tokens, jwks, mut tasks) = site().await;
    let (before, after) = (Issuer::new(), Issuer::new());
    site.publish(&before);
    site.answers.add_permits(1);
    tasks.spawn(jwks.clone().refresh());
    let old = token(&before);
    until("the first keys", async || caller(&tokens, &old).await.is_ok()).await;
    // The new issuer names its key anew, as they do.
    let newer = |number: u64| after.sign(&header("ES256", "new"), &with("exp", (now() + 600 + number).into()));
    let newer: Vec<_> = (0..100).map(newer).collect();
    let mut set = after.jwks();
    set["keys"][1]["kid"] = "new".into();
    *site.keys.lock() = Some(set.to_string());
    jwks.forget_last_attempt();
    let calls = join_all(newer.iter().map(|token| caller(&tokens, token)));
    let opens = async {
        until("an attempt to run", async || site.asked() == 2).await;
        // All of the calls have been polled by now: those that came later found it running.
        site.answers.add_permits(10);
    };
    let (calls, ()) = tokio::join!(calls, opens);
    let refused = calls.iter().filter(|call| call.is_err()).count();
    assert_eq!((refused, site.asked()), (0, 2));
    // What was published just now is not asked for again, and nothing was asked for in advance.
    for _ in 0..10 {
        assert!(caller(&tokens, &stranger(&after)).await.is_err());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(site.asked(), 2);
    assert!(caller(&tokens, &old).await.is_err(), "its key is no longer published");
}

#[tokio::test]
async fn while_the_issuer_fails_its_last_keys_hold_and_it_is_not_pressed() {
    let (site, tokens, jwks, mut tasks) = site().await;
    let issuer = Issuer::new();
    site.publish(&issuer);
    site.answers.add_permits(100);
    tasks.spawn(jwks.clone().refresh());
    let good = token(&issuer);
    until("the keys", async || caller(&tokens, &good).await.is_ok()).await;
    *site.keys.lock() = None;
    jwks.forget_last_attempt();
    for _ in 0..10 {
        let Err(error) = caller(&tokens, &stranger(&issuer)).await else { panic!("nobody published its key") };
        assert!(error.code() == ErrorCode::Unauthenticated && error.message().contains("does not publish"), "{error}");
        assert!(caller(&tokens, &good).await.is_ok());
    }
    // Once for the first of them, and perhaps by itself, some seconds after that.
    assert!((2..=5).contains(&site.asked()), "{}", site.asked());
}
