//! What is under way, what waits and what was, seen and decided from another terminal.

mod support;

use std::time::{Duration, Instant};

use support::{Device, Running};

fn run(device: &Device, arguments: &[&str]) -> Running {
    let mut running = device.start(arguments);
    drop(running.child.stdin.take());
    running.wait();
    running
}

/// Lists until a line has `text`.
fn listed(device: &Device, text: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let list = run(device, &["list"]);
        if let Some(line) = list.printed.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        assert!(Instant::now() < deadline, "no {text:?} in {:?}", list.printed);
    }
}

/// An agent that nobody sits at, and its link.
fn headless(attic: &Device) -> (Running, String) {
    let (mut up, link) = attic.up(&["--name", "Attic"]);
    drop(up.child.stdin.take());
    (up, link)
}

fn send(from: &Device, link: &str, file: &str) -> Running {
    let mut running = from.start(&["send", file, "--to", "-", "--name", "Bee"]);
    running.type_line(link);
    drop(running.child.stdin.take());
    running
}

#[test]
fn an_offer_to_a_headless_agent_is_held_and_accepted_from_another_terminal() {
    let (attic, bee) = (Device::new(), Device::new());
    std::fs::write(bee.path("note.txt"), "hello").unwrap();
    let (mut up, link) = headless(&attic);
    let mut sending = send(&bee, &link, "note.txt");
    let waiting = listed(&attic, "Bee wants to send 1 file (5 B)");
    assert!(waiting.contains("lanyard list --allow 1"), "{waiting}");
    listed(&attic, "not answered yet");
    run(&attic, &["list", "--allow", "1"]).exits_with(0);
    sending.exits_with(0);
    listed(&attic, "note.txt from Bee  done, checked");
    listed(&bee, "note.txt to Attic  done, checked");
    run(&attic, &["list", "--allow", "1"]).exits_with(3);

    let link = up.line_with("#1.");
    let mut sending = send(&bee, &link, "note.txt");
    listed(&attic, "Bee wants to send");
    run(&attic, &["cancel", "99"]).exits_with(3);
    run(&attic, &["list", "--decline", "2"]).exits_with(0);
    sending.exits_with(4);
    listed(&attic, "declined");

    run(&attic, &["history", "--clear"]).exits_with(0);
    let nothing = run(&attic, &["history", "--json"]);
    assert_eq!(nothing.printed, Vec::<String>::new());
}

#[test]
fn what_was_broken_off_is_listed_and_sent_on() {
    let (attic, bee) = (Device::new(), Device::new());
    let content: Vec<u8> = (0..80_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(bee.path("large.bin"), &content).unwrap();
    let (mut up, link) = attic.up(&["--accept", "accept", "--json", "--name", "Attic"]);
    let event: serde_json::Value = serde_json::from_str(&link).unwrap();
    up.type_line("y");
    let mut pairing = bee.start(&["pair", "-", "--name", "Bee"]);
    pairing.type_line(event["link"].as_str().unwrap());
    drop(pairing.child.stdin.take());
    pairing.exits_with(0);

    let mut sending = bee.start(&["send", "large.bin", "--to", "Attic", "--name", "Bee"]);
    loop {
        let event: serde_json::Value = serde_json::from_str(&up.line_with("\"progress\"")).unwrap();
        if event["done_bytes"].as_u64().unwrap() > 8_000_000 {
            break;
        }
    }
    sending.signal("INT");
    sending.exits_with(130);
    let line = listed(&bee, "large.bin to Attic  interrupted");
    let id = line.split("lanyard resume ").nth(1).unwrap().to_owned();
    run(&bee, &["resume", "none"]).exits_with(3);
    run(&bee, &["resume", &id, "--name", "Bee"]).exits_with(0);
    assert!(std::fs::read(attic.path("in/large.bin")).unwrap() == content);
    listed(&bee, "large.bin to Attic  done, checked");
}
