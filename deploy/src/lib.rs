//! Platforms: whoever carries a plan out. A platform starts replicas and writes the route table; the data plane it does
//! that to is the gateway's, seen through [`DataPlane`].

pub mod control;
pub mod engines;
pub mod local;
pub mod plane;
pub mod state;

pub use control::Control;
pub use local::Local;
pub use plane::DataPlane;
pub use state::StateFolder;
