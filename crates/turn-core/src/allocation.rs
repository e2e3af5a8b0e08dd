//! An allocation: one client's lease of relayed transport addresses, with its permissions and channels.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::channel_data::ChannelNumber;
use crate::command::RelayId;
use crate::credential::CredentialPrint;
use crate::five_tuple::FiveTuple;
use crate::peer_policy::Reach;
use crate::reservation::ReservationToken;
use crate::slab::Key;
use crate::stun::{AddressFamily, ErrorCode, Integrity, IntegrityKey, TransactionId};

/// How long a permission outlives its last refresh (RFC 8656 §9).
pub(crate) const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);

/// How long a channel outlives its last refresh (RFC 8656 §12).
pub(crate) const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

/// A lease.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) tuple: FiveTuple,
    pub(crate) account: Key,
    pub(crate) print: CredentialPrint,
    /// Of the Allocate request, to know its retransmissions (RFC 8656 §7.2).
    pub(crate) transaction_id: TransactionId,
    pub(crate) state: AllocationState,
    pub(crate) relays: Relays,
    /// The family that was asked for and is not there (RFC 8656 §7.2, ADDRESS-ERROR-CODE).
    pub(crate) missing: Option<(AddressFamily, ErrorCode)>,
    pub(crate) reservation: Option<ReservationToken>,
    pub(crate) created_at: Instant,
    /// Matches the allocation's entry among the deadlines.
    pub(crate) expires_at: Instant,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
}

/// Whether the sockets are there.
#[derive(Debug)]
pub(crate) enum AllocationState {
    /// The client waits for its answer.
    Opening(Box<Opening>),
    /// Answered; packets flow.
    Open,
}

/// What the answer to Allocate needs, once the sockets are open.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) key: IntegrityKey,
    pub(crate) integrity: Integrity,
    pub(crate) fingerprint: bool,
    pub(crate) lifetime: Duration,
    /// The socket at the next port, to be kept for later.
    pub(crate) next: Option<RelayId>,
}

/// The relay sockets, at most one of a family.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Relays {
    pub(crate) ipv4: Option<RelayId>,
    pub(crate) ipv6: Option<RelayId>,
}

impl Relays {
    pub(crate) fn of(&self, family: AddressFamily) -> Option<RelayId> {
        match family {
            AddressFamily::Ipv4 => self.ipv4,
            AddressFamily::Ipv6 => self.ipv6,
        }
    }

    pub(crate) fn set(&mut self, family: AddressFamily, relay: Option<RelayId>) {
        match family {
            AddressFamily::Ipv4 => self.ipv4 = relay,
            AddressFamily::Ipv6 => self.ipv6 = relay,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = RelayId> + use<> {
        [self.ipv4, self.ipv6].into_iter().flatten()
    }
}

#[derive(Debug, Clone, Copy)]
struct Permission {
    peer: IpAddr,
    reach: Reach,
    expires_at: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    number: ChannelNumber,
    peer: SocketAddr,
    reach: Reach,
    expires_at: Instant,
}

/// Why a channel could not be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BindRefused {
    /// The number or the peer is bound to another peer or number (RFC 8656 §12.2): 400.
    Conflict,
    /// As many as an allocation may have: 508.
    Full,
}

impl Allocation {
    pub(crate) fn new(
        tuple: FiveTuple,
        account: Key,
        print: CredentialPrint,
        transaction_id: TransactionId,
        state: AllocationState,
        created_at: Instant,
    ) -> Self {
        Self {
            tuple,
            account,
            print,
            transaction_id,
            state,
            relays: Relays::default(),
            missing: None,
            reservation: None,
            created_at,
            expires_at: created_at,
            permissions: Vec::new(),
            channels: Vec::new(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, AllocationState::Open)
    }

    /// Whether `peers` fit beside the permissions that are there.
    pub(crate) fn has_room_for(&self, peers: &[(IpAddr, Reach)], max: usize, now: Instant) -> bool {
        let live = self.permissions.iter().filter(|permission| permission.expires_at > now);
        let kept = live.filter(|permission| !peers.iter().any(|(peer, _)| *peer == permission.peer)).count();
        kept + peers.len() <= max
    }

    /// Installs or refreshes a permission (RFC 8656 §10.2). Check [`Self::has_room_for`] before.
    pub(crate) fn permit(&mut self, peer: IpAddr, reach: Reach, now: Instant) {
        let expires_at = now + PERMISSION_LIFETIME;
        if let Some(permission) = self.permissions.iter_mut().find(|permission| permission.peer == peer) {
            *permission = Permission { peer, reach, expires_at };
        } else {
            self.permissions.retain(|permission| permission.expires_at > now);
            self.permissions.push(Permission { peer, reach, expires_at });
        }
    }

    /// How this peer may be reached, if it is permitted.
    pub(crate) fn permission(&self, peer: IpAddr, now: Instant) -> Option<Reach> {
        let permission = self.permissions.iter().find(|permission| permission.peer == peer)?;
        (permission.expires_at > now).then_some(permission.reach)
    }

    /// Whether a channel may be bound to this peer.
    pub(crate) fn may_bind(
        &self,
        number: ChannelNumber,
        peer: SocketAddr,
        max: usize,
        now: Instant,
    ) -> Result<(), BindRefused> {
        let live = || self.channels.iter().filter(|channel| channel.expires_at > now);
        if live().any(|channel| (channel.number == number) != (channel.peer == peer)) {
            return Err(BindRefused::Conflict);
        }
        let is_bound = live().any(|channel| channel.number == number);
        if is_bound || live().count() < max { Ok(()) } else { Err(BindRefused::Full) }
    }

    /// Binds or refreshes a channel. Check [`Self::may_bind`] before.
    pub(crate) fn bind(&mut self, number: ChannelNumber, peer: SocketAddr, reach: Reach, now: Instant) {
        self.channels.retain(|channel| channel.expires_at > now && channel.number != number);
        self.channels.push(Channel { number, peer, reach, expires_at: now + CHANNEL_LIFETIME });
    }

    /// The peer behind a channel number.
    pub(crate) fn channel(&self, number: ChannelNumber, now: Instant) -> Option<(SocketAddr, Reach)> {
        let channel = self.channels.iter().find(|channel| channel.number == number)?;
        (channel.expires_at > now).then_some((channel.peer, channel.reach))
    }

    /// The channel number of a peer.
    pub(crate) fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<ChannelNumber> {
        let channel = self.channels.iter().find(|channel| channel.peer == peer)?;
        (channel.expires_at > now).then_some(channel.number)
    }

    /// The addresses of all peers; some come twice.
    pub(crate) fn peers(&self) -> impl Iterator<Item = IpAddr> {
        let permitted = self.permissions.iter().map(|permission| permission.peer);
        permitted.chain(self.channels.iter().map(|channel| channel.peer.ip()))
    }

    /// Keeps the peers for which `verdict` says how they may be reached; returns how many entries had to go.
    pub(crate) fn retain_peers(&mut self, mut verdict: impl FnMut(IpAddr, Reach) -> Option<Reach>) -> usize {
        let before = self.permissions.len() + self.channels.len();
        self.permissions.retain_mut(|permission| {
            let reach = verdict(permission.peer, permission.reach);
            permission.reach = reach.unwrap_or(permission.reach);
            reach.is_some()
        });
        self.channels.retain_mut(|channel| {
            let reach = verdict(channel.peer.ip(), channel.reach);
            channel.reach = reach.unwrap_or(channel.reach);
            reach.is_some()
        });
        before - self.permissions.len() - self.channels.len()
    }
}
