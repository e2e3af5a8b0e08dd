//! From open sockets to allocations, and the end of both.

use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;

use super::Server;
use crate::allocation::{Allocation, AllocationState, Opening};
use crate::command::RelayId;
use crate::deadlines::Deadline;
use crate::five_tuple::FiveTuple;
use crate::reservation::{RESERVATION_LIFETIME, Reservation, ReservationToken};
use crate::slab::Key;
use crate::stun::{Class, ErrorCode, MessageWriter, Method};

/// A relay socket could not be opened, or its port not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no relay socket could be opened")]
pub struct RelaySocketUnavailable;

impl Server {
    /// The shell's answer to [`Command::OpenRelaySocket`](crate::Command): the socket's local address, or that there
    /// is none. With [`PortRequest::EvenWithNext`](crate::PortRequest) one answer stands for both sockets.
    ///
    /// Ignored when the client has gone meanwhile: the command to close the socket is out already.
    pub fn relay_socket_opened(
        &mut self,
        now: Instant,
        relay: RelayId,
        result: Result<SocketAddr, RelaySocketUnavailable>,
    ) {
        let Some(socket) = self.relays.get(relay.0).filter(|socket| !socket.is_open()) else { return };
        let Some(key) = socket.allocation else { return };
        match result {
            Ok(local) if local.port() != 0 && !(socket.wants_even_port && local.port() % 2 != 0) => {
                self.name_relay(relay, local.port());
                if let Some(next) = self.next_of(key) {
                    // Even ports are at most 65534.
                    self.name_relay(next, local.port() + 1);
                }
            }
            Ok(_) => self.give_up_relay(key, relay, true),
            Err(RelaySocketUnavailable) => self.give_up_relay(key, relay, false),
        }
        self.finish_opening(now, key);
    }

    /// The socket opened for a reservation, while its allocation waits.
    fn next_of(&self, key: Key) -> Option<RelayId> {
        match &self.allocations.get(key)?.state {
            AllocationState::Opening(opening) => opening.next,
            AllocationState::Open => None,
        }
    }

    /// Goes on without a socket that did not open. `close` unless the shell said that there is none.
    fn give_up_relay(&mut self, key: Key, relay: RelayId, close: bool) {
        let next = self.next_of(key);
        let Some(allocation) = self.allocations.get_mut(key) else { return };
        if let AllocationState::Opening(opening) = &mut allocation.state {
            opening.next = None;
        }
        if let Some(socket) = self.relays.get(relay.0) {
            allocation.relays.set(socket.family(), None);
            allocation.missing = Some((socket.family(), ErrorCode::INSUFFICIENT_CAPACITY));
        }
        for relay in [Some(relay), next].into_iter().flatten() {
            self.drop_relay(relay, close);
        }
    }

    /// A stream ended: its allocation ends with it (RFC 8656 §3.1).
    pub fn handle_client_disconnected(&mut self, tuple: FiveTuple) {
        if let Some(key) = self.allocation_of.get(&tuple).copied() {
            self.remove_allocation(key);
        }
    }

    /// Answers the Allocate request when no socket is waited for any more.
    fn finish_opening(&mut self, now: Instant, key: Key) {
        let Some(allocation) = self.allocations.get_mut(key) else { return };
        let relays: Vec<RelayId> = allocation.relays.iter().collect();
        if relays.iter().any(|relay| self.relays.get(relay.0).is_some_and(|socket| !socket.is_open())) {
            return;
        }
        let AllocationState::Opening(opening) = std::mem::replace(&mut allocation.state, AllocationState::Open) else {
            return;
        };
        if relays.is_empty() {
            let transaction_id = allocation.transaction_id;
            let tuple = allocation.tuple;
            self.metrics.count_refusal(ErrorCode::INSUFFICIENT_CAPACITY);
            self.outbox.reply(tuple, |buffer| {
                let mut writer = MessageWriter::new(buffer, Class::Error, Method::ALLOCATE, transaction_id);
                let code = ErrorCode::INSUFFICIENT_CAPACITY;
                writer.error_code(code, code.reason());
                opening.seal(writer)
            });
            self.remove_allocation(key);
            return;
        }
        let (account, source) = (allocation.account, allocation.tuple.canonical_client().ip());
        let lifetime = opening.lifetime.min(self.config.limits.age.unwrap_or(opening.lifetime));
        self.set_deadline(key, now + lifetime);
        if let Some(next) = opening.next {
            let reservation = Reservation { relay: next, account, source, expires_at: now + RESERVATION_LIFETIME };
            let token = self.reserve(now, reservation);
            if let Some(allocation) = self.allocations.get_mut(key) {
                allocation.reservation = token;
            }
        }
        self.metrics.allocations_created += 1;
        let Some(allocation) = self.allocations.get(key) else { return };
        let (tuple, transaction_id) = (allocation.tuple, allocation.transaction_id);
        let facts = self.allocated(now, allocation);
        self.outbox.reply(tuple, |buffer| {
            let mut writer = MessageWriter::new(buffer, Class::Success, Method::ALLOCATE, transaction_id);
            facts.write(&mut writer);
            opening.seal(writer)
        });
    }

    /// Keeps a socket for a later Allocate. It counts in the owner's quotas; without room there, it is closed again.
    fn reserve(&mut self, now: Instant, reservation: Reservation) -> Option<ReservationToken> {
        if let Some(socket) = self.relays.get_mut(reservation.relay.0) {
            socket.allocation = None;
        }
        let taken = self.accounts.get_mut(reservation.account).and_then(|account| {
            // The credential's own quota may be passed by this: the allocation that comes for it takes its place.
            self.ledger.take(account.principal(), reservation.source, u32::MAX, &self.config.limits, now).ok()?;
            account.reservations += 1;
            Some(())
        });
        if taken.is_none() {
            self.close_relay(reservation.relay);
            return None;
        }
        let token = ReservationToken(self.rng.next_u64().to_be_bytes());
        self.deadlines.add(reservation.expires_at, Deadline::Reservation(token));
        self.reservations.insert(token, reservation);
        Some(token)
    }

    /// Ends a reservation; its socket is the caller's.
    pub(super) fn release_reservation(&mut self, token: ReservationToken) -> Option<RelayId> {
        let reservation = self.reservations.remove(&token)?;
        self.deadlines.remove(reservation.expires_at, Deadline::Reservation(token));
        if let Some(account) = self.accounts.get_mut(reservation.account) {
            self.ledger.give_back(&account.holder, reservation.source);
            account.reservations = account.reservations.saturating_sub(1);
        }
        self.accounts.tidy(reservation.account);
        Some(reservation.relay)
    }

    pub(super) fn expire_reservation(&mut self, token: ReservationToken) {
        if let Some(relay) = self.release_reservation(token) {
            self.close_relay(relay);
        }
    }

    /// An allocation's time is over, or its sockets took too long to open.
    pub(super) fn expire_allocation(&mut self, now: Instant, key: Key) {
        let Some(allocation) = self.allocations.get(key) else { return };
        if allocation.is_open() {
            self.metrics.allocations_expired += 1;
            self.remove_allocation(key);
            return;
        }
        let is_unopened = |relay: &RelayId| self.relays.get(relay.0).is_some_and(|socket| !socket.is_open());
        let unopened: Vec<RelayId> = allocation.relays.iter().filter(is_unopened).collect();
        for relay in unopened {
            self.give_up_relay(key, relay, true);
        }
        self.finish_opening(now, key);
    }

    /// Sets when an allocation runs out. The only place that does.
    pub(super) fn set_deadline(&mut self, key: Key, at: Instant) {
        let Some(allocation) = self.allocations.get_mut(key) else { return };
        self.deadlines.remove(allocation.expires_at, Deadline::Allocation(key));
        allocation.expires_at = at;
        self.deadlines.add(at, Deadline::Allocation(key));
    }

    /// Ends an allocation and closes its sockets. Reserved ports stay until their own time.
    pub(super) fn remove_allocation(&mut self, key: Key) {
        let Some(allocation) = self.allocations.remove(key) else { return };
        let Allocation { tuple, account, relays, state, expires_at, .. } = allocation;
        self.deadlines.remove(expires_at, Deadline::Allocation(key));
        self.allocation_of.remove(&tuple);
        if let Some(account) = self.accounts.get_mut(account) {
            self.ledger.give_back(&account.holder, tuple.canonical_client().ip());
            // Usually among the first: allocations end in about the order in which they were made.
            if let Some(place) = account.allocations.iter().position(|held| *held == key) {
                account.allocations.swap_remove(place);
            }
        }
        self.accounts.tidy(account);
        let next = match state {
            AllocationState::Opening(opening) => opening.next,
            AllocationState::Open => None,
        };
        for relay in relays.iter().chain(next) {
            self.close_relay(relay);
        }
    }

    /// Closes a relay socket, also one that the shell has not opened yet.
    pub(super) fn close_relay(&mut self, relay: RelayId) {
        self.drop_relay(relay, true);
    }

    fn drop_relay(&mut self, relay: RelayId, close: bool) {
        let Some(socket) = self.relays.remove(relay.0) else { return };
        if socket.is_open() {
            self.ledger.withdraw(&socket);
            for name in socket.names() {
                self.relay_named.remove(&name);
            }
        }
        if close {
            self.outbox.close(relay);
        }
    }

    /// Notes the port of a socket that is open now.
    fn name_relay(&mut self, relay: RelayId, port: u16) {
        let Some(socket) = self.relays.get_mut(relay.0) else { return };
        socket.port = port;
        for name in socket.names() {
            self.relay_named.insert(name, relay);
        }
        let allocation = socket.allocation.and_then(|key| self.allocations.get(key));
        if let Some(account) = allocation.and_then(|allocation| self.accounts.get(allocation.account)) {
            self.ledger.publish(&account.holder, socket);
        }
    }
}

impl Opening {
    /// Protects and completes the answer.
    fn seal(&self, mut writer: MessageWriter<'_>) -> Option<()> {
        writer.integrity(self.integrity, &self.key);
        if self.fingerprint {
            writer.fingerprint();
        }
        writer.finish().ok()
    }
}
