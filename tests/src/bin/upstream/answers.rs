//! Answers onto a connection, whole and broken.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use weirgate_tests::behaviour::Behaviour;

/// A whole answer in JSON. False where the client has left.
pub async fn json(stream: &mut TcpStream, status: u16, headers: &str, body: &str) -> bool {
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.is_ok()
}

/// An answer as it is broken. The connection ends with it.
pub async fn broken(stream: &mut TcpStream, behaviour: Behaviour, body: &str) {
    let (half, whole) = (&body[..body.len() / 2], body.len());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let text = match behaviour {
        Behaviour::ResetMidBody | Behaviour::Short => format!("{head}content-length: {whole}\r\n\r\n{half}"),
        Behaviour::Truncate => {
            format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n", half.len())
        }
        Behaviour::Garbage => "SSH-2.0-not_http\r\n\r\n".to_owned(),
        _ => String::new(),
    };
    let _ = stream.write_all(text.as_bytes()).await;
    if matches!(behaviour, Behaviour::Reset | Behaviour::ResetMidBody) {
        // What was written goes out first: else the reset overtakes it.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        stream.set_zero_linger().unwrap();
    }
}

/// The head of server-sent events, in chunks.
pub async fn events(stream: &mut TcpStream) -> bool {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.is_ok()
}

/// One chunk; an empty one is the last.
pub async fn chunk(stream: &mut TcpStream, text: &str) -> bool {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await.is_ok()
}
