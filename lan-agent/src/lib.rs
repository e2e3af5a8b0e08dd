//! What the `lanyard` agent is made of.

pub mod agent;
pub mod cli;
pub mod config;
pub mod control;
pub mod devices;
pub mod discovery;
pub mod exit;
pub mod fail_point;
pub mod identity;
pub mod inbox;
pub mod lane_link;
pub mod paths;
pub mod peer_link;
pub mod session;
pub mod share;
pub mod signaling_client;
pub mod source;
pub mod terminal;
