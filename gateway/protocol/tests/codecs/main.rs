//! The codecs from outside: what goes in comes out, and what is wrong is refused in words.

mod bodies;
mod complaints;
mod grpc;
mod hostile;
mod numbers;
mod refusals;
mod round_trips;
mod support;
mod triton;
