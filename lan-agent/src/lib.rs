//! What the `lanyard` agent is made of.

pub mod agent;
pub mod config;
pub mod discovery;
pub mod exit;
pub mod paths;
pub mod peer_link;
pub mod signaling_client;
pub mod terminal;
