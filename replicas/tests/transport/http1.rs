//! HTTP/1.1.

use crate::server::{Scripted, call, get, post};

#[tokio::test]
async fn a_connection_carries_one_call_after_another() {
    let server = Scripted::new(|mut peer, _| {
        while let Some(seen) = peer.request() {
            assert!(seen.head.starts_with("POST /path?a=b HTTP/1.1\r\nhost: 127.0.0.1:"), "{}", seen.head);
            let length = seen.body.len();
            peer.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"));
            peer.say(seen.body);
        }
    });
    let transport = server.transport();
    for text in ["one", "two", ""] {
        assert_eq!(call(&transport, post(text)).await.unwrap(), (200, text.into()));
    }
    let stats = transport.stats();
    assert_eq!((stats.connects, stats.open, stats.idle, stats.reuses), (1, 1, 1, 2));
    let _ = get();
}
