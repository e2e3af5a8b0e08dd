//! Offers that a page's browser downloads over plain HTTP, because the page cannot hold them (HT-30, HT-31).
//!
//! A download outlives the conversation: browsers carry on when the page is closed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::agent::event::{Event, Outcome, TransferNumber};
use crate::agent::sharing::next_event;
use crate::share::{Registry, ShareEvent, ShareOptions, SharedLink, TooManyLinks};
use crate::source::Collected;

/// How long the links live.
const LIFETIME: Duration = Duration::from_secs(3600);

/// What the speed that people are told is the mean of.
const SPEED_WINDOW: Duration = Duration::from_secs(2);

/// Nothing is said of the time left before that.
const ETA_AFTER: Duration = Duration::from_secs(5);

/// Links to the files of one offer.
pub(super) struct PlainLinks {
    link: SharedLink,
    /// From the beginning on: a browser may be faster than the page's answer to the offer.
    events: broadcast::Receiver<ShareEvent>,
}

impl PlainLinks {
    /// Makes them, for one use.
    pub(super) fn open(registry: &Registry, offered: &Collected) -> Result<Self, TooManyLinks> {
        let link = registry.share(offered, ShareOptions { lifetime: LIFETIME, once: true })?;
        Ok(Self { events: link.events(), link })
    }

    /// What stands before the path of each file.
    pub(super) fn base(&self) -> &str {
        &self.link.base
    }
}

/// The downloads under way. Cheap to clone.
#[derive(Clone, Default)]
pub struct Downloads(Arc<Mutex<HashMap<TransferNumber, CancellationToken>>>);

impl Downloads {
    /// Ends a download, if there is one of this number.
    pub fn cancel(&self, transfer: TransferNumber) {
        if let Some(stop) = self.lock().get(&transfer) {
            stop.cancel();
        }
    }

    /// Ends all of them.
    pub fn cancel_all(&self) {
        self.lock().values().for_each(CancellationToken::cancel);
    }

    /// Tells of a download until it is over.
    pub(super) fn follow(&self, context: Arc<Context>, transfer: TransferNumber, total_bytes: u64, links: PlainLinks) {
        let stop = CancellationToken::new();
        self.lock().insert(transfer, stop.clone());
        let downloads = self.clone();
        tokio::spawn(async move {
            let following = Following { context: &context, transfer, total_bytes, speed: Speed::new(Instant::now()) };
            let outcome = tokio::select! {
                outcome = following.run(links) => outcome,
                () = stop.cancelled() => Outcome::Cancelled { here: true },
            };
            downloads.lock().remove(&transfer);
            context.tell(Event::Finished { transfer, outcome });
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TransferNumber, CancellationToken>> {
        // Each change is one step, so the map is whole whoever panicked while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Following<'a> {
    context: &'a Context,
    transfer: TransferNumber,
    total_bytes: u64,
    speed: Speed,
}

impl Following<'_> {
    async fn run(mut self, mut links: PlainLinks) -> Outcome {
        loop {
            match next_event(&links.link, &mut links.events).await {
                ShareEvent::Progress { .. } => self.tell_progress(links.link.taken_bytes()),
                ShareEvent::Done { name, .. } => {
                    self.tell_progress(links.link.taken_bytes());
                    self.context.tell(Event::File { transfer: self.transfer, name });
                }
                ShareEvent::Changed { name } => {
                    self.warn(format!("{name} changed; who has a part of it must begin anew."));
                }
                ShareEvent::Failed { name, message } => self.warn(format!("{name}: {message}")),
                ShareEvent::Ended { .. } if links.link.is_used_up() => return Outcome::Taken,
                ShareEvent::Ended { .. } => {
                    let message = "the browser there did not take all of it within an hour; send it again".to_owned();
                    return Outcome::Failed { message };
                }
            }
        }
    }

    fn tell_progress(&mut self, done_bytes: u64) {
        let (bytes_per_second, left) = self.speed.note(Instant::now(), done_bytes, self.total_bytes);
        self.context.tell(Event::Progress {
            transfer: self.transfer,
            done_bytes,
            total_bytes: self.total_bytes,
            bytes_per_second,
            left_seconds: left.map(|left| left.as_secs()),
            route: None,
        });
    }

    fn warn(&self, message: String) {
        self.context.tell(Event::Warning { message });
    }
}

/// The mean speed of the last moments.
struct Speed {
    began: Instant,
    /// When so many bytes were taken; the first is the youngest that is older than the window.
    seen: VecDeque<(Instant, u64)>,
}

impl Speed {
    fn new(now: Instant) -> Self {
        Self { began: now, seen: VecDeque::from([(now, 0)]) }
    }

    /// Bytes a second, and the time left at that speed.
    fn note(&mut self, now: Instant, done_bytes: u64, total_bytes: u64) -> (u64, Option<Duration>) {
        self.seen.push_back((now, done_bytes));
        while self.seen.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= SPEED_WINDOW) {
            self.seen.pop_front();
        }
        let (since, before) = self.seen.front().copied().unwrap_or((now, done_bytes));
        let millis = now.duration_since(since).as_millis().max(1);
        let speed = u128::from(done_bytes.saturating_sub(before)) * 1000 / millis;
        let speed = u64::try_from(speed).unwrap_or(u64::MAX);
        let left = total_bytes.saturating_sub(done_bytes).checked_div(speed).map(Duration::from_secs);
        (speed, left.filter(|_| now.duration_since(self.began) >= ETA_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_that_of_the_last_moments_and_the_time_left_comes_later() {
        let start = Instant::now();
        let mut speed = Speed::new(start);
        let mut told = (0, None);
        for half_seconds in 1..=20_u32 {
            // A megabyte each half second, and two of them from the fifth second on.
            let done = u64::from(half_seconds + half_seconds.saturating_sub(10)) * 1_000_000;
            told = speed.note(start + Duration::from_millis(500) * half_seconds, done, 40_000_000);
            assert_eq!(told.1.is_some(), half_seconds >= 10, "after {half_seconds} halves");
        }
        assert_eq!(told, (4_000_000, Some(Duration::from_secs(2))));
    }
}
