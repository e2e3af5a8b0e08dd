//! Batching on purpose: a short pause when packets come one by one, fast.
//!
//! Each wake-up costs more than the packet it was for. When there are many and small ones, waiting a tenth of a
//! millisecond lets packets gather, which saves most of that cost and adds less delay than a busy processor would.

use std::time::{Duration, Instant};

/// Wake-ups a second from which on it pays.
const MANY_WAKES: u32 = 5_000;
/// Packets of a wake-up from which on there is nothing to gain.
const FULL_BATCH: u64 = 4;
/// How long is looked at before it is decided again.
const WINDOW: Duration = Duration::from_millis(20);

/// Decides on pauses.
#[derive(Debug)]
pub(super) struct Pace {
    /// The longest pause; zero for none.
    pause: Duration,
    window_started: Option<Instant>,
    wakes: u32,
    packets: u64,
    is_slow: bool,
}

impl Pace {
    pub(super) fn new(pause: Duration) -> Self {
        Self { pause, window_started: None, wakes: 0, packets: 0, is_slow: false }
    }

    /// Takes note of a wake-up with so many packets. `Some`: pause before the next.
    pub(super) fn after_wake(&mut self, now: Instant, packets: u64) -> Option<Duration> {
        if self.pause.is_zero() {
            return None;
        }
        let started = *self.window_started.get_or_insert(now);
        self.wakes += 1;
        self.packets += packets;
        let elapsed = now.saturating_duration_since(started);
        if elapsed >= WINDOW {
            // While pausing there are few wake-ups by nature: then it is the packets that tell.
            let per_second = |count: f64| count / elapsed.as_secs_f64();
            self.is_slow = if self.is_slow {
                per_second(self.packets as f64) > f64::from(MANY_WAKES)
                    && self.packets < u64::from(self.wakes) * FULL_BATCH * 16
            } else {
                per_second(f64::from(self.wakes)) > f64::from(MANY_WAKES)
                    && self.packets < u64::from(self.wakes) * FULL_BATCH
            };
            (self.window_started, self.wakes, self.packets) = (Some(now), 0, 0);
        }
        self.is_slow.then_some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a second of wake-ups at a rate, and tells whether it ends up pausing.
    fn pauses(pace: &mut Pace, start: Instant, wakes_per_second: u32, packets: u64) -> bool {
        let mut last = None;
        for n in 0..wakes_per_second {
            last = pace.after_wake(start + Duration::from_secs(1) * n / wakes_per_second, packets);
        }
        last.is_some()
    }

    #[test]
    fn many_small_wake_ups_are_slowed_down_and_few_are_not() {
        let start = Instant::now();
        let pace = || Pace::new(Duration::from_micros(100));
        assert!(pauses(&mut pace(), start, 20_000, 1));
        assert!(!pauses(&mut pace(), start, 1_000, 1));
        assert!(!pauses(&mut pace(), start, 20_000, 64), "batches are full by themselves");
        assert!(!pauses(&mut Pace::new(Duration::ZERO), start, 20_000, 1), "switched off");
    }

    #[test]
    fn pausing_ends_when_the_packets_do() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_micros(100));
        assert!(pauses(&mut pace, start, 20_000, 1));
        assert!(pauses(&mut pace, start + Duration::from_secs(1), 8_000, 3), "fewer wake-ups, as many packets");
        assert!(!pauses(&mut pace, start + Duration::from_secs(2), 100, 1));
    }
}
