//! What the `lanyard` agent is made of.

pub mod agent;
pub mod config;
pub mod control;
pub mod discovery;
pub mod exit;
pub mod identity;
pub mod paths;
pub mod peer_link;
pub mod signaling_client;
pub mod terminal;
