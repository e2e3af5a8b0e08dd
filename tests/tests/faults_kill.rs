//! Processes that are killed at random moments of a transfer: it carries on from what the receiver has (F11, F13, F14).
//!
//! 30 rounds each here, 300 in `cargo xtask faults`. A printed seed repeats a run: `LANYARD_FAULT_SEED=…`.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::time::{Duration, Instant};

use lanyard_tests::fault::{AGAIN_BYTES, Chance, Content, OVERHEAD_BYTES, Person, Report, Up, agent_traffic, rounds};

/// Every tenth round moves small files.
const SMALL_FILES: u32 = 2_000;

/// The others move one of this length.
const LARGE_BYTES: usize = 64 << 20;

const PATIENCE: Duration = Duration::from_secs(60);

/// What both tests need for their rounds.
struct Rounds {
    chance: Chance,
    large: Content,
    many: Content,
    attic: Person,
    bee: Person,
    /// How long a transfer takes that nobody disturbs: moments are picked within it.
    undisturbed: Duration,
    again_bytes: Vec<u64>,
}

impl Rounds {
    fn prepare(what: &str) -> Self {
        let mut chance = Chance::announced(what);
        let large = Content::large(LARGE_BYTES, chance.number());
        let many = Content::many(SMALL_FILES, chance.number());
        let (attic, bee) = (Person::new().unwrap(), Person::new().unwrap());
        large.write(bee.home()).unwrap();
        many.write(bee.home()).unwrap();

        let up = attic.up(&["--accept", "accept"]).unwrap();
        let mut sending = bee.send(&up.link().unwrap(), large.name).unwrap();
        sending.wait_until_accepted().unwrap();
        let begun = Instant::now();
        sending.wait_until_done().unwrap();
        let undisturbed = begun.elapsed();
        large.check_whole(&attic.inbox()).unwrap();
        large.remove(&attic.inbox()).unwrap();
        Self { chance, large, many, attic, bee, undisturbed, again_bytes: Vec::new() }
    }

    fn content(&self, round: u32) -> &Content {
        if round % 10 == 9 { &self.many } else { &self.large }
    }

    /// Sleeps until a random moment of a transfer that has just begun.
    fn random_moment(&mut self) {
        std::thread::sleep(self.chance.time(self.undisturbed));
    }

    /// Checks what arrived, and takes it away for the next round.
    fn conclude(&mut self, round: u32, moved_bytes: u64) {
        let content = self.content(round);
        wait_for("the parts to go", || !self.attic.inbox().join(".lanyard-part").exists());
        content.check_whole(&self.attic.inbox()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        content.remove(&self.attic.inbox()).unwrap();
        let again = moved_bytes.saturating_sub(content.total_bytes());
        assert!(again <= AGAIN_BYTES + OVERHEAD_BYTES, "round {round}: {again} bytes were sent again");
        self.again_bytes.push(again);
    }

    fn summary(&self) -> String {
        let worst = self.again_bytes.iter().max().copied().unwrap_or(0);
        let mean = self.again_bytes.iter().sum::<u64>() / (self.again_bytes.len() as u64).max(1);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        format!("equal; sent again: mean {:.1} MiB, most {:.1} MiB", mib(mean), mib(worst))
    }
}

#[test]
#[ignore = "the receiver may hold on to the old conversation for a minute: `cargo xtask faults` runs it"]
fn a_sender_killed_at_any_moment_carries_on_when_it_sends_again() {
    let report = Report::begin("F14", &format!("sender killed at {} random moments", rounds()));
    let mut all = Rounds::prepare("sender killed");
    let mut up: Option<Up> = None;
    for round in 0..rounds() {
        // Its lines are kept only up to a bound.
        if round % 5 == 0 {
            up = None;
        }
        let up = up.get_or_insert_with(|| all.attic.up(&["--accept", "accept"]).unwrap());
        let name = all.content(round).name;
        let (ended, received_before) = received(up);
        let link = up.link().unwrap();
        let sending = all.bee.send(&link, name).unwrap();
        sending.wait_until_accepted().unwrap();
        all.random_moment();
        sending.program.signal("KILL").unwrap();
        all.content(round).check_nothing_wrong(&all.attic.inbox()).unwrap();
        let had_finished = sending.has_finished();
        // What was over before would come a second time.
        if !had_finished {
            let mut again = all.bee.send(&up.link_after(&link).unwrap(), name).unwrap();
            again.wait_until_done().unwrap();
        }
        drop(sending);
        wait_for("the conversation to end", || received(up).0 > ended);
        if had_finished {
            Content::check_no_parts(&all.attic.inbox()).unwrap();
        }
        all.conclude(round, received(up).1 - received_before);
    }
    report.held(&all.summary());
}

#[test]
fn a_receiver_killed_at_any_moment_carries_on_from_its_disk() {
    let report = Report::begin("F13", &format!("receiver killed at {} random moments", rounds()));
    let mut all = Rounds::prepare("receiver killed");
    let mut up = all.attic.up(&["--accept", "accept"]).unwrap();
    for round in 0..rounds() {
        let name = all.content(round).name;
        let mut first = all.bee.send(&up.link().unwrap(), name).unwrap();
        first.wait_until_accepted().unwrap();
        all.random_moment();
        up.program.signal("KILL").unwrap();
        up.program.wait(PATIENCE).unwrap();
        all.content(round).check_nothing_wrong(&all.attic.inbox()).unwrap();
        first.program.signal("INT").unwrap();
        first.program.wait(PATIENCE).unwrap();
        let mut sent = agent_traffic(&first.program.printed()).0;
        up = all.attic.up(&["--accept", "accept"]).unwrap();
        if first.has_finished() {
            Content::check_no_parts(&all.attic.inbox()).unwrap();
        } else {
            let mut again = all.bee.send(&up.link().unwrap(), name).unwrap();
            again.wait_until_done().unwrap();
            sent += agent_traffic(&again.program.printed()).0;
        }
        all.conclude(round, sent);
    }
    report.held(&all.summary());
}

/// How many conversations a receiver has ended, and the bytes they took in.
fn received(up: &Up) -> (usize, u64) {
    let printed = up.program.printed();
    (printed.matches("a conversation ended").count(), agent_traffic(&printed).1)
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
