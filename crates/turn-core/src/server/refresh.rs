//! Refresh (RFC 8656 §8), and whose allocation a request is about.

use std::time::{Duration, Instant};

use super::Server;
use super::allocate::{fixed, granted_lifetime, requested_family, whole_seconds};
use super::authenticate::Sender;
use crate::five_tuple::FiveTuple;
use crate::slab::Key;
use crate::stun::{AddressFamily, AttributeKind, Class, ErrorCode, Message};

impl Server {
    pub(super) fn handle_refresh(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        request: &Message<'_>,
        sender: &Sender,
    ) -> Result<(), ErrorCode> {
        let key = self.own_allocation(&tuple, sender)?;
        let family = requested_family(request)?;
        let gives_up = fixed::<4>(request, AttributeKind::LIFETIME)? == Some([0; 4]);
        let allocation = self.allocations.get(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if family.is_some_and(|family| allocation.relays.of(family).is_none()) {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }

        let lifetime = match (gives_up, family) {
            // Of two addresses, one may be given up alone (RFC 8656 §8.2).
            (true, Some(family)) if allocation.relays.iter().count() > 1 => {
                self.give_up_family(key, family);
                Duration::ZERO
            }
            // Sent again it gets a 437, which the client takes for success (RFC 8656 §8.3).
            (true, _) => {
                self.remove_allocation(key);
                Duration::ZERO
            }
            (false, _) => {
                let wanted = granted_lifetime(request, self.config.limits.lifetime)?;
                let oldest = self.config.limits.age.map(|age| allocation.created_at + age);
                let expires_at = oldest.map_or(now + wanted, |oldest| oldest.min(now + wanted));
                self.set_deadline(key, expires_at);
                expires_at.saturating_duration_since(now)
            }
        };
        self.answer(tuple, request, sender, Class::Success, |writer| {
            writer.u32(AttributeKind::LIFETIME, whole_seconds(lifetime));
        });
        Ok(())
    }

    /// The allocation of this flow: 437 without one, 441 when it is somebody else's (RFC 8656 §5).
    pub(super) fn own_allocation(&mut self, tuple: &FiveTuple, sender: &Sender) -> Result<Key, ErrorCode> {
        let key = self.allocation_of.get(tuple).copied().ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let allocation = self.allocations.get(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if self.accounts.get(allocation.account).is_none_or(|account| *account.principal() != sender.principal) {
            return Err(ErrorCode::WRONG_CREDENTIALS);
        }
        if !allocation.is_open() {
            return Err(ErrorCode::ALLOCATION_MISMATCH);
        }
        // An address that is no longer this server's cannot be reached by peers: the client had better start anew.
        let is_current = allocation.relays.iter().any(|relay| {
            let address = self.relays.get(relay.0).map(|socket| socket.address);
            address.is_some_and(|address| self.config.relay_addresses.contains(&address))
        });
        if !is_current {
            self.remove_allocation(key);
            return Err(ErrorCode::ALLOCATION_MISMATCH);
        }
        Ok(key)
    }

    fn give_up_family(&mut self, key: Key, family: AddressFamily) {
        let Some(allocation) = self.allocations.get_mut(key) else { return };
        let relay = allocation.relays.of(family);
        allocation.relays.set(family, None);
        allocation.retain_peers(|ip, reach| (AddressFamily::of(ip) != family).then_some(reach));
        if let Some(relay) = relay {
            self.close_relay(relay);
        }
    }
}
