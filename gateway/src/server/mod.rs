//! Connections and heads: what every protocol shares before a call is routed.

pub mod address;
mod apart;
pub mod body;
pub mod codings;
pub mod edge;
pub mod encoding;
pub mod large;
pub mod lazy_timer;
mod listener;
pub mod tls;
mod unix;
pub mod untaken;
mod write_timeout;

pub use listener::{Close, Listener, ListenerConfig};
pub use unix::UnixPort;
