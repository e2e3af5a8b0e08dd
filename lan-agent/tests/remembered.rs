//! Remembered devices between real processes: paired once, they meet again without a question.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its devices has failed")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use support::{Device, Running};

/// A port that was free a moment ago, so that an agent comes back where it was.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn command(device: &Device, port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanyard"));
    command.env_clear().env("HOME", device.home.path()).current_dir(device.home.path()).args(arguments);
    command.args(["--interface", "127.0.0.1", "--port", &port.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `lanyard up` as "Attic" and the link it shows.
fn up(device: &Device, port: u16, arguments: &[&str]) -> (Running, String) {
    device.folder("in");
    let mut all = vec!["up", "in", "--name", "Attic"];
    all.extend(arguments);
    let mut running = Running::start(command(device, port, &all));
    let link = running.line_with("#1.");
    (running, link)
}

/// Runs a command to its end.
fn run(device: &Device, arguments: &[&str], typed: Option<&str>) -> Running {
    let mut running = device.start(arguments);
    if let Some(typed) = typed {
        running.type_line(typed);
    }
    drop(running.child.stdin.take());
    running.wait();
    running
}

/// Both people agree: Bee by `pair`, Attic by an answer.
fn pair(attic_up: &mut Running, link: &str, bee: &Device) {
    attic_up.type_line("y");
    let mut pairing = run(bee, &["pair", "-", "--name", "Bee"], Some(link));
    pairing.exits_with(0);
    attic_up.complaint_with("Bee (scanned) is remembered");
    assert!(pairing.complained.iter().any(|line| line.contains("Attic (scanned) is remembered")));
}

fn send(bee: &Device, content: &str) -> Running {
    std::fs::write(bee.path("note.txt"), content).unwrap();
    run(bee, &["send", "note.txt", "--to", "attic", "--name", "Bee"], None)
}

#[test]
fn paired_once_a_device_is_reached_by_name_also_after_a_restart_and_nobody_is_asked() {
    let (attic, bee) = (Device::new(), Device::new());
    let port = free_port();
    let (mut attic_up, link) = up(&attic, port, &["--accept", "accept"]);
    pair(&mut attic_up, &link, &bee);
    for home in [&attic, &bee] {
        let directory = home.path(".local/share/lanyard");
        let mode = |name: &str| std::fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("devices.json")), (0o700, 0o600));
    }
    send(&bee, "first").exits_with(0);
    attic_up.complaint_with("Offered by Bee (remembered)");
    attic_up.signal("KILL");
    attic_up.wait();
    let (mut attic_up, _) = up(&attic, port, &["--accept", "accept"]);
    send(&bee, "second").exits_with(0);
    attic_up.complaint_with("Offered by Bee (remembered)");
    let expected = [("note (1).txt".to_owned(), b"second".to_vec()), ("note.txt".to_owned(), b"first".to_vec())];
    assert_eq!(attic.tree("in"), expected);
}

#[test]
fn a_device_has_a_policy_of_its_own_until_it_is_forgotten() {
    let (attic, bee) = (Device::new(), Device::new());
    let (mut attic_up, link) = up(&attic, free_port(), &[]);
    pair(&mut attic_up, &link, &bee);
    let mut trust = run(&attic, &["trust", "bee", "--policy", "accept-under=1kB"], None);
    trust.exits_with(0);
    assert!(trust.complained.iter().any(|line| line.contains("without a question under 1.0 kB")));
    send(&bee, "small").exits_with(0);
    attic_up.type_line("n");
    send(&bee, &"large".repeat(1000)).exits_with(4);
    assert_eq!(attic.tree("in"), [("note.txt".to_owned(), b"small".to_vec())]);

    let listed = run(&bee, &["devices", "--timeout", "1"], None);
    assert!(listed.printed.iter().any(|line| line.contains("Attic") && line.contains("remembered, offline")));
    run(&attic, &["forget", "bee"], None).exits_with(0);
    run(&attic, &["forget", "bee"], None).exits_with(3);
    let mut in_vain = run(&bee, &["send", "note.txt", "--to", "attic", "--timeout", "3"], None);
    in_vain.exits_with(3);
    assert!(in_vain.complained.iter().any(|line| line.contains("remembered but not here")), "{:?}", in_vain.complained);
}

#[test]
fn two_agents_that_remember_each_other_connect_by_themselves() {
    let (attic, bee) = (Device::new(), Device::new());
    let (mut attic_up, link) = up(&attic, free_port(), &["--accept", "accept"]);
    pair(&mut attic_up, &link, &bee);
    bee.folder("in");
    let mut bee_up = bee.start(&["up", "in", "--name", "Bee"]);
    bee_up.complaint_with("Attic (remembered) is connected");
    attic_up.complaint_with("Bee (remembered) is connected");
    // By the running agent, over the link that is there.
    send(&bee, "hello").exits_with(0);
    assert_eq!(attic.tree("in"), [("note.txt".to_owned(), b"hello".to_vec())]);
    let listed = run(&bee, &["devices"], None);
    assert!(listed.printed.iter().any(|line| line.contains("remembered, online")), "{:?}", listed.printed);
    // The other one hears that it was forgotten.
    run(&bee, &["forget", "Attic"], None).exits_with(0);
    attic_up.complaint_with("Bee has forgotten this device");
}

#[test]
fn nobody_is_remembered_when_the_other_person_does_not_agree() {
    let (attic, bee) = (Device::new(), Device::new());
    let (mut attic_up, link) = up(&attic, free_port(), &[]);
    let mut pairing = bee.start(&["pair", "-", "--name", "Bee"]);
    pairing.type_line(&link);
    drop(pairing.child.stdin.take());
    attic_up.complaint_with("Bee (scanned) wants to be remembered");
    attic_up.type_line("n");
    pairing.complaint_with("Asking Attic");
    pairing.signal("INT");
    pairing.exits_with(130);
    for home in [&attic, &bee] {
        assert!(!home.path(".local/share/lanyard/devices.json").exists());
    }
}

#[test]
fn a_known_name_with_another_key_stops_everything() {
    let (attic, bee, mallory) = (Device::new(), Device::new(), Device::new());
    let (mut attic_up, link) = up(&attic, free_port(), &["--accept", "accept"]);
    pair(&mut attic_up, &link, &bee);
    drop(attic_up);
    let (_pretender, link) = up(&mallory, free_port(), &["--accept", "accept"]);
    std::fs::write(bee.path("note.txt"), "secret").unwrap();
    let mut stopped = run(&bee, &["send", "note.txt", "--to", "-", "--yes"], Some(&link));
    stopped.exits_with(5);
    assert!(stopped.complained.iter().any(|line| line.contains("STOP.") && line.contains("another key")));
    assert_eq!(mallory.tree("in"), []);

    // The same where the pretender comes to us.
    let (mut attic_up, link) = up(&attic, free_port(), &["--accept", "accept"]);
    let mut turned_away = run(&mallory, &["send", "in", "--to", "-", "--name", "Bee", "--timeout", "20"], Some(&link));
    assert_ne!(turned_away.wait().code(), Some(0));
    attic_up.complaint_with("STOP. A device that calls itself Bee");
    // Forgotten, it may be paired anew.
    run(&bee, &["forget", "Attic"], None).exits_with(0);
}
