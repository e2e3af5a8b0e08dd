//! How often something may happen, and how fast a socket is read.

use std::time::{Duration, Instant};

use crate::Limits;

/// So many in a period, and up to a burst at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time that one costs.
    interval: Duration,
    /// How many may come at once after a pause.
    burst: u32,
}

impl Rate {
    /// `count` in each `period` on average, `burst` at once.
    ///
    /// # Panics
    /// When `count` or `burst` is 0.
    #[must_use]
    pub const fn new(count: u32, period: Duration, burst: u32) -> Self {
        assert!(count > 0 && burst > 0, "a rate lets something through");
        let nanos = period.as_nanos() / count as u128;
        Self { interval: Duration::from_nanos(nanos as u64), burst }
    }

    /// The average, at least 1.
    pub(crate) fn per_second(self) -> u32 {
        let nanos = self.interval.as_nanos().max(1);
        u32::try_from(1_000_000_000_u128 / nanos).unwrap_or(u32::MAX).max(1)
    }

    fn tolerance(self) -> Duration {
        self.interval.saturating_mul(self.burst)
    }
}

/// Counts against a [`Rate`] with one time stamp (the generic cell rate algorithm).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meter {
    /// When everything counted so far is worn off.
    idle_at: Option<Instant>,
}

impl Meter {
    /// Counts one, unless it is too many.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let next = self.worn_off(now) + rate.interval;
        let fits = next.duration_since(now) <= rate.tolerance();
        if fits {
            self.idle_at = Some(next);
        }
        fits
    }

    /// Counts `amount` in any case; `Some` is how long to wait before the next.
    fn charge(&mut self, rate: Rate, now: Instant, amount: u32) -> Option<Duration> {
        let next = self.worn_off(now) + rate.interval.saturating_mul(amount);
        self.idle_at = Some(next);
        // Ready for the next one when one more still fits; a byte rate needs only to be back inside its burst.
        let room = rate.tolerance().saturating_sub(rate.interval);
        next.duration_since(now).checked_sub(room).filter(|wait| !wait.is_zero())
    }

    /// When nothing of what was counted matters any more.
    pub(crate) fn idle_at(&self) -> Option<Instant> {
        self.idle_at
    }

    fn worn_off(&self, now: Instant) -> Instant {
        self.idle_at.map_or(now, |at| at.max(now))
    }

    fn debt(&self, now: Instant) -> Duration {
        self.worn_off(now).duration_since(now)
    }
}

/// What a reader does after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Read on.
    Go,
    /// Read nothing more before this; the sender feels it as a full socket.
    WaitUntil(Instant),
    /// It was at its limit for [`Limits::flood`] without pause: close it.
    Flood,
}

/// Holds one socket's reader to [`Limits::messages`] and [`Limits::bytes`] without dropping anything.
#[derive(Debug, Clone)]
pub struct Pacer {
    messages: Rate,
    bytes: Rate,
    flood: Duration,
    message_meter: Meter,
    byte_meter: Meter,
    saturated_since: Option<Instant>,
}

impl Pacer {
    /// For a new socket.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            messages: limits.messages,
            bytes: limits.bytes,
            flood: limits.flood,
            message_meter: Meter::default(),
            byte_meter: Meter::default(),
            saturated_since: None,
        }
    }

    /// Counts a message that was read.
    pub fn count(&mut self, now: Instant, bytes: usize) -> Pace {
        if self.is_relaxed(now) {
            self.saturated_since = None;
        }
        let amount = u32::try_from(bytes).unwrap_or(u32::MAX);
        let for_messages = self.message_meter.charge(self.messages, now, 1);
        let for_bytes = self.byte_meter.charge(self.bytes, now, amount);
        let Some(wait) = for_messages.max(for_bytes) else { return Pace::Go };
        let since = *self.saturated_since.get_or_insert(now);
        if now.duration_since(since) >= self.flood { Pace::Flood } else { Pace::WaitUntil(now + wait) }
    }

    /// Half of both bursts is free again: what came before was a burst and not a flood.
    fn is_relaxed(&self, now: Instant) -> bool {
        self.message_meter.debt(now) <= self.messages.tolerance() / 2
            && self.byte_meter.debt(now) <= self.bytes.tolerance() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_A_SECOND: Rate = Rate::new(10, Duration::from_secs(1), 5);

    #[test]
    fn a_burst_passes_and_the_next_waits_for_its_share() {
        let start = Instant::now();
        let mut meter = Meter::default();
        assert_eq!((0..9).filter(|_| meter.take(TEN_A_SECOND, start)).count(), 5);
        assert!(!meter.take(TEN_A_SECOND, start + Duration::from_millis(99)));
        assert!(meter.take(TEN_A_SECOND, start + Duration::from_millis(100)));
    }

    #[test]
    fn a_paced_flood_is_read_at_its_rate_and_then_closed() {
        let limits = Limits::default();
        let start = Instant::now();
        let (mut now, mut read) = (start, 0_u32);
        let mut pacer = Pacer::new(&limits);
        loop {
            match pacer.count(now, 100) {
                Pace::Go => {}
                Pace::WaitUntil(until) => now = until,
                Pace::Flood => break,
            }
            read += 1;
        }
        let lasted = now.duration_since(start);
        assert!((20.0..21.0).contains(&lasted.as_secs_f64()), "{lasted:?}");
        assert!((60 + 590..60 + 640).contains(&read), "{read}");
    }

    #[test]
    fn bytes_are_paced_too() {
        let mut pacer = Pacer::new(&Limits::default());
        let start = Instant::now();
        let mut now = start;
        for _ in 0..20 {
            if let Pace::WaitUntil(until) = pacer.count(now, 64 * 1024) {
                now = until;
            }
        }
        // 1.25 MiB: the first quarter at once, the rest at 128 KiB a second.
        assert!((7.5..8.5).contains(&now.duration_since(start).as_secs_f64()));
    }

    #[test]
    fn a_client_that_pauses_between_bursts_is_never_closed() {
        let mut pacer = Pacer::new(&Limits::default());
        let mut now = Instant::now();
        for _ in 0..100 {
            for _ in 0..60 {
                match pacer.count(now, 10) {
                    Pace::Go => {}
                    Pace::WaitUntil(until) => now = until,
                    Pace::Flood => panic!("closed a client that keeps to the average"),
                }
            }
            now += Duration::from_secs(2);
        }
    }
}
