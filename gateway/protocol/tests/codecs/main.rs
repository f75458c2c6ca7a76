//! The codecs from outside: what goes in comes out, and what is wrong is refused in words.

mod bodies;
mod cloudevents;
mod complaints;
mod extras;
mod generate;
mod grpc;
mod hostile;
mod numbers;
mod openai;
mod openai_answers;
mod openai_hostile;
mod openai_requests;
mod refusals;
mod round_trips;
mod support;
mod triton;
mod undescribed;
mod v1;
