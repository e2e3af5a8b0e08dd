//! Frozen transcripts: every byte of a meeting by each method, and what becomes of it when one message is tampered with.
//!
//! The TypeScript twin reads the same files. `LANYARD_BLESS=1 cargo test -p lanyard-pairing --test vectors` writes them
//! anew; that is a change of the protocol and belongs into its version.

#![allow(clippy::unwrap_used, reason = "a test that can not go on should stop")]

mod wire;

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use lanyard_pairing::{
    Code, Identity, Link, LinkSecret, MailboxId, Pairing, Profile, PublicKey, RememberedDevice, ResumeSecret, Role,
    Session, Trust,
};
use rand_chacha::rand_core::{Infallible, TryCryptoRng, TryRng};
use serde_json::{Value, json};
use wire::Pair;
use zeroize::Zeroizing;

const SESSION_ID: [u8; 16] = [0x51; 16];
const CERT_R: [u8; 32] = [0xc1; 32];
const CERT_I: [u8; 32] = [0xc2; 32];

/// Gives fixed bytes, as both languages do in these tests.
struct Fixed([u8; 32]);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a pairing fills bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a pairing fills bytes")
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Infallible> {
        dest.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

/// One side of a case, and what is in the vector about it.
struct Actor {
    key: [u8; 32],
    seed: [u8; 32],
    name: &'static str,
    platform: &'static str,
    caps: &'static [&'static str],
}

const SHOWER: Actor =
    Actor { key: [0x11; 32], seed: [0x12; 32], name: "Attic NAS", platform: "server", caps: &["tls", "webrtc"] };
const OPENER: Actor =
    Actor { key: [0x21; 32], seed: [0x22; 32], name: "Violet Otter 🦦", platform: "phone", caps: &["webrtc"] };

impl Actor {
    fn identity(&self) -> Identity {
        Identity::from_secret_bytes(Zeroizing::new(self.key))
    }

    fn profile(&self) -> Profile {
        Profile::new(self.name, self.platform, self.caps.iter().copied()).unwrap()
    }

    fn rng(&self) -> Fixed {
        Fixed(self.seed)
    }

    fn json(&self) -> Value {
        json!({
            "identity": hex(&self.key), "public_key": hex(&self.identity().public_key().0), "seed": hex(&self.seed),
            "profile": { "name": self.name, "platform": self.platform, "caps": self.caps },
        })
    }
}

const METHODS: [&str; 5] = ["link", "code", "nearby", "remembered", "resumed"];
const LINK_SECRET: [u8; 16] = [0x5e; 16];
const CODE: &str = "4821-piano-tiger";
const MAILBOX: MailboxId = MailboxId([0x3b; 16]);
const SHARED: [u8; 32] = [0x77; 32];

fn start(method: &str) -> Pair {
    let (shower, opener) = (SHOWER.identity(), OPENER.identity());
    let (profile_r, profile_i) = (SHOWER.profile(), OPENER.profile());
    let (mut rng_r, mut rng_i) = (SHOWER.rng(), OPENER.rng());
    match method {
        "link" => {
            let secret = LinkSecret::from_bytes(LINK_SECRET);
            let link = Link::new("https://relay.example/", secret, shower.fingerprint()).unwrap();
            Pair::new(
                Pairing::show_link(&shower, link.secret(), profile_r, &mut rng_r),
                Pairing::open_link(&opener, &link, profile_i, &mut rng_i),
            )
        }
        "code" => {
            let code = Code::parse(CODE).unwrap();
            Pair::new(
                Pairing::show_code(&shower, &code, profile_r, &mut rng_r),
                Pairing::type_code(&opener, &code, profile_i, &mut rng_i),
            )
        }
        "nearby" => Pair::new(
            Pairing::nearby(Role::Responder, MAILBOX, &shower, profile_r, &mut rng_r),
            Pairing::nearby(Role::Initiator, MAILBOX, &opener, profile_i, &mut rng_i),
        ),
        "remembered" => {
            let device = |key: PublicKey| RememberedDevice::new(key, Zeroizing::new(SHARED));
            let (at_r, at_i) = (device(opener.public_key()), device(shower.public_key()));
            Pair::new(
                Pairing::remembered(Role::Responder, MAILBOX, &at_r, &shower, profile_r, &mut rng_r),
                Pairing::remembered(Role::Initiator, MAILBOX, &at_i, &opener, profile_i, &mut rng_i),
            )
        }
        "resumed" => {
            let secret = |key: PublicKey| ResumeSecret::new(key, Trust::Compared, Zeroizing::new(SHARED));
            let (at_r, at_i) = (secret(opener.public_key()), secret(shower.public_key()));
            Pair::new(
                Pairing::resume(Role::Responder, MAILBOX, &at_r, &shower, profile_r, &mut rng_r),
                Pairing::resume(Role::Initiator, MAILBOX, &at_i, &opener, profile_i, &mut rng_i),
            )
        }
        other => panic!("no method {other}"),
    }
}

/// Delivers message after message, the opener's first where both wait, each through `tamper`, and answers the pictures
/// honestly when nothing else is left. Returns who sent what.
fn deliver(pair: &mut Pair, mut tamper: impl FnMut(usize, Vec<u8>) -> Vec<Vec<u8>>) -> Vec<(&'static str, Vec<u8>)> {
    let mut sent = Vec::new();
    let mut answered = false;
    loop {
        let (from, message) = if let Some(message) = pair.opener.outbox.pop_front() {
            ("I", message)
        } else if let Some(message) = pair.shower.outbox.pop_front() {
            ("R", message)
        } else if let (false, Some(mine), Some(rows)) = (answered, pair.opener.mine, pair.shower.rows) {
            answered = true;
            let row = rows.iter().position(|row| *row == mine).unwrap_or(3);
            pair.shower.pairing.pick_row(row);
            pair.shower.drain();
            pair.opener.pairing.confirm_pictures(true);
            pair.opener.drain();
            continue;
        } else {
            return sent;
        };
        for message in tamper(sent.len(), message.clone()) {
            if from == "I" { pair.shower.take(&message) } else { pair.opener.take(&message) }
        }
        sent.push((from, message));
    }
}

fn transcript(method: &str) -> Value {
    let mut pair = start(method);
    let messages = deliver(&mut pair, |_, message| vec![message]);
    let messages: Vec<Value> =
        messages.iter().map(|(from, message)| json!({ "from": from, "message": hex(message) })).collect();
    let pictures = pair.opener.mine.map(|mine| {
        let rows = pair.shower.rows.unwrap();
        let indexes = |row: [lanyard_pairing::Picture; 4]| row.map(|picture| picture.index());
        json!({ "mine": indexes(mine), "rows": rows.map(indexes) })
    });
    let (shower, opener) = pair.sessions();
    let bind_r = shower.bind_message(&SESSION_ID, &CERT_R, &CERT_I);
    let bind_i = opener.bind_message(&SESSION_ID, &CERT_I, &CERT_R);
    let sealed = |session: &mut Session| [hex(&session.seal(b"first")), hex(&session.seal(b""))];
    let lane = |session: &Session| hex(&session.lane_keys().stream(7).0.seal(b"piece"));
    let frames = |session: &Session| {
        let (mut sealer, _) = session.lane_keys().lane(8);
        [sealer.bind(&[8; 32]), sealer.control("{}"), sealer.data(b"piece"), sealer.alive()].map(|frame| hex(&frame))
    };
    let mut case = json!({
        "method": method,
        "shower": SHOWER.json(),
        "opener": OPENER.json(),
        "messages": messages,
        "trust": shower.trust().name(),
        "token": hex(shower.lane_keys().token()),
        "pair_secret": hex(shower.remember().pair_secret()),
        "resume_secret": hex(shower.resume_secret().secret_bytes()),
        "bind_r": hex(&bind_r),
        "bind_i": hex(&bind_i),
        "sealed_r": sealed(shower),
        "sealed_i": sealed(opener),
        "lane_7_r": lane(shower),
        "lane_7_i": lane(opener),
        "lane_8_frames_r": frames(shower),
        "lane_8_frames_i": frames(opener),
    });
    if let Some(pictures) = pictures {
        case["pictures"] = pictures;
    }
    case
}

fn transcripts() -> Value {
    json!({
        "link_secret": hex(&LINK_SECRET), "code": CODE, "mailbox": MAILBOX.to_string(), "shared_secret": hex(&SHARED),
        "resumed_trust": "compared",
        "session_id": hex(&SESSION_ID), "cert_r": hex(&CERT_R), "cert_i": hex(&CERT_I),
        "cases": METHODS.map(transcript),
    })
}

/// What is done to message `index` of a meeting.
fn tamperings(messages: &[(&'static str, Vec<u8>)], index: usize) -> Vec<(String, Vec<Vec<u8>>)> {
    let (from, message) = &messages[index];
    let flip = |place: usize| {
        let mut changed = message.clone();
        changed[place] ^= 1;
        vec![changed]
    };
    let set = |place: usize, byte: u8| {
        let mut changed = message.clone();
        changed[place] = byte;
        vec![changed]
    };
    let mut cases = vec![
        ("nothing in its place".to_owned(), vec![vec![]]),
        ("older version".to_owned(), set(0, 0)),
        ("newer version".to_owned(), set(0, 2)),
        ("other method".to_owned(), set(1, message[1] % 5 + 1)),
        ("unknown step".to_owned(), set(2, 0x7f)),
        ("last byte cut".to_owned(), vec![message[..message.len() - 1].to_vec()]),
        ("header alone".to_owned(), vec![message[..3].to_vec()]),
        ("one byte more".to_owned(), vec![[&message[..], &[0]].concat()]),
        ("sent twice".to_owned(), vec![message.clone(), message.clone()]),
        ("abort instead".to_owned(), vec![vec![1, message[1], 0xff, 8]]),
        ("abort with an unknown reason".to_owned(), vec![vec![1, message[1], 0xff, 200]]),
    ];
    if index == 0 {
        cases.push(("4097 bytes".to_owned(), vec![[&message[..], &vec![0; 4097 - message.len()]].concat()]));
    }
    let places = [3, 3 + (message.len() - 3) / 3, 3 + 2 * (message.len() - 3) / 3, message.len() - 1];
    cases.extend(places.map(|place| (format!("bit flipped in byte {place}"), flip(place))));
    for (other, (sender, earlier)) in messages[..index].iter().enumerate() {
        let what = if sender == from { "repeated" } else { "reflected" };
        cases.push((format!("message {other} {what} in its place"), vec![earlier.clone()]));
    }
    if let Some((_, later)) = messages[index + 1..].iter().find(|(sender, _)| sender == from) {
        cases.push(("the next one of its sender in its place".to_owned(), vec![later.clone()]));
    }
    cases
}

fn tampered() -> Value {
    let mut cases = Vec::new();
    for method in METHODS {
        let messages = deliver(&mut start(method), |_, message| vec![message]);
        for index in 0..messages.len() {
            for (what, replacement) in tamperings(&messages, index) {
                let mut pair = start(method);
                deliver(&mut pair, |at, message| if at == index { replacement.clone() } else { vec![message] });
                let target = if messages[index].0 == "I" { &pair.shower } else { &pair.opener };
                let refused: Vec<_> = target.refused.iter().map(lanyard_pairing::PairingError::name).collect();
                let harmless = what == "sent twice";
                let failed = target.failed.as_ref().map(lanyard_pairing::PairingError::name);
                assert_eq!(target.session.is_some(), harmless, "{method} {index} {what}: {refused:?} {failed:?}");
                assert!(!refused.is_empty() || failed.is_some(), "{method} {index} {what} is refused by name");
                cases.push(json!({
                    "method": method, "index": index, "to": if messages[index].0 == "I" { "R" } else { "I" },
                    "what": what, "replacement": replacement.iter().map(|message| hex(message)).collect::<Vec<_>>(),
                    "refused": refused, "failed": failed, "established": harmless,
                }));
            }
        }
    }
    Value::from(cases)
}

fn assert_frozen(file: &str, made: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    if std::env::var_os("LANYARD_BLESS").is_some() {
        std::fs::write(&path, one_case_a_line(made)).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let frozen: Value = serde_json::from_str(&text).unwrap();
    assert!(frozen == *made, "{file} is frozen, and this build makes another transcript");
}

/// So that a change of one case is a change of one line.
fn one_case_a_line(made: &Value) -> String {
    match made.as_array() {
        Some(cases) => {
            let lines: Vec<String> = cases.iter().map(Value::to_string).collect();
            format!("[\n{}\n]\n", lines.join(",\n"))
        }
        None => format!("{}\n", serde_json::to_string_pretty(made).unwrap()),
    }
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

#[test]
fn transcripts_of_all_methods_are_the_frozen_ones() {
    assert_frozen("transcripts.json", &transcripts());
}

#[test]
fn every_tampered_message_is_refused_by_name_and_establishes_nothing() {
    assert_frozen("tampered.json", &tampered());
}

#[test]
fn worked_example_of_the_specification_is_the_first_transcript() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol/pairing.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("## Worked example").unwrap();
    let (lead, rest) = rest.split_once("```text\n").unwrap();
    let (_, after) = rest.split_once("```").unwrap();
    let made = worked_example();
    let whole = format!("{before}## Worked example{lead}```text\n{made}```{after}");
    if std::env::var_os("LANYARD_BLESS").is_some() {
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(text == whole || std::env::var_os("LANYARD_BLESS").is_some(), "{} shows other bytes", path.display());
}

fn worked_example() -> String {
    let all = transcripts();
    let case = &all["cases"][0];
    let link =
        Link::new("https://relay.example/", LinkSecret::from_bytes(LINK_SECRET), SHOWER.identity().fingerprint());
    let link = link.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let lines = [
        ("url", link.to_url().to_string()),
        ("mailbox", link.secret().mailbox().to_string()),
        ("m1", text(&case["messages"][0]["message"])),
        ("m2", text(&case["messages"][1]["message"])),
        ("m3", text(&case["messages"][2]["message"])),
        ("lane token", text(&case["token"])),
        ("pair secret", text(&case["pair_secret"])),
        ("resume secret", text(&case["resume_secret"])),
        ("session id", text(&all["session_id"])),
        ("certificate R", text(&all["cert_r"])),
        ("certificate I", text(&all["cert_i"])),
        ("bind R", text(&case["bind_r"])),
        ("bind I", text(&case["bind_i"])),
        ("R seals first", text(&case["sealed_r"][0])),
        ("I seals first", text(&case["sealed_i"][0])),
    ];
    let mut example = String::new();
    for (name, value) in lines {
        let mut label = name;
        for part in value.as_bytes().chunks(if name == "url" { 100 } else { 64 }) {
            example.push_str(&format!("{label:<15}{}\n", String::from_utf8_lossy(part)));
            label = "";
        }
    }
    example
}
