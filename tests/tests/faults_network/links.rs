//! Links that are cut and come back (F6), and devices whose address changes (F7).

use std::time::{Duration, Instant};

use lanyard_tests::fault::{Content, Crossing, Report, rounds};
use lanyard_tests::lan::Lan;

/// 8 MB/s, so that a moment of the transfer can be met.
const KBIT_PER_SECOND: u32 = 64_000;

/// How long a transfer may need to go on after its link is back.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// The same after so long that both sides look for each other only now and then.
const BACK_WITHIN_AFTER_LONG: Duration = Duration::from_secs(15);

const PATIENCE: Duration = Duration::from_secs(120);

/// Cuts the receiver's link for so long when so much has crossed.
fn cut(percent: u64, seconds: u64) {
    let interrupts = seconds > 30;
    let report = Report::begin("F6", &format!("link cut at {percent} % for {seconds} s, between agents"));
    let lan = Lan::new(&["attic", "studio"]).unwrap();
    let (attic, studio) = (lan.host("attic"), lan.host("studio"));
    let content = Content::large(64 << 20, percent * 1_000 + seconds);
    lan.slow_down(attic, KBIT_PER_SECOND).unwrap();
    let crossing = Crossing::begin(attic, studio, &content, || Ok(())).unwrap();
    crossing.wait_for_percent(percent).unwrap();
    let lines = crossing.line_counts();
    lan.cut(attic).unwrap();
    let mend_at = Instant::now() + Duration::from_secs(seconds);
    crossing.wait_until_both_tell("waiting", lines, Duration::from_secs(4)).unwrap();
    if interrupts {
        let left = mend_at.saturating_duration_since(Instant::now());
        crossing.wait_until_both_tell("interrupted", lines, left).unwrap();
    }
    std::thread::sleep(mend_at.saturating_duration_since(Instant::now()));
    let before = crossing.done_bytes();
    lan.mend(attic).unwrap();
    let within = if seconds > 60 { BACK_WITHIN_AFTER_LONG } else { BACK_WITHIN };
    let went_on = crossing.wait_until_it_goes_on(before, within).unwrap();
    let (again, _) = crossing.conclude(PATIENCE).unwrap();
    let told = if interrupts { "interrupted told on both sides; " } else { "" };
    let mib = again as f64 / f64::from(1 << 20);
    report.held(&format!(
        "{told}goes on {:.1} s after its return; equal; {mib:.1} MiB sent again",
        went_on.as_secs_f64()
    ));
}

#[test]
fn f6_a_link_that_is_cut_for_seconds_is_waited_for() {
    cut(50, 5);
    if rounds() > 100 {
        for percent in [10, 99] {
            cut(percent, 5);
        }
        for percent in [10, 50, 99] {
            cut(percent, 29);
        }
    }
}

#[test]
fn f6_a_link_that_is_cut_for_longer_is_called_interrupted_and_comes_back_by_itself() {
    cut(50, 31);
    if rounds() > 100 {
        cut(50, 300);
    }
}
