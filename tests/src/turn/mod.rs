//! TURN from outside: a client that does what it is told, a relay for it, and a load generator.

pub mod client;
pub mod forwarder;
pub mod load;
pub mod metrics;
pub mod process;
pub mod relay;
