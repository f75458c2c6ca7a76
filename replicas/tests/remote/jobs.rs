//! Jobs of a lane, and their callers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weirgate_protocol::v1::instances;
use weirgate_protocol::{
    Call, Datatype, Head, InferRequest, ModelSpec, Priority, Protocol, RequestedOutput, Result, Shape, Target, Tensor,
};
use weirgate_replicas::remote::Executed;
use weirgate_replicas::{Job, Parts};

/// A call with these rows that asks for these outputs, or for all.
pub fn job(spec: &Arc<ModelSpec>, rows: &[[i32; 2]], outputs: &[&str]) -> (Job, Parts) {
    let data: Vec<u8> = rows.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
    let x = Tensor::new("x", Datatype::Int32, Shape::from_slice(&[rows.len(), 2]), data.into()).unwrap();
    let outputs = outputs.iter().map(|&name| RequestedOutput { name: name.into(), binary: None }).collect();
    bound(spec, InferRequest { inputs: vec![x], outputs, ..InferRequest::default() }, Duration::from_secs(60))
}

/// A call of V1 whose rows nobody knows.
pub fn instances_job(body: &str) -> (Job, Parts) {
    bound(&instances::spec(), instances::decode_request(body.as_bytes()).unwrap(), Duration::from_secs(60))
}

pub fn bound(spec: &Arc<ModelSpec>, mut request: InferRequest, timeout: Duration) -> (Job, Parts) {
    let (work, payload) = spec.bind(&mut request, false).unwrap();
    let now = Instant::now();
    let head = Head {
        request_id: "id-1".into(),
        traceparent: None,
        protocol: Protocol::V2Http,
        arrived: now,
        identity: None,
        priority: Priority::default(),
    };
    let target = Target { namespace: "n".into(), service: "m".into(), model: "m".into() };
    Job::new(Call { head, target, deadline: now + timeout, work, payload }, now)
}

/// Delivers what was finished, and gives what each caller got.
pub async fn answers(executed: Executed, callers: Vec<Parts>) -> Vec<Result<Vec<Tensor>>> {
    executed.finished.into_iter().for_each(|finished| finished.deliver());
    let mut answers = Vec::new();
    for mut caller in callers {
        answers.push(caller.next().await.unwrap().map(|answer| answer.outputs));
        assert!(caller.next().await.is_none(), "answered once");
    }
    answers
}

pub fn numbers(tensor: &Tensor) -> Vec<i32> {
    tensor.data.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()
}
