//! Frozen transcripts of both sides, which every implementation must reproduce step by step
//! (`web/src/core/transfer/transcripts.test.ts` reads the same files).
//!
//! `LANYARD_RECORD=1 cargo test -p lanyard-transfer --test transcripts` plays them anew and writes them. A change in them
//! is a change of the protocol or of an engine's behaviour, and is reviewed as one.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod script;

use std::collections::{BTreeMap, VecDeque};

use script::Script;
use serde_json::{Value, json};

const ID: &str = "AQEBAQEBAQEBAQEBAQEBAQ";
const MIB: u64 = 1 << 20;

/// One side while its transcript is made: the machine, and a shell that answers everything at once.
struct Side {
    script: Script,
    steps: Vec<Value>,
    /// Steps that answer what was asked.
    answers: VecDeque<Value>,
    control: VecDeque<Value>,
    data: VecDeque<Value>,
    /// By file: the seed of its content.
    seeds: BTreeMap<u64, u64>,
    next: Value,
    seen: Vec<String>,
    write_error: Option<&'static str>,
}

impl Side {
    fn new() -> Self {
        Self {
            script: Script::new(),
            steps: Vec::new(),
            answers: VecDeque::new(),
            control: VecDeque::new(),
            data: VecDeque::new(),
            seeds: BTreeMap::new(),
            next: Value::Null,
            seen: Vec::new(),
            write_error: None,
        }
    }

    fn apply(&mut self, step: Value) {
        let outcome = self.script.apply(&step);
        for output in outcome["outputs"].as_array().unwrap() {
            self.answer(output);
        }
        self.control.extend(outcome["control"].as_array().unwrap().iter().cloned());
        self.data.extend(outcome["data"].as_array().unwrap().iter().cloned());
        self.next = outcome["timeout"].clone();
        self.steps.push(json!({"step": step, "outcome": outcome}));
    }

    fn answer(&mut self, output: &Value) {
        let transfer = &output["transfer"];
        match output["kind"].as_str().unwrap() {
            "read" => {
                let request = &output["request"];
                let seed = self.seeds[&request["file"].as_u64().unwrap()];
                self.answers.push_back(json!({"do": "read", "request": request, "seed": seed}));
            }
            "write" => {
                let mut step =
                    json!({"do": "written", "transfer": transfer, "file": output["file"], "offset": output["offset"]});
                if let Some(error) = self.write_error {
                    step["error"] = error.into();
                }
                self.answers.push_back(step);
            }
            "sync" => self.answers.push_back(json!({"do": "synced", "transfer": transfer})),
            "place" => {
                for entry in output["entries"].as_array().unwrap() {
                    self.answers.push_back(json!({"do": "placed", "transfer": transfer, "file": entry["file"]}));
                }
            }
            "event" => self.seen.push(output["event"]["type"].as_str().unwrap().to_owned()),
            _ => {}
        }
    }

    fn saw(&self, event: &str) -> bool {
        self.seen.iter().any(|seen| seen == event)
    }
}

/// Two sides and a virtual clock in milliseconds.
struct Scene {
    sender: Side,
    receiver: Side,
    at: u64,
}

impl Scene {
    fn new(seeds: &[u64]) -> Self {
        let mut scene = Self { sender: Side::new(), receiver: Side::new(), at: 0 };
        scene.sender.seeds = (0..).zip(seeds.iter().copied()).collect();
        scene.receiver.seeds.clone_from(&scene.sender.seeds);
        scene.link_up();
        scene
    }

    fn both(&mut self, step: &Value) {
        for side in [&mut self.sender, &mut self.receiver] {
            side.control.clear();
            side.data.clear();
            side.apply(step.clone());
        }
    }

    fn link_up(&mut self) {
        self.both(&json!({"do": "link_up", "at": self.at, "max_message_bytes": 262_144}));
    }

    fn link_lost(&mut self) {
        self.both(&json!({"do": "link_lost", "at": self.at}));
    }

    fn sender_does(&mut self, step: Value) {
        let step = at(step, self.at);
        self.sender.apply(step);
    }

    fn receiver_does(&mut self, step: Value) {
        let step = at(step, self.at);
        self.receiver.apply(step);
    }

    fn offer(&mut self, sizes: &[u64]) {
        let file = |(at, size): (usize, &u64)| json!({"kind": "file", "path": format!("dir/{at}.bin"), "size_bytes": size, "modified_ms": 1_000});
        let entries: Vec<_> = sizes.iter().enumerate().map(file).collect();
        self.sender_does(json!({"do": "offer", "transfer": ID, "entries": entries}));
        self.run_until(|scene| scene.receiver.saw("offered"));
        self.receiver_does(json!({"do": "accept", "transfer": ID, "wanted": [{"first": 0, "count": sizes.len()}]}));
    }

    /// Moves one thing; `false` when all stand still. Answers first, then control, then data; the receiver first.
    fn step(&mut self) -> bool {
        let at_now = self.at;
        for side in [&mut self.receiver, &mut self.sender] {
            if let Some(answer) = side.answers.pop_front() {
                side.apply(at(answer, at_now));
                return true;
            }
        }
        deliver(&mut self.sender, &mut self.receiver, at_now) || deliver(&mut self.receiver, &mut self.sender, at_now)
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if done(self) {
                return;
            }
            if !self.step() {
                self.tick();
            }
        }
        panic!("it never came to pass");
    }

    fn tick(&mut self) {
        let next = [&self.sender.next, &self.receiver.next].into_iter().filter_map(Value::as_u64).min();
        self.at = next.expect("something is due").max(self.at + 1);
        self.sender_does(json!({"do": "timeout"}));
        self.receiver_does(json!({"do": "timeout"}));
    }

    fn run_steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    fn finish(mut self) -> Vec<Value> {
        self.run_until(|scene| scene.sender.saw("finished") && scene.receiver.saw("finished"));
        while self.step() {}
        self.end()
    }

    fn end(self) -> Vec<Value> {
        vec![
            json!({"side": "sender", "steps": self.sender.steps}),
            json!({"side": "receiver", "steps": self.receiver.steps}),
        ]
    }
}

fn at(mut step: Value, at: u64) -> Value {
    step["at"] = at.into();
    step
}

fn deliver(from: &mut Side, to: &mut Side, now: u64) -> bool {
    if let Some(message) = from.control.pop_front() {
        to.apply(json!({"do": "control", "at": now, "text": message.to_string()}));
        return true;
    }
    let Some(frames) = from.data.pop_front() else { return false };
    let mut frames = frames;
    for frame in frames.as_array_mut().unwrap() {
        if frame["kind"] == "chunk" {
            let seed = from.seeds[&frame["file"].as_u64().unwrap()];
            frame["seed"] = seed.into();
            frame.as_object_mut().unwrap().remove("blake3");
        }
    }
    to.apply(json!({"do": "data", "at": now, "frames": frames}));
    true
}

fn play(name: &str) -> Vec<Value> {
    match name {
        "files_and_folders" => {
            let mut scene = Scene::new(&[1, 2, 3, 4]);
            scene.sender_does(json!({"do": "offer", "transfer": ID, "entries": [
                {"kind": "file", "path": "holiday/.hidden", "size_bytes": 0},
                {"kind": "file", "path": "holiday\\caf\u{65}\u{301}.txt", "size_bytes": 5, "modified_ms": 1},
                {"kind": "folder", "path": "empty"},
                {"kind": "file", "path": "big.bin", "size_bytes": 2 * MIB + 7, "modified_ms": 2},
            ]}));
            scene.run_until(|scene| scene.receiver.saw("offered"));
            scene.receiver_does(json!({"do": "accept", "transfer": ID, "wanted": [{"first": 0, "count": 4}]}));
            scene.finish()
        }
        "part_of_an_offer" => {
            let mut scene = Scene::new(&[1, 2, 3]);
            let file = |path: &str| json!({"kind": "file", "path": path, "size_bytes": 10});
            scene.sender_does(json!({"do": "offer", "transfer": ID, "entries": [file("a"), file("b"), file("c")]}));
            scene.run_until(|scene| scene.receiver.saw("offered"));
            let wanted = json!([{"first": 0, "count": 1}, {"first": 2, "count": 1}]);
            scene.receiver_does(json!({"do": "accept", "transfer": ID, "wanted": wanted}));
            scene.finish()
        }
        "declined" => {
            let mut scene = Scene::new(&[1]);
            let entries = json!([{"kind": "file", "path": "a", "size_bytes": 10}]);
            scene.sender_does(json!({"do": "offer", "transfer": ID, "entries": entries}));
            scene.run_until(|scene| scene.receiver.saw("offered"));
            scene.receiver_does(json!({"do": "decline", "transfer": ID, "reason": "declined"}));
            scene.run_until(|scene| scene.sender.saw("declined"));
            scene.end()
        }
        "link_lost_twice" => {
            let mut scene = Scene::new(&[1, 2]);
            scene.offer(&[5 * MIB + 3, 100]);
            for steps in [14, 25] {
                scene.run_steps(steps);
                scene.link_lost();
                scene.link_up();
            }
            scene.finish()
        }
        "receiver_restarts" => {
            let mut scene = Scene::new(&[1, 2]);
            scene.offer(&[12 * MIB, 100]);
            let synced = |step: &Value| step["step"]["do"] == "synced";
            scene.run_until(|scene| scene.receiver.steps.iter().any(synced));
            scene.run_steps(10);
            scene.link_lost();
            scene.receiver.answers.clear();
            scene.receiver_does(json!({"do": "restart"}));
            scene.link_up();
            scene.finish()
        }
        "sender_restarts" => {
            let mut scene = Scene::new(&[1]);
            scene.offer(&[4 * MIB]);
            scene.run_steps(25);
            scene.link_lost();
            scene.sender.answers.clear();
            scene.sender_does(json!({"do": "restart"}));
            scene.link_up();
            scene.finish()
        }
        "content_changed_between_links" => {
            let mut scene = Scene::new(&[1]);
            scene.offer(&[4 * MIB]);
            scene.run_steps(25);
            scene.link_lost();
            scene.sender.answers.clear();
            scene.sender_does(json!({"do": "restart"}));
            scene.sender.seeds.insert(0, 9);
            scene.link_up();
            scene.finish()
        }
        "size_changed_before_reading" => {
            let mut scene = Scene::new(&[1]);
            scene.offer(&[100]);
            scene.run_until(|scene| scene.sender.answers.iter().any(|answer| answer["do"] == "read"));
            let mut answer = scene.sender.answers.pop_back().unwrap();
            answer["error"] = "changed".into();
            answer["size_bytes"] = 150.into();
            answer["modified_ms"] = 2_000.into();
            scene.sender_does(answer);
            scene.finish()
        }
        "no_space_for_a_while" => {
            let mut scene = Scene::new(&[1, 2]);
            scene.offer(&[3 * MIB, 100]);
            scene.receiver.write_error = Some("no_space");
            scene.run_until(|scene| scene.sender.saw("paused") && scene.receiver.saw("paused"));
            scene.run_steps(100);
            scene.receiver.write_error = None;
            scene.receiver_does(json!({"do": "unpause", "transfer": ID}));
            scene.finish()
        }
        "paused_by_both" => {
            let mut scene = Scene::new(&[1]);
            scene.offer(&[8 * MIB]);
            scene.run_steps(20);
            scene.sender_does(json!({"do": "pause", "transfer": ID}));
            scene.receiver_does(json!({"do": "pause", "transfer": ID}));
            scene.run_steps(60);
            scene.sender_does(json!({"do": "unpause", "transfer": ID}));
            scene.run_steps(10);
            scene.link_lost();
            scene.link_up();
            scene.run_steps(10);
            scene.receiver_does(json!({"do": "unpause", "transfer": ID}));
            scene.finish()
        }
        "files_given_up_by_either_side" => {
            let mut scene = Scene::new(&[1, 2, 3]);
            scene.offer(&[3 * MIB, 2 * MIB, 10]);
            scene.run_steps(15);
            scene.sender_does(json!({"do": "cancel_file", "transfer": ID, "file": 0}));
            scene.receiver_does(json!({"do": "cancel_file", "transfer": ID, "file": 1}));
            scene.finish()
        }
        "cancelled_without_a_link" => {
            let mut scene = Scene::new(&[1]);
            scene.offer(&[4 * MIB]);
            scene.run_steps(20);
            scene.link_lost();
            scene.sender_does(json!({"do": "cancel", "transfer": ID, "reason": "by_person"}));
            scene.link_up();
            scene.run_until(|scene| scene.receiver.saw("cancelled"));
            scene.end()
        }
        "damaged_piece" => {
            let mut scene = Scene::new(&[1]);
            scene.offer(&[1_000]);
            // One message arrives with other bytes than were sent.
            scene.run_until(|scene| !scene.sender.data.is_empty());
            scene.sender.seeds.insert(0, 7);
            scene.run_until(|scene| scene.sender.data.is_empty());
            scene.sender.seeds.insert(0, 1);
            scene.finish()
        }
        "texts_over_a_lost_link" => {
            let mut scene = Scene::new(&[]);
            for id in 1..=3 {
                scene.sender_does(json!({"do": "text", "id": id, "text": format!("text {id} \u{202e}🦊")}));
            }
            scene.run_steps(2);
            scene.link_lost();
            scene.sender_does(json!({"do": "text", "id": 4, "text": "while there was no link"}));
            scene.link_up();
            scene.run_until(|scene| scene.sender.seen.iter().filter(|seen| *seen == "text_delivered").count() == 4);
            scene.end()
        }
        "silence" => {
            let mut scene = Scene::new(&[]);
            while scene.step() {}
            while !scene.sender.saw("silent") {
                scene.at = scene.sender.next.as_u64().unwrap();
                scene.sender_does(json!({"do": "timeout"}));
            }
            scene.run_until(|scene| scene.sender.saw("heard"));
            scene.end()
        }
        other => panic!("no scene is called {other}"),
    }
}

const SCENES: &[&str] = &[
    "files_and_folders",
    "part_of_an_offer",
    "declined",
    "link_lost_twice",
    "receiver_restarts",
    "sender_restarts",
    "content_changed_between_links",
    "size_changed_before_reading",
    "no_space_for_a_while",
    "paused_by_both",
    "files_given_up_by_either_side",
    "cancelled_without_a_link",
    "damaged_piece",
    "texts_over_a_lost_link",
    "silence",
];

/// What a hostile sender says to a receiver that has accepted two files of 3 MiB and 10 bytes under number 1.
fn hostile() -> Vec<(&'static str, Value)> {
    let control = |text: String| json!({"do": "control", "text": text.replace("ID", ID)});
    let frames = |frames: Value| json!({"do": "data", "frames": frames});
    let chunk = |file: u64, offset: u64, len: u64| json!({"kind": "chunk", "number": 1, "file": file, "offset": offset, "seed": 1, "len": len});
    let zeros = "00".repeat(32);
    vec![
        ("not_json", control("{".to_owned())),
        ("unknown_type", control(r#"{"type":"later"}"#.to_owned())),
        ("second_offer", control(r#"{"type":"offer","transfer":"ID","number":2,"summary":{"entries":1,"files":1,"total_bytes":1}}"#.to_owned())),
        ("offer_of_nothing", control(r#"{"type":"offer","transfer":"AgICAgICAgICAgICAgICAg","number":2,"summary":{"entries":0,"files":0,"total_bytes":0}}"#.to_owned())),
        ("entries_after_accept", control(r#"{"type":"entries","transfer":"ID","first":2,"entries":[{"kind":"folder","path":"x"}]}"#.to_owned())),
        ("accept_by_the_sender", control(r#"{"type":"accept","transfer":"ID","wanted":[],"last":true}"#.to_owned())),
        ("received_for_an_unknown_transfer", control(r#"{"type":"received","transfer":"AgICAgICAgICAgICAgICAg","files":[]}"#.to_owned())),
        ("finished_too_early", control(r#"{"type":"finished","transfer":"ID"}"#.to_owned())),
        ("failure_of_an_unknown_file", control(r#"{"type":"fail","transfer":"ID","files":[{"file":2,"reason":"changed"}]}"#.to_owned())),
        ("second_resume_on_a_link", control(r#"{"type":"resume","transfer":"ID","number":5}"#.to_owned())),
        ("empty_text", control(r#"{"type":"text","id":1,"text":""}"#.to_owned())),
        ("half_a_frame", json!({"do": "data", "hex": "0100"})),
        ("unknown_frame", json!({"do": "data", "hex": "0900000000000001000000000000000000000000"})),
        ("unknown_number", frames(json!([{"kind": "chunk", "number": 2, "file": 0, "offset": 0, "seed": 1, "len": 1}]))),
        ("unknown_file", frames(json!([chunk(2, 0, 1)]))),
        ("offset_at_the_size", frames(json!([chunk(1, 10, 1)]))),
        ("bytes_past_the_size", frames(json!([chunk(1, 9, 2)]))),
        ("gap_at_the_start", frames(json!([chunk(0, 1, 1)]))),
        ("gap_inside_a_piece", frames(json!([chunk(0, 0, 1), chunk(0, 2, 1)]))),
        ("two_pieces_open", frames(json!([chunk(0, 0, 1), chunk(0, MIB, 1)]))),
        ("piece_ends_too_early", frames(json!([chunk(0, 0, 1), {"kind": "piece_end", "number": 1, "file": 0, "offset": 0, "hash": zeros}]))),
        ("piece_ends_inside_a_piece", frames(json!([{"kind": "piece_end", "number": 1, "file": 0, "offset": 5, "hash": zeros}]))),
        ("other_bytes_for_one_place", frames(json!([chunk(1, 0, 5), {"kind": "chunk", "number": 1, "file": 1, "offset": 2, "seed": 2, "len": 1}]))),
        ("file_ends_at_another_size", frames(json!([{"kind": "file_end", "number": 1, "file": 1, "offset": 9, "hash": zeros}]))),
        ("restated_to_no_later_version", frames(json!([{"kind": "restate", "number": 1, "file": 1, "offset": 9, "version": 0, "modified_ms": 0}]))),
        ("damaged_again_and_again", frames(json!((0..3).flat_map(|_| [chunk(1, 0, 10), json!({"kind": "piece_end", "number": 1, "file": 1, "offset": 0, "hash": zeros})]).collect::<Vec<_>>()))),
        ("more_than_the_credit", frames(json!((0..5).map(|_| chunk(0, 0, MIB)).collect::<Vec<_>>()))),
    ]
}

fn play_hostile(attack: &Value) -> Vec<Value> {
    let mut victim = Side::new();
    let control = |text: &str| json!({"do": "control", "at": 0, "text": text.replace("ID", ID)});
    victim.apply(json!({"do": "link_up", "at": 0, "max_message_bytes": 65_536}));
    let total = 3 * MIB + 10;
    victim.apply(control(&format!(
        r#"{{"type":"offer","transfer":"ID","number":1,"summary":{{"entries":2,"files":2,"total_bytes":{total}}}}}"#
    )));
    victim.apply(control(&format!(
        r#"{{"type":"entries","transfer":"ID","first":0,"entries":[{{"kind":"file","path":"a","size_bytes":{}}},{{"kind":"file","path":"b","size_bytes":10}}]}}"#,
        3 * MIB
    )));
    victim.apply(json!({"do": "accept", "at": 0, "transfer": ID, "wanted": [{"first": 0, "count": 2}]}));
    victim.apply(at(attack.clone(), 0));
    // Nothing is taken any more.
    victim.apply(control(r#"{"type":"ping","nonce":1}"#));
    victim.steps
}

fn path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(format!("{name}.json"))
}

/// Compares with the file, or writes it. One step a line, so that a change can be read.
fn check(name: &str, transcripts: &[Value]) {
    let mut text = String::from("[\n");
    for (at, transcript) in transcripts.iter().enumerate() {
        let mut head = transcript.clone();
        let steps = head.as_object_mut().unwrap().remove("steps").unwrap();
        let head = head.to_string();
        text += &format!("{},\"steps\":[\n", head.strip_suffix('}').unwrap());
        let lines: Vec<_> = steps.as_array().unwrap().iter().map(Value::to_string).collect();
        text += &lines.join(",\n");
        text += if at + 1 < transcripts.len() { "\n]},\n" } else { "\n]}\n" };
    }
    text += "]\n";
    if std::env::var_os("LANYARD_RECORD").is_some() {
        std::fs::write(path(name), text).unwrap();
        return;
    }
    let frozen = std::fs::read_to_string(path(name)).unwrap();
    for (at, (new, old)) in text.lines().zip(frozen.lines()).enumerate() {
        assert_eq!(new, old, "line {} of {name}", at + 1);
    }
    assert_eq!(text.lines().count(), frozen.lines().count(), "{name}");
}

#[test]
fn scenes_are_played_as_their_transcripts_say() {
    for scene in SCENES {
        check(scene, &play(scene));
    }
}

#[test]
fn attacks_end_as_their_transcripts_say() {
    let transcripts: Vec<_> = hostile()
        .iter()
        .map(|(name, attack)| {
            let steps = play_hostile(attack);
            let closed =
                steps[4]["outcome"]["outputs"].as_array().unwrap().iter().any(|output| output["kind"] == "close");
            assert!(closed, "{name} does not close");
            json!({"name": name, "steps": steps})
        })
        .collect();
    check("hostile", &transcripts);
}
