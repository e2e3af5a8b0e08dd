//! The receiving process ends at each of twelve steps, just before and just after (F13).

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::time::Duration;

use lanyard_tests::fault::{Content, Person, Report};
use lanyard_tests::program::Program;

const PATIENCE: Duration = Duration::from_secs(60);

const STEPS: [&str; 12] = [
    "accept",
    "fallocate",
    "first-write",
    "fdatasync",
    "journal-append",
    "root-check",
    "file-fsync",
    "rename",
    "dir-fsync",
    "ack",
    "prompt",
    "key-write",
];

#[test]
fn a_receiver_that_ends_at_any_of_twelve_steps_has_a_whole_file_or_carries_on() {
    for step in STEPS {
        for side in ["before", "after"] {
            let point = format!("{side}-{step}");
            let report = Report::begin("F13", &format!("receiver ends {side} {step}"));
            let kept = end_at(&point);
            report.held(kept);
        }
    }
}

/// Sends to a receiver that ends at `point`, then once more to its next process.
fn end_at(point: &str) -> &'static str {
    // Long enough that written bytes are made durable while more come.
    let content = Content::large(20 << 20, 1);
    let (mut attic, bee) = (Person::new().unwrap().with("LANYARD_FAIL_POINT", point), Person::new().unwrap());
    content.write(bee.home()).unwrap();

    if point.ends_with("key-write") {
        // It ends before there is anything to open.
        let inbox = attic.inbox().display().to_string();
        let mut up = Program::start("lanyard up", attic.lanyard(&["up", &inbox])).unwrap();
        assert!(!up.wait(PATIENCE).unwrap().success(), "{point} was not reached");
    } else {
        let mut up = attic.up(&[]).unwrap();
        let mut sending = bee.send(&up.link().unwrap(), content.name).unwrap();
        // Where it ends as soon as it has an offer, it may say nothing of it and take no answer.
        let _ = up.program.wait_for("the offer", PATIENCE, |line| line.contains("\"offered\"").then_some(()));
        let _ = up.program.type_line("y");
        assert!(!up.program.wait(PATIENCE).unwrap().success(), "{point} was not reached");
        sending.program.signal("INT").unwrap();
        sending.program.wait(PATIENCE).unwrap();
        if sending.has_finished() {
            content.check_whole(&attic.inbox()).unwrap_or_else(|error| panic!("{point}: {error}"));
            Content::check_no_parts(&attic.inbox()).unwrap();
            return "the sender has its word; whole";
        }
    }
    content.check_nothing_wrong(&attic.inbox()).unwrap_or_else(|error| panic!("{point}: {error}"));
    let whole = attic.inbox().join(content.name).exists();
    let parts = attic.inbox().join(".lanyard-part").exists();

    attic.without_additions();
    let up = attic.up(&["--accept", "accept"]).unwrap();
    let mut again = bee.send(&up.link().unwrap(), content.name).unwrap();
    again.wait_until_done().unwrap_or_else(|error| panic!("{point}: {error}"));
    let deadline = std::time::Instant::now() + PATIENCE;
    while attic.inbox().join(".lanyard-part").exists() {
        assert!(std::time::Instant::now() < deadline, "{point}: parts are left");
        std::thread::sleep(Duration::from_millis(10));
    }
    content.check_whole(&attic.inbox()).unwrap_or_else(|error| panic!("{point}: {error}"));
    match (whole, parts) {
        (true, _) => "the file was whole; one copy in the end",
        (false, true) => "carried on from its parts; equal",
        (false, false) => "nothing was kept; sent anew, equal",
    }
}
