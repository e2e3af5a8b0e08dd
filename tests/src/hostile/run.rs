//! Many meetings at once, and what came of them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::attacker::Attacker;
use super::meeting::{Secrets, Side, meet_both};
use super::middle::Middle;
use super::tampering::{Action, Tampering, Way};

/// Longer than any side waits for another by itself.
const LIMIT: Duration = Duration::from_secs(120);

/// A meeting that takes longer is named on the way.
const SLOW: Duration = Duration::from_secs(15);

/// Every so many meetings one is left alone.
const HONEST_EVERY: usize = 25;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Meetings in which something was changed.
    pub tampered: usize,
    /// Meetings at once.
    pub at_once: usize,
    /// Repeats the draw, not the timing.
    pub seed: u64,
}

/// What came of all meetings with one action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count {
    /// In which something was changed.
    pub tampered: usize,
    /// Of these, ones in which a side's link was bound.
    pub authenticated: usize,
    /// Of these, ones in which a side was told nothing.
    pub without_reason: usize,
    /// In which the occasion never came.
    pub not_applied: usize,
    /// Of the ones in which nothing was changed, those that connected.
    pub connected: usize,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// By action and way.
    pub counts: BTreeMap<(&'static str, &'static str), Count>,
    /// What people were told, and how often.
    pub reasons: BTreeMap<String, usize>,
    /// Meetings that were not as they should be, in words.
    pub wrong: Vec<String>,
    /// How long all took.
    pub took: Duration,
}

impl Report {
    fn take(&mut self, number: usize, way: Way, tampering: &Tampering, applied: bool, sides: &[Side; 2]) {
        let honest = tampering.action == Action::Honest;
        let count = self.counts.entry((tampering.action.name(), way.name())).or_default();
        let linked = sides.iter().filter(|side| side.linked).count();
        let described = || format!("{number}: {} {tampering:?}: {sides:?}", way.name());
        if !applied {
            count.not_applied += usize::from(!honest);
            count.connected += usize::from(linked == 2);
            if linked < 2 {
                self.wrong.push(format!("not connected, though nothing was changed: {}", described()));
            }
            return;
        }
        count.tampered += 1;
        if linked > 0 {
            count.authenticated += 1;
            self.wrong.push(format!("authenticated: {}", described()));
        }
        if sides.iter().any(|side| side.reason.is_none()) {
            count.without_reason += 1;
            self.wrong.push(format!("told nothing: {}", described()));
        }
        for reason in sides.iter().filter_map(|side| side.reason.clone()) {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// Sums over everything.
    #[must_use]
    pub fn total(&self) -> Count {
        let mut total = Count::default();
        for count in self.counts.values() {
            total.tampered += count.tampered;
            total.authenticated += count.authenticated;
            total.without_reason += count.without_reason;
            total.not_applied += count.not_applied;
            total.connected += count.connected;
        }
        total
    }

    /// For other programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .counts
            .iter()
            .map(|((action, way), count)| {
                json!({ "action": action, "way": way, "tampered": count.tampered, "authenticated": count.authenticated,
                        "without_reason": count.without_reason, "not_applied": count.not_applied,
                        "connected": count.connected })
            })
            .collect();
        let total = self.total();
        json!({ "tampered": total.tampered, "authenticated": total.authenticated, "without_reason": total.without_reason,
                "untouched_and_connected": total.connected, "seconds": self.took.as_secs_f64(), "rows": rows,
                "reasons": self.reasons, "wrong": self.wrong })
    }
}

/// Runs meetings between two agents until so many were tampered with.
///
/// # Errors
/// The relay does not start.
pub async fn agents(plan: Plan) -> Result<Report> {
    let started = Instant::now();
    let middle = Arc::new(Middle::start(std::net::Ipv4Addr::LOCALHOST.into()).await?);
    let numbers = Arc::new(AtomicUsize::new(0));
    let tampered = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..plan.at_once.max(1) {
        workers.spawn(work(Arc::clone(&middle), plan, Arc::clone(&numbers), Arc::clone(&tampered)));
    }
    let mut report = Report::default();
    while let Some(done) = workers.join_next().await {
        for (number, way, tampering, applied, sides) in done.context("a meeting panicked")? {
            report.take(number, way, &tampering, applied, &sides);
        }
    }
    report.took = started.elapsed();
    if let Some(middle) = Arc::into_inner(middle) {
        middle.stop().await;
    }
    Ok(report)
}

type Done = (usize, Way, Tampering, bool, [Side; 2]);

async fn work(middle: Arc<Middle>, plan: Plan, numbers: Arc<AtomicUsize>, tampered: Arc<AtomicUsize>) -> Vec<Done> {
    let mut done = Vec::new();
    while tampered.load(Ordering::Relaxed) < plan.tampered {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let rng = &mut ChaCha20Rng::seed_from_u64(plan.seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let way = Way::ALL[number % Way::ALL.len()];
        let tampering = if number.is_multiple_of(HONEST_EVERY) {
            Tampering::honest()
        } else {
            Tampering::draw(number / Way::ALL.len(), way, rng)
        };
        let started = Instant::now();
        let both = one(&middle, way, &tampering, rng).await;
        if started.elapsed() > SLOW {
            let seconds = started.elapsed().as_secs();
            let _ = writeln!(std::io::stderr(), "{number} took {seconds} s: {} {tampering:?}: {both:?}", way.name());
        }
        for (applied, sides) in both {
            tampered.fetch_add(usize::from(applied), Ordering::Relaxed);
            done.push((number, way, tampering.clone(), applied, sides));
        }
    }
    done
}

/// One meeting, or two that are crossed.
async fn one(middle: &Middle, way: Way, tampering: &Tampering, rng: &mut ChaCha20Rng) -> Vec<(bool, [Side; 2])> {
    let secrets = Secrets::draw(way, rng);
    if tampering.action == Action::SwapMembers {
        let other = Secrets::draw(way, rng);
        for (here, there) in [(&secrets, &other), (&other, &secrets)] {
            middle.hub.prepare(here.mailbox, tampering.clone(), Some(there.mailbox), Default::default(), None);
        }
        let (here, there) =
            tokio::join!(meet_both(middle.address, &secrets, LIMIT), meet_both(middle.address, &other, LIMIT));
        return vec![(middle.hub.finish(secrets.mailbox).0, here), (middle.hub.finish(other.mailbox).0, there)];
    }
    let earlier =
        if tampering.action == Action::Replay { record(middle, &secrets, rng).await } else { Default::default() };
    let attacker = (tampering.action == Action::SwapFingerprints).then(|| Attacker::new(&secrets, rng.next_u64()));
    middle.hub.prepare(secrets.mailbox, tampering.clone(), None, earlier, attacker);
    let sides = meet_both(middle.address, &secrets, LIMIT).await;
    vec![(middle.hub.finish(secrets.mailbox).0, sides)]
}

/// What the two said to each other in an earlier meeting: by the same secret in another mailbox where the way has one that
/// is used more than once, else of two others.
async fn record(middle: &Middle, secrets: &Secrets, rng: &mut ChaCha20Rng) -> [Vec<Vec<u8>>; 2] {
    let others = Secrets::draw(secrets.way, rng);
    let earlier = match secrets.way {
        Way::Link | Way::Code => others,
        Way::Nearby | Way::Remembered | Way::Resumed => Secrets { mailbox: others.mailbox, ..secrets.clone() },
    };
    middle.hub.prepare(earlier.mailbox, Tampering::honest(), None, Default::default(), None);
    meet_both(middle.address, &earlier, LIMIT).await;
    middle.hub.finish(earlier.mailbox).1
}
