//! Processes that are killed at random moments of a transfer: it carries on from what the receiver has (F13, F14).
//!
//! 30 rounds each here, 300 in `cargo xtask faults`. A printed seed repeats a run: `LANYARD_FAULT_SEED=…`.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::time::{Duration, Instant};

use lanyard_tests::fault::{Content, Person, Report, Rounds, Up, agent_traffic, rounds, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// Two people, and how long one takes to send to the other when nobody disturbs it.
fn prepare(what: &str) -> (Rounds, Person, Person) {
    let (attic, bee) = (Person::new().unwrap(), Person::new().unwrap());
    let mut all = Rounds::prepare(what, &[bee.home()]).unwrap();
    let up = attic.up(&["--accept", "accept"]).unwrap();
    let mut sending = bee.send(&up.link().unwrap(), all.content(0).name).unwrap();
    sending.wait_until_accepted().unwrap();
    let begun = Instant::now();
    sending.wait_until_done().unwrap();
    all.note_undisturbed(begun.elapsed());
    all.content(0).check_whole(&attic.inbox()).unwrap();
    all.content(0).remove(&attic.inbox()).unwrap();
    (all, attic, bee)
}

#[test]
fn a_sender_killed_at_any_moment_carries_on_when_it_sends_again() {
    let report = Report::begin("F14", &format!("sender killed at {} random moments", rounds()));
    let (mut all, attic, bee) = prepare("sender killed");
    let mut running: Option<Up> = None;
    for round in 0..rounds() {
        // Its lines are kept only up to a bound.
        if round % 5 == 0 {
            running = None;
        }
        let mut up = running.take().unwrap_or_else(|| attic.up(&["--accept", "accept"]).unwrap());
        let name = all.content(round).name;
        let received_before = received_bytes(&up);
        let link = up.link().unwrap();
        let sending = bee.send(&link, name).unwrap();
        sending.wait_until_accepted().unwrap();
        all.random_moment();
        sending.program.signal("KILL").unwrap();
        all.content(round).check_nothing_wrong(&attic.inbox()).unwrap();
        if sending.has_finished() {
            // What was over would come a second time. The receiver waits for the device, so it is told to stop.
            drop(sending);
            up.program.signal("INT").unwrap();
            up.program.wait(PATIENCE).unwrap();
            Content::check_no_parts(&attic.inbox()).unwrap();
        } else {
            let mut again = bee.send(&up.link_after(&link).unwrap(), name).unwrap();
            again.wait_until_done().unwrap();
            // Both: what each took in is told at its end.
            wait_for("the conversations to end", || has_no_conversation(&up)).unwrap();
        }
        all.conclude(round, &attic.inbox(), received_bytes(&up) - received_before)
            .unwrap_or_else(|error| panic!("{error:#}; the receiver printed:\n{}", up.program.printed()));
        running = Some(up).filter(|up| !up.program.has_ended());
    }
    report.held(&all.summary());
}

#[test]
fn a_sender_that_comes_again_takes_its_transfer_from_the_session_that_still_has_it() {
    let report = Report::begin("F14", "sender stopped without a word, and sends again at once");
    let (attic, bee) = (Person::new().unwrap(), Person::new().unwrap());
    let content = Content::large(256 << 20, 3);
    content.write(bee.home()).unwrap();
    let up = attic.up(&["--accept", "accept"]).unwrap();
    let link = up.link().unwrap();
    let first = bee.send(&link, content.name).unwrap();
    first.wait_for_bytes(24 << 20).unwrap();
    // Its connections stay open, so nobody is told.
    first.program.signal("STOP").unwrap();
    let mut again = bee.send(&up.link_after(&link).unwrap(), content.name).unwrap();
    again.wait_until_done().unwrap();
    let sent = agent_traffic(&again.program.printed()).0;
    assert!(sent < content.total_bytes(), "{sent} bytes: it began anew");
    wait_for("the parts to go", || !attic.inbox().join(".lanyard-part").exists()).unwrap();
    content.check_whole(&attic.inbox()).unwrap();
    report.held("equal; carried on from what was there");
}

#[test]
fn a_receiver_killed_at_any_moment_carries_on_from_its_disk() {
    let report = Report::begin("F13", &format!("receiver killed at {} random moments", rounds()));
    let (mut all, attic, bee) = prepare("receiver killed");
    let mut up = attic.up(&["--accept", "accept"]).unwrap();
    for round in 0..rounds() {
        let name = all.content(round).name;
        let mut first = bee.send(&up.link().unwrap(), name).unwrap();
        first.wait_until_accepted().unwrap();
        all.random_moment();
        up.program.signal("KILL").unwrap();
        up.program.wait(PATIENCE).unwrap();
        all.content(round).check_nothing_wrong(&attic.inbox()).unwrap();
        first.program.signal("INT").unwrap();
        first.program.wait(PATIENCE).unwrap();
        let mut sent = agent_traffic(&first.program.printed()).0;
        up = attic.up(&["--accept", "accept"]).unwrap();
        if first.has_finished() {
            Content::check_no_parts(&attic.inbox()).unwrap();
        } else {
            let mut again = bee.send(&up.link().unwrap(), name).unwrap();
            again.wait_until_done().unwrap();
            sent += agent_traffic(&again.program.printed()).0;
        }
        all.conclude(round, &attic.inbox(), sent).unwrap();
    }
    report.held(&all.summary());
}

/// Bytes that ended conversations took in.
fn received_bytes(up: &Up) -> u64 {
    agent_traffic(&up.program.printed()).1
}

/// Whether everybody who was met is gone.
fn has_no_conversation(up: &Up) -> bool {
    let printed = up.program.printed();
    printed.matches("\"event\":\"met\"").count() == printed.matches("a conversation ended").count()
}
