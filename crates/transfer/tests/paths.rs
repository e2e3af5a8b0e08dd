//! Which path is tried when, as the vectors say (LK-40 to LK-46). `web/src/core/session/paths.test.ts` reads the same.
//!
//! `LANYARD_BLESS=1 cargo test -p lanyard-transfer --test paths` writes the logs; read them before they are kept.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use lanyard_transfer::{PathAction, PathKind, Paths};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Vectors {
    about: String,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
struct Case {
    name: String,
    leads: bool,
    has_lane: bool,
    inputs: Vec<(u64, String)>,
    until_ms: u64,
    log: Vec<(u64, String)>,
}

fn path(word: &str) -> PathKind {
    match word {
        "direct" => PathKind::Direct,
        "lane" => PathKind::Lane,
        other => panic!("no path is called {other}"),
    }
}

fn apply(paths: &mut Paths, now: Instant, input: &str) {
    let words: Vec<&str> = input.split(' ').collect();
    match words.as_slice() {
        ["attempt", number, kind] => drop(paths.handle_attempt(now, number.parse().unwrap(), path(kind))),
        ["bound", number, kind] => drop(paths.handle_bound(now, number.parse().unwrap(), path(kind))),
        ["closed", number, kind] => paths.handle_closed(now, number.parse().unwrap(), path(kind), false),
        ["impossible", number, kind] => paths.handle_closed(now, number.parse().unwrap(), path(kind), true),
        ["silent"] => paths.handle_silent(now),
        ["heard"] => paths.handle_heard(),
        ["slow"] => paths.handle_slow(now),
        ["own", "server"] => paths.set_own_server(true),
        ["asked", "slow"] => paths.handle_asked_for_faster(now, false),
        ["asked", "slow", "own"] => paths.handle_asked_for_faster(now, true),
        ["asked"] => paths.handle_asked(now, false),
        ["asked", "lane"] => paths.handle_asked(now, true),
        ["peer", "unreachable"] => paths.handle_peer_unreachable(now),
        ["network"] => paths.handle_network_change(now),
        ["reachable"] => paths.handle_reachable(now),
        ["hurried"] => paths.set_hurried(now, true),
        ["idle"] => paths.set_hurried(now, false),
        _ => panic!("no input is called {input}"),
    }
}

fn describe(action: PathAction) -> String {
    match action {
        PathAction::Begin { attempt, path: PathKind::Direct } => format!("begin {attempt} direct"),
        PathAction::Begin { attempt, path: PathKind::Lane } => format!("begin {attempt} lane"),
        PathAction::RestartIce => "restart ice".to_owned(),
        PathAction::Ask { lane: false } => "ask".to_owned(),
        PathAction::Ask { lane: true } => "ask lane".to_owned(),
        PathAction::AskForFaster => "ask slow".to_owned(),
        PathAction::CheckSignaling => "check signaling".to_owned(),
        PathAction::Close { attempt } => format!("close {attempt}"),
        PathAction::Waiting => "waiting".to_owned(),
        PathAction::Interrupted => "interrupted".to_owned(),
        PathAction::Well => "well".to_owned(),
    }
}

fn run(case: &Case) -> Vec<(u64, String)> {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut log = Vec::new();
    let mut paths = Paths::new(start, case.leads, case.has_lane);
    let note = |log: &mut Vec<(u64, String)>, paths: &mut Paths, now: Instant| {
        let ms = u64::try_from(now.duration_since(start).as_millis()).unwrap();
        while let Some(action) = paths.poll_action() {
            log.push((ms, describe(action)));
        }
    };
    note(&mut log, &mut paths, start);
    let inputs = case.inputs.iter().map(|(ms, input)| (*ms, Some(input))).chain([(case.until_ms, None)]);
    for (ms, input) in inputs {
        while let Some(due) = paths.poll_timeout().filter(|due| *due <= at(ms)) {
            paths.handle_timeout(due, 0.5);
            note(&mut log, &mut paths, due);
        }
        if let Some(input) = input {
            apply(&mut paths, at(ms), input);
            note(&mut log, &mut paths, at(ms));
        }
    }
    log
}

#[test]
fn lk_40_to_lk_46_paths_are_tried_as_the_vectors_say() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/paths.json");
    let mut vectors: Vectors = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    if std::env::var_os("LANYARD_BLESS").is_some() {
        for case in &mut vectors.cases {
            case.log = run(case);
        }
        let cases: Vec<String> = vectors.cases.iter().map(|case| serde_json::to_string(case).unwrap()).collect();
        let text = format!(
            "{{\"about\": {},\n \"cases\": [\n{}\n]}}\n",
            serde_json::to_string(&vectors.about).unwrap(),
            cases.join(",\n")
        );
        std::fs::write(&file, text).unwrap();
    }
    for case in &vectors.cases {
        assert_eq!(run(case), case.log, "{}", case.name);
    }
}

fn log_of(leads: bool, inputs: &[(u64, &str)], until_ms: u64) -> Vec<(u64, String)> {
    let inputs = inputs.iter().map(|(ms, input)| (*ms, (*input).to_owned())).collect();
    run(&Case { name: String::new(), leads, has_lane: true, inputs, until_ms, log: Vec::new() })
}

fn first(log: &[(u64, String)], text: &str) -> Option<u64> {
    log.iter().find(|(_, said)| said == text).map(|(ms, _)| *ms)
}

#[test]
fn lk_40_without_a_link_a_lane_is_begun_after_ten_seconds_and_at_once_where_nothing_else_can_work() {
    assert_eq!(first(&log_of(true, &[], 20_000), "begin 2 lane"), Some(10_000));
    assert_eq!(first(&log_of(true, &[(40, "impossible 1 direct")], 20_000), "begin 2 lane"), Some(40));
    assert_eq!(first(&log_of(true, &[(40, "asked lane")], 20_000), "begin 2 lane"), Some(40));
    assert_eq!(
        first(&log_of(false, &[(10, "attempt 1 direct"), (40, "impossible 1 direct")], 900), "ask lane"),
        Some(40)
    );
}

#[test]
fn lk_41_a_silent_link_is_met_at_once_after_five_and_after_ten_seconds() {
    let log = log_of(true, &[(300, "bound 1 direct"), (60_000, "silent")], 100_000);
    assert_eq!(first(&log, "waiting"), Some(60_000));
    assert_eq!(first(&log, "restart ice"), Some(60_000));
    assert_eq!(first(&log, "begin 2 direct"), Some(65_000));
    assert_eq!(first(&log, "begin 3 lane"), Some(70_000));
    assert_eq!(first(&log, "interrupted"), Some(88_000));
}

#[test]
fn lk_46_a_crawling_link_is_replaced_by_a_lane_where_the_server_runs_on_one_of_the_two() {
    let bound = (300, "bound 1 direct");
    let own = log_of(true, &[(10, "own server"), bound, (5_000, "slow")], 20_000);
    assert_eq!(first(&own, "begin 2 lane"), Some(5_000));
    assert_eq!(first(&own, "waiting"), None);
    assert_eq!(first(&log_of(true, &[bound, (5_000, "asked slow own")], 20_000), "begin 2 lane"), Some(5_000));
    assert_eq!(first(&log_of(true, &[bound, (5_000, "slow")], 20_000), "begin 2 lane"), None);
    let asking = log_of(false, &[(10, "attempt 1 direct"), bound, (5_000, "slow")], 20_000);
    assert_eq!(first(&asking, "ask slow"), Some(5_000));
    assert_eq!(first(&log_of(false, &[(5_000, "slow")], 9_000), "ask slow"), None);
}

#[test]
fn lk_2_an_older_link_that_comes_late_does_not_carry_and_a_newer_one_does() {
    let now = Instant::now();
    let mut paths = Paths::new(now, true, true);
    paths.handle_timeout(now + Duration::from_secs(10), 0.5);
    assert!(paths.handle_bound(now, 2, PathKind::Lane));
    assert!(!paths.handle_bound(now, 1, PathKind::Direct));
    paths.handle_timeout(now, 0.5);
    assert!(paths.handle_bound(now, 3, PathKind::Direct));
}

#[test]
fn a_link_that_is_lost_again_and_again_never_makes_a_number_come_twice() {
    let now = Instant::now();
    let mut paths = Paths::new(now, true, true);
    let mut last = 0;
    for second in 0..3_600 {
        let now = now + Duration::from_secs(second);
        paths.handle_timeout(now, 0.5);
        while let Some(action) = paths.poll_action() {
            if let PathAction::Begin { attempt, path } = action {
                assert!(attempt > last);
                last = attempt;
                if attempt % 3 == 0 {
                    paths.handle_bound(now, attempt, path);
                    paths.handle_closed(now, attempt, path, false);
                }
            }
        }
    }
    assert!(last > 100);
}
