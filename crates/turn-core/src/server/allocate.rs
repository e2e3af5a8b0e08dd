//! Allocate (RFC 8656 §7).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Server;
use super::authenticate::Sender;
use super::reload::Admission;
use crate::allocation::{Allocation, AllocationState, Opening};
use crate::command::{PortRequest, RelayId};
use crate::config::RelayAddress;
use crate::credential::Principal;
use crate::five_tuple::FiveTuple;
use crate::relay_socket::RelaySocket;
use crate::reservation::ReservationToken;
use crate::slab::Key;
use crate::source_quota::QuotaReached;
use crate::stun::{AddressFamily, AttributeKind, Class, ErrorCode, Message, MessageWriter};

/// The lifetime of an allocation unless a longer one is asked for and allowed (RFC 8656 §7.2).
pub(super) const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);

/// How long the shell may take to open a relay socket. The client asks again meanwhile, and gives up at 39.5 s
/// (RFC 8489 §6.2.1).
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// UDP's protocol number (RFC 8656 §18.8).
const PROTOCOL_UDP: u8 = 17;

/// What an Allocate request asks for.
struct Wanted {
    relays: WantedRelays,
    lifetime: Duration,
}

enum WantedRelays {
    /// One address of this family.
    One { family: AddressFamily, port: WantedPort },
    /// One of each family (ADDITIONAL-ADDRESS-FAMILY).
    Both { port: WantedPort },
    /// The address that was kept for this.
    Reserved(ReservationToken),
}

#[derive(Clone, Copy)]
enum WantedPort {
    Any,
    Even,
    EvenAndReserveNext,
}

impl Server {
    pub(super) fn handle_allocate(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        request: &Message<'_>,
        sender: &Sender,
    ) -> Result<(), ErrorCode> {
        if let Some(key) = self.allocation_of.get(&tuple).copied() {
            return self.repeat_allocate(now, key, request, sender);
        }
        let wanted = Wanted::parse(request, self.config.limits.lifetime)?;
        if let Admission::Draining { alternate } = &self.admission {
            return match alternate.clone().filter(|to| to.address.is_ipv4() == tuple.canonical_client().is_ipv4()) {
                Some(alternate) => {
                    self.redirect(tuple, request, sender, &alternate);
                    Ok(())
                }
                None => Err(ErrorCode::INSUFFICIENT_CAPACITY),
            };
        }
        if self.config.limits.daily_egress_bytes.is_some_and(|cap| self.ledger.egress().is_exhausted(now, cap)) {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        match wanted.relays {
            WantedRelays::Reserved(token) => {
                self.allocate_reserved(now, tuple, request, sender, token, wanted.lifetime)
            }
            WantedRelays::One { family, port } => {
                let address = self.relay_address(family, &tuple).ok_or(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED)?;
                self.allocate_new(now, tuple, request, sender, &[address], port, wanted.lifetime).map(|_| ())
            }
            WantedRelays::Both { port } => {
                let ipv4 = self.relay_address(AddressFamily::Ipv4, &tuple);
                let ipv6 = self.relay_address(AddressFamily::Ipv6, &tuple);
                let missing = match (ipv4, ipv6) {
                    (Some(_), Some(_)) => None,
                    (None, Some(_)) => Some(AddressFamily::Ipv4),
                    (Some(_), None) => Some(AddressFamily::Ipv6),
                    (None, None) => return Err(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED),
                };
                let addresses: Vec<_> = [ipv4, ipv6].into_iter().flatten().collect();
                let key = self.allocate_new(now, tuple, request, sender, &addresses, port, wanted.lifetime)?;
                if let Some(allocation) = self.allocations.get_mut(key) {
                    allocation.missing = missing.map(|family| (family, ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED));
                }
                Ok(())
            }
        }
    }

    /// A request on a flow that has an allocation: the same request again gets the same answer (RFC 8656 §7.2).
    fn repeat_allocate(
        &mut self,
        now: Instant,
        key: Key,
        request: &Message<'_>,
        sender: &Sender,
    ) -> Result<(), ErrorCode> {
        let allocation = self.allocations.get(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if allocation.transaction_id != request.transaction_id()
            || self.accounts.get(allocation.account).is_none_or(|account| *account.principal() != sender.principal)
        {
            return Err(ErrorCode::ALLOCATION_MISMATCH);
        }
        if allocation.is_open() {
            let tuple = allocation.tuple;
            let facts = self.allocated(now, allocation);
            self.answer(tuple, request, sender, Class::Success, |writer| facts.write(writer));
        }
        // While the sockets are opening, the answer is on its way.
        Ok(())
    }

    fn allocate_reserved(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        request: &Message<'_>,
        sender: &Sender,
        token: ReservationToken,
        lifetime: Duration,
    ) -> Result<(), ErrorCode> {
        let reservation = self.reservations.get(&token).ok_or(ErrorCode::INSUFFICIENT_CAPACITY)?;
        let relay = reservation.relay;
        // A token is of use only to those who got it.
        if self.accounts.get(reservation.account).is_none_or(|account| *account.principal() != sender.principal)
            || self.relays.get(relay.0).is_none_or(|socket| !socket.is_open())
        {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        self.release_reservation(token);
        let key = match self.admit(now, tuple, request, sender, AllocationState::Open) {
            Ok(key) => key,
            Err(code) => {
                self.close_relay(relay);
                return Err(code);
            }
        };
        let Some((allocation, socket)) = self.allocations.get_mut(key).zip(self.relays.get_mut(relay.0)) else {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        };
        allocation.relays.set(socket.family(), Some(relay));
        socket.allocation = Some(key);
        self.set_deadline(key, now + lifetime);
        self.metrics.allocations_created += 1;
        if let Some(allocation) = self.allocations.get(key) {
            let facts = self.allocated(now, allocation);
            self.answer(tuple, request, sender, Class::Success, |writer| facts.write(writer));
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "a request, its sender, and what was made of it")]
    fn allocate_new(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        request: &Message<'_>,
        sender: &Sender,
        addresses: &[RelayAddress],
        port: WantedPort,
        lifetime: Duration,
    ) -> Result<Key, ErrorCode> {
        let opening = Opening {
            key: sender.key.clone(),
            integrity: sender.integrity,
            fingerprint: request.has_fingerprint(),
            lifetime,
            next: None,
        };
        let key = self.admit(now, tuple, request, sender, AllocationState::Opening(Box::new(opening)))?;
        for address in addresses {
            let wants_even_port = !matches!(port, WantedPort::Any);
            let relay = self.insert_relay(*address, Some(key), wants_even_port);
            let port = match port {
                WantedPort::Any => PortRequest::Any,
                WantedPort::Even => PortRequest::Even,
                WantedPort::EvenAndReserveNext => {
                    let next = self.insert_relay(*address, Some(key), false);
                    if let Some(AllocationState::Opening(opening)) =
                        self.allocations.get_mut(key).map(|allocation| &mut allocation.state)
                    {
                        opening.next = Some(next);
                    }
                    PortRequest::EvenWithNext(next)
                }
            };
            if let Some(allocation) = self.allocations.get_mut(key) {
                allocation.relays.set(AddressFamily::of(address.advertised), Some(relay));
            }
            self.outbox.open(relay, address.bind, port);
        }
        self.set_deadline(key, now + OPEN_TIMEOUT);
        Ok(key)
    }

    /// Counts a new allocation against all quotas and enters it (RFC 8656 §7.2, 486 and 508).
    fn admit(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        request: &Message<'_>,
        sender: &Sender,
        state: AllocationState,
    ) -> Result<Key, ErrorCode> {
        let source = tuple.canonical_client().ip();
        let most = self.max_allocations(&sender.principal);
        let holder = self.ledger.take(&sender.principal, source, most, &self.config.limits, now);
        let holder = holder.map_err(|reached| match reached {
            QuotaReached::Credential | QuotaReached::Source => ErrorCode::ALLOCATION_QUOTA_REACHED,
            QuotaReached::Total => ErrorCode::INSUFFICIENT_CAPACITY,
        })?;
        let account = self.accounts.open(holder);
        let allocation = Allocation::new(tuple, account, sender.print, request.transaction_id(), state, now);
        let key = self.allocations.insert(allocation);
        self.allocation_of.insert(tuple, key);
        if let Some(account) = self.accounts.get_mut(account) {
            account.allocations.push(key);
        }
        Ok(key)
    }

    /// In a room: so many for each other member, since every connection has allocations of its own.
    fn max_allocations(&self, principal: &Principal) -> u32 {
        let limit = self.config.limits.allocations_per_credential;
        match principal {
            Principal::User(name) => self.credentials.user(name).and_then(|user| user.max_allocations).unwrap_or(limit),
            Principal::Tag(tag) => {
                let room_size = self.rooms.member(tag).map_or(0, |member| self.rooms.size_of(member.room));
                limit.saturating_mul(u32::try_from(room_size.saturating_sub(1).max(1)).unwrap_or(u32::MAX))
            }
        }
    }

    /// Where to relay for this family: at the address the client came to, if that is possible.
    fn relay_address(&self, family: AddressFamily, tuple: &FiveTuple) -> Option<RelayAddress> {
        let of_family = |address: &&RelayAddress| AddressFamily::of(address.advertised) == family;
        let came_to = |ip: IpAddr| ip == tuple.server.ip().to_canonical();
        let mut addresses = self.config.relay_addresses.iter().filter(of_family);
        let first = addresses.clone().next();
        addresses.find(|address| came_to(address.bind) || came_to(address.advertised)).or(first).copied()
    }

    pub(super) fn insert_relay(
        &mut self,
        address: RelayAddress,
        allocation: Option<Key>,
        wants_even_port: bool,
    ) -> RelayId {
        RelayId(self.relays.insert(RelaySocket { allocation, address, wants_even_port, port: 0 }))
    }

    /// What a success response says of an open allocation.
    pub(super) fn allocated(&self, now: Instant, allocation: &Allocation) -> Allocated {
        let relayed = |relay: RelayId| self.relays.get(relay.0).map(RelaySocket::relayed);
        Allocated {
            client: allocation.tuple.canonical_client(),
            relayed: [allocation.relays.ipv4.and_then(relayed), allocation.relays.ipv6.and_then(relayed)],
            lifetime_seconds: whole_seconds(allocation.expires_at.saturating_duration_since(now)),
            reservation: allocation.reservation,
            missing: allocation.missing,
        }
    }
}

/// The contents of an Allocate success response (RFC 8656 §7.2).
pub(super) struct Allocated {
    client: std::net::SocketAddr,
    relayed: [Option<std::net::SocketAddr>; 2],
    lifetime_seconds: u32,
    reservation: Option<ReservationToken>,
    missing: Option<(AddressFamily, ErrorCode)>,
}

impl Allocated {
    pub(super) fn write(&self, writer: &mut MessageWriter<'_>) {
        for relayed in self.relayed.iter().flatten() {
            writer.xor_address(AttributeKind::XOR_RELAYED_ADDRESS, *relayed);
        }
        writer.u32(AttributeKind::LIFETIME, self.lifetime_seconds);
        if let Some(ReservationToken(token)) = &self.reservation {
            writer.attribute(AttributeKind::RESERVATION_TOKEN, token);
        }
        writer.xor_address(AttributeKind::XOR_MAPPED_ADDRESS, self.client);
        if let Some((family, code)) = self.missing {
            // Family, reserved bits, class, number, no reason (RFC 8656 §18.12).
            let [class, number] = code.class_and_number();
            writer.attribute(AttributeKind::ADDRESS_ERROR_CODE, &[family.number(), 0, class, number]);
        }
    }
}

impl Wanted {
    /// The checks of RFC 8656 §7.2, in its order.
    fn parse(request: &Message<'_>, max_lifetime: Duration) -> Result<Self, ErrorCode> {
        let [protocol, ..] = fixed::<4>(request, AttributeKind::REQUESTED_TRANSPORT)?.ok_or(ErrorCode::BAD_REQUEST)?;
        if protocol != PROTOCOL_UDP {
            return Err(ErrorCode::UNSUPPORTED_TRANSPORT);
        }
        let token = fixed::<8>(request, AttributeKind::RESERVATION_TOKEN)?;
        let even_port = fixed::<1>(request, AttributeKind::EVEN_PORT)?;
        let family = requested_family(request)?;
        let additional = match fixed::<4>(request, AttributeKind::ADDITIONAL_ADDRESS_FAMILY)? {
            None => fixed::<4>(request, AttributeKind::ADDITIONAL_ADDRESS_FAMILY_OF_DRAFT)?,
            additional => additional,
        };
        let lifetime = granted_lifetime(request, max_lifetime)?;

        if let Some(token) = token {
            if even_port.is_some() || family.is_some() || additional.is_some() {
                return Err(ErrorCode::BAD_REQUEST);
            }
            return Ok(Self { relays: WantedRelays::Reserved(ReservationToken(token)), lifetime });
        }
        let port = match even_port {
            None => WantedPort::Any,
            Some([flags]) if flags & 0x80 != 0 => WantedPort::EvenAndReserveNext,
            Some(_) => WantedPort::Even,
        };
        let relays = match additional {
            // Only IPv6 can be added, to IPv4 that is not asked for, and without a port to keep.
            Some([number, ..]) => {
                let keeps_port = matches!(port, WantedPort::EvenAndReserveNext);
                if family.is_some() || keeps_port || number != AddressFamily::Ipv6.number() {
                    return Err(ErrorCode::BAD_REQUEST);
                }
                WantedRelays::Both { port }
            }
            // Whatever family the client itself uses: who says nothing gets IPv4 (RFC 8656 §7.2).
            None => WantedRelays::One { family: family.unwrap_or(AddressFamily::Ipv4), port },
        };
        Ok(Self { relays, lifetime })
    }
}

/// REQUESTED-ADDRESS-FAMILY: 440 for a family that does not exist (RFC 8656 §7.2).
pub(super) fn requested_family(request: &Message<'_>) -> Result<Option<AddressFamily>, ErrorCode> {
    fixed::<4>(request, AttributeKind::REQUESTED_ADDRESS_FAMILY)?
        .map(|[number, ..]| AddressFamily::from_number(number).ok_or(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED))
        .transpose()
}

/// LIFETIME, not under the default and not above the limit (RFC 8656 §7.2). Zero, which only Refresh knows, is raised.
pub(super) fn granted_lifetime(request: &Message<'_>, max: Duration) -> Result<Duration, ErrorCode> {
    let asked = fixed::<4>(request, AttributeKind::LIFETIME)?.map(u32::from_be_bytes).unwrap_or_default();
    Ok(Duration::from_secs(asked.into()).min(max).max(DEFAULT_LIFETIME))
}

/// An attribute of fixed length: 400 when its length is another.
pub(super) fn fixed<const N: usize>(request: &Message<'_>, kind: AttributeKind) -> Result<Option<[u8; N]>, ErrorCode> {
    request.attribute(kind).map(|value| value.try_into().map_err(|_| ErrorCode::BAD_REQUEST)).transpose()
}

/// Seconds on the wire, rounded up: a lease is never shorter than said.
pub(super) fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}
