//! TURN from outside: a client that does what it is told, and a load generator.

pub mod client;
pub mod forwarder;
pub mod load;
pub mod process;
