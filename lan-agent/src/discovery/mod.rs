//! Which other agents are on this network: seen by DNS-SD, merged into one list.
//!
//! A sighting only says "try this address": who answers there is decided by pairing, never by a name heard here.

pub mod interface;
pub mod mdns;
pub mod registry;

/// The service type of an agent (RFC 6763 §7).
pub const SERVICE_TYPE: &str = "_lanyard._tcp.local.";
