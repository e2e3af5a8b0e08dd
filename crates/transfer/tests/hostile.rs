//! What an exchange does when the other side breaks the rules: it closes with a code, and nothing is on disk.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use std::time::Instant;

use data_encoding::BASE64URL_NOPAD;
use lanyard_protocol::control::ViolationCode;
use lanyard_protocol::frame::{Body, Frame};
use lanyard_transfer::{Config, Event, Exchange, Output, Party, piece_hash};

const MIB: usize = 1024 * 1024;
const ID: &str = "AQEBAQEBAQEBAQEBAQEBAQ";

/// An exchange that is told things by hand.
struct Victim {
    exchange: Exchange,
    now: Instant,
    outputs: Vec<Output>,
    said: Vec<String>,
}

impl Victim {
    fn new() -> Self {
        let now = Instant::now();
        let mut victim =
            Self { exchange: Exchange::new(Config::default(), 1), now, outputs: Vec::new(), said: Vec::new() };
        victim.exchange.link_up(now, 65_536);
        victim.drain();
        victim
    }

    /// With a transfer of one file of `size` bytes that it has accepted.
    fn accepting(size: u64) -> Self {
        let mut victim = Self::offered(size);
        let wanted = lanyard_protocol::control::Span { first: 0, count: 1 };
        let id = lanyard_protocol::control::TransferId([1; 16]);
        victim.exchange.accept(victim.now, id, &[wanted]).unwrap();
        victim.drain();
        victim
    }

    fn offered(size: u64) -> Self {
        let mut victim = Self::new();
        victim.hears(&offer(ID, 1, size));
        victim.hears(&entries(ID, "a", size));
        victim
    }

    fn hears(&mut self, text: &str) {
        self.exchange.handle_control(self.now, text);
        self.drain();
    }

    fn receives(&mut self, frames: &[Frame<'_>]) {
        let mut message = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut message));
        self.exchange.handle_data(self.now, &message);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.exchange.poll_output() {
            self.outputs.push(output);
        }
        while let Some(text) = self.exchange.poll_control(self.now) {
            self.said.push(text);
        }
    }

    /// Closed for that, with the reason said aloud, and deaf from then on.
    fn assert_closed(&mut self, code: ViolationCode) {
        let close = Output::Close { code, by: Party::Them };
        assert!(self.outputs.contains(&close), "{:?}", self.outputs);
        let error = lanyard_protocol::control::ControlMessage::Error { code }.encode();
        assert_eq!(self.said.last(), Some(&error));
        let before = self.outputs.len();
        self.hears(&offer("AgICAgICAgICAgICAgICAg", 9, 1));
        self.receives(&[chunk(0, b"more")]);
        assert_eq!(self.outputs.len(), before);
    }

    fn writes(&self) -> usize {
        let on_disk = |output: &&Output| {
            matches!(output, Output::Open { .. } | Output::Write { .. } | Output::Journal { .. } | Output::Place { .. })
        };
        self.outputs.iter().filter(on_disk).count()
    }
}

fn offer(id: &str, number: u32, size: u64) -> String {
    format!(
        r#"{{"type":"offer","transfer":"{id}","number":{number},"summary":{{"entries":1,"files":1,"total_bytes":{size}}}}}"#
    )
}

fn entries(id: &str, path: &str, size: u64) -> String {
    let path = serde_json::to_string(path).unwrap();
    format!(
        r#"{{"type":"entries","transfer":"{id}","first":0,"entries":[{{"kind":"file","path":{path},"size_bytes":{size}}}]}}"#
    )
}

fn chunk(offset: u64, bytes: &[u8]) -> Frame<'_> {
    Frame { number: 1, file: 0, offset, body: Body::Chunk(bytes) }
}

fn piece_end(offset: u64, hash: [u8; 32]) -> Frame<'static> {
    Frame { number: 1, file: 0, offset, body: Body::PieceEnd { hash } }
}

#[test]
fn tr_12_a_gigabyte_before_accept_writes_nothing_and_closes() {
    for mut victim in [Victim::offered(1 << 30), {
        let mut listing = Victim::new();
        listing.hears(&offer(ID, 1, 1 << 30));
        listing
    }] {
        let bytes = vec![7; 60_000];
        let mut pushed = 0;
        while pushed < 1 << 30 {
            victim.receives(&[chunk(0, &bytes)]);
            pushed += bytes.len();
        }
        assert_eq!(victim.writes(), 0);
        victim.assert_closed(ViolationCode::DataBeforeAccept);
    }
}

#[test]
fn tr_4_two_offers_with_one_id_close() {
    let mut victim = Victim::offered(10);
    victim.hears(&offer(ID, 2, 10));
    assert_eq!(victim.writes(), 0);
    victim.assert_closed(ViolationCode::DuplicateOffer);
}

#[test]
fn tr_4_offer_after_accept_closes() {
    let mut victim = Victim::accepting(10);
    victim.hears(&offer(ID, 2, 10));
    victim.assert_closed(ViolationCode::DuplicateOffer);
}

#[test]
fn tr_14_offer_that_differs_on_the_next_link_closes() {
    let mut victim = Victim::accepting(10);
    victim.exchange.link_lost(victim.now);
    victim.exchange.link_up(victim.now, 65_536);
    victim.drain();
    victim.hears(&offer(ID, 1, 10));
    victim.hears(&entries(ID, "b", 10));
    victim.assert_closed(ViolationCode::DuplicateOffer);
}

#[test]
fn tr_4_number_used_twice_closes() {
    let mut victim = Victim::offered(10);
    victim.hears(&offer("AgICAgICAgICAgICAgICAg", 1, 10));
    victim.assert_closed(ViolationCode::DuplicateOffer);
}

#[test]
fn tr_4_answers_about_an_unknown_transfer_close() {
    for answer in [
        r#"{"type":"accept","transfer":"ID","wanted":[{"first":0,"count":1}],"last":true}"#,
        r#"{"type":"decline","transfer":"ID","reason":"declined"}"#,
        r#"{"type":"have","transfer":"ID","done":[],"failed":[],"files":[],"last":true}"#,
        r#"{"type":"again","transfer":"ID","pieces":[]}"#,
        r#"{"type":"received","transfer":"ID","files":[]}"#,
        r#"{"type":"fail","transfer":"ID","files":[]}"#,
        r#"{"type":"entries","transfer":"ID","first":0,"entries":[]}"#,
        r#"{"type":"finished","transfer":"ID"}"#,
        r#"{"type":"pause","transfer":"ID","reason":"by_person"}"#,
    ] {
        let mut victim = Victim::new();
        victim.hears(&answer.replace("ID", ID));
        victim.assert_closed(ViolationCode::UnknownTransfer);
    }
}

#[test]
fn tr_4_data_of_an_unknown_number_closes() {
    let mut victim = Victim::new();
    victim.receives(&[chunk(0, b"x")]);
    victim.assert_closed(ViolationCode::UnknownTransfer);
}

#[test]
fn tr_13_accept_of_entries_that_were_not_offered_closes() {
    let manifest = |path: &str| lanyard_protocol::control::ManifestEntry::Folder { path: path.to_owned() };
    for wanted in [
        r#"[{"first":0,"count":2}]"#,
        r#"[{"first":1,"count":1}]"#,
        r#"[{"first":0,"count":0}]"#,
        r#"[{"first":0,"count":1},{"first":0,"count":1}]"#,
        r#"[{"first":4294967295,"count":4294967295}]"#,
    ] {
        let mut victim = Victim::new();
        let id = lanyard_protocol::control::TransferId([1; 16]);
        let manifest = lanyard_transfer::Manifest::new(vec![manifest("a")]).unwrap();
        victim.exchange.offer(victim.now, id, manifest).unwrap();
        victim.drain();
        victim.hears(&format!(r#"{{"type":"accept","transfer":"{ID}","wanted":{wanted},"last":true}}"#));
        victim.assert_closed(ViolationCode::BadValue);
    }
}

#[test]
fn tr_24_bytes_at_or_past_the_size_close() {
    for (offset, bytes) in [(10, &b"x"[..]), (9, b"xy"), ((1 << 53) - 2, b"x"), (MIB as u64, b"x")] {
        let mut victim = Victim::accepting(10);
        victim.receives(&[chunk(offset, bytes)]);
        victim.assert_closed(ViolationCode::OffsetOutOfRange);
    }
}

#[test]
fn tr_12_entry_that_was_not_offered_or_accepted_closes() {
    let mut victim = Victim::accepting(10);
    victim.receives(&[Frame { number: 1, file: 1, offset: 0, body: Body::Chunk(b"x") }]);
    victim.assert_closed(ViolationCode::UnknownFile);
}

#[test]
fn tr_25_same_bytes_again_do_no_harm_and_other_bytes_close() {
    let mut victim = Victim::accepting(10);
    victim.receives(&[chunk(0, b"hello")]);
    victim.receives(&[chunk(0, b"hello")]);
    victim.receives(&[chunk(3, b"lowor")]);
    assert!(!victim.exchange.is_closed());
    victim.receives(&[chunk(2, b"LL")]);
    assert_eq!(victim.writes(), 1, "the journal's head");
    victim.assert_closed(ViolationCode::Overlap);
}

#[test]
fn tr_24_bytes_that_leave_a_gap_close() {
    let size = 3 * MIB as u64;
    for frames in [
        &[chunk(5, b"x")][..],
        &[chunk(0, b"x"), chunk(2, b"x")],
        &[chunk(0, b"x"), chunk(MIB as u64, b"x")],
        &[piece_end(0, [0; 32])],
        &[chunk(0, b"x"), piece_end(0, [0; 32])],
    ] {
        let mut victim = Victim::accepting(size);
        victim.receives(frames);
        victim.assert_closed(ViolationCode::Gap);
    }
}

#[test]
fn tr_30_more_than_the_credit_closes() {
    let mut victim = Victim::accepting(1 << 30);
    let bytes = vec![7; MIB];
    for piece in 0..16_u64 {
        assert!(!victim.exchange.is_closed());
        let offset = piece * MIB as u64;
        victim.receives(&[chunk(offset, &bytes), piece_end(offset, piece_hash(&bytes))]);
    }
    victim.receives(&[chunk(16 * MIB as u64, &bytes)]);
    victim.assert_closed(ViolationCode::OverCredit);
}

#[test]
fn tr_23_damaged_piece_is_asked_for_again_and_not_for_ever() {
    let mut victim = Victim::accepting(5);
    for _ in 0..2 {
        victim.receives(&[chunk(0, b"hello"), piece_end(0, [9; 32])]);
        assert_eq!(
            victim.said.last().unwrap(),
            &format!(r#"{{"type":"again","transfer":"{ID}","pieces":[{{"file":0,"piece":0}}]}}"#)
        );
    }
    victim.receives(&[chunk(0, b"hello"), piece_end(0, [9; 32])]);
    assert!(!victim.outputs.iter().any(|output| matches!(output, Output::Write { .. })));
    victim.assert_closed(ViolationCode::PieceCorrupt);
}

#[test]
fn tr_23_file_whose_root_is_wrong_is_never_placed() {
    let mut victim = Victim::accepting(5);
    let root = Frame { number: 1, file: 0, offset: 5, body: Body::FileEnd { root: [3; 32] } };
    victim.receives(&[chunk(0, b"hello"), piece_end(0, piece_hash(b"hello")), root]);
    victim.exchange.handle_written(victim.now, lanyard_protocol::control::TransferId([1; 16]), 0, 0);
    victim.drain();
    assert!(!victim.outputs.iter().any(|output| matches!(output, Output::Place { .. })));
    assert!(victim.outputs.iter().any(|output| matches!(output, Output::Event(Event::FileFailed { .. }))));
    assert!(victim.said.last().unwrap().contains(r#""reason":"damaged""#));
}

#[test]
fn tr_3_frames_and_messages_that_cannot_be_read_close() {
    let mut victim = Victim::accepting(5);
    victim.exchange.handle_data(victim.now, &[9; 100]);
    victim.drain();
    victim.assert_closed(ViolationCode::MalformedFrame);

    let long = format!(r#"{{"type":"text","id":1,"text":"{}"}}"#, "x".repeat(70_000));
    for text in
        ["", "{", "[]", r#"{"type":"offer"}"#, r#"{"type":"later"}"#, r#"{"type":"credit","limit_bytes":-1}"#, &long]
    {
        let mut victim = Victim::new();
        victim.hears(text);
        victim.assert_closed(ViolationCode::MalformedMessage);
    }
}

#[test]
fn tr_11_hostile_names_refuse_the_offer_and_keep_the_link() {
    let long = "x/".repeat(40);
    for path in ["../x", "/etc/passwd", "a\\..\\..\\b", "C:\\x", "a\0b", "a//b", "", ".", "a/\u{1b}[2J", &long] {
        let mut victim = Victim::new();
        victim.hears(&offer(ID, 1, 1));
        victim.hears(&entries(ID, path, 1));
        assert_eq!(victim.writes(), 0);
        assert_eq!(
            victim.said.last().unwrap(),
            &format!(r#"{{"type":"decline","transfer":"{ID}","reason":"bad_manifest"}}"#),
            "{path:?}"
        );
        assert!(!victim.exchange.is_closed());
    }
}

#[test]
fn tr_10_manifest_that_is_not_the_announced_one_closes() {
    for (total, parts) in [(2, 1), (1, 0)] {
        let mut victim = Victim::new();
        victim.hears(&offer(ID, 1, total));
        let part =
            if parts == 0 { entries(ID, "a", 1).replace(r#""first":0"#, r#""first":1"#) } else { entries(ID, "a", 1) };
        victim.hears(&part);
        victim.assert_closed(ViolationCode::BadValue);
    }
}

#[test]
fn tr_30_shrinking_credit_closes() {
    let mut victim = Victim::new();
    victim.hears(r#"{"type":"credit","limit_bytes":100}"#);
    victim.hears(r#"{"type":"credit","limit_bytes":99}"#);
    victim.assert_closed(ViolationCode::BadValue);
}

#[test]
fn tr_26_finished_while_files_are_missing_closes() {
    let mut victim = Victim::accepting(10);
    victim.hears(&format!(r#"{{"type":"finished","transfer":"{ID}"}}"#));
    victim.assert_closed(ViolationCode::OutOfTurn);
}

#[test]
fn tr_26_transfers_that_are_never_called_finished_are_forgotten_in_the_end() {
    use lanyard_protocol::control::{Span, TransferId};

    let mut victim = Victim::new();
    for number in 1..=100_u8 {
        let transfer = TransferId([number; 16]);
        let id = transfer.to_string();
        let summary = r#"{"entries":1,"files":0,"total_bytes":0}"#;
        victim.hears(&format!(r#"{{"type":"offer","transfer":"{id}","number":{number},"summary":{summary}}}"#));
        let entry = r#"{"kind":"folder","path":"a"}"#;
        victim.hears(&format!(r#"{{"type":"entries","transfer":"{id}","first":0,"entries":[{entry}]}}"#));
        victim.exchange.accept(victim.now, transfer, &[Span { first: 0, count: 1 }]).unwrap();
        victim.exchange.handle_placed(victim.now, transfer, 0, Ok(()));
        victim.drain();
    }
    assert!(!victim.exchange.is_closed());
    assert_eq!(victim.exchange.incoming().count(), 64);
}

#[test]
fn tr_7_flood_of_texts_that_nobody_reads_the_answers_of_closes() {
    let mut victim = Victim::new();
    for id in 0..5000 {
        victim.exchange.handle_control(victim.now, &format!(r#"{{"type":"text","id":{id},"text":"x"}}"#));
    }
    victim.drain();
    victim.assert_closed(ViolationCode::TooMany);
}

#[test]
fn tr_7_flood_of_pings_is_answered_once() {
    let mut victim = Victim::new();
    for nonce in 0..5000 {
        victim.exchange.handle_control(victim.now, &format!(r#"{{"type":"ping","nonce":{nonce}}}"#));
    }
    victim.said.clear();
    victim.drain();
    assert_eq!(victim.said, [r#"{"type":"pong","nonce":4999}"#]);
}

#[test]
fn tr_4_late_messages_about_a_cancelled_transfer_are_ignored() {
    let mut victim = Victim::accepting(10);
    let id = lanyard_protocol::control::TransferId([1; 16]);
    victim.exchange.cancel(id, lanyard_protocol::control::CancelReason::ByPerson).unwrap();
    victim.drain();
    victim.receives(&[chunk(0, b"late")]);
    victim.hears(&format!(r#"{{"type":"fail","transfer":"{ID}","files":[{{"file":0,"reason":"changed"}}]}}"#));
    victim.hears(&format!(r#"{{"type":"pause","transfer":"{ID}","reason":"by_person"}}"#));
    assert!(!victim.exchange.is_closed());
}

#[test]
fn id_of_these_tests_is_sixteen_ones() {
    assert_eq!(BASE64URL_NOPAD.encode(&[1; 16]), ID);
}
