//! Server-sent events, however they are cut, and what they tell of time.

use tokio::io::AsyncWriteExt;
use weirgate_loadtest::client::Failure;
use weirgate_loadtest::request::{Protocol, Request};

use crate::server::{call, connect, fixed, listen, request, run};

const EVENTS: [&str; 6] = [
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Gr\u{fc}\"}}]}\r\n\r\n",
    ": still here\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\u{df}e\\n\"}}]}\n\n",
    "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}\n\n",
    "data: [DONE]\n\n",
];

fn chat() -> Request {
    let mut request = Request::new(Protocol::Chat, "/v1/chat/completions", "{\"stream\":true}");
    request.streams = true;
    request
}

fn answer(events: &[&str]) -> String {
    let chunks: String = events.iter().map(|event| format!("{:x}\r\n{event}\r\n", event.len())).collect();
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
}

#[test]
fn a_cut_anywhere_changes_nothing() {
    let answer = answer(&EVENTS);
    run(async {
        for cut in 0..answer.len() {
            let (address, _server) = fixed(answer.as_bytes(), &[cut]).await;
            let answered = call(address, &chat()).await.result.unwrap();
            let stream = answered.stream.unwrap();
            assert_eq!((stream.text.as_str(), stream.parts), ("Gr\u{fc}\u{df}e\n", 2), "cut at {cut}");
            assert_eq!((stream.prompt_tokens, stream.output_tokens), (Some(4), Some(2)), "cut at {cut}");
            assert!(stream.whole && stream.error.is_none() && stream.gaps_us.len() == 1, "cut at {cut}");
            assert_eq!(answered.length, EVENTS.concat().len() as u64);
        }
    });
}

#[test]
fn parts_have_the_times_they_came_at() {
    run(async {
        let (address, _server) = listen(|_, mut stream| async move {
            request(&mut stream).await.unwrap();
            let answer = answer(&EVENTS);
            let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
            stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
            for piece in rest.split_inclusive("\n\r\n") {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                stream.write_all(piece.as_bytes()).await.unwrap();
            }
        })
        .await;
        let call = connect(address).await.call(&chat(), false).await;
        let answered = call.result.unwrap();
        let stream = answered.stream.unwrap();
        let (first, last) = (stream.first.unwrap(), stream.last.unwrap());
        let order = [call.sent, first, last, call.done];
        assert!(order.windows(2).all(|two| two[0] < two[1]), "{order:?}");
        // Two pauses of the server lie between the parts, however late we were woken for either.
        assert!(u128::from(stream.gaps_us[0]).abs_diff((last - first).as_micros()) <= 1);
        assert!(stream.gaps_us[0] > 20_000, "{stream:?}");
        assert!(stream.text.is_empty() && answered.body.is_empty(), "nothing was to be kept");
    });
}

#[test]
fn streams_that_do_not_end_well() {
    run(async {
        let error = "data: {\"error\":{\"message\":\"out of memory\"}}\n\n";
        let (address, _server) = fixed(answer(&[EVENTS[1], error]).as_bytes(), &[]).await;
        let stream = call(address, &chat()).await.result.unwrap().stream.unwrap();
        assert_eq!((stream.error.as_deref(), stream.whole), (Some("out of memory"), false));

        let (address, _server) = fixed(answer(&EVENTS[..4]).as_bytes(), &[]).await;
        assert!(!call(address, &chat()).await.result.unwrap().stream.unwrap().whole);

        let whole = answer(&EVENTS);
        let (address, _server) = fixed(&whole.as_bytes()[..whole.len() - 30], &[]).await;
        assert_eq!(call(address, &chat()).await.result.unwrap_err(), Failure::Cut);

        let (address, _server) = fixed(answer(&["data: {\"choices\":[}\n\n"]).as_bytes(), &[]).await;
        assert!(matches!(call(address, &chat()).await.result, Err(Failure::Malformed(why)) if why.contains("event")));
    });
}

#[test]
fn what_is_no_stream_is_not_read_as_one() {
    run(async {
        for head in ["200 OK\r\ncontent-type: application/json", "500 No\r\ncontent-type: text/event-stream"] {
            let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 14\r\n\r\ndata: [DONE]\n\n");
            let (address, _server) = fixed(answer.as_bytes(), &[]).await;
            let answered = call(address, &chat()).await.result.unwrap();
            assert!(answered.stream.is_none() && answered.length == 14, "{head}");
        }
    });
}
