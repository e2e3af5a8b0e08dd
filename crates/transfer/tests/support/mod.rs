//! Two exchanges back to back, with disks that lose what was not made durable, over links that come and go.
//!
//! Everything random comes from one seed. The two channels of a link keep their own order and none between them.

#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use lanyard_protocol::control::{FileIndex, ManifestEntry, Span, TransferId};
use lanyard_transfer::journal::Kept;
use lanyard_transfer::{Config, Event, Exchange, Manifest, Output, ReadError, ReadRequest, WriteError};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) const MIB: usize = 1024 * 1024;

/// Bytes that differ from file to file and from place to place.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

pub(crate) fn id(number: u8) -> TransferId {
    TransferId([number; 16])
}

pub(crate) fn file(path: &str, bytes: &[u8]) -> ManifestEntry {
    ManifestEntry::File { path: path.to_owned(), size_bytes: bytes.len() as u64, modified_ms: Some(1_000) }
}

pub(crate) fn folder(path: &str) -> ManifestEntry {
    ManifestEntry::Folder { path: path.to_owned() }
}

pub(crate) fn whole(manifest: &Manifest) -> Vec<Span> {
    vec![Span { first: 0, count: manifest.summary().entries }]
}

/// A file of a sender.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) bytes: Vec<u8>,
    pub(crate) modified_ms: u64,
    /// What the offer, or the last `Changed`, said.
    pub(crate) known: (u64, u64),
    pub(crate) is_readable: bool,
}

impl Source {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { known: (bytes.len() as u64, 1_000), bytes, modified_ms: 1_000, is_readable: true }
    }

    pub(crate) fn change(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
        self.modified_ms += 1;
    }

    fn read(&mut self, offset: u64, len: u64) -> Result<Vec<u8>, ReadError> {
        if !self.is_readable {
            return Err(ReadError::Unreadable);
        }
        let stat = (self.bytes.len() as u64, self.modified_ms);
        if stat != self.known {
            self.known = stat;
            return Err(ReadError::Changed { size_bytes: stat.0, modified_ms: Some(stat.1) });
        }
        let bytes = self.bytes.get(offset as usize..(offset + len) as usize);
        // Asked for before the change was told: whatever it is answered is of no interest any more.
        bytes.map(<[u8]>::to_vec).ok_or(ReadError::Unreadable)
    }
}

#[derive(Debug, Clone, Default)]
struct Part {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

/// What a device keeps.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) sources: HashMap<(TransferId, FileIndex), Source>,
    parts: BTreeMap<(TransferId, FileIndex), Part>,
    journals: BTreeMap<TransferId, (Vec<u8>, usize)>,
    pub(crate) placed: BTreeMap<String, Vec<u8>>,
    pub(crate) folders: Vec<String>,
    /// Writes fail from now on.
    pub(crate) write_error: Option<WriteError>,
    /// Answer to the next sync.
    pub(crate) sync_error: Option<WriteError>,
    /// Writes are not answered for now.
    pub(crate) is_stuck: bool,
    pub(crate) bytes_written: u64,
    pub(crate) reads_back: usize,
}

impl Disk {
    pub(crate) fn parts(&self) -> usize {
        self.parts.len()
    }

    pub(crate) fn journals(&self) -> usize {
        self.journals.len()
    }

    /// Loses what was not durable; the journal's tail may be torn anywhere.
    fn crash(&mut self, rng: &mut impl Rng) {
        for part in self.parts.values_mut() {
            part.bytes.clone_from(&part.durable);
        }
        for (journal, durable) in self.journals.values_mut() {
            let kept = rng.random_range(*durable..=journal.len());
            journal.truncate(kept);
        }
        self.write_error = None;
        self.sync_error = None;
    }
}

/// An answer the disk still owes.
#[derive(Debug)]
enum Owed {
    Read(ReadRequest, Result<Vec<u8>, ReadError>),
    Written(TransferId, FileIndex, u64, u64, Result<(), WriteError>),
    Synced(TransferId),
    SyncFailed(TransferId, WriteError),
    Placed(TransferId, FileIndex, Result<(), WriteError>),
}

pub(crate) struct Device {
    pub(crate) exchange: Exchange,
    pub(crate) disk: Disk,
    pub(crate) events: Vec<Event>,
    pub(crate) closed: bool,
    pub(crate) accepts: bool,
    config: Config,
    owed: VecDeque<Owed>,
    /// Bytes handed out to be written and not answered.
    pub(crate) unwritten: u64,
    pub(crate) most_unwritten: u64,
    pub(crate) data_sent: u64,
}

impl Device {
    fn new(config: Config) -> Self {
        Self {
            exchange: Exchange::new(config.clone(), 1),
            disk: Disk::default(),
            events: Vec::new(),
            closed: false,
            accepts: true,
            config,
            owed: VecDeque::new(),
            unwritten: 0,
            most_unwritten: 0,
            data_sent: 0,
        }
    }

    pub(crate) fn offer(
        &mut self,
        now: Instant,
        transfer: TransferId,
        entries: Vec<(ManifestEntry, Vec<u8>)>,
    ) -> Manifest {
        let manifest = Manifest::new(entries.iter().map(|(entry, _)| entry.clone()).collect()).unwrap();
        for (file, (_, bytes)) in (0..).zip(entries) {
            self.disk.sources.insert((transfer, file), Source::new(bytes));
        }
        self.exchange.offer(now, transfer, manifest.clone()).unwrap();
        manifest
    }

    pub(crate) fn saw(&self, event: &Event) -> bool {
        self.events.contains(event)
    }

    pub(crate) fn finished(&self, transfer: TransferId) -> bool {
        self.saw(&Event::Finished { transfer })
    }

    /// Does what the exchange asks for; answers come later.
    fn work(&mut self, now: Instant) {
        while let Some(output) = self.exchange.poll_output() {
            self.carry_out(now, output);
        }
    }

    fn carry_out(&mut self, now: Instant, output: Output) {
        match output {
            Output::Read(request) => {
                let ReadRequest { transfer, file, offset, len, .. } = request;
                let bytes = if let Some(source) = self.disk.sources.get_mut(&(transfer, file)) {
                    source.read(offset, len)
                } else {
                    self.disk.reads_back += 1;
                    let part = self.disk.parts.get(&(transfer, file)).expect("read back without a part");
                    Ok(part.bytes[offset as usize..(offset + len) as usize].to_vec())
                };
                self.owed.push_back(Owed::Read(request, bytes));
            }
            Output::CloseSource { .. } => {}
            Output::Open { transfer, file, size_bytes, .. } => {
                let part = self.disk.parts.entry((transfer, file)).or_default();
                part.bytes.resize(size_bytes as usize, 0);
                part.durable.resize(size_bytes as usize, 0);
            }
            Output::Write { transfer, file, offset, bytes } => {
                self.unwritten += bytes.len() as u64;
                self.most_unwritten = self.most_unwritten.max(self.unwritten);
                let result = self.disk.write_error.map_or(Ok(()), Err);
                if result.is_ok() {
                    self.disk.bytes_written += bytes.len() as u64;
                    let part = self.disk.parts.get_mut(&(transfer, file)).expect("write without open");
                    part.bytes[offset as usize..offset as usize + bytes.len()].copy_from_slice(&bytes);
                }
                self.owed.push_back(Owed::Written(transfer, file, offset, bytes.len() as u64, result));
            }
            Output::Sync { transfer, .. } if self.disk.sync_error.is_some() => {
                self.owed.extend(self.disk.sync_error.take().map(|error| Owed::SyncFailed(transfer, error)));
            }
            Output::Sync { transfer, files } => {
                for file in files {
                    if let Some(part) = self.disk.parts.get_mut(&(transfer, file)) {
                        part.durable.clone_from(&part.bytes);
                    }
                }
                self.owed.push_back(Owed::Synced(transfer));
            }
            Output::Journal { transfer, records, sync } => {
                let (journal, durable) = self.disk.journals.entry(transfer).or_default();
                records.iter().for_each(|record| record.encode(journal));
                if sync {
                    *durable = journal.len();
                }
            }
            Output::Place { transfer, entries } => {
                for entry in entries {
                    let result = self.disk.write_error.map_or(Ok(()), Err);
                    if result.is_ok() && entry.is_folder {
                        self.disk.folders.push(entry.path.as_str().to_owned());
                    } else if result.is_ok() {
                        let part = self.disk.parts.remove(&(transfer, entry.file)).expect("place without a part");
                        let before = self.disk.placed.insert(entry.path.as_str().to_owned(), part.bytes);
                        assert!(before.is_none(), "{} placed twice", entry.path);
                    }
                    self.owed.push_back(Owed::Placed(transfer, entry.file, result));
                }
            }
            Output::Discard { transfer, files } => {
                for file in files {
                    self.disk.parts.remove(&(transfer, file));
                }
            }
            Output::Forget { transfer } => {
                self.disk.journals.remove(&transfer);
                self.disk.parts.retain(|(of, _), _| *of != transfer);
            }
            Output::Event(event) => {
                if let Event::Offered { transfer } = event
                    && self.accepts
                {
                    let wanted = whole(self.exchange.manifest(transfer).unwrap());
                    self.exchange.accept(now, transfer, &wanted).unwrap();
                }
                self.events.push(event);
            }
            Output::Close { .. } => self.closed = true,
        }
    }

    fn answer(&mut self, now: Instant, owed: Owed) {
        match owed {
            Owed::Read(request, bytes) => self.exchange.handle_read(now, request, bytes),
            Owed::Written(transfer, file, offset, len, Ok(())) => {
                self.unwritten -= len;
                self.exchange.handle_written(now, transfer, file, offset);
            }
            Owed::Written(transfer, file, offset, len, Err(error)) => {
                self.unwritten -= len;
                self.exchange.handle_write_failed(now, transfer, file, offset, error);
            }
            Owed::Synced(transfer) => self.exchange.handle_synced(now, transfer),
            Owed::SyncFailed(transfer, error) => self.exchange.handle_sync_failed(now, transfer, error),
            Owed::Placed(transfer, file, result) => self.exchange.handle_placed(now, transfer, file, result),
        }
    }

    /// The process dies and starts again, with what the disk kept.
    fn restart(&mut self, now: Instant, rng: &mut impl Rng) {
        let sending: Vec<_> = self.exchange.outgoing().collect();
        let before = std::mem::replace(&mut self.exchange, Exchange::new(self.config.clone(), rng.random()));
        self.owed.clear();
        self.unwritten = 0;
        self.disk.crash(rng);
        for transfer in sending {
            let manifest = before.manifest(transfer).unwrap().clone();
            for ((_, file), source) in self.disk.sources.iter_mut().filter(|((of, _), _)| *of == transfer) {
                let entry = manifest.entry(*file).unwrap();
                source.known = (entry.size_bytes(), 1_000);
            }
            match before.accepted(transfer) {
                Some(wanted) => self.exchange.restore_outgoing(now, transfer, manifest, &wanted).unwrap(),
                None => self.exchange.offer(now, transfer, manifest).unwrap(),
            }
        }
        let journals = std::mem::take(&mut self.disk.journals);
        for (transfer, (mut journal, _)) in journals {
            let mut kept = Kept::read(&journal).expect("the head was durable before anything was written");
            journal.truncate(kept.intact_bytes());
            let parts: Vec<_> = kept.parts().collect();
            for part in parts.into_iter().filter(|part| !self.disk.parts.contains_key(&(transfer, *part))) {
                kept.part_is_missing(part);
            }
            let durable = journal.len();
            self.disk.journals.insert(transfer, (journal, durable));
            self.exchange.restore_incoming(now, kept).unwrap();
        }
    }
}

/// Which device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) a: Device,
    pub(crate) b: Device,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) link_is_up: bool,
    control: [VecDeque<String>; 2],
    data: [VecDeque<Vec<u8>>; 2],
    pub(crate) max_message_bytes: usize,
}

impl Pair {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, Config::default())
    }

    pub(crate) fn with(seed: u64, config: Config) -> Self {
        Self {
            now: Instant::now(),
            a: Device::new(config.clone()),
            b: Device::new(config),
            rng: ChaCha8Rng::seed_from_u64(seed),
            link_is_up: false,
            control: Default::default(),
            data: Default::default(),
            max_message_bytes: 65_536,
        }
    }

    pub(crate) fn connected(seed: u64) -> Self {
        let mut pair = Self::new(seed);
        pair.link_up();
        pair
    }

    pub(crate) fn link_up(&mut self) {
        self.link_is_up = true;
        self.a.exchange.link_up(self.now, self.max_message_bytes);
        self.b.exchange.link_up(self.now, self.max_message_bytes);
    }

    /// Whatever is on its way is lost.
    pub(crate) fn link_lost(&mut self) {
        self.link_is_up = false;
        self.a.exchange.link_lost(self.now);
        self.b.exchange.link_lost(self.now);
        self.control.iter_mut().for_each(VecDeque::clear);
        self.data.iter_mut().for_each(VecDeque::clear);
    }

    /// One side's process dies; its link with it.
    pub(crate) fn restart(&mut self, side: Side) {
        self.link_lost();
        let device = match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        };
        device.restart(self.now, &mut self.rng);
    }

    pub(crate) fn offer(&mut self, transfer: TransferId, entries: Vec<(ManifestEntry, Vec<u8>)>) -> Manifest {
        self.a.offer(self.now, transfer, entries)
    }

    /// A step of either side, in random order; `false` when all stand still.
    fn step(&mut self) -> bool {
        self.collect();
        let mut moves = Vec::new();
        for side in 0..2 {
            let device = if side == 0 { &self.a } else { &self.b };
            if !device.owed.is_empty() && !device.disk.is_stuck {
                moves.push((0, side));
            }
            if !self.control[side].is_empty() {
                moves.push((1, side));
            }
            if !self.data[side].is_empty() {
                moves.push((2, side));
            }
        }
        if moves.is_empty() {
            return false;
        }
        let (what, from) = moves[self.rng.random_range(0..moves.len())];
        let (sender, receiver) = if from == 0 { (&mut self.a, &mut self.b) } else { (&mut self.b, &mut self.a) };
        match what {
            0 => {
                let at = self.rng.random_range(0..sender.owed.len().min(4));
                let owed = sender.owed.remove(at).unwrap();
                sender.answer(self.now, owed);
            }
            1 => {
                let text = self.control[from].pop_front().unwrap();
                receiver.exchange.handle_control(self.now, &text);
            }
            _ => {
                let message = self.data[from].pop_front().unwrap();
                receiver.exchange.handle_data(self.now, &message);
            }
        }
        true
    }

    fn collect(&mut self) {
        for (side, device) in [&mut self.a, &mut self.b].into_iter().enumerate() {
            device.work(self.now);
            if !self.link_is_up {
                continue;
            }
            while self.control[side].len() < 64
                && let Some(text) = device.exchange.poll_control(self.now)
            {
                assert!(text.len() <= 65_536, "control message of {} bytes", text.len());
                self.control[side].push_back(text);
            }
            while self.data[side].len() < 8
                && let Some(message) = device.exchange.poll_data(self.now)
            {
                assert!(message.len() <= self.max_message_bytes);
                device.data_sent += message.len() as u64;
                self.data[side].push_back(message);
            }
            device.work(self.now);
        }
    }

    /// Steps until `done`, turning the clock when all stand still.
    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..2_000_000 {
            self.collect();
            if done(self) {
                return;
            }
            if !self.step() {
                self.tick();
            }
        }
        panic!("it never came to pass; A saw {:?}, B saw {:?}", self.a.events, self.b.events);
    }

    /// Steps for a number of moves.
    pub(crate) fn run_steps(&mut self, steps: usize) {
        for _ in 0..steps {
            if !self.step() {
                self.tick();
            }
        }
        self.collect();
    }

    /// Steps until nothing is on its way and nothing is owed.
    pub(crate) fn run_until_quiet(&mut self) {
        while self.step() {}
    }

    /// Turns the clock to the next deadline.
    pub(crate) fn tick(&mut self) {
        let next = [self.a.exchange.poll_timeout(), self.b.exchange.poll_timeout()].into_iter().flatten().min();
        self.now = next.unwrap_or(self.now + Duration::from_millis(100)).max(self.now);
        self.a.exchange.handle_timeout(self.now);
        self.b.exchange.handle_timeout(self.now);
    }

    pub(crate) fn run_until_finished(&mut self, transfer: TransferId) {
        self.run_until(|pair| pair.a.finished(transfer) && pair.b.finished(transfer));
        self.run_until_quiet();
    }
}
