//! Rate limits in bytes: a token bucket, and a cap for the whole day.

use std::time::{Duration, Instant};

/// What a credential may move per second, counted in payload bytes of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth {
    /// Bytes per second in the long run.
    pub bytes_per_second: u64,
    /// Bytes at once after a pause. At least one datagram's worth, or nothing passes.
    pub burst_bytes: u64,
}

/// A bucket that has enough is filled this often.
const FILL_INTERVAL: Duration = Duration::from_millis(1);

/// A token bucket. What does not fit is dropped: the payload's own congestion control reacts to that.
#[derive(Debug)]
pub(crate) struct ByteBucket {
    available: u64,
    filled_at: Instant,
}

impl ByteBucket {
    pub(crate) fn full(bandwidth: Option<Bandwidth>, now: Instant) -> Self {
        Self { available: bandwidth.map_or(0, |bandwidth| bandwidth.burst_bytes), filled_at: now }
    }

    /// Whether `bytes` may pass now.
    pub(crate) fn take(&mut self, now: Instant, bandwidth: Bandwidth, bytes: usize) -> bool {
        // Filling divides, so it is done when it is due or needed, not for every packet.
        let elapsed = now.saturating_duration_since(self.filled_at);
        if elapsed >= FILL_INTERVAL || self.available < bytes as u64 {
            self.fill(now, elapsed, bandwidth);
        }
        match self.available.checked_sub(bytes as u64) {
            Some(left) => {
                self.available = left;
                true
            }
            None => false,
        }
    }

    fn fill(&mut self, now: Instant, elapsed: Duration, bandwidth: Bandwidth) {
        let earned = elapsed.as_nanos().saturating_mul(u128::from(bandwidth.bytes_per_second)) / 1_000_000_000;
        // Time is only used up when it earned something, so that frequent callers are not starved.
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(u64::MAX);
            self.available = self.available.saturating_add(earned).min(bandwidth.burst_bytes);
            self.filled_at = now;
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes relayed in the running day, against what the operator's bill allows.
#[derive(Debug)]
pub(crate) struct DailyEgress {
    day_started: Instant,
    used: u64,
}

impl DailyEgress {
    pub(crate) fn new(now: Instant) -> Self {
        Self { day_started: now, used: 0 }
    }

    /// Whether `bytes` more may leave today.
    pub(crate) fn take(&mut self, now: Instant, cap: u64, bytes: usize) -> bool {
        self.turn_day(now);
        let used = self.used.saturating_add(bytes as u64);
        let fits = used <= cap;
        if fits {
            self.used = used;
        }
        fits
    }

    /// Whether nothing more may leave today.
    pub(crate) fn is_exhausted(&mut self, now: Instant, cap: u64) -> bool {
        self.turn_day(now);
        self.used >= cap
    }

    fn turn_day(&mut self, now: Instant) {
        if now.saturating_duration_since(self.day_started) >= DAY {
            self.day_started = now;
            self.used = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_passes_its_rate_and_no_more() {
        let start = Instant::now();
        let bandwidth = Bandwidth { bytes_per_second: 100_000, burst_bytes: 10_000 };
        let mut bucket = ByteBucket::full(Some(bandwidth), start);
        let passed =
            (0..10_000_u64).filter(|ms| bucket.take(start + Duration::from_millis(*ms), bandwidth, 1_000)).count();
        assert!((1_000..=1_010).contains(&passed), "{passed}");
    }

    #[test]
    fn calls_closer_than_a_byte_apart_still_fill_the_bucket() {
        let start = Instant::now();
        let bandwidth = Bandwidth { bytes_per_second: 1_000, burst_bytes: 100 };
        let mut bucket = ByteBucket::full(Some(bandwidth), start);
        let passed =
            (0..100_000_u64).filter(|us| bucket.take(start + Duration::from_micros(us * 10), bandwidth, 1)).count();
        assert!((1_095..=1_101).contains(&passed), "{passed}");
    }

    #[test]
    fn daily_cap_opens_again_on_the_next_day() {
        let start = Instant::now();
        let mut egress = DailyEgress::new(start);
        assert!(egress.take(start, 100, 100));
        assert!(!egress.take(start, 100, 1));
        assert!(egress.is_exhausted(start, 100));
        assert!(egress.take(start + DAY, 100, 1));
    }
}
