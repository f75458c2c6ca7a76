//! The codecs from outside: what goes in comes out, and what is wrong is refused in words.

mod bodies;
mod cloudevents;
mod complaints;
mod extras;
mod grpc;
mod hostile;
mod numbers;
mod openai;
mod refusals;
mod round_trips;
mod support;
mod triton;
mod undescribed;
mod v1;
