//! ChannelBind (RFC 8656 §12).

use std::time::Instant;

use super::Server;
use super::allocate::fixed;
use super::authenticate::Sender;
use crate::allocation::BindRefused;
use crate::channel_data::ChannelNumber;
use crate::five_tuple::FiveTuple;
use crate::stun::{AttributeKind, ErrorCode, Message, decode_xor_address};

impl Server {
    pub(super) fn handle_channel_bind(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        request: &Message<'_>,
        sender: &Sender,
    ) -> Result<(), ErrorCode> {
        let key = self.own_allocation(&tuple, sender)?;
        let [high, low, ..] = fixed::<4>(request, AttributeKind::CHANNEL_NUMBER)?.ok_or(ErrorCode::BAD_REQUEST)?;
        let number = ChannelNumber::new(u16::from_be_bytes([high, low])).ok_or(ErrorCode::BAD_REQUEST)?;
        let peer = request
            .attribute(AttributeKind::XOR_PEER_ADDRESS)
            .and_then(|value| decode_xor_address(value, request.transaction_id()))
            .ok_or(ErrorCode::BAD_REQUEST)?;

        let limits = self.config.limits;
        let allocation = self.allocations.get(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        allocation.may_bind(number, peer, limits.channels, now).map_err(|refused| match refused {
            BindRefused::Conflict => ErrorCode::BAD_REQUEST,
            BindRefused::Full => ErrorCode::INSUFFICIENT_CAPACITY,
        })?;
        let reach = self.check_transport_peer(key, peer)?;
        let allocation = self.allocations.get_mut(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if !allocation.has_room_for(&[(peer.ip(), reach)], limits.permissions, now) {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        // A binding permits its peer, too (RFC 8656 §12.2).
        allocation.permit(peer.ip(), reach, now);
        allocation.bind(number, peer, reach, now);
        self.accept(tuple, request, sender);
        Ok(())
    }
}
