//! What an operator may set for lanes.

use serde::Deserialize;

use crate::config::ConfigError;

/// The path over WebSockets, for devices that no other path joins. Counted and limited like what TURN relays.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LaneConfig {
    /// Whether to carry lanes at all.
    pub enabled: bool,
    /// WebSockets of lanes in all; a lane has two.
    pub sockets: usize,
    /// WebSockets of lanes from one IPv4 address or IPv6 /64.
    pub sockets_per_source: usize,
    /// Megabits a second that one device may send in one mailbox; 0 for no limit.
    pub megabits_per_device: u64,
    /// Megabits a second that one IPv4 address or IPv6 /64 may send; 0 for no limit.
    pub megabits_per_source: u64,
    /// Megabits a second in all; 0 for no limit.
    pub megabits_total: u64,
    /// Gigabytes that may be carried in a day; 0 for no limit.
    pub gigabytes_per_day: u64,
    /// Seconds that one side waits for the other to come.
    pub partner_seconds: u64,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            sockets: 2_000,
            sockets_per_source: 32,
            megabits_per_device: 100,
            megabits_per_source: 400,
            megabits_total: 0,
            gigabytes_per_day: 0,
            partner_seconds: 15,
        }
    }
}

impl LaneConfig {
    /// Finds values that cannot work.
    ///
    /// # Errors
    /// The first such value, with what to set instead.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("lanes.sockets", self.sockets as u64),
            ("lanes.sockets_per_source", self.sockets_per_source as u64),
            ("lanes.partner_seconds", self.partner_seconds),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((key, _)) => Err(ConfigError::Unusable { key, problem: "must be at least 1".to_owned() }),
            None => Ok(()),
        }
    }
}
