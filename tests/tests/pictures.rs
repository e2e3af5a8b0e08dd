//! Two agents that never met: `lanyard send --to NAME`, and people compare pictures at both terminals.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its network has failed")]

use std::time::Duration;

use lanyard_tests::device::Device;
use lanyard_tests::lan::Lan;
use lanyard_tests::program::Program;

const PATIENCE: Duration = Duration::from_secs(30);

/// Starts sending a file to "Attic NAS", and returns what its terminal shows: the row to find, and the numbered rows.
fn compare(sender: &Program, receiver: &Program) -> (String, Vec<String>) {
    let shown =
        sender.wait_for("the row it shows", PATIENCE, |line| line.strip_prefix("     ").map(str::to_owned)).unwrap();
    let row = |number: usize| {
        let prefix = format!("  {number}  ");
        receiver.wait_for("three rows", PATIENCE, |line| line.strip_prefix(&prefix).map(str::to_owned)).unwrap()
    };
    (shown, (1..=3).map(row).collect())
}

fn send(from: &Device<'_>) -> Program {
    let file = from.home().join("notes.txt");
    std::fs::write(&file, "take the pdf\n").unwrap();
    let args = ["send", &file.display().to_string(), "--to", "Attic NAS", "--name", "Studio PC", "--no-color"];
    Program::start("lanyard send", from.lanyard(&args)).unwrap()
}

#[test]
fn the_right_row_connects_and_the_file_arrives() {
    let lan = Lan::new(&["attic", "studio"]).unwrap();
    let (attic, studio) = (Device::new(lan.host("attic")).unwrap(), Device::new(lan.host("studio")).unwrap());
    let mut receiver = attic.up("Attic NAS", &["--accept", "accept"]).unwrap();
    let mut sender = send(&studio);
    let (shown, rows) = compare(&sender, &receiver);
    let right = rows.iter().position(|row| *row == shown).expect("one of the rows is the shown one");
    receiver.type_line(&(right + 1).to_string()).unwrap();
    sender.type_line("y").unwrap();
    assert_eq!(sender.wait(PATIENCE).unwrap().code(), Some(0), "{}", sender.printed());
    assert_eq!(std::fs::read_to_string(attic.inbox().join("notes.txt")).unwrap(), "take the pdf\n");
    assert!(receiver.printed().contains("compared"), "the trust is shown: {}", receiver.printed());
}

#[test]
fn a_wrong_row_declines_and_nothing_arrives() {
    let lan = Lan::new(&["attic", "studio"]).unwrap();
    let (attic, studio) = (Device::new(lan.host("attic")).unwrap(), Device::new(lan.host("studio")).unwrap());
    let mut receiver = attic.up("Attic NAS", &["--accept", "accept"]).unwrap();
    let mut sender = send(&studio);
    let (shown, rows) = compare(&sender, &receiver);
    let wrong = rows.iter().position(|row| *row != shown).expect("two of the rows are others");
    receiver.type_line(&(wrong + 1).to_string()).unwrap();
    sender.type_line("y").unwrap();
    assert_eq!(sender.wait(PATIENCE).unwrap().code(), Some(5), "{}", sender.printed());
    assert_eq!(
        std::fs::read_dir(attic.inbox())
            .unwrap()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name() != ".lanyard-part")
            .count(),
        0
    );
}
