//! Rate limits in bytes: a token bucket, and a cap for the whole day.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a credential may move per second, counted in payload bytes of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth {
    /// Bytes per second in the long run.
    pub bytes_per_second: u64,
    /// Bytes at once after a pause. At least one datagram's worth, or nothing passes.
    pub burst_bytes: u64,
}

/// A [`Bandwidth`] as the buckets count it: in nanoseconds, so that taking a packet's bytes divides nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// 1/65536 of the nanoseconds that a byte takes.
    byte_q16: u64,
    /// Nanoseconds that a burst takes.
    burst: u64,
}

impl Rate {
    pub(crate) fn new(bandwidth: Bandwidth) -> Self {
        let Bandwidth { bytes_per_second, burst_bytes } = bandwidth;
        let nanos_of = |bytes: u128| bytes * 1_000_000_000 / u128::from(bytes_per_second.max(1));
        let fit = |nanos: u128| u64::try_from(nanos).unwrap_or(u64::MAX);
        Self { byte_q16: fit(nanos_of(1 << 16)), burst: fit(nanos_of(burst_bytes.into())) }
    }

    fn nanos_of(self, bytes: usize) -> u64 {
        self.byte_q16.saturating_mul(bytes as u64) >> 16
    }
}

/// A token bucket for several threads, without a lock. What does not fit is dropped: the payload's own congestion
/// control reacts to that.
///
/// Kept as the moment at which it will be full again if nothing more is taken (ITU-T I.371, annex A: GCRA).
#[derive(Debug)]
pub(crate) struct ByteBucket {
    started: Instant,
    /// Nanoseconds after `started`.
    full_at: AtomicU64,
}

impl ByteBucket {
    pub(crate) fn full(now: Instant) -> Self {
        Self { started: now, full_at: AtomicU64::new(0) }
    }

    /// Whether `bytes` may pass now.
    pub(crate) fn take(&self, now: Instant, rate: Rate, bytes: usize) -> bool {
        let now = nanos_since(self.started, now);
        let full_at_most = now.saturating_add(rate.burst);
        let take = |full_at: u64| {
            let full_at = full_at.max(now).saturating_add(rate.nanos_of(bytes));
            (full_at <= full_at_most).then_some(full_at)
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

fn nanos_since(start: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes relayed in the running day, against what the operator's bill allows. For several threads, without a lock.
#[derive(Debug)]
pub(crate) struct DailyEgress {
    started: Instant,
    /// Days since then.
    day: AtomicU64,
    used: AtomicU64,
}

impl DailyEgress {
    pub(crate) fn new(now: Instant) -> Self {
        Self { started: now, day: AtomicU64::new(0), used: AtomicU64::new(0) }
    }

    /// Whether `bytes` more may leave today.
    pub(crate) fn take(&self, now: Instant, cap: u64, bytes: usize) -> bool {
        self.turn_day(now);
        let take = |used: u64| used.checked_add(bytes as u64).filter(|used| *used <= cap);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Whether nothing more may leave today.
    pub(crate) fn is_exhausted(&self, now: Instant, cap: u64) -> bool {
        self.turn_day(now);
        self.used.load(Ordering::Relaxed) >= cap
    }

    /// What others take in the very moment may be forgotten: some packets a day.
    fn turn_day(&self, now: Instant) {
        let today = now.saturating_duration_since(self.started).as_secs() / DAY.as_secs();
        if self.day.load(Ordering::Relaxed) < today && self.day.fetch_max(today, Ordering::Relaxed) < today {
            self.used.store(0, Ordering::Relaxed);
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
        let (bucket, rate) = (ByteBucket::full(start), Rate::new(bandwidth));
        let passed = (0..10_000_u64).filter(|ms| bucket.take(start + Duration::from_millis(*ms), rate, 1_000)).count();
        assert!((1_000..=1_010).contains(&passed), "{passed}");
    }

    #[test]
    fn calls_closer_than_a_byte_apart_still_fill_the_bucket() {
        let start = Instant::now();
        let bandwidth = Bandwidth { bytes_per_second: 1_000, burst_bytes: 100 };
        let (bucket, rate) = (ByteBucket::full(start), Rate::new(bandwidth));
        let passed = (0..100_000_u64).filter(|us| bucket.take(start + Duration::from_micros(us * 10), rate, 1)).count();
        assert!((1_095..=1_101).contains(&passed), "{passed}");
    }

    #[test]
    fn daily_cap_opens_again_on_the_next_day() {
        let start = Instant::now();
        let egress = DailyEgress::new(start);
        assert!(egress.take(start, 100, 100));
        assert!(!egress.take(start, 100, 1));
        assert!(egress.is_exhausted(start, 100));
        assert!(egress.take(start + DAY, 100, 1));
    }
}
