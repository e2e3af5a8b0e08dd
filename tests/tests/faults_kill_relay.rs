//! Relays that are killed at random moments of a transfer that was arranged, or is carried, by them (F11, F12).
//!
//! 30 rounds here, 300 in `cargo xtask faults`; in every third one the two devices reach each other through the relay
//! only. Most of a round is waiting, so both kinds run side by side. A printed seed repeats a run:
//! `LANYARD_FAULT_SEED=…`.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::time::{Duration, Instant};

use lanyard_tests::fault::{Content, Person, Report, Rounds, Sending, Up, agent_traffic, rounds, wait_for};
use lanyard_tests::lan::Lan;
use lanyard_tests::relay::Relay;

/// How long a relay is gone at most.
const GONE: Duration = Duration::from_secs(1);

/// How long devices may take from the relay's return to the end of their transfer, besides the time that it takes twice.
/// Far more than they need on a machine that does nothing else.
const BACK: Duration = Duration::from_secs(45);

#[test]
fn f11_a_relay_killed_at_any_moment_stops_no_transfer_that_it_arranged() {
    let times = rounds() * 2 / 3;
    let report = Report::begin("F11", &format!("relay beside a direct path killed at {times} random moments"));
    kill_relay(report, times, false);
}

#[test]
fn f12_a_relay_killed_at_any_moment_stops_no_transfer_that_it_carries() {
    let times = rounds().div_ceil(3);
    let report = Report::begin("F12", &format!("relay that carries all killed at {times} random moments"));
    kill_relay(report, times, true);
}

fn kill_relay(report: Report, times: u32, relayed: bool) {
    let lan = Lan::new(&["relay", "attic", "bee"]).unwrap();
    if relayed {
        let to_relay = format!("ip daddr {}", lan.host("relay").ipv4());
        lan.host("bee").allow_only(&[&to_relay]).unwrap();
    }
    let mut relay = Relay::start(lan.host("relay")).unwrap();
    let url = relay.url();
    let certificate = relay.certificate().display().to_string();
    let person = |host: &str| Person::new().unwrap().at(lan.host(host)).with("SSL_CERT_FILE", &certificate);
    let (attic, bee) = (person("attic"), person("bee"));
    let mut all = Rounds::prepare("relay killed", &[bee.home()]).unwrap();
    let start = || attic.up(&["--accept", "accept", "--relay", &url]).unwrap();

    let up = start();
    let mut sending = begin(&bee, &up, 0, &all, 0);
    let begun = Instant::now();
    sending.wait_until_done().unwrap();
    let undisturbed = begun.elapsed();
    all.note_undisturbed(undisturbed);
    all.content(0).check_whole(&attic.inbox()).unwrap();
    all.content(0).remove(&attic.inbox()).unwrap();
    drop((sending, up));

    let mut slowest = Duration::ZERO;
    let mut running: Option<Up> = None;
    let mut links_before = 0;
    for round in 0..times {
        // Its lines are kept only up to a bound.
        if round % 5 == 0 {
            (running, links_before) = (None, 0);
        }
        let up = running.get_or_insert_with(start);
        let mut sending = begin(&bee, up, links_before, &all, round);
        all.random_moment();
        relay.kill().unwrap();
        all.content(round).check_nothing_wrong(&attic.inbox()).unwrap();
        std::thread::sleep(all.chance.time(GONE));
        // The link that is shown now is gone with the relay.
        links_before = up.links_at_relay().len();
        relay.restart().unwrap();
        let back = Instant::now();
        sending.wait_until_done().unwrap();
        slowest = slowest.max(back.elapsed());
        let limit = 2 * undisturbed + BACK;
        assert!(back.elapsed() < limit, "round {round}: done {:?} after the relay was back", back.elapsed());
        let route = if relayed { "relayed" } else { "lan" };
        assert!(sending.program.printed().contains(&format!("\"route\":\"{route}\"")), "round {round}");
        let sent = agent_traffic(&sending.program.printed()).0;
        all.conclude(round, &attic.inbox(), sent).unwrap();
    }
    report.held(&format!("{}; done {:.0} s after its return at the latest", all.summary(), slowest.as_secs_f64()));
}

/// Sends what the round sends by the first link that the receiver shows after `links_before` others.
fn begin(sender: &Person, up: &Up, links_before: usize, all: &Rounds, round: u32) -> Sending {
    wait_for("a link at the relay", || up.links_at_relay().len() > links_before).unwrap();
    let link = up.links_at_relay().pop().unwrap();
    let Content { name, .. } = all.content(round);
    let sending = sender.send(&link, name).unwrap();
    sending.wait_until_accepted().unwrap();
    sending
}
