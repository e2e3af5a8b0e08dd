//! Processes that stand still (F15).

use std::time::{Duration, Instant};

use lanyard_tests::fault::{Content, Crossing, Person, Report, rounds};
use lanyard_tests::lan::Lan;
use lanyard_tests::relay::Relay;

const PATIENCE: Duration = Duration::from_secs(180);

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

#[test]
fn f15_a_relay_that_stands_still_is_waited_for_where_it_carries_and_not_missed_elsewhere() {
    let seconds: usize = if rounds() > 100 { 40 } else { 6 };
    for relayed in [false, true] {
        let way = if relayed { "that carries the transfer" } else { "beside a direct way" };
        let report = Report::begin("F15", &format!("relay {way} stopped for {seconds} s in the middle"));
        let lan = Lan::new(&["relay", "attic", "studio"]).unwrap();
        let relay = Relay::start(lan.host("relay")).unwrap();
        let (attic, studio) = (lan.host("attic"), lan.host("studio"));
        lan.slow_down(attic, 64_000).unwrap();
        if relayed {
            let only_443 = format!("ip daddr {} tcp dport 443", lan.host("relay").ipv4());
            for host in [attic, studio] {
                host.allow_only(&[&only_443]).unwrap();
            }
        }
        // 8 MB/s: what is left of it when the relay stops takes longer than it stands still.
        let content = Content::large(seconds << 24, 15);
        let crossing = Crossing::begin_through(&relay, attic, studio, &content).unwrap();
        crossing.wait_for_percent(30).unwrap();
        let lines = crossing.line_counts();
        relay.program().signal("STOP").unwrap();
        let back_at = Instant::now() + Duration::from_secs(seconds as u64);
        if relayed {
            crossing.wait_until_both_tell("waiting", lines, Duration::from_secs(5)).unwrap();
        }
        std::thread::sleep(back_at.saturating_duration_since(Instant::now()));
        let before = crossing.done_bytes();
        relay.program().signal("CONT").unwrap();
        assert!(relayed || !crossing.has_told("waiting", lines), "a device was missed; {}", crossing.printed());
        let went_on = crossing.wait_until_it_goes_on(before, Duration::from_secs(10)).unwrap();
        let (again, _) = crossing.conclude(PATIENCE).unwrap();
        let mib = again as f64 / f64::from(1 << 20);
        let found = if relayed {
            format!("waiting told on both sides; goes on {:.1} s after it went on", went_on.as_secs_f64())
        } else {
            "not noticed".to_owned()
        };
        report.held(&format!("{found}; equal; {mib:.1} MiB sent again"));
    }
}
