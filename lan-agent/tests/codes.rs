//! Spoken codes between real processes: one use, one guess, and a sentence for each way it can end.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its devices has failed")]

mod support;

use lanyard_agent::signaling_client::{ServerUrl, SignalingClient};
use lanyard_protocol::Nameplate;
use support::{Device, Running};

/// `lanyard up`, the address of its page, and its first code.
fn up(device: &Device, arguments: &[&str]) -> (Running, String, String) {
    device.folder("in");
    let mut all = vec!["up", "in"];
    all.extend(arguments);
    let mut running = device.start(&all);
    let (mut base, mut code) = (None, None);
    while base.is_none() || code.is_none() {
        let line = running.line_with("");
        if let Some((page, _)) = line.split_once("#1.") {
            base = Some(page.to_owned());
        } else if is_code(&line) {
            code = Some(line);
        }
    }
    (running, base.unwrap(), code.unwrap())
}

fn is_code(line: &str) -> bool {
    lanyard_pairing::Code::parse(line).is_ok()
}

fn next_code(running: &mut Running) -> String {
    loop {
        let line = running.line_with("-");
        if is_code(&line) {
            return line;
        }
    }
}

/// Sends a note to a code that is typed by stdin.
fn send(from: &Device, base: &str, code: &str) -> Running {
    std::fs::write(from.path("note.txt"), "hello").unwrap();
    let mut running = from.start(&["send", "note.txt", "--to", "-", "--relay", base]);
    running.type_line(code);
    drop(running.child.stdin.take());
    running
}

/// The same number with other words.
fn wrong_words(code: &str) -> String {
    let number = code.split('-').next().unwrap();
    let words = if code.ends_with("-zoo-zoo") { "piano-tiger" } else { "zoo-zoo" };
    format!("{number}-{words}")
}

#[test]
fn a_code_is_typed_in_any_spelling_used_once_and_replaced() {
    let (attic, bee) = (Device::new(), Device::new());
    let (mut up, base, code) = up(&attic, &["--accept", "accept"]);
    send(&bee, &base, &format!(" {} ", code.replace('-', " ").to_uppercase())).exits_with(0);
    assert_eq!(attic.tree("in"), [("note.txt".to_owned(), b"hello".to_vec())]);
    up.complaint_with("(code) is connected");
    let second = next_code(&mut up);
    assert_ne!(second, code);
    let mut late = send(&bee, &base, &code);
    late.exits_with(5);
    assert!(late.complained.iter().any(|line| line.contains("used already")), "{:?}", late.complained);
    send(&bee, &base, &second).exits_with(0);
}

#[test]
fn wrong_words_burn_the_code_on_both_sides() {
    let (attic, bee) = (Device::new(), Device::new());
    let (mut up, base, code) = up(&attic, &["--accept", "accept"]);
    let mut guess = send(&bee, &base, &wrong_words(&code));
    guess.exits_with(5);
    assert!(
        guess.complained.iter().any(|line| line.contains("it is used up, make a new code")),
        "{:?}",
        guess.complained
    );
    up.complaint_with("It allows one try, so it is burnt");
    let next = next_code(&mut up);
    let mut right_but_late = send(&bee, &base, &code);
    right_but_late.exits_with(5);
    let complained = &right_but_late.complained;
    assert!(complained.iter().any(|line| line.contains("a wrong try burnt it")), "{complained:?}");
    assert_eq!(attic.tree("in"), []);
    send(&bee, &base, &next).exits_with(0);
}

#[test]
fn what_is_no_code_or_unknown_is_refused_and_burns_nothing() {
    let (attic, bee) = (Device::new(), Device::new());
    let (_up, base, code) = up(&attic, &["--accept", "accept"]);
    let number = code.split('-').next().unwrap();
    let other = if number == "0000" { "0001" } else { "0000" };
    for (typed, words) in [
        (number.to_owned(), "the two words are missing"),
        (format!("{number}-piano-tigre"), "not two words of the list"),
        (format!("{other}-piano-tiger"), "no code with this number"),
    ] {
        let mut refused = send(&bee, &base, &typed);
        refused.exits_with(5);
        assert!(refused.complained.iter().any(|line| line.contains(words)), "{typed}: {:?}", refused.complained);
    }
    send(&bee, &base, &code).exits_with(0);
}

#[test]
fn receive_types_the_code_that_send_shows_and_warns_when_it_is_an_argument() {
    let (attic, bee) = (Device::new(), Device::new());
    std::fs::write(bee.path("note.txt"), "hello").unwrap();
    let mut sending = bee.start(&["send", "note.txt"]);
    let (mut base, mut code) = (None, None);
    while base.is_none() || code.is_none() {
        let line = sending.line_with("");
        if let Some((page, _)) = line.split_once("#1.") {
            base = Some(page.to_owned());
        } else if is_code(&line) {
            code = Some(line);
        }
    }
    sending.type_line("y");
    let mut receiving = attic.start(&["receive", &code.unwrap(), "--relay", &base.unwrap(), "--yes"]);
    receiving.exits_with(0);
    sending.exits_with(0);
    assert_eq!(std::fs::read_to_string(attic.path("note.txt")).unwrap(), "hello");
    assert!(receiving.complained.iter().any(|line| line.contains("process list")), "{:?}", receiving.complained);
    assert!(sending.complained.iter().any(|line| line.contains("(code) is here")), "{:?}", sending.complained);
}

#[tokio::test]
async fn a_third_device_at_the_code_stops_all_and_all_are_told() {
    let (attic, bee) = (Device::new(), Device::new());
    let (mut up, base, code) = up(&attic, &["--accept", "accept"]);
    let nameplate = Nameplate::try_from(code.split('-').next().unwrap().to_owned()).unwrap();
    let (client, _rings) = SignalingClient::connect(vec![ServerUrl::of_page(&base).unwrap()], None);
    let mailbox = client.claim(nameplate).await.unwrap();
    let _silent = client.join(mailbox).await.unwrap();
    let mut third = send(&bee, &base, &code);
    third.exits_with(5);
    assert!(
        third.complained.iter().any(|line| line.contains("same link or code at the same time")),
        "{:?}",
        third.complained
    );
    up.complaint_with("A third device tried the code");
    send(&bee, &base, &next_code(&mut up)).exits_with(0);
}
