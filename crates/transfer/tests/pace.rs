//! When a link is slow, as the vectors say (LK-46). `web/src/core/session/pace.test.ts` reads the same.

use std::time::{Duration, Instant};

use lanyard_transfer::Pace;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    looks: Vec<(u64, u64, bool, bool)>,
}

#[test]
fn lk_46_a_link_is_slow_when_little_moves_though_more_waits() {
    let vectors: Vectors = serde_json::from_str(include_str!("../vectors/pace.json")).unwrap();
    let start = Instant::now();
    let mut pace = Pace::default();
    for (ms, moved_bytes, waits, slow) in vectors.looks {
        let now = start + Duration::from_millis(ms);
        assert_eq!(pace.handle_look(now, moved_bytes, waits), slow, "at {ms} ms");
        assert_eq!(pace.poll_timeout().is_some(), waits, "at {ms} ms");
    }
}
