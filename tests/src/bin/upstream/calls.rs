//! From a request to its answer.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::Interest;
use tokio::net::TcpStream;
use weirgate_tests::behaviour::Behaviour;

use crate::answers;
use crate::requests::Request;
use crate::shared::Shared;

/// How often a stream that waits looks whether it may go on.
const LOOK: Duration = Duration::from_millis(2);

/// Answers one request. `last`: its answer says that the connection closes. False where the connection can't be used on.
pub async fn answer(request: &Request, last: bool, stream: &mut TcpStream, shared: &Shared) -> bool {
    let behaviour = shared.behaviour();
    if request.method == "GET" {
        return probe(request, stream, behaviour).await;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return answers::json(stream, 400, "", r#"{"error":"the body is no JSON"}"#).await;
    };
    let id = body["id"].as_str().or_else(|| request.header("x-call-id")).unwrap_or("nobody").to_owned();
    if behaviour.executes() {
        shared.note("executed", &id);
    }
    match behaviour {
        Behaviour::Fail(status) => return answers::json(stream, status, "", r#"{"error":"told to fail"}"#).await,
        Behaviour::NotExecuted => {
            return answers::json(stream, 503, "x-weirgate-not-executed: 1\r\n", r#"{"error":"draining"}"#).await;
        }
        Behaviour::Slow(millis) if left(stream, Duration::from_millis(millis)).await => {
            shared.note("abandoned", &id);
            return false;
        }
        Behaviour::Hang => {
            if left(stream, Duration::MAX).await {
                shared.note("abandoned", &id);
            }
            return false;
        }
        _ => {}
    }
    if body["stream"] == true {
        return chat(request, &body, &id, stream, shared).await;
    }
    let text = result(request, &body, &id, &shared.name).to_string();
    match behaviour {
        Behaviour::Answer | Behaviour::Slow(_) | Behaviour::Unready | Behaviour::Refuse => {
            let headers = if last { "connection: close\r\n" } else { "" };
            answers::json(stream, 200, headers, &text).await
        }
        broken => {
            answers::broken(stream, broken, &text).await;
            false
        }
    }
}

async fn probe(request: &Request, stream: &mut TcpStream, behaviour: Behaviour) -> bool {
    if behaviour == Behaviour::Unready {
        return answers::json(stream, 503, "", r#"{"error":"the model is not ready"}"#).await;
    }
    let path: Vec<&str> = request.path.split('/').skip(1).collect();
    let tensor = |name| json!([{"name": name, "datatype": "FP32", "shape": [-1, 1]}]);
    let body = match path[..] {
        ["v2"] => json!({"name": "upstream", "version": "1", "extensions": []}),
        ["v2", "health", _] => json!({}),
        ["v2", "models", name, "ready"] => json!({"name": name, "ready": true}),
        ["v2", "models", name] => {
            json!({"name": name, "versions": ["1"], "platform": "test", "inputs": tensor("x"), "outputs": tensor("y")})
        }
        ["v1", "models", name] => json!({"name": name, "ready": true}),
        ["v1", "models"] => {
            json!({"models": ["upstream"], "object": "list", "data": [{"id": "upstream", "object": "model"}]})
        }
        _ => return answers::json(stream, 404, "", r#"{"error":"there is no such path"}"#).await,
    };
    answers::json(stream, 200, "", &body.to_string()).await
}

/// What came is given back, with who answered; and the request's headers, where it asks for them.
fn result(request: &Request, body: &Value, id: &str, name: &str) -> Value {
    let mut parameters = json!({"server": name});
    if request.header("x-show-headers").is_some() {
        parameters["headers"] = request.headers.iter().map(|(name, value)| json!([name, value])).collect();
    }
    if !body["instances"].is_null() {
        return json!({"predictions": body["instances"], "server": name});
    }
    if !body["messages"].is_null() {
        let message = json!({"role": "assistant", "content": id});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        return json!({"id": id, "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice]});
    }
    let input = &body["inputs"][0];
    let output = json!({"name": "y", "datatype": "FP32", "shape": input["shape"], "data": input["data"]});
    json!({"id": id, "model_name": "upstream", "model_version": "1", "outputs": [output], "parameters": parameters})
}

/// `max_tokens` chunks. With a header `x-gate: FILE` each but the first waits until the file is there.
async fn chat(request: &Request, body: &Value, id: &str, stream: &mut TcpStream, shared: &Shared) -> bool {
    let count = body["max_tokens"].as_u64().unwrap_or(4);
    if !answers::events(stream).await {
        return false;
    }
    for token in 0..count {
        if let Some(gate) = request.header("x-gate").filter(|_| token > 0) {
            while !shared.has(gate) {
                if left(stream, LOOK).await {
                    shared.note("abandoned", id);
                    return false;
                }
            }
        }
        let delta = json!({"index": 0, "delta": {"content": format!("{id}.{token} ")}});
        let event = json!({"id": id, "object": "chat.completion.chunk", "model": body["model"], "choices": [delta]});
        if !answers::chunk(stream, &format!("data: {event}\n\n")).await {
            shared.note("abandoned", id);
            return false;
        }
    }
    answers::chunk(stream, "data: [DONE]\n\n").await && answers::chunk(stream, "").await
}

/// Whether the client closes within this time. It must not send anything meanwhile.
async fn left(stream: &TcpStream, time: Duration) -> bool {
    let closed = async {
        loop {
            stream.ready(Interest::READABLE).await.unwrap();
            match stream.try_read(&mut [0; 1]) {
                Ok(0) => return,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(_) => panic!("the client sent more before it had its answer"),
                Err(_) => return,
            }
        }
    };
    tokio::time::timeout(time, closed).await.is_ok()
}
