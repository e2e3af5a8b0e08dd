//! Commands on their way to the shell. Replies share one buffer, which is used again once all are taken.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::command::{Command, PortRequest, RelayId};
use crate::five_tuple::FiveTuple;

/// Bytes of replies that wait at most; more are dropped. A shell that drains after every call never gets near.
const MAX_REPLY_BYTES: usize = 1 << 20;

/// Buffer kept between drains.
const KEPT_BYTES: usize = 16 << 10;

#[derive(Debug)]
enum Queued {
    Reply { tuple: FiveTuple, start: usize, end: usize },
    Open { relay: RelayId, bind: IpAddr, port: PortRequest },
    Close { relay: RelayId },
}

/// The commands, in order.
///
/// Replies beyond [`MAX_REPLY_BYTES`] are dropped, as a full socket would do; socket commands are never, and are
/// bounded by the number of allocations.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Queued>,
    bytes: Vec<u8>,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { queue: VecDeque::with_capacity(16), bytes: Vec::with_capacity(KEPT_BYTES) }
    }

    /// Queues the message that `write` puts at the end of the buffer. `false` when there is no room, or when
    /// `write` gave up by returning `None`.
    pub(crate) fn reply(&mut self, tuple: FiveTuple, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> bool {
        self.recycle();
        if self.bytes.len() >= MAX_REPLY_BYTES {
            return false;
        }
        let start = self.bytes.len();
        if write(&mut self.bytes).is_none() {
            self.bytes.truncate(start);
            return false;
        }
        self.queue.push_back(Queued::Reply { tuple, start, end: self.bytes.len() });
        true
    }

    pub(crate) fn open(&mut self, relay: RelayId, bind: IpAddr, port: PortRequest) {
        self.queue.push_back(Queued::Open { relay, bind, port });
    }

    pub(crate) fn close(&mut self, relay: RelayId) {
        self.queue.push_back(Queued::Close { relay });
    }

    pub(crate) fn pop(&mut self) -> Option<Command<'_>> {
        Some(match self.queue.pop_front()? {
            Queued::Reply { tuple, start, end } => {
                Command::SendToClient { tuple, message: self.bytes.get(start..end).unwrap_or_default() }
            }
            Queued::Open { relay, bind, port } => Command::OpenRelaySocket { relay, bind, port },
            Queued::Close { relay } => Command::CloseRelaySocket { relay },
        })
    }

    /// Starts the buffer anew when nothing in it waits.
    fn recycle(&mut self) {
        if self.queue.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::five_tuple::Transport;

    fn tuple() -> FiveTuple {
        FiveTuple {
            transport: Transport::Udp,
            client: "192.0.2.1:1".parse().unwrap(),
            server: "192.0.2.2:3478".parse().unwrap(),
        }
    }

    #[test]
    fn replies_keep_their_order_and_bytes() {
        let mut outbox = Outbox::new();
        for byte in 0..3 {
            assert!(outbox.reply(tuple(), |buffer| {
                buffer.extend([byte; 4]);
                Some(())
            }));
        }
        for byte in 0..3 {
            assert_eq!(outbox.pop(), Some(Command::SendToClient { tuple: tuple(), message: &[byte; 4] }));
        }
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn replies_nobody_takes_are_dropped_at_the_limit() {
        let mut outbox = Outbox::new();
        let mut taken = 0;
        while outbox.reply(tuple(), |buffer| {
            buffer.extend([0; 1 << 16]);
            Some(())
        }) {
            taken += 1;
        }
        assert_eq!(taken, MAX_REPLY_BYTES >> 16);
        while outbox.pop().is_some() {}
        assert!(!outbox.reply(tuple(), |buffer| {
            buffer.push(1);
            None
        }));
        assert!(outbox.bytes.is_empty());
        assert!(outbox.bytes.capacity() <= MAX_REPLY_BYTES / 4);
    }
}
