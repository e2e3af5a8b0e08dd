//! Many transfers in a row, each disturbed at a random moment, and what they had to send again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{AGAIN_BYTES, Chance, Content, OVERHEAD_BYTES};

/// Every tenth round moves so many small files.
const SMALL_FILES: u32 = 2_000;

/// The others move one file of this length.
const LARGE_BYTES: usize = 64 << 20;

/// Longer than the parts of a transfer that is over take to go on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What such a test needs for its rounds.
#[derive(Debug)]
pub struct Rounds {
    /// Where its moments come from.
    pub chance: Chance,
    large: Content,
    many: Content,
    /// How long a transfer takes that nobody disturbs: moments are picked within it.
    undisturbed: Duration,
    again_bytes: Vec<u64>,
}

impl Rounds {
    /// Writes what is to be sent into each of `senders`; `what` names the test where its seed is printed.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn prepare(what: &str, senders: &[&Path]) -> Result<Self> {
        let mut chance = Chance::announced(what);
        let large = Content::large(LARGE_BYTES, chance.number());
        let many = Content::many(SMALL_FILES, chance.number());
        for sender in senders {
            large.write(sender)?;
            many.write(sender)?;
        }
        Ok(Self { chance, large, many, undisturbed: Duration::ZERO, again_bytes: Vec::new() })
    }

    /// What a round sends.
    #[must_use]
    pub fn content(&self, round: u32) -> &Content {
        if round % 10 == 9 { &self.many } else { &self.large }
    }

    /// Takes the time of a transfer of the large file from its acceptance on.
    pub fn note_undisturbed(&mut self, time: Duration) {
        self.undisturbed = time;
    }

    /// Sleeps until a random moment of a transfer that has just begun.
    pub fn random_moment(&mut self) {
        std::thread::sleep(self.chance.time(self.undisturbed));
    }

    /// Checks what arrived, and takes it away for the next round.
    ///
    /// # Errors
    /// It is not whole, more is there than was sent, or more travelled again than may.
    pub fn conclude(&mut self, round: u32, inbox: &Path, moved_bytes: u64) -> Result<()> {
        let content = self.content(round);
        wait_for("the parts to go", || !inbox.join(".lanyard-part").exists())
            .with_context(|| format!("round {round}; there are {:?}", tree(inbox)))?;
        content.check_whole(inbox).with_context(|| format!("round {round}"))?;
        content.remove(inbox)?;
        let again = moved_bytes.saturating_sub(content.total_bytes());
        ensure!(again <= AGAIN_BYTES + OVERHEAD_BYTES, "round {round}: {again} bytes were sent again");
        self.again_bytes.push(again);
        Ok(())
    }

    /// What all rounds found.
    #[must_use]
    pub fn summary(&self) -> String {
        let worst = self.again_bytes.iter().max().copied().unwrap_or(0);
        let mean = self.again_bytes.iter().sum::<u64>() / (self.again_bytes.len() as u64).max(1);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        format!("equal; sent again: mean {:.1} MiB, most {:.1} MiB", mib(mean), mib(worst))
    }
}

/// Paths and lengths of all that is below.
fn tree(dir: &Path) -> Vec<(PathBuf, u64)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let below = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => tree(&entry.path()),
        found => vec![(entry.path(), found.map_or(0, |found| found.len()))],
    });
    below.flatten().collect()
}

/// Looks again and again until it is so.
///
/// # Errors
/// It is not within a minute.
pub fn wait_for(what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        ensure!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
