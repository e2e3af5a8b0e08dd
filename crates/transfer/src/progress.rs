//! How far a transfer is and how fast it goes, as plain values that every front end shows alike (TR-80).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Speed is the mean over this time.
const MEAN_OVER: Duration = Duration::from_secs(2);

/// Bytes are counted in steps of this length.
const STEP: Duration = Duration::from_millis(250);

/// No time left is told before bytes have moved for this long.
const ETA_AFTER: Duration = Duration::from_secs(5);

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the wanted files that have not failed.
    pub total_bytes: u64,
    /// Bytes that are verified and stored at the receiver; 0 to `total_bytes`. The sender learns it a little later.
    pub verified_bytes: u64,
    /// Bytes that survive a loss of power at the receiver. The sender counts whole files only.
    pub durable_bytes: u64,
    /// Wanted entries, folders included.
    pub entries: u32,
    /// Entries under their final name at the receiver.
    pub done: u32,
    /// Entries that will not arrive.
    pub failed: u32,
    /// Mean of the last 2 s; 0 when nothing moves.
    pub bytes_per_second: u64,
    /// Time left at that speed; from 5 s after the first byte on.
    pub left: Option<Duration>,
}

/// Counts bytes over time.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    started: Option<Instant>,
    /// Start of each step and its bytes; at most nine.
    steps: VecDeque<(Instant, u64)>,
}

impl Meter {
    pub(crate) fn add(&mut self, now: Instant, bytes: u64) {
        self.started.get_or_insert(now);
        match self.steps.back_mut() {
            Some((start, count)) if now.saturating_duration_since(*start) < STEP => *count += bytes,
            _ => self.steps.push_back((now, bytes)),
        }
        self.drop_old(now);
    }

    /// Forgets what was counted, because the link is new or nothing moved on purpose.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    fn drop_old(&mut self, now: Instant) {
        while self.steps.front().is_some_and(|(start, _)| now.saturating_duration_since(*start) >= MEAN_OVER) {
            self.steps.pop_front();
        }
    }

    /// Mean speed of the last 2 s, or since the first byte when that is less, but never of less than one step.
    pub(crate) fn bytes_per_second(&self, now: Instant) -> u64 {
        let Some(started) = self.started else { return 0 };
        let recent = |start: &Instant| now.saturating_duration_since(*start) < MEAN_OVER;
        let bytes: u64 = self.steps.iter().filter(|(start, _)| recent(start)).map(|(_, bytes)| bytes).sum();
        let over = now.saturating_duration_since(started).clamp(STEP, MEAN_OVER);
        bytes.saturating_mul(1000) / over.as_millis() as u64
    }

    /// Time left for `bytes`, rounded up to seconds.
    pub(crate) fn left(&self, now: Instant, bytes: u64) -> Option<Duration> {
        let speed = self.bytes_per_second(now);
        let moved_for = now.saturating_duration_since(self.started?);
        (moved_for >= ETA_AFTER && speed > 0).then(|| Duration::from_secs(bytes.div_ceil(speed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(bytes_per_100_ms: u64, for_ms: u64) -> (Meter, Instant) {
        let start = Instant::now();
        let mut meter = Meter::default();
        let mut now = start;
        for at in (0..=for_ms).step_by(100) {
            now = start + Duration::from_millis(at);
            meter.add(now, bytes_per_100_ms);
        }
        (meter, now)
    }

    #[test]
    fn steady_rate_is_measured_within_a_tenth() {
        let (meter, now) = steady(100_000, 6_000);
        let speed = meter.bytes_per_second(now);
        assert!((900_000..=1_100_000).contains(&speed), "{speed}");
        let left = meter.left(now, 10_000_000).unwrap();
        assert!((9..=12).contains(&left.as_secs()), "{left:?}");
    }

    #[test]
    fn no_time_is_told_in_the_first_five_seconds() {
        let (meter, now) = steady(100_000, 4_900);
        assert_eq!(meter.left(now, 1), None);
    }

    #[test]
    fn speed_falls_to_nothing_when_nothing_moves() {
        let (meter, now) = steady(100_000, 6_000);
        let later = now + Duration::from_secs(3);
        assert_eq!((meter.bytes_per_second(later), meter.left(later, 1)), (0, None));
    }
}
