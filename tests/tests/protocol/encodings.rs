//! Encoded bodies, both ways.

use bytes::Bytes;
use http_body_util::Full;
use weirgate_protocol::v2;
use weirgate_tests::packed::{gzip, raw_deflate, unpack, zlib, zstd};
use weirgate_tests::process::resident_bytes;
use weirgate_tests::{Http1, Http2, Raw, Reply, Server, Service, calls, eventually, row, values};

type Pack = fn(&[u8]) -> Vec<u8>;

/// A call whose body is `pack` of what an ordinary client sends.
async fn packed(client: &mut Http1, coding: &str, binary: bool, pack: Pack) -> Reply {
    let request = weirgate_protocol::InferRequest { binary_outputs: binary, ..row(&[1.5, -2.0]) };
    let encoded = v2::encode_request(&request, binary).unwrap();
    let mut builder = calls::post("identity").header("content-encoding", coding);
    if let Some(length) = encoded.header_length {
        // It counts the JSON as it is, as Triton's clients send it.
        builder = builder.header(v2::HEADER_LENGTH, length);
    }
    client.send(builder.body(Full::new(pack(&encoded.into_bytes()).into())).unwrap()).await
}

async fn sent(client: &mut Http1, coding: &str, body: impl Into<Bytes>) -> Reply {
    let builder = calls::post("identity").header("content-encoding", coding);
    client.send(builder.body(Full::new(body.into())).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_requests_are_read_in_json_and_binary() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    let codings: [(&str, Pack); 9] = [
        ("gzip", gzip),
        ("x-gzip", gzip),
        ("GZIP", gzip),
        ("deflate", zlib),
        ("deflate", raw_deflate),
        ("zstd", zstd),
        ("gzip, identity", gzip),
        ("gzip, zstd", |bytes| zstd(&gzip(bytes))),
        ("identity", <[u8]>::to_vec),
    ];
    for (coding, pack) in codings {
        for binary in [false, true] {
            let reply = packed(&mut client, coding, binary, pack).await;
            assert_eq!(values(&reply.response().outputs[0]), [1.5, -2.0], "{coding}, binary: {binary}");
        }
    }
    let members = [gzip(br#"{"inputs":[{"name":"x","datatype":"FP32","#), gzip(br#""shape":[1,1],"data":[7]}]}"#)];
    assert_eq!(values(&sent(&mut client, "gzip", members.concat()).await.response().outputs[0]), [7.0]);
    server.is_idle("identity").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_coding_is_415_and_what_is_none_of_its_kind_is_400() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    for coding in ["br", "compress", "gzip, br", "gzip, gzip, gzip", "nonsense", "gzip;q=1"] {
        let reply = sent(&mut client, coding, gzip(b"{}")).await;
        assert_eq!(reply.status, 415, "{coding}: {reply:?}");
        assert!(reply.error().contains("content-encoding"), "{coding}: {reply:?}");
        assert_eq!(reply.header("accept-encoding"), Some("zstd, gzip, deflate, identity"));
    }
    let body = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1.5]}]}"#;
    for (coding, whole) in [("gzip", gzip(body)), ("deflate", zlib(body)), ("zstd", zstd(body))] {
        let cut = &whole[..whole.len() - 3];
        let followed = [&whole[..], b"and more that was not packed"].concat();
        for broken in [cut, &followed, b"", body, &whole[..1]] {
            let reply = sent(&mut client, coding, broken.to_vec()).await;
            assert_eq!(reply.status, 400, "{coding}: {reply:?}");
            assert!(reply.error().contains(coding), "{coding}: {reply:?}");
            assert!(reply.header("x-weirgate-revision").is_some(), "it came as far as its revision");
        }
        sent(&mut client, coding, whole).await.response();
    }
    // Packed, and not said so.
    let reply = client.send(calls::post_text("identity", gzip(body))).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    server.is_idle("identity").await;
}

/// 1 GiB in 1 MiB, or in some KiB.
#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_413_and_take_no_memory() {
    let server = Server::with([Service::new("identity")]).flag("--max-body", "2MiB").start().await;
    let mut client = Http1::connect(server.data).await;
    client.infer("identity", &row(&[1.0])).await.response();
    let before = resident_bytes(server.pid());
    let mut spaces = Vec::new();
    for _ in 0..16 {
        spaces.extend(zstd(&vec![b' '; 64 << 20]));
    }
    let gzipped = gzip(&vec![b' '; 256 << 20]);
    assert!(gzipped.len() < 1 << 20);
    let twice = gzip(&gzipped);
    for (coding, bomb) in [("zstd", spaces), ("gzip", gzipped), ("gzip, gzip", twice)] {
        for _ in 0..20 {
            let reply = sent(&mut client, coding, bomb.clone()).await;
            assert_eq!(reply.status, 413, "{coding}: {reply:?}");
            let text = reply.error();
            assert!(text.contains("2097152") && text.contains("--max-body") && text.contains("decompressed"), "{text}");
        }
    }
    server.is_idle("identity").await;
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    // Each of them is more than that.
    assert!(grown < 128 << 20, "bombs took {grown} bytes");
    client.infer("identity", &row(&[1.0])).await.response();
}

/// The bytes that come out of a small body count as those of a large one do.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_44_decompressed_bytes_count_against_the_queue() {
    let server = Server::with([Service::new("identity")]).flag("--max-queued-bytes", "400KiB").start().await;
    let mut half_sent = Raw::connect(server.data).await;
    half_sent.write_head("identity", "content-length: 307200\r\n").await;
    half_sent.write(" ".repeat(307_199)).await;
    // A lone call may be larger than the bound, so another one has to be there.
    eventually("the half-sent body to hold its place", async || {
        (server.metric("weirgate_queue_bytes", "identity").await >= 307_199.0).then_some(())
    })
    .await;
    let mut client = Http1::connect(server.data).await;
    let spaces = vec![b' '; 1 << 20];
    for (coding, body) in [("gzip", gzip(&spaces)), ("deflate", zlib(&spaces)), ("zstd", zstd(&spaces))] {
        let reply = sent(&mut client, coding, body).await;
        assert_eq!(reply.status, 429, "{coding}: {reply:?}");
        assert!(reply.error().contains("--max-queued-bytes"), "{reply:?}");
    }
    drop(half_sent);
    server.is_idle("identity").await;
    packed(&mut client, "gzip", false, gzip).await.response();
}

async fn asked(client: &mut Http1, accept: Option<&str>, width: usize, binary: bool) -> Reply {
    let numbers: Vec<f32> = (0..width).map(|number| number as f32).collect();
    let (mut builder, body) = calls::rest("identity", &row(&numbers), binary);
    if let Some(accept) = accept {
        builder = builder.header("accept-encoding", accept);
    }
    let reply = client.send(builder.body(body).unwrap()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-length"), Some(&*reply.body.len().to_string()), "{accept:?}");
    let body = unpack(reply.header("content-encoding"), &reply.body);
    let response = v2::decode_response(&body.into(), reply.header(v2::HEADER_LENGTH)).unwrap();
    assert_eq!(values(&response.outputs[0]), numbers, "{accept:?}");
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_encoded_as_their_client_weighs() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    for binary in [false, true] {
        for (accept, expected) in [
            (None, None),
            (Some("gzip, deflate, br, zstd"), Some("zstd")),
            (Some("gzip, deflate"), Some("gzip")),
            (Some("gzip;q=0.1, deflate;q=0.9"), Some("deflate")),
            (Some("deflate, gzip, br"), Some("gzip")),
            (Some("*"), Some("zstd")),
            (Some("gzip;q=0"), None),
            (Some("identity, *;q=0"), None),
            (Some("br"), None),
        ] {
            for width in [5_000, 400_000] {
                let reply = asked(&mut client, accept, width, binary).await;
                assert_eq!(reply.header("content-encoding"), expected, "{accept:?}");
                assert_eq!(reply.header("vary"), accept.map(|_| "accept-encoding"), "{accept:?}");
            }
        }
    }
    // A small one is not worth it, unless nothing else is taken.
    assert_eq!(asked(&mut client, Some("gzip"), 2, false).await.header("content-encoding"), None);
    let refused = asked(&mut client, Some("gzip, identity;q=0"), 2, false).await;
    assert_eq!(refused.header("content-encoding"), Some("gzip"));
}

/// Answers of 8 MiB and more are encoded on a thread that other connections do not wait for, and over h2 go out in pieces.
#[tokio::test(flavor = "multi_thread")]
async fn large_encoded_answers_are_whole_over_h2() {
    let server = Server::start([Service::new("identity")]).await;
    let client = Http2::connect(server.data).await;
    let numbers: Vec<f32> = (0..1 << 21).map(|number| (number % 1_000) as f32).collect();
    for accept in ["gzip", "identity"] {
        let (builder, body) = calls::rest("identity", &row(&numbers), true);
        let reply = client.send(builder.header("accept-encoding", accept).body(body).unwrap()).await;
        let body = unpack(reply.header("content-encoding"), &reply.body);
        let response = v2::decode_response(&body.into(), reply.header(v2::HEADER_LENGTH)).unwrap();
        assert_eq!(values(&response.outputs[0]), numbers);
    }
    eventually("the place to be free", async || {
        (server.metric("weirgate_queue_bytes", "identity").await == 0.0).then_some(())
    })
    .await;
}
