//! Texts as the messages of V2 over gRPC: one output of one element, with what else there is to say in the parameters.

use std::collections::HashMap;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use http::{HeaderMap, HeaderValue};
use weirgate_protocol::oip::infer_parameter::ParameterChoice;
use weirgate_protocol::oip::{self, InferParameter, ModelInferResponse, ModelStreamInferResponse};
use weirgate_protocol::{InferResponse, Result, v2};

use super::compression;
use super::unary;
use crate::respond::Refusal;
use crate::server::address::REVISION;
use crate::server::encoding::Encoding;
use crate::texts::{self, Piece, TOLD};

/// The parameter of an answer after which no other comes for its request.
pub(super) const FINAL: &str = "triton_final_response";
/// The parameter of a text's last answer that says why it has ended.
const FINISH_REASON: &str = "finish_reason";

/// What each answer to a request says besides its text.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) id: String,
    pub(super) model: Arc<str>,
    /// As the request was.
    pub(super) raw: bool,
    pub(super) encoding: Option<Encoding>,
}

impl About {
    /// The one answer of a call that has one.
    pub(super) async fn whole(&self, response: Response) -> Result<Response, Refusal> {
        let mut headers = HeaderMap::with_capacity(TOLD.len() + 2);
        for name in TOLD {
            if let Some(value) = response.headers().get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let refused = |error| match headers.get(REVISION) {
            Some(revision) => Refusal::with_header(error, REVISION, revision.clone()),
            None => Refusal::from(error),
        };
        let piece = texts::whole(response).await.map_err(refused)?;
        let message = self.message(piece).map_err(refused)?;
        let framed = compression::frame(&message, self.encoding).map_err(refused)?;
        compression::announce(self.encoding, &mut headers);
        Ok(unary::respond_with(framed, headers))
    }

    /// The answers of a call within a stream, each in its frame, as they are made.
    pub(super) fn frames(self, response: Response) -> BoxStream<'static, Result<Bytes>> {
        let revision = response.headers().get(REVISION).cloned();
        let frame = move |piece: Result<Piece>| {
            let piece = piece?;
            let is_last = piece.is_last;
            let mut message = self.message(piece)?;
            message.parameters.extend(revision.as_ref().map(of_revision));
            if is_last {
                message.parameters.insert(FINAL.to_owned(), parameter(ParameterChoice::BoolParam(true)));
            }
            let message = ModelStreamInferResponse { error_message: String::new(), infer_response: Some(message) };
            compression::frame(&message, self.encoding)
        };
        texts::pieces(response).map(frame).boxed()
    }

    fn message(&self, piece: Piece) -> Result<ModelInferResponse> {
        let response = InferResponse {
            model_name: self.model.clone(),
            model_version: None,
            id: Some(self.id.clone()),
            outputs: vec![v2::text_output(&piece.text)?],
        };
        let mut parameters = HashMap::with_capacity(3);
        if let Some(reason) = piece.finish_reason {
            parameters.insert(FINISH_REASON.to_owned(), parameter(ParameterChoice::StringParam(reason)));
        }
        Ok(ModelInferResponse { parameters, ..oip::encode_response(response, self.raw)? })
    }
}

/// The parameter that tells which revision has answered.
pub(super) fn of_revision(revision: &HeaderValue) -> (String, InferParameter) {
    let text = String::from_utf8_lossy(revision.as_bytes()).into_owned();
    (REVISION.as_str().to_owned(), parameter(ParameterChoice::StringParam(text)))
}

pub(super) fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter { parameter_choice: Some(choice) }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::header::CONTENT_TYPE;
    use prost::Message;
    use weirgate_protocol::openai::{FinishReason, Usage};
    use weirgate_protocol::tensor::BytesElements;
    use weirgate_protocol::v2::{GenerateEvents, GenerateHead};

    use super::super::unary::PREFIX;
    use super::*;

    #[tokio::test]
    async fn each_event_is_a_message_and_the_last_says_so() {
        let head = GenerateHead { id: None, model_name: "m", model_version: None };
        let events = GenerateEvents::new(&head);
        let body = [events.text("a"), events.last("b", FinishReason::Length, &Usage::default())].concat();
        for raw in [true, false] {
            let response = Response::builder()
                .header(CONTENT_TYPE, "text/event-stream")
                .header(REVISION, "m-1")
                .body(Body::from(body.clone()))
                .unwrap();
            let about = About { id: "7".to_owned(), model: "m".into(), raw, encoding: None };
            let frames: Vec<_> = about.frames(response).collect().await;
            let mut seen = Vec::new();
            for frame in frames {
                let message = ModelStreamInferResponse::decode(frame.unwrap().slice(PREFIX..)).unwrap();
                let response = message.infer_response.unwrap();
                assert_eq!((&*message.error_message, &*response.id, &*response.model_name), ("", "7", "m"));
                assert_eq!(response.raw_output_contents.len(), usize::from(raw));
                let parameters = response.parameters.clone();
                assert_eq!(parameters["x-weirgate-revision"], of_revision(&HeaderValue::from_static("m-1")).1);
                let output = oip::decode_response(response).unwrap().outputs.remove(0);
                let text = BytesElements::new(&output.data).next().unwrap().unwrap().to_vec();
                assert_eq!((&*output.name, &output.shape[..]), ("text_output", &[1][..]));
                let told = |name: &str| parameters.get(name).cloned();
                seen.push((text, told(FINAL), told(FINISH_REASON)));
            }
            let yes = parameter(ParameterChoice::BoolParam(true));
            let length = parameter(ParameterChoice::StringParam("length".to_owned()));
            assert_eq!(seen, [(b"a".to_vec(), None, None), (b"b".to_vec(), Some(yes), Some(length))]);
        }
    }
}
