//! What waits to be written to one WebSocket.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Messages that may wait.
const MESSAGES: usize = 64;
/// Bytes of text that may wait.
const BYTES: usize = 256 * 1024;

/// A thing for the writer to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// Write this text.
    Text(String),
    /// Say that everything before this is written.
    Drained,
    /// Write this close frame and end.
    Close(Close),
}

/// Why a WebSocket ends (RFC 6455 §7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

impl Close {
    pub(crate) const STOPPING: Self = Self { code: 1001, reason: "this server is stopping" };
    pub(crate) const REFUSED: Self = Self { code: 1002, reason: "the versions do not fit" };
    pub(crate) const MALFORMED: Self = Self { code: 1002, reason: "not a message of this protocol" };
    pub(crate) const IDLE: Self = Self { code: 1008, reason: "nothing was asked for in time" };
    pub(crate) const FLOODING: Self = Self { code: 1008, reason: "too many messages for too long" };
    pub(crate) const TOO_LONG: Self = Self { code: 1009, reason: "the message is too long" };
    pub(crate) const NO_SUCH_TICKET: Self = Self { code: 1008, reason: "this ticket opens no lane here" };
    pub(crate) const NOBODY_CAME: Self = Self { code: 1008, reason: "the other device did not come in time" };
    pub(crate) const REPLACED: Self = Self { code: 4001, reason: "a newer connection of this device took the place" };
    pub(crate) const OTHER_GONE: Self = Self { code: 4002, reason: "the other device left the lane" };
    pub(crate) const MAILBOX_GONE: Self = Self { code: 4003, reason: "the mailbox of this lane is gone" };
    pub(crate) const USED_UP: Self = Self { code: 1013, reason: "this server carries no more today" };
    pub(crate) const DEAD: Self = Self { code: 1001, reason: "nothing was heard for too long" };
    pub(crate) const SLOW: Self = Self { code: 1013, reason: "too much is waiting to be read" };
}

/// A bounded queue from the switchboard to one writer. Full means the reader at the other end is too slow: what waits
/// is dropped and the socket closed, because a gap in sealed messages could not be mended anyway.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    messages: usize,
    bytes: usize,
    /// Nothing is taken any more.
    ended: bool,
}

/// The queue was full; it is closed with [`Close::SLOW`] now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow;

impl OutQueue {
    pub(crate) fn push(&self, text: String) -> Result<(), Overflow> {
        let mut state = self.lock();
        if state.ended {
            return Ok(());
        }
        if state.messages >= MESSAGES || state.bytes + text.len() > BYTES {
            *state = State { items: VecDeque::from([Item::Close(Close::SLOW)]), ended: true, ..State::default() };
            drop(state);
            self.shared.changed.notify_one();
            return Err(Overflow);
        }
        state.messages += 1;
        state.bytes += text.len();
        state.items.push_back(Item::Text(text));
        drop(state);
        self.shared.changed.notify_one();
        Ok(())
    }

    pub(crate) fn push_drain_mark(&self) {
        self.push_control(Item::Drained, false);
    }

    /// Closes after what waits is written.
    pub(crate) fn close(&self, close: Close) {
        self.push_control(Item::Close(close), true);
    }

    /// The next thing to write; waits for it.
    pub(crate) async fn next(&self) -> Item {
        loop {
            // Only the one writer waits here, and a permit given before it does is kept.
            let changed = self.shared.changed.notified();
            if let Some(item) = self.pop() {
                return item;
            }
            changed.await;
        }
    }

    fn pop(&self) -> Option<Item> {
        let mut state = self.lock();
        let item = state.items.pop_front()?;
        if let Item::Text(text) = &item {
            state.messages -= 1;
            state.bytes -= text.len();
        }
        Some(item)
    }

    fn push_control(&self, item: Item, ends: bool) {
        let mut state = self.lock();
        if !state.ended {
            state.ended = ends;
            state.items.push_back(item);
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_65th_message_drops_what_waits_and_closes() {
        let queue = OutQueue::default();
        for n in 0..64 {
            queue.push(n.to_string()).unwrap();
        }
        assert_eq!(queue.push("64".into()), Err(Overflow));
        assert_eq!(queue.push("65".into()), Ok(()), "already closed: nothing to do");
        assert_eq!(queue.next().await, Item::Close(Close::SLOW));
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_given_back_when_read() {
        let queue = OutQueue::default();
        let text = "x".repeat(100 * 1024);
        queue.push(text.clone()).unwrap();
        queue.push(text.clone()).unwrap();
        assert_eq!(queue.next().await, Item::Text(text.clone()));
        queue.push(text.clone()).unwrap();
        assert_eq!(queue.push(text), Err(Overflow));
    }

    #[tokio::test]
    async fn closing_comes_after_what_waits() {
        let queue = OutQueue::default();
        queue.push("last".into()).unwrap();
        queue.close(Close::STOPPING);
        queue.push("too late".into()).unwrap();
        assert_eq!(queue.next().await, Item::Text("last".into()));
        assert_eq!(queue.next().await, Item::Close(Close::STOPPING));
    }
}
