//! An exchange that is driven by JSON: one step in, everything that came of it out. The transcripts in `vectors/` and the
//! comparison of the two implementations (`examples/transfer_stdio.rs`) are made of these; the other side of it is
//! `web/src/core/transfer/script.ts`.
//!
//! Bytes of files are not written down: a file's content follows from its seed ([`pattern`]), and what comes out is told by
//! length and hash.

#![allow(dead_code, reason = "each program uses its part")]
#![allow(unreachable_pub, reason = "part of several programs")]

use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use lanyard_protocol::control::{ManifestEntry, Span, TransferId};
use lanyard_protocol::frame::{Body, Frame, Frames};
use lanyard_transfer::journal::{Kept, Record};
use lanyard_transfer::{
    Config, Event, Exchange, Manifest, ManifestError, Output, Party, Progress, ReadError, ReadRequest, WriteError,
    piece_hash,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Bytes `offset..offset + len` of the file with this seed.
pub fn pattern(seed: u64, offset: u64, len: u64) -> Vec<u8> {
    let byte = |at: u64| (seed * 31 + at * 7 + (at >> 8) * 13 + (at >> 16) * 17) as u8;
    (offset..offset + len).map(byte).collect()
}

/// An exchange, and what a script needs beside it.
pub struct Script {
    exchange: Exchange,
    start: Instant,
    /// Everything that was noted for each transfer, to restore from.
    journals: Vec<(TransferId, Vec<u8>)>,
}

impl Script {
    pub fn new() -> Self {
        Self { exchange: Exchange::new(config(), 1), start: Instant::now(), journals: Vec::new() }
    }

    /// Does one step and drains everything.
    pub fn apply(&mut self, step: &Value) -> Value {
        let now = self.start + Duration::from_millis(field(step, "at"));
        let refused = self.input(now, step);
        let mut outputs = self.outputs();
        let mut control = Vec::new();
        while let Some(text) = self.exchange.poll_control(now) {
            control.push(serde_json::from_str::<Value>(&text).expect("messages are JSON"));
        }
        let room = step.get("room").and_then(Value::as_u64).unwrap_or(1000);
        let mut data = Vec::new();
        while (data.len() as u64) < room
            && let Some(message) = self.exchange.poll_data(now)
        {
            data.push(frames_out(&message));
        }
        outputs.extend(self.outputs());
        let next = self.exchange.poll_timeout().map(|at| (at - self.start).as_millis() as u64);
        let progress: Vec<_> = self.transfers().map(|id| progress_out(self.exchange.progress(now, id))).collect();
        json!({
            "refused": refused, "outputs": outputs, "control": control, "data": data, "timeout": next, "progress": progress,
        })
    }

    fn transfers(&self) -> impl Iterator<Item = TransferId> {
        self.exchange.outgoing().chain(self.exchange.incoming())
    }

    /// Whether the exchange refused to do it.
    fn input(&mut self, now: Instant, step: &Value) -> bool {
        let exchange = &mut self.exchange;
        let transfer = || field::<TransferId>(step, "transfer");
        let file = || field::<u32>(step, "file");
        let offset = || field::<u64>(step, "offset");
        match field::<String>(step, "do").as_str() {
            "link_up" => exchange.link_up(now, field(step, "max_message_bytes")),
            "link_lost" => exchange.link_lost(now),
            "control" => exchange.handle_control(now, &field::<String>(step, "text")),
            "data" => exchange.handle_data(now, &message_in(step)),
            "timeout" => exchange.handle_timeout(now),
            "offer" => {
                let manifest = Manifest::new(field::<Vec<ManifestEntry>>(step, "entries"));
                return manifest.is_err() || exchange.offer(now, transfer(), manifest.expect("checked")).is_err();
            }
            "accept" => return exchange.accept(now, transfer(), &field::<Vec<Span>>(step, "wanted")).is_err(),
            "decline" => return exchange.decline(transfer(), field(step, "reason")).is_err(),
            "pause" => return exchange.pause(transfer()).is_err(),
            "unpause" => return exchange.unpause(now, transfer()).is_err(),
            "cancel" => return exchange.cancel(transfer(), field(step, "reason")).is_err(),
            "cancel_file" => return exchange.cancel_file(now, transfer(), file()).is_err(),
            "text" => return exchange.send_text(field(step, "id"), field(step, "text")).is_err(),
            "read" => {
                let request = &step["request"];
                let request = ReadRequest {
                    transfer: field(request, "transfer"),
                    file: field(request, "file"),
                    version: field(request, "version"),
                    offset: field(request, "offset"),
                    len: field(request, "len"),
                };
                exchange.handle_read(now, request, read_in(step, &request));
            }
            "written" => match write_error(step) {
                None => exchange.handle_written(now, transfer(), file(), offset()),
                Some(error) => exchange.handle_write_failed(now, transfer(), file(), offset(), error),
            },
            "synced" => exchange.handle_synced(now, transfer()),
            "placed" => {
                let result = write_error(step).map_or(Ok(()), Err);
                exchange.handle_placed(now, transfer(), file(), result);
            }
            "restart" => self.restart(now),
            other => panic!("no step is called {other}"),
        }
        false
    }

    /// The process dies and starts again; every journal and part file was durable.
    fn restart(&mut self, now: Instant) {
        let before = std::mem::replace(&mut self.exchange, Exchange::new(config(), 1));
        for transfer in before.outgoing() {
            let manifest = before.manifest(transfer).expect("it is under way").clone();
            let restored = match before.accepted(transfer) {
                Some(wanted) => self.exchange.restore_outgoing(now, transfer, manifest, &wanted),
                None => self.exchange.offer(now, transfer, manifest),
            };
            restored.expect("there is room after a restart");
        }
        for (_, journal) in &self.journals {
            let kept = Kept::read(journal).expect("journals of these scripts are whole");
            self.exchange.restore_incoming(now, kept).expect("each journal is of another transfer");
        }
    }

    fn outputs(&mut self) -> Vec<Value> {
        let mut outputs = Vec::new();
        while let Some(output) = self.exchange.poll_output() {
            if let Output::Journal { transfer, records, .. } = &output {
                self.note(*transfer, records);
            } else if let Output::Forget { transfer } = &output {
                self.journals.retain(|(of, _)| of != transfer);
            }
            outputs.push(output_out(output));
        }
        outputs
    }

    fn note(&mut self, transfer: TransferId, records: &[Record]) {
        let at = self.journals.iter().position(|(of, _)| *of == transfer).unwrap_or_else(|| {
            self.journals.push((transfer, Vec::new()));
            self.journals.len() - 1
        });
        records.iter().for_each(|record| record.encode(&mut self.journals[at].1));
    }
}

/// Not the defaults, which differ between a PC and a page.
fn config() -> Config {
    Config {
        window_bytes: 4 << 20,
        read_ahead_bytes: 2 << 20,
        read_ahead_reads: 16,
        commit_files: 4,
        ..Config::default()
    }
}

fn field<T: DeserializeOwned>(value: &Value, name: &str) -> T {
    serde_json::from_value(value[name].clone()).unwrap_or_else(|error| panic!("{name} of {value}: {error}"))
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn unhex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).expect("scripts are in hex")
}

/// `{hex}`, or `{frames}` of which a chunk tells `seed` and `len` instead of its bytes.
fn message_in(step: &Value) -> Vec<u8> {
    if let Some(text) = step.get("hex") {
        return unhex(text.as_str().expect("hex is text"));
    }
    let mut message = Vec::new();
    for frame in step["frames"].as_array().expect("frames are a list") {
        let offset = field(frame, "offset");
        let bytes;
        let hash = || unhex(&field::<String>(frame, "hash")).try_into().expect("32 bytes");
        let body = match field::<String>(frame, "kind").as_str() {
            "chunk" => {
                bytes = pattern(field(frame, "seed"), offset, field(frame, "len"));
                Body::Chunk(&bytes)
            }
            "piece_end" => Body::PieceEnd { hash: hash() },
            "file_end" => Body::FileEnd { root: hash() },
            _ => Body::Restate { version: field(frame, "version"), modified_ms: field(frame, "modified_ms") },
        };
        Frame { number: field(frame, "number"), file: field(frame, "file"), offset, body }.encode(&mut message);
    }
    message
}

fn frames_out(message: &[u8]) -> Value {
    let out = |frame: Frame<'_>| {
        let Frame { number, file, offset, body } = frame;
        match body {
            Body::Chunk(bytes) => json!({
                "kind": "chunk", "number": number, "file": file, "offset": offset, "len": bytes.len(), "blake3": hex(&piece_hash(bytes)),
            }),
            Body::PieceEnd { hash } => {
                json!({"kind": "piece_end", "number": number, "file": file, "offset": offset, "hash": hex(&hash)})
            }
            Body::FileEnd { root } => {
                json!({"kind": "file_end", "number": number, "file": file, "offset": offset, "hash": hex(&root)})
            }
            Body::Restate { version, modified_ms } => json!({
                "kind": "restate", "number": number, "file": file, "offset": offset, "version": version, "modified_ms": modified_ms,
            }),
        }
    };
    Frames::new(message).map(|frame| out(frame.expect("our own frames"))).collect()
}

/// `{seed}`, `{error: "unreadable"}` or `{error: "changed", size_bytes, modified_ms}`.
fn read_in(step: &Value, request: &ReadRequest) -> Result<Vec<u8>, ReadError> {
    match step.get("error").and_then(Value::as_str) {
        None => Ok(pattern(field(step, "seed"), request.offset, request.len)),
        Some("changed") => {
            Err(ReadError::Changed { size_bytes: field(step, "size_bytes"), modified_ms: field(step, "modified_ms") })
        }
        Some(_) => Err(ReadError::Unreadable),
    }
}

fn write_error(step: &Value) -> Option<WriteError> {
    match step.get("error").and_then(Value::as_str) {
        None => None,
        Some("no_space") => Some(WriteError::NoSpace),
        Some(_) => Some(WriteError::Failed),
    }
}

fn party(by: Party) -> &'static str {
    match by {
        Party::Us => "us",
        Party::Them => "them",
    }
}

fn output_out(output: Output) -> Value {
    match output {
        Output::Read(ReadRequest { transfer, file, version, offset, len }) => json!({
            "kind": "read", "request": {"transfer": transfer, "file": file, "version": version, "offset": offset, "len": len},
        }),
        Output::CloseSource { transfer, file } => json!({"kind": "close_source", "transfer": transfer, "file": file}),
        Output::Open { transfer, file, path, size_bytes } => {
            json!({"kind": "open", "transfer": transfer, "file": file, "path": path.as_str(), "size_bytes": size_bytes})
        }
        Output::Write { transfer, file, offset, bytes } => json!({
            "kind": "write", "transfer": transfer, "file": file, "offset": offset, "len": bytes.len(), "blake3": hex(&piece_hash(&bytes)),
        }),
        Output::Sync { transfer, files } => json!({"kind": "sync", "transfer": transfer, "files": files}),
        Output::Journal { transfer, records, sync } => {
            json!({"kind": "journal", "transfer": transfer, "records": records, "sync": sync})
        }
        Output::Place { transfer, entries } => {
            let entry = |entry: &lanyard_transfer::Placement| {
                json!({
                    "file": entry.file, "path": entry.path.as_str(), "is_folder": entry.is_folder, "modified_ms": entry.modified_ms,
                })
            };
            json!({"kind": "place", "transfer": transfer, "entries": entries.iter().map(entry).collect::<Vec<_>>()})
        }
        Output::Discard { transfer, files } => json!({"kind": "discard", "transfer": transfer, "files": files}),
        Output::Forget { transfer } => json!({"kind": "forget", "transfer": transfer}),
        Output::Event(event) => json!({"kind": "event", "event": event_out(event)}),
        Output::Close { code, by } => json!({"kind": "close", "code": code, "by": party(by)}),
    }
}

fn event_out(event: Event) -> Value {
    match event {
        Event::Offered { transfer } => json!({"type": "offered", "transfer": transfer}),
        Event::Refused { transfer, error } => {
            json!({"type": "refused", "transfer": transfer, "problem": problem(&error)})
        }
        Event::Accepted { transfer } => json!({"type": "accepted", "transfer": transfer}),
        Event::Declined { transfer, reason } => json!({"type": "declined", "transfer": transfer, "reason": reason}),
        Event::Paused { transfer, reason, by } => {
            json!({"type": "paused", "transfer": transfer, "reason": reason, "by": party(by)})
        }
        Event::Unpaused { transfer } => json!({"type": "unpaused", "transfer": transfer}),
        Event::Restated { transfer, file, size_bytes } => {
            json!({"type": "restated", "transfer": transfer, "file": file, "size_bytes": size_bytes})
        }
        Event::FileDone { transfer, file } => json!({"type": "file_done", "transfer": transfer, "file": file}),
        Event::FileFailed { transfer, file, reason } => {
            json!({"type": "file_failed", "transfer": transfer, "file": file, "reason": reason})
        }
        Event::Finished { transfer } => json!({"type": "finished", "transfer": transfer}),
        Event::Cancelled { transfer, reason, by } => {
            json!({"type": "cancelled", "transfer": transfer, "reason": reason, "by": party(by)})
        }
        Event::Text { id, text } => json!({"type": "text", "id": id, "text": text}),
        Event::TextDelivered { id } => json!({"type": "text_delivered", "id": id}),
        Event::Silent => json!({"type": "silent"}),
        Event::Heard => json!({"type": "heard"}),
    }
}

pub fn problem(error: &ManifestError) -> &'static str {
    match error {
        ManifestError::Empty => "empty",
        ManifestError::TooMany => "too_many",
        ManifestError::TooLarge => "too_large",
        ManifestError::Path { .. } => "path",
        ManifestError::Collision { .. } => "collision",
    }
}

fn progress_out(progress: Option<Progress>) -> Value {
    progress.map_or(Value::Null, |progress| {
        json!([
            progress.total_bytes,
            progress.verified_bytes,
            progress.durable_bytes,
            progress.entries,
            progress.done,
            progress.failed,
            progress.bytes_per_second,
            progress.left.map(|left| left.as_secs()),
        ])
    })
}
