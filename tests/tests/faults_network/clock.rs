//! A clock that jumps in the middle of a transfer (F19).

use std::process::Command;
use std::time::Duration;

use lanyard_tests::fault::{Content, Crossing, Report};
use lanyard_tests::lan::Lan;

const PATIENCE: Duration = Duration::from_secs(60);

/// From Debian's package `faketime`; one folder for each machine.
fn faketime() -> std::path::PathBuf {
    let found = std::fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok);
    let mut libraries = found.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    libraries.find(|library| library.exists()).expect("Debian package faketime")
}

/// `2026-11-30T02:59:59Z`
fn utc_now() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The hour within its day, of a time that a line begins with.
fn hour_of(line: &str) -> &str {
    line.get(11..13).unwrap_or_default()
}

#[test]
fn f19_a_clock_that_jumps_disturbs_nothing() {
    let report = Report::begin("F19", "the clocks of both jump by -1 h, +1 day, -1 day and +1 h in the middle");
    let lan = Lan::new(&["attic", "studio"]).unwrap();
    let (attic, studio) = (lan.host("attic"), lan.host("studio"));
    // 8 MB/s, so that there are moments to jump at.
    lan.slow_down(attic, 64_000).unwrap();
    let content = Content::large(64 << 20, 19);
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    let jump = |by: &str| {
        let next = dir.path().join("next");
        std::fs::write(&next, by).unwrap();
        std::fs::rename(next, &clock).unwrap();
    };
    jump("+0");
    let library = faketime();
    let with_clock = |command: &mut Command| {
        command.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &clock);
        // It looks at the file each time, and leaves the clock alone that only ever goes on.
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    };
    let crossing = Crossing::begin_with(attic, studio, &content, || Ok(()), with_clock).unwrap();
    let lines = crossing.line_counts();
    for (percent, by) in [(20, "-3600"), (40, "+1d"), (60, "-1d"), (80, "+3600")] {
        crossing.wait_for_percent(percent).unwrap();
        jump(by);
    }
    assert!(!crossing.has_told("waiting", lines), "a device was missed; {}", crossing.printed());
    // What the sender logs at the end is an hour ahead: the clock did jump.
    let last_word = crossing.wait_for_last_word(PATIENCE).unwrap();
    let now = utc_now();
    assert_ne!(hour_of(&last_word), hour_of(&now), "the clock did not jump: {last_word}");
    let (again, took) = crossing.conclude(PATIENCE).unwrap();
    assert!(took < Duration::from_secs(25), "it took {took:?}");
    report.held(&format!("not noticed; equal; {:.1} MiB sent again", again as f64 / f64::from(1 << 20)));
}
