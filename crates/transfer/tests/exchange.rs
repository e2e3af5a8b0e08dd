//! What two exchanges do together when both keep the rules.

mod support;

use lanyard_protocol::control::{CancelReason, DeclineReason, FileFailure, ManifestEntry, PauseReason, Span};
use lanyard_transfer::{Config, Event, Exchange, Manifest, Party, WriteError};
use support::{MIB, Pair, Side, content, file, folder, id};

fn files(sizes: &[usize]) -> Vec<(ManifestEntry, Vec<u8>)> {
    let named = |(seed, size): (u64, &usize)| {
        let bytes = content(seed, *size);
        (file(&format!("folder/file {seed}"), &bytes), bytes)
    };
    (0..).zip(sizes).map(named).collect()
}

fn assert_arrived(pair: &Pair, entries: &[(ManifestEntry, Vec<u8>)]) {
    for (entry, bytes) in entries {
        match entry {
            ManifestEntry::File { path, .. } => assert!(pair.b.disk.placed.get(path) == Some(bytes), "{path}"),
            ManifestEntry::Folder { path } => assert!(pair.b.disk.folders.contains(path), "{path}"),
        }
    }
    assert_eq!(pair.b.disk.placed.len() + pair.b.disk.folders.len(), entries.len());
    assert_eq!((pair.b.disk.parts(), pair.b.disk.journals()), (0, 0));
}

#[test]
fn tr_22_files_and_folders_arrive_as_they_were() {
    let mut pair = Pair::connected(1);
    let mut entries = files(&[0, 1, 65_536, MIB - 1, MIB, MIB + 1, 3 * MIB + 7]);
    entries.push((folder("empty/deep"), Vec::new()));
    pair.offer(id(1), entries.clone());
    pair.run_until_finished(id(1));
    assert_arrived(&pair, &entries);
    assert!(pair.a.exchange.is_idle() && pair.b.exchange.is_idle());
}

#[test]
fn tr_12_nothing_is_written_before_accept() {
    let mut pair = Pair::connected(2);
    pair.b.accepts = false;
    pair.offer(id(1), files(&[10, 2 * MIB]));
    pair.run_until(|pair| pair.b.saw(&Event::Offered { transfer: id(1) }));
    pair.run_steps(1_000);
    assert_eq!((pair.b.disk.bytes_written, pair.b.disk.parts(), pair.b.disk.journals()), (0, 0, 0));
    assert_eq!(pair.a.data_sent, 0);
}

#[test]
fn tr_12_declined_offer_leaves_nothing() {
    let mut pair = Pair::connected(3);
    pair.b.accepts = false;
    pair.offer(id(1), files(&[10]));
    pair.run_until(|pair| pair.b.saw(&Event::Offered { transfer: id(1) }));
    pair.b.exchange.decline(id(1), DeclineReason::Declined).unwrap();
    pair.run_until(|pair| pair.a.saw(&Event::Declined { transfer: id(1), reason: DeclineReason::Declined }));
    assert_eq!((pair.b.disk.parts(), pair.b.disk.journals()), (0, 0));
    assert!(pair.a.exchange.is_idle() && pair.b.exchange.is_idle());
}

#[test]
fn tr_13_only_the_chosen_files_travel() {
    let mut pair = Pair::connected(4);
    pair.b.accepts = false;
    let entries = files(&[100, 200, 300, 400]);
    pair.offer(id(1), entries.clone());
    pair.run_until(|pair| pair.b.saw(&Event::Offered { transfer: id(1) }));
    let chosen = [Span { first: 1, count: 1 }, Span { first: 3, count: 1 }];
    pair.b.exchange.accept(pair.now, id(1), &chosen).unwrap();
    pair.run_until_finished(id(1));
    assert_arrived(&pair, &[entries[1].clone(), entries[3].clone()]);
}

#[test]
fn transfers_go_both_ways_and_side_by_side() {
    let mut pair = Pair::connected(5);
    let (one, two, back) = (files(&[3 * MIB, 10]), files(&[2 * MIB]), files(&[5 * MIB]));
    let rename = |entries: Vec<(ManifestEntry, Vec<u8>)>, name: &str| {
        let renamed = |(at, (_, bytes)): (usize, (_, Vec<u8>))| (file(&format!("{name}{at}"), &bytes), bytes);
        entries.into_iter().enumerate().map(renamed).collect::<Vec<_>>()
    };
    pair.offer(id(1), one);
    pair.offer(id(2), rename(two, "two"));
    pair.b.offer(pair.now, id(3), rename(back.clone(), "back"));
    pair.run_until_finished(id(1));
    pair.run_until_finished(id(2));
    pair.run_until_finished(id(3));
    assert_eq!(pair.b.disk.placed.len(), 3);
    assert_eq!(pair.a.disk.placed["back0"], back[0].1);
}

#[test]
fn tr_22_ten_thousand_small_files_need_few_messages() {
    let mut pair = Pair::connected(6);
    let entries: Vec<_> = (0..10_000)
        .map(|seed| {
            let bytes = content(seed, 100);
            (file(&format!("{seed}"), &bytes), bytes)
        })
        .collect();
    pair.offer(id(1), entries.clone());
    let mut messages = 0;
    let mut last = 0;
    pair.run_until(|pair| {
        messages += usize::from(pair.a.data_sent > last);
        last = pair.a.data_sent;
        pair.a.finished(id(1))
    });
    pair.run_until_quiet();
    assert_arrived(&pair, &entries);
    assert!(messages < 5_000, "{messages} messages for 10 000 files");
}

#[test]
fn tr_31_credit_bounds_what_a_slow_disk_holds_in_memory() {
    let config = Config { window_bytes: 4 * MIB as u64, ..Config::default() };
    let mut pair = Pair::with(7, config);
    pair.link_up();
    pair.offer(id(1), files(&[12 * MIB]));
    pair.run_until_finished(id(1));
    assert!(pair.b.most_unwritten <= 4 * MIB as u64);
}

#[test]
fn tr_30_sender_stops_at_the_window_while_nothing_is_written() {
    let mut pair = Pair::connected(8);
    pair.b.disk.is_stuck = true;
    pair.offer(id(1), files(&[64 * MIB]));
    pair.run_until(|pair| pair.a.saw(&Event::Accepted { transfer: id(1) }));
    pair.run_steps(5_000);
    let window = 16 * MIB as u64;
    assert!((window..window + 64 * 1024).contains(&pair.a.data_sent), "{} bytes sent", pair.a.data_sent);
    assert!(pair.b.most_unwritten <= window);
    pair.b.disk.is_stuck = false;
    pair.run_until_finished(id(1));
    // Every byte once, and headers and hashes around them.
    assert!(pair.a.data_sent < 64 * MIB as u64 + 64 * 1024, "{} bytes for 64 MiB", pair.a.data_sent);
}

#[test]
fn tr_75_texts_arrive_once_and_in_order_over_broken_links() {
    let mut pair = Pair::connected(9);
    for number in 0..20_u64 {
        pair.a.exchange.send_text(number, format!("text {number}")).unwrap();
        pair.run_steps(3);
        if number % 3 == 0 {
            pair.link_lost();
            pair.link_up();
        }
    }
    pair.run_until(|pair| pair.a.saw(&Event::TextDelivered { id: 19 }));
    let texts =
        pair.b.events.iter().filter_map(|event| if let Event::Text { text, .. } = event { Some(text) } else { None });
    assert_eq!(texts.cloned().collect::<Vec<_>>(), (0..20).map(|n| format!("text {n}")).collect::<Vec<_>>());
}

#[test]
fn tr_50_link_lost_at_any_moment_costs_at_most_a_window() {
    for seed in 0..20 {
        let mut pair = Pair::connected(100 + seed);
        let entries = files(&[6 * MIB + 5, 1000, 0, 2 * MIB]);
        pair.offer(id(1), entries.clone());
        for _ in 0..4 {
            let steps = rand::RngExt::random_range(&mut pair.rng, 0..400);
            pair.run_steps(steps);
            pair.link_lost();
            pair.run_steps(5);
            pair.link_up();
        }
        pair.run_until_finished(id(1));
        assert_arrived(&pair, &entries);
        let size = entries.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        assert_eq!(pair.b.disk.bytes_written, size, "seed {seed}: no piece is written twice");
    }
}

#[test]
fn tr_51_pieces_that_the_receiver_holds_do_not_hold_up_the_next_link() {
    let config = Config { read_ahead_reads: 2, ..Config::default() };
    let mut pair = Pair::with(30, config);
    pair.link_up();
    let entries = files(&[24 * MIB]);
    pair.offer(id(1), entries.clone());
    pair.run_until(|pair| pair.b.disk.bytes_written >= 20 * MIB as u64);
    pair.link_lost();
    pair.link_up();
    let before = pair.now;
    pair.run_until(|pair| pair.b.disk.bytes_written == 24 * MIB as u64);
    assert_eq!(pair.now, before, "nothing waits for a timer");
    pair.run_until_finished(id(1));
    assert_arrived(&pair, &entries);
}

#[test]
fn tr_61_receiver_carries_on_from_its_journal() {
    for seed in 0..20 {
        let mut pair = Pair::connected(200 + seed);
        let entries = files(&[12 * MIB + 5, 1000, 0, 2 * MIB, 77]);
        pair.offer(id(1), entries.clone());
        pair.run_until(|pair| pair.a.saw(&Event::Accepted { transfer: id(1) }));
        for _ in 0..3 {
            let steps = rand::RngExt::random_range(&mut pair.rng, 0..600);
            pair.run_steps(steps);
            pair.restart(Side::B);
            pair.link_up();
        }
        pair.run_until(|pair| pair.a.finished(id(1)));
        pair.run_until_quiet();
        assert_arrived(&pair, &entries);
    }
}

#[test]
fn tr_56_what_is_let_go_stays_on_disk_and_is_written_no_more() {
    let mut pair = Pair::connected(56);
    pair.offer(id(1), files(&[6 * MIB]));
    pair.run_until(|pair| pair.b.disk.bytes_written >= 2 * MIB as u64);
    assert!(pair.b.exchange.release_incoming(pair.now, id(1)));
    assert!(!pair.b.exchange.release_incoming(pair.now, id(1)), "it is not here any more");
    let lost = Event::Cancelled { transfer: id(1), reason: CancelReason::UnknownTransfer, by: Party::Them };
    pair.run_until(|pair| pair.a.saw(&lost));
    pair.run_until_quiet();
    assert_eq!((pair.b.disk.parts(), pair.b.disk.journals()), (1, 1));
    assert!(pair.b.disk.placed.is_empty() && !pair.a.closed && !pair.b.closed);
    assert!(pair.b.exchange.is_idle());
}

#[test]
fn tr_51_sender_reads_again_what_is_claimed_after_its_restart_and_sends_only_the_rest() {
    let mut pair = Pair::connected(10);
    let entries = files(&[16 * MIB]);
    pair.offer(id(1), entries.clone());
    pair.run_until(|pair| pair.b.disk.bytes_written >= 8 * MIB as u64);
    let before = pair.a.data_sent;
    pair.restart(Side::A);
    pair.link_up();
    pair.run_until_finished(id(1));
    assert_arrived(&pair, &entries);
    assert!(pair.a.data_sent - before < 9 * MIB as u64);
    assert_eq!(pair.b.disk.bytes_written, 16 * MIB as u64);
}

#[test]
fn tr_50_what_was_claimed_on_a_link_that_is_gone_is_not_believed_on_the_next() {
    for seed in 0..20 {
        let mut pair = Pair::connected(300 + seed);
        let entries = files(&[2 * MIB]);
        pair.offer(id(1), entries.clone());
        pair.run_until(|pair| pair.b.disk.bytes_written >= MIB as u64);
        // The sender knows no hashes any more, and hears of a piece that is written and not durable.
        pair.restart(Side::A);
        pair.link_up();
        let steps = rand::RngExt::random_range(&mut pair.rng, 0..8);
        pair.run_steps(steps);
        pair.restart(Side::B);
        pair.link_up();
        pair.run_until_finished(id(1));
        assert_arrived(&pair, &entries);
    }
}

#[test]
fn tr_52_file_changed_between_links_is_sent_as_it_is_now_and_told() {
    let mut pair = Pair::connected(11);
    let mut entries = files(&[4 * MIB]);
    pair.offer(id(1), entries.clone());
    pair.run_until(|pair| pair.b.disk.bytes_written >= 2 * MIB as u64);
    pair.restart(Side::A);
    let changed = [&entries[0].1[..MIB], &content(99, 2 * MIB + 9)].concat();
    pair.a.disk.sources.get_mut(&(id(1), 0)).unwrap().change(changed.clone());
    pair.link_up();
    pair.run_until_finished(id(1));
    entries[0].1.clone_from(&changed);
    assert_arrived(&pair, &entries);
    let told = Event::Restated { transfer: id(1), file: 0, size_bytes: changed.len() as u64 };
    assert!(pair.a.saw(&told) && pair.b.saw(&told));
}

#[test]
fn tr_52_file_with_other_content_under_the_same_time_is_never_mixed() {
    let mut pair = Pair::connected(12);
    let mut entries = files(&[4 * MIB]);
    pair.offer(id(1), entries.clone());
    pair.run_until(|pair| pair.b.disk.bytes_written >= 2 * MIB as u64);
    pair.restart(Side::A);
    let changed = content(99, 4 * MIB);
    pair.a.disk.sources.get_mut(&(id(1), 0)).unwrap().bytes.clone_from(&changed);
    pair.link_up();
    pair.run_until_finished(id(1));
    entries[0].1 = changed;
    assert_arrived(&pair, &entries);
}

#[test]
fn tr_53_file_changed_while_it_is_sent_fails_alone() {
    let mut pair = Pair::connected(13);
    let entries = files(&[16 * MIB, 500]);
    pair.offer(id(1), entries.clone());
    pair.run_until(|pair| pair.b.disk.bytes_written >= 2 * MIB as u64);
    pair.a.disk.sources.get_mut(&(id(1), 0)).unwrap().change(content(5, MIB));
    pair.run_until_finished(id(1));
    let failed = Event::FileFailed { transfer: id(1), file: 0, reason: FileFailure::Changed };
    assert!(pair.a.saw(&failed) && pair.b.saw(&failed));
    assert_arrived(&pair, &entries[1..]);
}

#[test]
fn tr_53_file_that_cannot_be_read_fails_alone() {
    let mut pair = Pair::connected(14);
    let entries = files(&[500, 2 * MIB, 500]);
    pair.offer(id(1), entries.clone());
    pair.a.disk.sources.get_mut(&(id(1), 1)).unwrap().is_readable = false;
    pair.run_until_finished(id(1));
    assert!(pair.b.saw(&Event::FileFailed { transfer: id(1), file: 1, reason: FileFailure::Unreadable }));
    assert_arrived(&pair, &[entries[0].clone(), entries[2].clone()]);
}

#[test]
fn tr_52_file_may_grow_only_so_far_after_it_was_accepted() {
    let config = Config { growth_bytes: MIB as u64, ..Config::default() };
    let mut pair = Pair::with(15, config);
    pair.link_up();
    pair.offer(id(1), files(&[500]));
    pair.a.disk.sources.get_mut(&(id(1), 0)).unwrap().change(content(5, 2 * MIB));
    pair.run_until_finished(id(1));
    assert!(pair.b.saw(&Event::FileFailed { transfer: id(1), file: 0, reason: FileFailure::Changed }));
    assert_eq!(pair.b.disk.placed.len(), 0);
}

#[test]
fn tr_55_full_disk_pauses_and_goes_on_when_there_is_room() {
    let mut pair = Pair::connected(16);
    let entries = files(&[6 * MIB, 2000, 3000]);
    pair.offer(id(1), entries.clone());
    pair.run_until(|pair| pair.b.disk.bytes_written >= MIB as u64);
    pair.b.disk.write_error = Some(WriteError::NoSpace);
    let paused = |by| Event::Paused { transfer: id(1), reason: PauseReason::NoSpace, by };
    pair.run_until(|pair| pair.a.saw(&paused(Party::Them)) && pair.b.saw(&paused(Party::Us)));
    pair.run_steps(500);
    assert!(!pair.b.finished(id(1)));
    pair.b.disk.write_error = None;
    pair.b.exchange.unpause(pair.now, id(1)).unwrap();
    pair.run_until_finished(id(1));
    assert_arrived(&pair, &entries);
}

#[test]
fn tr_55_bytes_that_a_full_disk_lost_while_they_were_made_durable_are_asked_for_again() {
    let mut pair = Pair::connected(19);
    let entries = files(&[20 * MIB, 2000]);
    pair.offer(id(1), entries.clone());
    pair.b.disk.sync_error = Some(WriteError::NoSpace);
    let paused = Event::Paused { transfer: id(1), reason: PauseReason::NoSpace, by: Party::Us };
    pair.run_until(|pair| pair.b.saw(&paused));
    pair.b.exchange.unpause(pair.now, id(1)).unwrap();
    pair.run_until_finished(id(1));
    assert_arrived(&pair, &entries);
}

#[test]
fn tr_54_file_that_cannot_be_written_fails_and_the_transfer_ends() {
    let mut pair = Pair::connected(17);
    pair.offer(id(1), files(&[3 * MIB]));
    pair.b.disk.write_error = Some(WriteError::Failed);
    pair.run_until_finished(id(1));
    assert!(pair.a.saw(&Event::FileFailed { transfer: id(1), file: 0, reason: FileFailure::CannotWrite }));
    assert_eq!((pair.b.disk.parts(), pair.b.disk.journals()), (0, 0));
}

#[test]
fn tr_54_cancel_from_either_side_leaves_no_part() {
    for side in [Side::A, Side::B] {
        for steps in [0, 5, 20, 60, 150] {
            let mut pair = Pair::connected(18);
            pair.offer(id(1), files(&[16 * MIB, 100]));
            pair.run_until(|pair| pair.a.saw(&Event::Accepted { transfer: id(1) }));
            pair.run_steps(steps);
            let device = if side == Side::A { &mut pair.a } else { &mut pair.b };
            device.exchange.cancel(id(1), CancelReason::ByPerson).unwrap();
            let cancelled = |by| Event::Cancelled { transfer: id(1), reason: CancelReason::ByPerson, by };
            let (a, b) = if side == Side::A { (Party::Us, Party::Them) } else { (Party::Them, Party::Us) };
            pair.run_until(|pair| pair.a.saw(&cancelled(a)) && pair.b.saw(&cancelled(b)));
            pair.run_until_quiet();
            assert_eq!((pair.b.disk.parts(), pair.b.disk.journals()), (0, 0));
            assert!(!pair.a.closed && !pair.b.closed);
            // The link is good for another transfer.
            let entries = vec![(file("next", b"next"), b"next".to_vec())];
            pair.offer(id(2), entries);
            pair.run_until_finished(id(2));
        }
    }
}

#[test]
fn tr_54_cancel_without_a_link_is_told_on_the_next() {
    for side in [Side::A, Side::B] {
        let mut pair = Pair::connected(19);
        pair.offer(id(1), files(&[16 * MIB]));
        pair.run_until(|pair| pair.b.disk.bytes_written > 0);
        pair.link_lost();
        let device = if side == Side::A { &mut pair.a } else { &mut pair.b };
        device.exchange.cancel(id(1), CancelReason::ByPerson).unwrap();
        pair.link_up();
        pair.run_until(|pair| pair.a.exchange.is_idle() && pair.b.exchange.is_idle());
        assert_eq!((pair.b.disk.parts(), pair.b.disk.journals()), (0, 0));
    }
}

#[test]
fn tr_54_cancel_that_a_link_took_along_is_told_on_the_next() {
    for side in [Side::A, Side::B] {
        let mut pair = Pair::connected(19);
        pair.offer(id(1), files(&[16 * MIB]));
        pair.run_until(|pair| pair.b.disk.bytes_written > 0);
        let device = if side == Side::A { &mut pair.a } else { &mut pair.b };
        device.exchange.cancel(id(1), CancelReason::ByPerson).unwrap();
        pair.link_lost();
        pair.link_up();
        pair.run_until(|pair| pair.a.exchange.is_idle() && pair.b.exchange.is_idle());
        assert_eq!((pair.b.disk.parts(), pair.b.disk.journals()), (0, 0));
        assert!(!pair.a.closed && !pair.b.closed);
    }
}

#[test]
fn tr_54_cancelled_file_does_not_hold_up_the_others() {
    for side in [Side::A, Side::B] {
        let mut pair = Pair::connected(20);
        let entries = files(&[16 * MIB, 2 * MIB]);
        pair.offer(id(1), entries.clone());
        pair.run_until(|pair| pair.b.disk.bytes_written > 0);
        let device = if side == Side::A { &mut pair.a } else { &mut pair.b };
        device.exchange.cancel_file(pair.now, id(1), 0).unwrap();
        pair.run_until_finished(id(1));
        assert_arrived(&pair, &entries[1..]);
    }
}

#[test]
fn tr_55_pause_stops_the_data_and_unpause_starts_it() {
    for side in [Side::A, Side::B] {
        let mut pair = Pair::connected(21);
        let entries = files(&[24 * MIB]);
        pair.offer(id(1), entries.clone());
        pair.run_until(|pair| pair.b.disk.bytes_written > 0);
        let now = pair.now;
        let device = if side == Side::A { &mut pair.a } else { &mut pair.b };
        device.exchange.pause(id(1)).unwrap();
        pair.run_until_quiet();
        let sent = pair.a.data_sent;
        pair.link_lost();
        pair.link_up();
        pair.run_until_quiet();
        assert_eq!(pair.a.data_sent, sent, "a pause outlives the link");
        let device = if side == Side::A { &mut pair.a } else { &mut pair.b };
        device.exchange.unpause(now, id(1)).unwrap();
        pair.run_until_finished(id(1));
        assert_arrived(&pair, &entries);
    }
}

#[test]
fn tr_55_offer_that_was_paused_before_it_was_accepted_is_shown_as_paused() {
    let mut pair = Pair::connected(31);
    pair.offer(id(1), files(&[1000]));
    pair.a.exchange.pause(id(1)).unwrap();
    let paused = Event::Paused { transfer: id(1), reason: PauseReason::ByPerson, by: Party::Them };
    pair.run_until(|pair| pair.b.saw(&paused));
    pair.run_until_quiet();
    assert_eq!(pair.a.data_sent, 0);
    pair.a.exchange.unpause(pair.now, id(1)).unwrap();
    pair.run_until_finished(id(1));
}

#[test]
fn tr_10_offer_of_a_hundred_thousand_entries_is_told_in_parts() {
    let mut pair = Pair::connected(22);
    let entries: Vec<_> = (0..100_000).map(|n| (file(&format!("{}/{n}", n % 100), b""), Vec::new())).collect();
    pair.b.accepts = false;
    pair.offer(id(1), entries);
    pair.run_until(|pair| pair.b.saw(&Event::Offered { transfer: id(1) }));
    // The worst answer: every second entry.
    let chosen: Vec<_> = (0..50_000).map(|n| Span { first: 2 * n, count: 1 }).collect();
    pair.b.exchange.accept(pair.now, id(1), &chosen).unwrap();
    pair.run_until(|pair| pair.a.saw(&Event::Accepted { transfer: id(1) }));
    assert_eq!(pair.a.exchange.accepted(id(1)).unwrap(), chosen);
}

#[test]
fn tr_2_sizes_up_to_two_to_the_53_can_be_offered() {
    let mut pair = Pair::connected(23);
    let huge = ManifestEntry::File { path: "huge".to_owned(), size_bytes: (1 << 53) - 1, modified_ms: None };
    pair.b.accepts = false;
    pair.a.exchange.offer(pair.now, id(1), Manifest::new(vec![huge]).unwrap()).unwrap();
    pair.run_until(|pair| pair.b.saw(&Event::Offered { transfer: id(1) }));
    assert_eq!(pair.b.exchange.manifest(id(1)).unwrap().summary().total_bytes, (1 << 53) - 1);
}

#[test]
fn tr_5_more_offers_than_may_wait_are_declined_as_busy() {
    let config = Config { transfers: 8, ..Config::default() };
    let mut pair = Pair::with(24, config);
    pair.b.exchange = Exchange::new(Config { transfers: 2, ..Config::default() }, 1);
    pair.b.accepts = false;
    pair.link_up();
    for number in 1..=3 {
        pair.offer(id(number), files(&[1]));
    }
    pair.run_until(|pair| pair.a.saw(&Event::Declined { transfer: id(3), reason: DeclineReason::Busy }));
    pair.run_until(|pair| [1, 2].iter().all(|number| pair.b.saw(&Event::Offered { transfer: id(*number) })));
}

#[test]
fn tr_14_accept_given_without_a_link_is_told_on_the_next() {
    let mut pair = Pair::connected(25);
    pair.b.accepts = false;
    let entries = files(&[1000]);
    let manifest = pair.offer(id(1), entries.clone());
    pair.run_until(|pair| pair.b.saw(&Event::Offered { transfer: id(1) }));
    pair.link_lost();
    pair.b.exchange.accept(pair.now, id(1), &support::whole(&manifest)).unwrap();
    pair.link_up();
    pair.run_until_finished(id(1));
    assert_arrived(&pair, &entries);
    assert_eq!(pair.b.events.iter().filter(|event| matches!(event, Event::Offered { .. })).count(), 1);
}

#[test]
fn tr_70_silence_is_noticed_after_two_seconds_and_ends_with_a_word() {
    let mut pair = Pair::connected(26);
    pair.run_until_quiet();
    let start = pair.now;
    // B's process hangs: only A's clock turns.
    while !pair.a.saw(&Event::Silent) {
        pair.now = pair.a.exchange.poll_timeout().unwrap();
        pair.a.exchange.handle_timeout(pair.now);
        while let Some(output) = pair.a.exchange.poll_output() {
            if let lanyard_transfer::Output::Event(event) = output {
                pair.a.events.push(event);
            }
        }
    }
    assert_eq!((pair.now - start).as_secs(), 2);
    pair.run_until(|pair| pair.a.saw(&Event::Heard));
}

#[test]
fn tr_80_progress_tells_verified_and_durable_bytes_at_both_ends() {
    let mut pair = Pair::connected(27);
    pair.offer(id(1), files(&[24 * MIB, 0]));
    pair.run_until(|pair| pair.b.disk.bytes_written >= 20 * MIB as u64);
    let (a, b) = (pair.a.exchange.progress(pair.now, id(1)), pair.b.exchange.progress(pair.now, id(1)));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((a.total_bytes, b.total_bytes), (24 * MIB as u64, 24 * MIB as u64));
    assert!(b.durable_bytes <= b.verified_bytes && b.verified_bytes <= 24 * MIB as u64);
    assert!(b.verified_bytes > 0 && a.verified_bytes <= b.verified_bytes);
    assert_eq!((b.entries, b.failed), (2, 0));
}

#[test]
fn tr_6_closed_exchange_says_why_and_does_nothing_more() {
    let mut pair = Pair::connected(28);
    pair.run_until_quiet();
    pair.a.exchange.handle_control(pair.now, "nonsense");
    assert!(pair.a.exchange.is_closed());
    pair.run_until(|pair| pair.b.closed);
    assert!(pair.b.exchange.is_closed());
    assert_eq!(pair.a.exchange.poll_timeout(), None);
}
