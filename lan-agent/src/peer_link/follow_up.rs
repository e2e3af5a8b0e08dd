//! Extra turns of the stack's event loop, without which relayed packets wait for the next event.
//!
//! `webrtc` 0.21.1 sends what its TURN client has queued at the *start* of a turn, and fills that queue later in the
//! same turn. A relayed packet then lies there until something else wakes the loop: 0.1 to 0.2 s on an idle link, which
//! made 16 MiB through two relays take two minutes. Each turn ends in one timer, so that timer is where the next turn
//! can be asked for. Nothing is done on links that use no relay.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

/// Turns after an event until all that came of it is on the wire: the received packet is unwrapped in the first, its
/// reply is wrapped in the second and sent in the third.
const TURNS: u8 = 3;

tokio::task_local! {
    /// Marks the task that runs a link's event loop; no other task's timers may be cut short.
    static EVENT_LOOP: ();
}

/// One link's count of turns since its last event.
#[derive(Debug, Default)]
pub(super) struct FollowUps {
    relaying: AtomicBool,
    completed: AtomicU8,
    outstanding: AtomicBool,
}

impl FollowUps {
    /// Whether a relay may carry packets of this link.
    pub(super) fn set_relaying(&self, relaying: bool) {
        self.relaying.store(relaying, Ordering::Release);
    }

    /// Runs `event_loop` so that [`Self::sleep`] recognises it.
    pub(super) fn mark(event_loop: Pin<Box<dyn Future<Output = ()> + Send>>) -> impl Future<Output = ()> + Send {
        EVENT_LOOP.scope((), event_loop)
    }

    /// A timer for `duration`; in the event loop, and while turns are due, one that lets everything else run once.
    pub(super) fn sleep(self: &Arc<Self>, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if EVENT_LOOP.try_with(|()| ()).is_err() || !self.turn_is_due() {
            return Box::pin(tokio::time::sleep(duration));
        }
        let follow_ups = Arc::clone(self);
        Box::pin(async move {
            tokio::task::yield_now().await;
            follow_ups.completed.fetch_add(1, Ordering::AcqRel);
            follow_ups.outstanding.store(false, Ordering::Release);
        })
    }

    fn turn_is_due(&self) -> bool {
        if !self.relaying.load(Ordering::Acquire) {
            return false;
        }
        if self.outstanding.swap(true, Ordering::AcqRel) {
            // The last one was overtaken by an event, which has a right to all its turns.
            self.completed.store(0, Ordering::Release);
        }
        if self.completed.load(Ordering::Acquire) < TURNS {
            return true;
        }
        self.completed.store(0, Ordering::Release);
        self.outstanding.store(false, Ordering::Release);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// How many timers in a row end at once, before one that lasts as long as it was asked to.
    async fn short_timers(follow_ups: &Arc<FollowUps>) -> usize {
        let mut count = 0;
        while tokio::time::timeout(LONG / 2, follow_ups.sleep(LONG)).await.is_ok() {
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn each_event_of_a_relayed_link_gets_its_turns_and_then_rest() {
        let follow_ups = Arc::new(FollowUps::default());
        follow_ups.set_relaying(true);
        let counted = Arc::clone(&follow_ups);
        FollowUps::mark(Box::pin(async move {
            for _ in 0..3 {
                assert_eq!(short_timers(&counted).await, usize::from(TURNS));
            }
        }))
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_overtakes_a_turn_gets_all_of_its_own() {
        let follow_ups = Arc::new(FollowUps::default());
        follow_ups.set_relaying(true);
        let counted = Arc::clone(&follow_ups);
        FollowUps::mark(Box::pin(async move {
            counted.sleep(LONG).await;
            counted.sleep(LONG).await;
            drop(counted.sleep(LONG));
            assert_eq!(short_timers(&counted).await, usize::from(TURNS));
        }))
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn direct_links_and_other_tasks_sleep_as_long_as_they_ask() {
        let follow_ups = Arc::new(FollowUps::default());
        let counted = Arc::clone(&follow_ups);
        FollowUps::mark(Box::pin(async move { assert_eq!(short_timers(&counted).await, 0) })).await;
        follow_ups.set_relaying(true);
        assert_eq!(short_timers(&follow_ups).await, 0);
    }
}
