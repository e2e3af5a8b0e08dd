//! Two real processes over loopback: what is sent by one arrives at the other, or nothing does.

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::time::Instant;

use support::{Device, Running};

/// Sends to a link by stdin, as a script would.
fn send(from: &Device, link: &str, arguments: &[&str]) -> Running {
    let mut all = vec!["send", "--to", "-"];
    all.extend(arguments);
    let mut running = from.start(&all);
    running.type_line(link);
    drop(running.child.stdin.take());
    running
}

#[test]
fn a_folder_arrives_whole_with_empty_files_and_unicode_names() {
    let (attic, bee) = (Device::new(), Device::new());
    let trip = bee.folder("trip");
    std::fs::create_dir_all(trip.join("day 1/empty folder")).unwrap();
    std::fs::write(trip.join("day 1/zoë 日本 🦊.txt"), "hello").unwrap();
    std::fs::write(trip.join("empty"), "").unwrap();
    let large: Vec<u8> = (0..3_500_000_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    std::fs::write(trip.join("large.bin"), &large).unwrap();
    for number in 0..200 {
        std::fs::write(trip.join(format!("small {number}")), format!("{number}")).unwrap();
    }
    let executable = trip.join("run.sh");
    std::fs::write(&executable, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o755)).unwrap();

    let (_up, link) = attic.up(&["--accept", "accept", "--name", "Attic"]);
    send(&bee, &link, &["trip"]).exits_with(0);

    assert_eq!(attic.tree("in/trip"), bee.tree("trip"));
    assert_eq!(std::fs::read_dir(attic.path("in")).unwrap().count(), 1, "no unfinished files are left");
    let arrived = std::fs::metadata(attic.path("in/trip/run.sh")).unwrap();
    assert_eq!(arrived.permissions().mode() & 0o7777, 0o644);
    assert_eq!(arrived.mtime(), std::fs::metadata(&executable).unwrap().mtime());
}

#[test]
fn the_same_file_sent_twice_replaces_nothing() {
    let (attic, bee) = (Device::new(), Device::new());
    std::fs::write(bee.path("note.txt"), "first").unwrap();
    let (mut up, link) = attic.up(&["--accept", "accept"]);
    send(&bee, &link, &["note.txt"]).exits_with(0);
    let next_link = up.line_with("#1.");
    assert_ne!(next_link, link, "a link is used once");
    std::fs::write(bee.path("note.txt"), "second").unwrap();
    send(&bee, &next_link, &["note.txt"]).exits_with(0);
    let expected = [("note (1).txt".to_owned(), b"second".to_vec()), ("note.txt".to_owned(), b"first".to_vec())];
    assert_eq!(attic.tree("in"), expected);
    // A link that was used leads nowhere.
    send(&bee, &link, &["note.txt"]).exits_with(5);
}

#[test]
fn a_declined_offer_leaves_nothing() {
    let (attic, bee) = (Device::new(), Device::new());
    std::fs::write(bee.path("note.txt"), "hello").unwrap();
    let (mut up, link) = attic.up(&[]);
    up.type_line("n");
    let mut sending = send(&bee, &link, &["note.txt"]);
    sending.exits_with(4);
    assert!(sending.complained.iter().any(|line| line.contains("note.txt was declined")));
    assert_eq!(attic.tree("in"), []);
}

#[test]
fn an_offer_that_is_asked_about_is_taken_after_a_yes() {
    let (attic, bee) = (Device::new(), Device::new());
    std::fs::write(bee.path("small"), "hello").unwrap();
    std::fs::write(bee.path("big"), vec![7; 2000]).unwrap();
    let (mut up, link) = attic.up(&["--accept", "accept-under=1kB"]);
    send(&bee, &link, &["small"]).exits_with(0);
    let link = up.line_with("#1.");
    up.type_line("y");
    send(&bee, &link, &["big"]).exits_with(0);
    assert_eq!(attic.tree("in").len(), 2);
}

#[test]
fn a_text_arrives_and_its_control_characters_do_not_reach_the_terminal() {
    let (attic, bee) = (Device::new(), Device::new());
    let (mut up, link) = attic.up(&[]);
    send(&bee, &link, &["--text", "see you at 8 \u{1b}[2J\u{202e}"]).exits_with(0);
    let shown = up.line_with("see you");
    assert_eq!(shown, "see you at 8 \\u{1b}[2J\\u{202e}");
}

#[test]
fn receive_opens_the_link_that_send_shows() {
    let (attic, bee) = (Device::new(), Device::new());
    std::fs::write(bee.path("note.txt"), "hello").unwrap();
    attic.folder("inbox");
    let mut sending = bee.start(&["send", "note.txt", "--yes"]);
    let link = sending.line_with("#1.");
    let mut command = attic.command(&["receive", "-o", "inbox", "--yes"]);
    command.env("LANYARD_CODE", link);
    let mut receiving = Running::start(command);
    receiving.exits_with(0);
    sending.exits_with(0);
    assert_eq!(attic.tree("inbox"), [("note.txt".to_owned(), b"hello".to_vec())]);
    assert!(receiving.printed.contains(&"note.txt".to_owned()), "received names are results: {:?}", receiving.printed);
}

#[test]
fn the_sender_names_who_came_and_sends_only_after_a_yes() {
    let (attic, bee) = (Device::new(), Device::new());
    std::fs::write(bee.path("note.txt"), "hello").unwrap();
    attic.folder("inbox");
    let mut sending = bee.start(&["send", "note.txt"]);
    let link = sending.line_with("#1.");
    sending.type_line("n");
    let mut command = attic.command(&["receive", "-o", "inbox", "--yes", "--name", "Attic", "--timeout", "20"]);
    command.env("LANYARD_CODE", link);
    let mut receiving = Running::start(command);
    assert_eq!(receiving.wait().code(), Some(3), "{:?}", receiving.complained);
    sending.complaint_with("Attic (scanned) is here.");
    assert_eq!(attic.tree("inbox"), []);
}

#[test]
fn a_link_in_the_arguments_works_with_a_warning() {
    let (attic, bee) = (Device::new(), Device::new());
    std::fs::write(bee.path("note.txt"), "hello").unwrap();
    let (_up, link) = attic.up(&["--accept", "accept"]);
    let mut sending = bee.start(&["send", "note.txt", "--to", &link]);
    sending.exits_with(0);
    assert!(sending.complained.iter().any(|line| line.contains("process list")), "{:?}", sending.complained);
    let mut quiet = send(&bee, "http://127.0.0.1:9/#1.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA", &["note.txt"]);
    quiet.exits_with(7);
    assert!(!quiet.complained.iter().any(|line| line.contains("process list")));
}

#[test]
fn stopping_the_sender_leaves_no_file_under_its_name_and_the_same_command_carries_on() {
    let (attic, bee) = (Device::new(), Device::new());
    let content: Vec<u8> = (0..150_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(bee.path("large.bin"), &content).unwrap();
    let (mut up, link) = attic.up(&["--accept", "accept", "--json"]);
    let link_of = |line: String| {
        let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        event["link"].as_str().expect("a link").to_owned()
    };
    let mut sending = send(&bee, &link_of(link), &["large.bin"]);
    loop {
        let event: serde_json::Value = serde_json::from_str(&up.line_with("\"progress\"")).unwrap();
        if event["done_bytes"].as_u64().unwrap() > 20_000_000 {
            break;
        }
    }
    sending.signal("INT");
    sending.exits_with(130);
    up.line_with("\"interrupted\"");
    assert!(!attic.path("in/large.bin").exists());
    assert!(attic.path("in/.lanyard-part").exists(), "what arrived is kept");

    // The receiver's process is killed too: only its journal is left.
    up.signal("KILL");
    up.wait();
    let (mut up, link) = attic.up(&["--accept", "accept", "--json"]);
    let mut sending = send(&bee, &link_of(link), &["large.bin"]);
    let event: serde_json::Value = serde_json::from_str(&up.line_with("\"progress\"")).unwrap();
    assert!(event["done_bytes"].as_u64().unwrap() >= 8_000_000, "it does not begin anew: {event}");
    sending.exits_with(0);
    assert!(std::fs::read(attic.path("in/large.bin")).unwrap() == content);
    assert_eq!(std::fs::read_dir(attic.path("in")).unwrap().count(), 1, "no unfinished files are left");
}

#[test]
fn names_of_this_system_that_are_dangerous_elsewhere_are_made_safe() {
    let (attic, bee) = (Device::new(), Device::new());
    let odd = bee.folder("odd");
    let long = format!("{}.txt", "n".repeat(251));
    for name in [".bashrc", "CON", "a:b", "trailing.", "-rf", "new\u{202e}line", &long] {
        std::fs::write(odd.join(name), name).unwrap();
    }
    std::fs::write(odd.join("back\\slash"), "x").unwrap();
    let (_up, link) = attic.up(&["--accept", "accept"]);
    send(&bee, &link, &["odd"]).exits_with(0);
    let names: Vec<String> = attic.tree("in").into_iter().map(|(path, _)| path).collect();
    for expected in ["odd/_.bashrc", "odd/_CON", "odd/a_b", "odd/trailing_", "odd/-rf", "odd/back/slash"] {
        assert!(names.contains(&expected.to_owned()), "{expected} in {names:?}");
    }
    assert!(names.contains(&format!("odd/{long}")));
}

#[test]
fn a_receive_folder_that_is_missing_is_named_at_once() {
    let attic = Device::new();
    let mut up = attic.start(&["up", "nowhere"]);
    up.exits_with(8);
    assert!(up.complained.iter().any(|line| line.contains("nowhere does not exist")), "{:?}", up.complained);
}

#[test]
fn a_receive_folder_that_was_replaced_takes_nothing() {
    let (attic, bee) = (Device::new(), Device::new());
    std::fs::write(bee.path("note.txt"), "hello").unwrap();
    let (_up, link) = attic.up(&["--accept", "accept"]);
    std::fs::rename(attic.path("in"), attic.path("moved")).unwrap();
    std::os::unix::fs::symlink(attic.folder("elsewhere"), attic.path("in")).unwrap();
    send(&bee, &link, &["note.txt"]).exits_with(8);
    assert_eq!(attic.tree("elsewhere"), []);
    assert_eq!(attic.tree("moved"), []);
}

#[test]
fn sigterm_ends_the_agent_at_once_and_takes_its_socket_away() {
    let attic = Device::new();
    let (mut up, _link) = attic.up(&[]);
    let socket = attic.path(".local/state/lanyard/control.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::metadata(attic.path(".local/share/lanyard/identity.key")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut second = attic.start(&["up", "in"]);
    second.exits_with(1);
    let asked = Instant::now();
    up.signal("TERM");
    up.exits_with(0);
    assert!(asked.elapsed().as_secs() < 5, "{:?}", asked.elapsed());
    assert!(!socket.exists());
}

#[test]
fn devices_asks_the_running_agent() {
    let attic = Device::new();
    let (_up, _link) = attic.up(&[]);
    let started = Instant::now();
    let mut devices = attic.start(&["devices", "--json"]);
    devices.exits_with(0);
    assert!(started.elapsed().as_secs() < 3, "it did not listen to the network itself");
    let event: serde_json::Value = serde_json::from_str(&devices.printed[0]).unwrap();
    assert_eq!(event["event"], "nearby");
    attic.start(&["send", "--text", "x", "--to", "Nobody"]).exits_with(3);
}

#[test]
fn nobody_to_answer_means_no() {
    let (attic, bee) = (Device::new(), Device::new());
    std::fs::write(bee.path("note.txt"), "hello").unwrap();
    attic.folder("in");
    // Without a terminal a question still waits: it may be answered from another one.
    std::fs::write(attic.path("config.toml"), "answer-timeout = 1\n").unwrap();
    let mut command = attic.command(&["up", "in", "--config", "config.toml"]);
    command.stdin(Stdio::null());
    let mut up = Running::start(command);
    let link = up.line_with("#1.");
    send(&bee, &link, &["note.txt"]).exits_with(3);
    assert_eq!(attic.tree("in"), []);
}
