//! Pauses between attempts to reach a server.

use std::time::Duration;

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// Grows from one second to thirty; the first attempt after a loss comes at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause before the next attempt. `jitter` in `0.0..1.0` moves it by up to a quarter either way, so that many
    /// devices do not return to a restarted server in one moment.
    pub(super) fn next(&mut self, jitter: f64) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        if failures == 0 {
            return Duration::ZERO;
        }
        let base = Duration::from_secs(1 << (failures - 1).min(5)).min(LONGEST);
        base.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// The server answered.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_begin_anew_after_success() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..8).map(|_| backoff.next(0.5).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::ZERO);
    }

    #[test]
    fn jitter_moves_a_pause_by_a_quarter_at_most() {
        let mut backoff = Backoff { failures: 3 };
        assert_eq!(backoff.next(0.0), Duration::from_secs(3));
        let mut backoff = Backoff { failures: 3 };
        assert_eq!(backoff.next(1.0), Duration::from_secs(5));
    }
}
