//! Networks that lose packets and processes that stand still (F1, F5, F15).

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::process::Command;
use std::time::{Duration, Instant};

use lanyard_tests::device::Device;
use lanyard_tests::fault::{Content, Person, Report, rounds};
use lanyard_tests::lan::{Host, Lan};
use lanyard_tests::program::Program;

const PATIENCE: Duration = Duration::from_secs(180);

/// Lets a packet filter loose on what arrives at a host.
fn filter(host: &Host, rule: &str) {
    let rules = format!("table inet fault {{ chain input {{ type filter hook input priority 0; {rule}; }}; }}");
    let run = |arguments: &[&str]| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", host.namespace(), "nft"]).args(arguments);
        assert!(command.status().unwrap().success(), "nft {arguments:?}");
    };
    run(&["add", "table", "inet", "fault"]);
    run(&["delete", "table", "inet", "fault"]);
    run(&[&rules]);
}

/// Sends from one host to another, and how long it took from the acceptance on.
fn send(lan: &Lan, content: &Content, rule: Option<&str>) -> Duration {
    let attic = Device::new(lan.host("attic")).unwrap();
    let studio = Device::new(lan.host("studio")).unwrap();
    content.write(studio.home()).unwrap();
    let up = attic.up("Attic", &["--accept", "accept"]).unwrap();
    let link = up.wait_for("its link", PATIENCE, |line| {
        line.split_whitespace().find(|word| word.contains("/#1.")).map(ToOwned::to_owned)
    });
    let source = studio.home().join(content.name).display().to_string();
    let mut command = studio.lanyard(&["send", "--json", &source]);
    command.env("LANYARD_CODE", link.unwrap());
    if let Some(rule) = rule {
        for host in lan.hosts() {
            filter(host, rule);
        }
    }
    let mut sending = Program::start("lanyard send", command).unwrap();
    sending.wait_for("acceptance", PATIENCE, |line| line.contains("\"accepted\"").then_some(())).unwrap();
    let begun = Instant::now();
    assert!(sending.wait(PATIENCE).unwrap().success(), "{}", sending.printed());
    let took = begun.elapsed();
    content.check_whole(&attic.inbox()).unwrap();
    took
}

#[test]
#[ignore = "more than 1 % of loss stalls a data channel: `cargo xtask faults` runs it and says where"]
fn f1_f5_transfers_complete_though_packets_are_lost() {
    let lan = Lan::new(&["attic", "studio"]).unwrap();
    let content = Content::large(8 << 20, 1);
    let clean = send(&lan, &content, None);
    let lost = |percent: u32| format!("udp dport != 53 numgen random mod 100 < {percent} drop");
    let mut faults =
        vec![("F1", "1 % of all packets lost".to_owned(), lost(1)), ("F1", "5 % lost".to_owned(), lost(5))];
    if rounds() > 100 {
        faults.push(("F1", "10 % lost".to_owned(), lost(10)));
        faults.push(("F1", "30 % lost".to_owned(), lost(30)));
    }
    faults.push(("F5", "packets over 1200 bytes vanish".to_owned(), "meta length > 1228 drop".to_owned()));
    for (number, what, rule) in faults {
        let report = Report::begin(number, &format!("{what}, both ways, 8 MiB"));
        let took = send(&lan, &content, Some(&rule));
        let share = clean.as_secs_f64() / took.as_secs_f64() * 100.0;
        report.held(&format!("complete, equal; {share:.0} % of the undisturbed speed"));
    }
}

#[test]
fn f15_a_device_that_stands_still_is_waited_for() {
    let seconds = if rounds() > 100 { 40 } else { 6 };
    for frozen in ["receiver", "sender"] {
        let report = Report::begin("F15", &format!("{frozen} stopped for {seconds} s in the middle"));
        let content = Content::large(64 << 20, 2);
        let (attic, bee) = (Person::new().unwrap(), Person::new().unwrap());
        content.write(bee.home()).unwrap();
        let up = attic.up(&["--accept", "accept"]).unwrap();
        let mut sending = bee.send(&up.link().unwrap(), content.name).unwrap();
        sending.wait_until_accepted().unwrap();
        let program = if frozen == "receiver" { &up.program } else { &sending.program };
        program.signal("STOP").unwrap();
        std::thread::sleep(Duration::from_secs(seconds));
        program.signal("CONT").unwrap();
        let back = Instant::now();
        sending.wait_until_done().unwrap();
        content.check_whole(&attic.inbox()).unwrap();
        report.held(&format!("equal; done {:.0} s after it went on", back.elapsed().as_secs_f64()));
    }
}
