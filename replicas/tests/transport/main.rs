//! A transport against servers that do what servers should not.

mod http1;
mod http2;
mod server;
