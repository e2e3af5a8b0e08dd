//! Ports kept for a second allocation (EVEN-PORT with its R bit, RFC 8656 §7.2).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::command::RelayId;
use crate::slab::Key;

/// How long a reserved port waits for its Allocate (RFC 8656 §7.2: at least 30 seconds).
pub(crate) const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);

/// Names a reservation to the client: 64 random bits (RFC 8656 §18.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReservationToken(pub(crate) [u8; 8]);

/// A relay socket that belongs to no allocation yet. Counts as one in its owner's quotas.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) relay: RelayId,
    pub(crate) account: Key,
    /// Whose quota it takes up.
    pub(crate) source: IpAddr,
    pub(crate) expires_at: Instant,
}
