//! Rate limits by waiting: who is over its rate is read later.

use std::time::{Duration, Instant};

/// Seconds of its rate that a bucket holds: what may pass at once after a pause.
const BURST: Duration = Duration::from_millis(250);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A token bucket that lends: a message passes whole, and the next one waits until it is paid.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When everything taken so far is paid for.
    paid_at: Option<Instant>,
}

impl Bucket {
    /// Takes `bytes` at a rate in bytes a second (0: no limit) and says when the next may be taken.
    pub(super) fn take(&mut self, now: Instant, bytes_per_second: u64, bytes: usize) -> Instant {
        if bytes_per_second == 0 {
            return now;
        }
        let cost = Duration::from_nanos(
            u64::try_from(bytes as u128 * 1_000_000_000 / u128::from(bytes_per_second)).unwrap_or(u64::MAX),
        );
        let paid_at = self.paid_at.filter(|at| *at > now).unwrap_or(now) + cost;
        self.paid_at = Some(paid_at);
        paid_at.checked_sub(BURST).filter(|at| *at > now).unwrap_or(now)
    }

    /// Whether it owes nothing and so can be forgotten.
    pub(super) fn is_paid(&self, now: Instant) -> bool {
        self.paid_at.is_none_or(|at| at <= now)
    }
}

/// Bytes carried in the running day.
#[derive(Debug)]
pub(super) struct Day {
    since: Instant,
    used: u64,
}

impl Day {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, used: 0 }
    }

    /// Counts `bytes`, unless they are over `cap` (0: no cap).
    pub(super) fn take(&mut self, now: Instant, cap: u64, bytes: usize) -> bool {
        if now.saturating_duration_since(self.since) >= DAY {
            *self = Self::new(now);
        }
        let used = self.used.saturating_add(bytes as u64);
        let fits = cap == 0 || used <= cap;
        if fits {
            self.used = used;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_follows_keeps_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(start, 1_000_000, 200_000), start);
        let next = bucket.take(start, 1_000_000, 1_000_000);
        assert_eq!(next, start + Duration::from_millis(1_200) - BURST);
        assert!(!bucket.is_paid(start));
        assert!(bucket.is_paid(start + Duration::from_millis(1_200)));
    }

    #[test]
    fn no_limit_never_waits() {
        let start = Instant::now();
        assert_eq!(Bucket::default().take(start, 0, usize::MAX), start);
    }

    #[test]
    fn a_day_that_is_used_up_begins_again() {
        let start = Instant::now();
        let mut day = Day::new(start);
        assert!(day.take(start, 100, 100));
        assert!(!day.take(start, 100, 1));
        assert!(day.take(start + DAY, 100, 1));
        assert!(day.take(start, 0, 1_000_000), "no cap");
    }
}
