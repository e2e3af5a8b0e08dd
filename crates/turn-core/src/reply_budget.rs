//! Keeps this server useless for reflection: what an unproven source address may make it send.
//!
//! A fixed table, allocated once: a flood from spoofed addresses leaves nothing behind. Sources that meet in a full
//! set push out the one longest silent; then a limit may be forgotten early, but nobody is shut out by others.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use foldhash::quality::FixedState;

/// Refusals (401 and its like) a source gets in any one second.
pub(crate) const REFUSALS_PER_SECOND: usize = 10;

/// Answers a source may get beyond what its own requests weigh: bytes at once, and bytes per second.
///
/// Some 240 Binding answers a second pass unquestioned; a flood gets less back than it sends.
const FREE_BYTES: u32 = 4096;

/// Of each request's bytes, this share is added to what its source may get back.
const RETURNED_PERCENT: u32 = 90;

const WAYS: usize = 4;
const SETS: usize = 4096;

/// Milliseconds since the table was made; wraps after 49 days, which at worst delays one answer.
type Millis = u32;

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Keyed hash of the source; 0 before first use.
    source: u64,
    last: Millis,
    /// Bytes the source may still get.
    credit: u32,
    /// When the last refusals went out; a ring.
    refusals: [Millis; REFUSALS_PER_SECOND],
    next: u8,
}

impl Entry {
    /// Long silent at time zero. Not all zero bytes, so that the pages are there from the start.
    const UNUSED: Self = {
        let past = 0_u32.wrapping_sub(10_000);
        Self { source: 0, last: past, credit: FREE_BYTES, refusals: [past; REFUSALS_PER_SECOND], next: 0 }
    };
}

/// The table: 16 384 sources, 1 MiB.
#[derive(Debug)]
pub(crate) struct ReplyBudget {
    started: Instant,
    hasher: FixedState,
    sets: Vec<[Entry; WAYS]>,
}

impl ReplyBudget {
    pub(crate) fn new(now: Instant, seed: u64) -> Self {
        Self { started: now, hasher: FixedState::with_seed(seed), sets: vec![[Entry::UNUSED; WAYS]; SETS] }
    }

    /// Whether a refusal may go to this source: at most ten in any second, counted per IPv4 address or IPv6 /64.
    pub(crate) fn take_refusal(&mut self, now: Instant, source: IpAddr) -> bool {
        let now = self.millis(now);
        let Some(entry) = self.entry(now, source) else { return false };
        let Some(oldest) = entry.refusals.get_mut(usize::from(entry.next)) else { return false };
        if now.wrapping_sub(*oldest) < 1000 {
            return false;
        }
        *oldest = now;
        entry.next = (entry.next + 1) % REFUSALS_PER_SECOND as u8;
        true
    }

    /// Whether an answer of `reply_bytes` to a request of `request_bytes` may go to this source. Both count IP and
    /// UDP headers.
    pub(crate) fn take_bytes(
        &mut self,
        now: Instant,
        source: IpAddr,
        request_bytes: usize,
        reply_bytes: usize,
    ) -> bool {
        let now = self.millis(now);
        let Some(entry) = self.entry(now, source) else { return false };
        let request_bytes = u32::try_from(request_bytes).unwrap_or(0);
        let reply_bytes = u32::try_from(reply_bytes).unwrap_or(u32::MAX);
        // More than a burst is never saved up, unless one request brought it.
        let earned =
            (request_bytes / 100).saturating_mul(RETURNED_PERCENT) + request_bytes % 100 * RETURNED_PERCENT / 100;
        let credit = entry.credit.saturating_add(earned);
        let enough = credit >= reply_bytes;
        entry.credit = if enough { credit - reply_bytes } else { credit }.min(FREE_BYTES);
        enough
    }

    fn millis(&self, now: Instant) -> Millis {
        // The cut is meant: the clock wraps.
        now.saturating_duration_since(self.started).as_millis() as Millis
    }

    fn entry(&mut self, now: Millis, source: IpAddr) -> Option<&mut Entry> {
        let source = self.hasher.hash_one(source_prefix(source)) | 1;
        let set = self.sets.get_mut((source >> 32) as usize % SETS)?;
        let way = match set.iter().position(|entry| entry.source == source) {
            Some(way) => way,
            None => {
                let oldest = (0..WAYS).max_by_key(|way| set.get(*way).map(|entry| now.wrapping_sub(entry.last)))?;
                *set.get_mut(oldest)? = Entry {
                    source,
                    last: now,
                    refusals: [now.wrapping_sub(10_000); REFUSALS_PER_SECOND],
                    ..Entry::UNUSED
                };
                oldest
            }
        };
        let entry = set.get_mut(way)?;
        let elapsed = Duration::from_millis(u64::from(now.wrapping_sub(entry.last))).min(Duration::from_secs(1));
        let refill = u64::from(FREE_BYTES) * elapsed.as_millis() as u64 / 1000;
        // Less than a byte's worth of time stays on the clock, or frequent callers would never be refilled.
        if refill > 0 {
            entry.credit = entry.credit.saturating_add(refill as u32).min(FREE_BYTES);
            entry.last = now;
        }
        Some(entry)
    }
}

/// What counts as one source: an IPv4 address, or the /64 that a single subscriber has of IPv6.
pub(crate) fn source_prefix(source: IpAddr) -> u128 {
    match source.to_canonical() {
        // Never equal to a /64, whose low half is zero.
        IpAddr::V4(v4) => u128::from(v4.to_bits()) | 1 << 63,
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn no_second_holds_more_than_ten_refusals() {
        let start = Instant::now();
        let mut budget = ReplyBudget::new(start, 1);
        let sent: Vec<u64> =
            (0..5_000).filter(|ms| budget.take_refusal(start + Duration::from_millis(*ms), ip("192.0.2.1"))).collect();
        assert_eq!(sent.len(), 50);
        assert!(sent.windows(11).all(|window| window[10] - window[0] >= 1000));
    }

    #[test]
    fn sources_are_counted_by_address_or_64() {
        let start = Instant::now();
        let mut budget = ReplyBudget::new(start, 1);
        let mut admitted = |text: &str| (0..20).filter(|_| budget.take_refusal(start, ip(text))).count();
        assert_eq!(admitted("192.0.2.1"), 10);
        assert_eq!(admitted("::ffff:192.0.2.1"), 0);
        assert_eq!(admitted("192.0.2.2"), 10);
        assert_eq!(admitted("2001:db8::1"), 10);
        assert_eq!(admitted("2001:db8::ffff:1"), 0);
        assert_eq!(admitted("2001:db8:0:1::1"), 10);
    }

    #[test]
    fn flood_gets_back_less_than_it_sends_in_every_second() {
        let start = Instant::now();
        let mut budget = ReplyBudget::new(start, 1);
        let (request, reply) = (48, 68);
        let per_ms = 20;
        let mut sent_in_ms = Vec::new();
        for ms in 0..4_000 {
            let now = start + Duration::from_millis(ms);
            let answers = (0..per_ms).filter(|_| budget.take_bytes(now, ip("192.0.2.1"), request, reply)).count();
            sent_in_ms.push(answers * reply);
        }
        for second in sent_in_ms.windows(1000) {
            assert!(second.iter().sum::<usize>() <= 1000 * per_ms * request);
        }
    }

    #[test]
    fn ordinary_rate_is_answered_in_full() {
        let start = Instant::now();
        let mut budget = ReplyBudget::new(start, 1);
        for tick in 0..1_000 {
            let now = start + Duration::from_millis(tick * 10);
            assert!(budget.take_bytes(now, ip("192.0.2.1"), 48, 68));
        }
    }

    #[test]
    fn flood_from_many_sources_shuts_nobody_out() {
        let start = Instant::now();
        let mut budget = ReplyBudget::new(start, 1);
        for n in 0..200_000_u32 {
            budget.take_refusal(start, IpAddr::V4(n.into()));
        }
        assert!(budget.take_refusal(start, ip("192.0.2.1")));
    }
}
