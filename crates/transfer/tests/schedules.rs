//! Random schedules: whatever order things happen in, every file ends whole, once, and nothing else is left.

mod support;

use lanyard_protocol::control::ManifestEntry;
use proptest::prelude::*;
use support::{Pair, Side, content, file, id};

/// What befalls the two between steps.
#[derive(Debug, Clone)]
enum Blow {
    LoseLink,
    Restart(Side),
    WaitWithoutLink(usize),
}

fn blows() -> impl Strategy<Value = Vec<(usize, Blow)>> {
    let blow = prop_oneof![
        Just(Blow::LoseLink),
        Just(Blow::Restart(Side::A)),
        Just(Blow::Restart(Side::B)),
        (0_usize..50).prop_map(Blow::WaitWithoutLink),
    ];
    prop::collection::vec((0_usize..500, blow), 0..6)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![Just(0), 1_usize..5_000, 1_000_000_usize..3_200_000];
    prop::collection::vec(size, 1..12)
}

fn entries(sizes: &[usize]) -> Vec<(ManifestEntry, Vec<u8>)> {
    let named = |(seed, size): (u64, &usize)| {
        let bytes = content(seed, *size);
        (file(&format!("{seed}"), &bytes), bytes)
    };
    (0..).zip(sizes).map(named).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_file_arrives_whole_under_any_schedule(
        seed in any::<u64>(),
        sizes in sizes(),
        blows in blows(),
        max_message_bytes in prop_oneof![Just(4_200_usize), Just(16_384), Just(65_536), Just(262_144)],
    ) {
        let mut pair = Pair::new(seed);
        pair.max_message_bytes = max_message_bytes;
        pair.link_up();
        let entries = entries(&sizes);
        pair.offer(id(1), entries.clone());
        for (steps, blow) in blows {
            pair.run_steps(steps);
            match blow {
                Blow::LoseLink => pair.link_lost(),
                Blow::Restart(side) => pair.restart(side),
                Blow::WaitWithoutLink(steps) => {
                    pair.link_lost();
                    pair.run_steps(steps);
                }
            }
            pair.link_up();
        }
        pair.run_until(|pair| pair.a.exchange.is_idle() && pair.b.exchange.is_idle() && pair.b.disk.placed.len() == entries.len());
        pair.run_until_quiet();
        for (entry, bytes) in &entries {
            prop_assert!(pair.b.disk.placed.get(entry.path()) == Some(bytes), "{}", entry.path());
        }
        prop_assert_eq!(pair.b.disk.parts(), 0);
        prop_assert!(!pair.a.closed && !pair.b.closed);
    }
}
