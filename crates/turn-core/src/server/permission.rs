//! CreatePermission (RFC 8656 §10).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::Server;
use super::authenticate::Sender;
use crate::five_tuple::FiveTuple;
use crate::peer_policy::Reach;
use crate::slab::Key;
use crate::stun::{AddressFamily, AttributeKind, ErrorCode, Message, decode_xor_address};

impl Server {
    pub(super) fn handle_create_permission(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        request: &Message<'_>,
        sender: &Sender,
    ) -> Result<(), ErrorCode> {
        let key = self.own_allocation(&tuple, sender)?;
        let max = self.config.limits.permissions;
        let mut peers: Vec<(IpAddr, Reach)> = Vec::new();
        let listed = request.attributes().filter(|attribute| attribute.kind == AttributeKind::XOR_PEER_ADDRESS);
        for attribute in listed {
            let peer = decode_xor_address(attribute.value, request.transaction_id()).ok_or(ErrorCode::BAD_REQUEST)?;
            let reach = self.check_peer(key, peer.ip())?;
            if !peers.iter().any(|(listed, _)| *listed == peer.ip()) {
                if peers.len() >= max {
                    return Err(ErrorCode::INSUFFICIENT_CAPACITY);
                }
                peers.push((peer.ip(), reach));
            }
        }
        if peers.is_empty() {
            return Err(ErrorCode::BAD_REQUEST);
        }

        // All or none (RFC 8656 §10.2).
        let allocation = self.allocations.get_mut(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if !allocation.has_room_for(&peers, max, now) {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        for (peer, reach) in peers {
            allocation.permit(peer, reach, now);
        }
        self.accept(tuple, request, sender);
        Ok(())
    }

    /// Whether a peer may be permitted: 443 for the wrong family, 403 by policy.
    pub(super) fn check_peer(&mut self, key: Key, peer: IpAddr) -> Result<Reach, ErrorCode> {
        let allocation = self.allocations.get(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if allocation.relays.of(AddressFamily::of(peer)).is_none() {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }
        self.may_permit(allocation.account, peer).map_err(|denial| {
            self.metrics.count_denial(denial);
            ErrorCode::FORBIDDEN
        })
    }

    /// Whether a peer may be bound or sent to at this very port.
    pub(super) fn check_transport_peer(&mut self, key: Key, peer: SocketAddr) -> Result<Reach, ErrorCode> {
        // No socket can send to port 0.
        if peer.port() == 0 {
            return Err(ErrorCode::BAD_REQUEST);
        }
        let reach = self.check_peer(key, peer.ip())?;
        let account = self.allocations.get(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?.account;
        match self.may_exchange(account, peer, reach) {
            Ok(_) => Ok(reach),
            Err(denial) => {
                self.metrics.count_denial(denial);
                Err(ErrorCode::FORBIDDEN)
            }
        }
    }
}
