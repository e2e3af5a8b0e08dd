//! Networks that reorder, double, spoil, delay and strangle what they carry (F2, F3, F4).

use std::time::Duration;

use lanyard_tests::fault::{Chance, Content, Crossing, Report, Weather, Wire, rounds};
use lanyard_tests::lan::Lan;

const PATIENCE: Duration = Duration::from_secs(180);

/// Resident bytes that neither side may exceed, however slow the network is.
const MEMORY_BYTES: u64 = 96 << 20;

/// Sends so much through a cable with this weather in it.
fn send_through(report: Report, weather: Weather, bytes: usize) {
    let mut chance = Chance::announced("weather");
    let lan = Lan::new(&["attic", "studio"]).unwrap();
    let (attic, studio) = (lan.host("attic"), lan.host("studio"));
    let content = Content::large(bytes, chance.number());
    let _wire = Wire::put(&lan, attic, weather, &mut chance).unwrap();
    let crossing = Crossing::begin(attic, studio, &content, || Ok(())).unwrap();
    let (again, took) = crossing.conclude(PATIENCE).unwrap();
    let (mib, seconds) = (f64::from(1 << 20), took.as_secs_f64());
    let speed = bytes as f64 / seconds / mib;
    report.held(&format!("complete, equal; {speed:.2} MiB/s; {:.1} MiB sent again", again as f64 / mib));
}

#[test]
fn f2_reordered_doubled_and_spoilt_packets_change_nothing_in_what_arrives() {
    let bytes = if rounds() > 100 { 64 << 20 } else { 16 << 20 };
    let report = Report::begin("F2", "20 % reordered, 5 % doubled, 1 % spoilt, both ways");
    let weather = Weather { reorder_percent: 20, duplicate_percent: 5, corrupt_percent: 1, ..Weather::default() };
    send_through(report, weather, bytes);
}

#[test]
fn f3_a_long_way_with_jitter_is_only_slow() {
    let bytes = if rounds() > 100 { 32 << 20 } else { 8 << 20 };
    let report = Report::begin("F3", "300 ms ± 100 ms each way");
    let weather =
        Weather { delay: Duration::from_millis(300), jitter: Duration::from_millis(100), ..Weather::default() };
    send_through(report, weather, bytes);
}

#[test]
fn f4_a_network_that_becomes_a_hundred_times_slower_in_the_middle_is_only_slow() {
    let seconds = if rounds() > 100 { 60 } else { 10 };
    let report = Report::begin("F4", &format!("100 Mbit/s, then 1 Mbit/s for {seconds} s, then 100 again"));
    let lan = Lan::new(&["attic", "studio"]).unwrap();
    let (attic, studio) = (lan.host("attic"), lan.host("studio"));
    let content = Content::large(96 << 20, 4);
    lan.slow_down(attic, 100_000).unwrap();
    let crossing = Crossing::begin(attic, studio, &content, || Ok(())).unwrap();
    crossing.wait_for_percent(50).unwrap();
    lan.slow_down(attic, 1_000).unwrap();
    let before = crossing.done_bytes();
    std::thread::sleep(Duration::from_secs(seconds));
    let slow = crossing.done_bytes() - before;
    let memory = [&crossing.up, &crossing.sending].map(|program| program.peak_resident_bytes().unwrap());
    lan.slow_down(attic, 100_000).unwrap();
    let (again, _) = crossing.conclude(PATIENCE).unwrap();
    assert!(memory.iter().all(|bytes| *bytes < MEMORY_BYTES), "{memory:?} bytes of memory");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    report.held(&format!(
        "equal; {:.2} MiB stored while it was slow; at most {:.0} MiB of memory; {:.1} MiB sent again",
        mib(slow),
        mib(memory[0].max(memory[1])),
        mib(again)
    ));
}
