//! How much may be in flight (TR-30 to TR-33). Both halves count whole messages of the data channel since the link began.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lanyard_protocol::control::{ControlMessage, TransferId};
use lanyard_protocol::frame::PIECE_BYTES;

/// Credit that is too little to be told at once is told after this long.
const GRANT_AFTER: Duration = Duration::from_millis(100);

/// The receiver's half: gives credit for bytes that have left its memory.
#[derive(Debug)]
pub(crate) struct Grant {
    window: u64,
    received: u64,
    /// Bytes of files in memory: in the open piece, or written and not yet answered. Outlives a link.
    held: u64,
    told: Option<u64>,
    due: Option<Instant>,
}

impl Grant {
    pub(crate) fn new(window: u64) -> Self {
        Self { window, received: 0, held: 0, told: None, due: None }
    }

    pub(crate) fn restart(&mut self) {
        (self.received, self.told, self.due) = (0, None, None);
    }

    /// Counts a message; `false` when it is more than was allowed.
    pub(crate) fn receive(&mut self, now: Instant, bytes: u64) -> bool {
        self.received = self.received.saturating_add(bytes);
        self.notice(now);
        self.told.is_some_and(|told| self.received <= told)
    }

    pub(crate) fn hold(&mut self, bytes: u64) {
        self.held += bytes;
    }

    pub(crate) fn release(&mut self, now: Instant, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
        self.notice(now);
    }

    pub(crate) fn resize(&mut self, now: Instant, window: u64) {
        self.window = window;
        self.notice(now);
    }

    /// The message that is worth sending now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<ControlMessage> {
        let (limit, untold) = (self.limit(), self.untold());
        let enough = untold >= PIECE_BYTES.min(self.window / 8);
        let waited = self.due.is_some_and(|due| due <= now);
        if self.told.is_some() && !(enough || (waited && untold > 0)) {
            return None;
        }
        (self.told, self.due) = (Some(limit), None);
        Some(ControlMessage::Credit { limit_bytes: limit })
    }

    /// None while there is nothing to tell: a window that shrank, or bytes that came to be held, may have used it up.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.filter(|_| self.untold() > 0)
    }

    fn notice(&mut self, now: Instant) {
        if self.due.is_none() && self.untold() > 0 {
            self.due = Some(now + GRANT_AFTER);
        }
    }

    /// Never below what was told: a window may shrink, a promise not.
    fn limit(&self) -> u64 {
        let limit = (self.received + self.window).saturating_sub(self.held);
        limit.max(self.told.unwrap_or(0))
    }

    fn untold(&self) -> u64 {
        self.limit() - self.told.unwrap_or(0)
    }
}

/// The sender's half: what may still be sent, and whose bytes the other side has taken.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    sent: u64,
    first_limit: Option<u64>,
    limit: u64,
    /// Ends of sent pieces, and whose they are.
    in_flight: VecDeque<(u64, TransferId, u64)>,
}

impl Allowance {
    pub(crate) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.sent)
    }

    /// Counts a message of the data channel with the pieces that ended in it.
    pub(crate) fn send(&mut self, bytes: u64, pieces: Vec<(TransferId, u64)>) {
        self.sent += bytes;
        self.in_flight.extend(pieces.into_iter().map(|(transfer, len)| (self.sent, transfer, len)));
    }

    /// New credit; `false` when it shrinks.
    pub(crate) fn handle_credit(&mut self, limit: u64) -> bool {
        let grows = limit >= self.limit;
        self.first_limit.get_or_insert(limit);
        self.limit = self.limit.max(limit);
        grows
    }

    /// A piece that the other side has taken, by the credit that it gave back.
    pub(crate) fn poll_taken(&mut self) -> Option<(TransferId, u64)> {
        let taken = self.limit - self.first_limit?;
        let &(end, transfer, len) = self.in_flight.front()?;
        if end > taken {
            return None;
        }
        self.in_flight.pop_front();
        Some((transfer, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn limit(message: Option<ControlMessage>) -> Option<u64> {
        message.map(|message| {
            let ControlMessage::Credit { limit_bytes } = message else { panic!("{message:?}") };
            limit_bytes
        })
    }

    #[test]
    fn tr_31_credit_comes_back_only_for_bytes_that_were_let_go() {
        let now = Instant::now();
        let mut grant = Grant::new(8 * MIB);
        assert_eq!(limit(grant.poll(now)), Some(8 * MIB));
        assert!(grant.receive(now, 3 * MIB));
        grant.hold(3 * MIB);
        assert_eq!(grant.poll(now), None);
        grant.release(now, 2 * MIB);
        assert_eq!(limit(grant.poll(now)), Some(10 * MIB));
    }

    #[test]
    fn tr_32_little_credit_is_told_after_a_tenth_of_a_second() {
        let now = Instant::now();
        let mut grant = Grant::new(8 * MIB);
        grant.poll(now);
        grant.receive(now, 100);
        assert_eq!(grant.poll(now), None);
        let later = grant.poll_timeout().unwrap();
        assert_eq!(limit(grant.poll(later)), Some(8 * MIB + 100));
        assert_eq!(grant.poll_timeout(), None);
    }

    #[test]
    fn tr_32_nothing_is_due_once_there_is_nothing_left_to_tell() {
        let now = Instant::now();
        let mut grant = Grant::new(8 * MIB);
        grant.poll(now);
        grant.receive(now, 100);
        assert!(grant.poll_timeout().is_some());
        grant.resize(now, 4 * MIB);
        assert_eq!(grant.poll(now + 2 * GRANT_AFTER), None);
        assert_eq!(grant.poll_timeout(), None, "a deadline that nothing can meet would keep its owner busy for ever");
    }

    #[test]
    fn tr_33_bytes_held_over_a_lost_link_still_count() {
        let now = Instant::now();
        let mut grant = Grant::new(8 * MIB);
        grant.poll(now);
        grant.receive(now, 3 * MIB);
        grant.hold(3 * MIB);
        grant.restart();
        assert_eq!(limit(grant.poll(now)), Some(5 * MIB));
    }

    #[test]
    fn tr_30_more_than_was_allowed_is_noticed() {
        let now = Instant::now();
        let mut grant = Grant::new(2 * MIB);
        assert!(!Grant::new(2 * MIB).receive(now, 1), "nothing is allowed before the first credit");
        grant.poll(now);
        assert!(grant.receive(now, 2 * MIB));
        grant.hold(2 * MIB);
        assert!(!grant.receive(now, 1));
    }
}
