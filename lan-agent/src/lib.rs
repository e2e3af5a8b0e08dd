//! What the `lanyard` agent is made of.

pub mod peer_link;
