//! What waits to be written to a client over TCP or TLS.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Bytes that may wait for one client. More are dropped, message by message: what TURN carries are datagrams, and a
/// late one is worth less than none.
const MAX_BYTES: usize = 256 * 1024;

/// Written by the worker, read by the stream's task.
#[derive(Debug, Default)]
pub(super) struct StreamQueue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    is_closed: bool,
}

impl StreamQueue {
    /// Adds one message, given in parts. `false` when there is no room.
    pub(super) fn push(&self, parts: &[&[u8]]) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if waiting.bytes.len() + len > MAX_BYTES || waiting.is_closed {
            return false;
        }
        parts.iter().for_each(|part| waiting.bytes.extend_from_slice(part));
        drop(waiting);
        self.changed.notify_one();
        true
    }

    /// Nothing comes any more; what waits is still given out.
    pub(super) fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.changed.notify_one();
    }

    /// Waits for bytes and swaps them into `empty`. `false` at the end. Cancel-safe.
    pub(super) async fn take(&self, empty: &mut Vec<u8>) -> bool {
        loop {
            let changed = self.changed.notified();
            {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if !waiting.bytes.is_empty() {
                    empty.clear();
                    std::mem::swap(&mut waiting.bytes, empty);
                    return true;
                }
                if waiting.is_closed {
                    return false;
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_of_a_client_that_does_not_read_are_dropped_whole() {
        let queue = StreamQueue::default();
        let message = [7; 1000];
        let taken = (0..1_000).filter(|_| queue.push(&[&message[..4], &message[4..]])).count();
        assert_eq!(taken, MAX_BYTES / 1000);
        let mut bytes = Vec::new();
        assert!(queue.take(&mut bytes).await);
        assert_eq!(bytes.len(), taken * 1000);
        assert!(queue.push(&[&message]), "there is room again");
        queue.close();
        assert!(queue.take(&mut bytes).await, "what waits is still given out");
        assert!(!queue.take(&mut bytes).await);
    }
}
