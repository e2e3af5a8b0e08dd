//! A device that passed the pairing and then breaks every rule: nothing of it reaches the disk.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "an answer that is not expected fails the test")]

mod support;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanyard_agent::agent::question::Asker;
use lanyard_agent::peer_link::{Interfaces, LinkConfig, LinkEvent, LinkEvents, PeerLink, Role};
use lanyard_agent::session::{Met, meet};
use lanyard_agent::signaling_client::{MailboxEvent, ServerUrl, SignalingClient};
use lanyard_pairing::{Identity, Link, Pairing, Profile};
use lanyard_protocol::MailboxId;
use lanyard_protocol::control::{
    ControlMessage, DeclineReason, ManifestEntry, OfferSummary, Span, TransferId, ViolationCode,
};
use lanyard_protocol::frame::{Body as FrameBody, Frame};
use lanyard_protocol::peer::PeerMessage;
use lanyard_protocol::signaling::Body;
use lanyard_transfer::{Manifest, SafePath, file_root};
use serde_json::json;
use support::Device;
use tokio::sync::mpsc;

/// The only attempt at a link that is made here.
const ATTEMPT: u32 = 1;

/// An agent says something every second; without a word for so long the link is lost.
const SILENCE: Duration = Duration::from_secs(15);

/// A link that is bound to the pairing, from where on anything can be said.
struct Hostile {
    link: Arc<PeerLink>,
    events: LinkEvents,
    /// Messages for the other side by way of the mailbox.
    mailbox: mpsc::UnboundedSender<PeerMessage>,
    _client: SignalingClient,
}

/// Carries signals both ways as every live device does: a restart of ICE that nobody answers ends the link.
async fn carry_messages(mut met: Met, link: Arc<PeerLink>, mut own: mpsc::UnboundedReceiver<PeerMessage>) {
    loop {
        tokio::select! {
            event = met.mailbox.next() => match event {
                Some(MailboxEvent::Message { body, .. }) => {
                    let Ok(plain) = met.session.open(body.as_bytes()) else { continue };
                    if let Ok(PeerMessage::Signal { attempt: ATTEMPT, signal }) = PeerMessage::decode(&plain) {
                        // Of no use once the link is closed.
                        let _ = link.handle_signal(signal).await;
                    }
                }
                Some(_) => {}
                None => return,
            },
            message = own.recv() => {
                let Some(message) = message else { return };
                send_message(&mut met, &message).await;
            }
        }
    }
}

async fn send_message(met: &mut Met, message: &PeerMessage) {
    let plain = serde_json::to_vec(message).unwrap();
    let body = Body::new(met.session.seal(&plain)).unwrap();
    met.mailbox.sender().send(met.peer, body).await.unwrap();
}

impl Hostile {
    async fn connect(link: &str) -> Self {
        Self::connect_as(&Identity::generate(&mut rand::rng()), link).await
    }

    async fn connect_as(identity: &Identity, link: &str) -> Self {
        let link = Link::parse(link).unwrap();
        let (client, _rings) = SignalingClient::connect(vec![ServerUrl::of_page(link.base()).unwrap()], None);
        let mailbox = client.join(MailboxId(link.secret().mailbox().0)).await.unwrap();
        let profile = Profile::new("\u{1b}[31mMallory\u{202e}", "phone", [""; 0]).unwrap();
        let pairing = Pairing::open_link(identity, &link, profile, &mut rand::rng());
        let (asker, _questions) = Asker::channel();
        let mut met = meet(mailbox, pairing, &asker, "", Some(Duration::from_secs(20))).await.unwrap();

        let mut config = LinkConfig::new(Role::Answerer);
        config.interfaces = Interfaces::Only(vec![IpAddr::from([127, 0, 0, 1])]);
        let (link, mut events) = PeerLink::open(config).await.unwrap();
        loop {
            tokio::select! {
                event = met.mailbox.next() => {
                    let Some(MailboxEvent::Message { body, .. }) = event else { continue };
                    let Ok(plain) = met.session.open(body.as_bytes()) else { continue };
                    if let Ok(PeerMessage::Signal { signal, .. }) = PeerMessage::decode(&plain) {
                        link.handle_signal(signal).await.unwrap();
                    }
                }
                event = events.next() => match event.expect("the link lives") {
                    LinkEvent::Signal(signal) => send_message(&mut met, &PeerMessage::Signal { attempt: ATTEMPT, signal }).await,
                    LinkEvent::Open => {
                        let theirs = link.remote_certificate_sha256().await.unwrap();
                        let own = link.local_certificate_sha256();
                        let bind = met.session.bind_message(&u128::from(ATTEMPT).to_be_bytes(), &own, &theirs);
                        link.send_bind(&bind).await.unwrap();
                    }
                    LinkEvent::Bind(_) => {}
                    // Its first word: it has seen our bind, so that from now on both channels are taken.
                    LinkEvent::Control(_) => break,
                    other => assert!(!matches!(other, LinkEvent::Closed(_)), "{other:?}"),
                },
            }
        }
        let link = Arc::new(link);
        let (mailbox, own_messages) = mpsc::unbounded_channel();
        tokio::spawn(carry_messages(met, link.clone(), own_messages));
        let hostile = Self { link, events, mailbox, _client: client };
        hostile.say(&ControlMessage::Credit { limit_bytes: 1 << 40 }).await;
        hostile
    }

    async fn say(&self, message: &ControlMessage) {
        self.link.send_control(&message.encode()).await.unwrap();
    }

    /// Offers one entry.
    async fn offer(&self, number: u32, transfer: TransferId, entry: ManifestEntry) {
        let summary = OfferSummary { entries: 1, files: 1, total_bytes: entry.size_bytes() };
        self.say(&ControlMessage::Offer { transfer, number, summary }).await;
        self.say(&ControlMessage::Entries { transfer, first: 0, entries: vec![entry] }).await;
    }

    /// Offers several entries and sends them, all empty, to the end; on a later link what is missing of them. `None` when
    /// the link was lost meanwhile, as a loaded machine may do it.
    async fn send_empty(&mut self, transfer: TransferId, number: u32, names: &[String]) -> Option<()> {
        self.send_all_but_the_end(transfer, number, names).await?;
        self.say(&ControlMessage::Finished { transfer }).await;
        Some(())
    }

    async fn send_all_but_the_end(&mut self, transfer: TransferId, number: u32, names: &[String]) -> Option<()> {
        let count = u32::try_from(names.len()).unwrap();
        let summary = OfferSummary { entries: count, files: count, total_bytes: 0 };
        self.say(&ControlMessage::Offer { transfer, number, summary }).await;
        let entries = names.iter().map(|name| file(name, 0)).collect();
        self.say(&ControlMessage::Entries { transfer, first: 0, entries }).await;
        let answer = self.heard().await?;
        assert!(matches!(answer, ControlMessage::Accept { .. }), "{names:?}: {answer:?}");
        let answer = self.heard().await?;
        let ControlMessage::Have { done, failed, last: true, .. } = &answer else { panic!("{answer:?}") };
        assert_eq!(failed, &[]);
        let is_done = |file: u32| done.iter().any(|span| (span.first..span.first + span.count).contains(&file));
        let missing: Vec<u32> = (0..count).filter(|file| !is_done(*file)).collect();
        let mut frames = Vec::new();
        for file in &missing {
            let root = file_root(0, []);
            Frame { number, file: *file, offset: 0, body: FrameBody::FileEnd { root } }.encode(&mut frames);
        }
        let mut received = 0;
        if !missing.is_empty() {
            self.link.send_data(Bytes::from(frames)).await.unwrap();
        }
        while received < missing.len() {
            match self.heard().await? {
                ControlMessage::Received { files, .. } => {
                    received += files.iter().map(|span| span.count as usize).sum::<usize>();
                }
                other => panic!("{other:?}"),
            }
        }
        Some(())
    }

    /// Whether the other side hears what is said on the link, and answers there.
    async fn is_heard(&mut self, nonce: u32) -> bool {
        if self.link.send_control(&ControlMessage::Ping { nonce }.encode()).await.is_err() {
            return false;
        }
        while let Ok(Some(event)) = tokio::time::timeout(SILENCE, self.events.next()).await {
            match event {
                LinkEvent::Control(text) if text == ControlMessage::Pong { nonce }.encode() => {
                    return true;
                }
                LinkEvent::Closed(_) => return false,
                _ => {}
            }
        }
        false
    }

    /// Listens until the link is closed; the code that was told, if one was.
    async fn closed(mut self) -> Option<ViolationCode> {
        let mut told = None;
        while let Some(message) = self.heard().await {
            if let ControlMessage::Error { code } = message {
                told = Some(code);
            }
        }
        told
    }

    /// The next message that says something, or `None` when the link was closed or is silent.
    async fn heard(&mut self) -> Option<ControlMessage> {
        loop {
            let Ok(event) = tokio::time::timeout(SILENCE, self.events.next()).await else { return None };
            match event {
                Some(LinkEvent::Control(text)) => match ControlMessage::decode(&text).unwrap() {
                    ControlMessage::Credit { .. } | ControlMessage::Pong { .. } => {}
                    ControlMessage::Ping { nonce } => {
                        // The link may be closed behind the question.
                        let _ = self.link.send_control(&ControlMessage::Pong { nonce }.encode()).await;
                    }
                    other => return Some(other),
                },
                // Nobody carries it when the agent has left.
                Some(LinkEvent::Signal(signal)) => {
                    drop(self.mailbox.send(PeerMessage::Signal { attempt: ATTEMPT, signal }));
                }
                Some(LinkEvent::Closed(_)) | None => return None,
                Some(_) => {}
            }
        }
    }
}

fn file(path: &str, size_bytes: u64) -> ManifestEntry {
    ManifestEntry::File { path: path.to_owned(), size_bytes, modified_ms: None }
}

fn hostile_names() -> Vec<String> {
    let mut names = Vec::new();
    for climb in ["..", "../x", "a/../../x", "..\\x", "a\\..\\..\\x", "./x", "a/./b", "....//../x"] {
        names.push(climb.to_owned());
    }
    for absolute in ["/etc/passwd", "\\x", "//host/x", "\\\\host\\x", "C:\\x", "c:x", "C:/x"] {
        names.push(absolute.to_owned());
    }
    for odd in ["", "/", "a//b", "a/", "x\0y", "x\ny", "\u{1b}]0;title\u{7}", "\u{85}", "\u{7f}"] {
        names.push(odd.to_owned());
    }
    names.push("d/".repeat(32) + "x");
    names.push("x".repeat(1025));
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_climb_are_declined_and_nothing_is_made() {
    let attic = Device::new();
    let (mut up, link) = attic.up(&["--accept", "accept"]);
    let mut hostile = Hostile::connect(&link).await;
    for (number, name) in (0..).zip(hostile_names()) {
        let transfer = TransferId(rand::random());
        hostile.offer(number, transfer, file(&name, 5)).await;
        let answer = hostile.heard().await;
        let declined = ControlMessage::Decline { transfer, reason: DeclineReason::BadManifest };
        assert_eq!(answer, Some(declined), "{name:?}");
    }
    assert_eq!(attic.tree("in"), []);
    // A decent offer is still taken afterwards, and its text cannot touch the terminal.
    let transfer = TransferId(rand::random());
    hostile.offer(1000, transfer, file("empty", 0)).await;
    assert!(matches!(hostile.heard().await, Some(ControlMessage::Accept { .. })));
    up.complaint_with("Offered by");
    let printed = up.complained.join("");
    assert!(!printed.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_before_acceptance_close_the_session_and_reach_no_disk() {
    let attic = Device::new();
    let (_up, link) = attic.up(&[]);
    let hostile = Hostile::connect(&link).await;
    let transfer = TransferId(rand::random());
    hostile.offer(0, transfer, file("note.txt", 5)).await;
    let mut frame = Vec::new();
    Frame { number: 0, file: 0, offset: 0, body: FrameBody::Chunk(b"hello") }.encode(&mut frame);
    // The two channels have no order between them: the frame may come before the offer, and is refused all the same.
    let _ = hostile.link.send_data(Bytes::from(frame)).await;
    let code = hostile.closed().await;
    let expected = [ViolationCode::DataBeforeAccept, ViolationCode::UnknownTransfer];
    assert!(code.is_some_and(|code| expected.contains(&code)), "{code:?}");
    assert_eq!(attic.tree("in"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_repeated_offers_close_the_session() {
    let transfer = TransferId([7; 16]).to_string();
    let summary = json!({ "entries": 1, "files": 1, "total_bytes": 5 });
    let offer = json!({ "type": "offer", "transfer": transfer, "number": 0, "summary": summary }).to_string();
    let negative = json!({ "type": "offer", "transfer": transfer, "number": 0,
        "summary": { "entries": 1, "files": 1, "total_bytes": -5 } });
    let many = json!({ "type": "offer", "transfer": transfer, "number": 0,
        "summary": { "entries": 4_000_000_000_u32, "files": 1, "total_bytes": 5 } });
    let scripts = [
        (vec![offer.clone(), offer], ViolationCode::DuplicateOffer),
        (vec![negative.to_string()], ViolationCode::MalformedMessage),
        (vec![many.to_string()], ViolationCode::BadValue),
        (vec!["{".to_owned()], ViolationCode::MalformedMessage),
    ];
    for (script, expected) in scripts {
        let attic = Device::new();
        let (_up, link) = attic.up(&["--accept", "accept"]);
        let hostile = Hostile::connect(&link).await;
        for text in &script {
            hostile.link.send_control(text).await.unwrap();
        }
        assert_eq!(hostile.closed().await, Some(expected), "{script:?}");
        assert_eq!(attic.tree("in"), [], "{script:?}");
    }
}

/// Names built from everything that other programs fell for, at least 5 000 of them and no two alike.
fn corpus() -> Vec<String> {
    let prefixes = [
        "",
        "../",
        "..\\",
        "../../",
        "/",
        "\\",
        "//",
        "C:\\",
        "c:",
        "./",
        "a/../",
        "a/./",
        "....//",
        "..;/",
        "~/",
        "~root/",
        "%2e%2e%2f",
        "..%2f",
        "\u{2025}/",
        "\u{ff0e}\u{ff0e}\u{ff0f}",
        "\\\\?\\",
        "\\\\.\\",
        "file:///",
        "a/",
        "a\\",
        " /",
        ".ssh/",
        ".git/hooks/",
        "CON/",
        "a:b/",
        "-rf ",
        "$(id)",
        "`id`",
        "'; rm -rf *;'",
        "<b>",
        "\u{202e}",
        "\u{200b}",
        "\u{feff}",
        "\u{1b}[2J",
        "\u{1b}]0;pwned\u{7}",
        "\u{9b}31m",
        "\r\n",
        "\0",
        "\u{7f}",
        "e\u{301}",
        "\u{e9}",
        "\u{1f98a}",
        "\u{2066}",
        "proc/self/",
        "a\u{301}/",
        "%00/",
        "Aux.d/",
        "\u{3000}/",
        "dev/",
    ];
    let names = [
        "x",
        "passwd",
        "authorized_keys",
        ".bashrc",
        ".profile",
        "desktop.ini",
        "autorun.inf",
        "a.lnk",
        "x.scf",
        "CON",
        "con.txt",
        "NUL",
        "nul.tar.gz",
        "AUX",
        "PRN",
        "COM1",
        "com9.txt",
        "COM\u{b9}",
        "LPT1",
        "LPT\u{b3}.x",
        "CONIN$",
        "CLOCK$",
        "a:b",
        "a::$DATA",
        "x.",
        "x..",
        "x ",
        " x",
        "x. .",
        "...",
        "....",
        "..x",
        "x..y",
        "-",
        "--help",
        "-rf",
        "*",
        "?",
        "a*b",
        "a|b",
        "a<b>",
        "a\"b",
        "a'b",
        "a`b",
        "a$b",
        "a%00b",
        "%2e%2e",
        "a;b",
        "a&b",
        "x\0y",
        "x\ny",
        "x\ry",
        "x\ty",
        "\u{1b}[31mred",
        "\u{1b}]0;t\u{7}",
        "\u{8}\u{8}x",
        "\u{85}",
        "\u{9b}2J",
        "a\u{202e}fdp.exe",
        "a\u{2067}b",
        "\u{200f}x",
        "a\u{200b}b",
        "\u{feff}x",
        "\u{ad}x",
        "\u{e0041}x",
        "K.txt",
        "k.TXT",
        "\u{212a}.txt",
        "stra\u{df}e",
        "STRASSE",
        "\u{fb01}le",
        "file",
        "\u{1f469}\u{200d}\u{1f469}",
        "\u{0}",
        "a/b",
        "a\\b",
        "index.html",
        "<img src=x onerror=alert(1)>",
        "mine.txt",
        "MINE.TXT",
        ".lanyard-part",
        "journal",
        "sub/.lanyard-part/x",
        "PROGRA~1",
        "x~1.txt",
        "thumbs.db",
        ".DS_Store",
        "._x",
        "$Recycle.Bin",
        "\u{fffd}",
        "\u{10ffff}",
        "\u{d7ff}",
        "0",
        "1e9",
        "NaN",
        "null",
        "undefined",
    ];
    let long = [
        "n".repeat(254),
        "n".repeat(300) + ".txt",
        "\u{1f98a}".repeat(70),
        "d/".repeat(31) + "x",
        "d/".repeat(40),
        "p".repeat(1030),
    ];
    let mut all: Vec<String> =
        prefixes.iter().flat_map(|prefix| names.iter().map(move |name| format!("{prefix}{name}"))).collect();
    all.extend(long.iter().flat_map(|name| ["", "../", "a/"].map(|prefix| format!("{prefix}{name}"))));
    all.sort();
    all.dedup();
    assert!(all.len() >= 5_000, "{}", all.len());
    all
}

/// The names that no manifest may have, and the others in batches that can each be offered at once: names that would be
/// one name refuse a manifest, so those travel apart. Done before the link is open, which wants to be answered.
fn sorted(names: Vec<String>) -> (Vec<String>, Vec<Vec<String>>) {
    let mut refused = Vec::new();
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut batch: Vec<String> = Vec::new();
    for name in names {
        if SafePath::parse(&name).is_err() {
            refused.push(name);
            continue;
        }
        let with: Vec<_> = batch.iter().chain([&name]).map(|name| file(name, 0)).collect();
        if batch.len() >= 200 || Manifest::new(with).is_err() {
            batches.push(std::mem::take(&mut batch));
        }
        batch.push(name);
    }
    batches.push(batch);
    (refused, batches)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_hostile_names_stay_in_the_folder_and_off_the_terminal() {
    let attic = Device::in_memory();
    attic.folder("in");
    for (path, content) in [("in/mine.txt", "mine"), ("in/x", "mine"), ("in/passwd", "mine"), ("outside.txt", "canary")]
    {
        std::fs::write(attic.path(path), content).unwrap();
    }
    let outside = attic.folder("elsewhere");
    std::fs::write(outside.join("canary"), "canary").unwrap();
    std::os::unix::fs::symlink(&outside, attic.path("in/a")).unwrap();
    let (refused, batches) = sorted(corpus());
    // On a terminal, as a person has it.
    let mut up = attic.start_on_terminal(&["up", "in", "--accept", "accept", "--no-qr", "--no-color"]);
    let link = up.line_with("#1.").trim().to_owned();
    let identity = Identity::generate(&mut rand::rng());
    let mut hostile = Hostile::connect_as(&identity, &link).await;

    let mut numbers = 0..;
    for name in &refused {
        let transfer = TransferId(rand::random());
        // What is declined is forgotten, so it is simply offered again on a new link.
        let answer = loop {
            hostile.offer(numbers.next().unwrap(), transfer, file(name, 5)).await;
            match hostile.heard().await {
                Some(answer) => break answer,
                None => hostile = Hostile::connect_as(&identity, up.line_with("#1.").trim()).await,
            }
        };
        assert_eq!(answer, ControlMessage::Decline { transfer, reason: DeclineReason::BadManifest }, "{name:?}");
    }
    for batch in &batches {
        let transfer = TransferId(rand::random());
        while hostile.send_empty(transfer, numbers.next().unwrap(), batch).await.is_none() {
            hostile = Hostile::connect_as(&identity, up.line_with("#1.").trim()).await;
        }
    }
    let (refused, taken) = (refused.len(), batches.iter().map(Vec::len).sum::<usize>());
    assert!(refused + taken >= 5_000, "{refused} + {taken}");
    assert!(refused > 1_000 && taken > 1_000, "{refused} + {taken}");

    let mut files = 0;
    look(&attic.path("in"), &attic.path("in/a"), &mut files);
    assert_eq!(files, taken + 3, "each has a file of its own");
    for (path, content) in [("in/mine.txt", "mine"), ("in/x", "mine"), ("in/passwd", "mine"), ("outside.txt", "canary")]
    {
        assert_eq!(std::fs::read_to_string(attic.path(path)).unwrap(), content, "{path}");
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1, "nothing went through the link");
    drop(hostile);
    up.signal("TERM");
    up.wait();
    let shown = up.printed.join("\n") + &up.complained.join("\n");
    assert!(shown.contains("authorized_keys"), "names were shown");
    let hidden =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    assert!(!shown.contains(hidden));
    // What moves the cursor for bars is ours: `ESC [ digits letter`, and returns to the line's start.
    let mut rest = shown.as_str();
    while let Some(at) = rest.find(|c: char| c.is_control() && !matches!(c, '\n' | '\r')) {
        let found = &rest[at..];
        let sequence: String = found.chars().take(8).collect();
        let ours = found.strip_prefix("\u{1b}[").map(|after| after.trim_start_matches(|c: char| c.is_ascii_digit()));
        let is_ours = ours.is_some_and(|after| after.starts_with(['A', 'B', 'G', 'K', 'J']));
        assert!(is_ours, "{sequence:?} reached the terminal");
        rest = &found[1..];
    }
    assert!(!shown.contains("\u{1b}[2J") && !shown.contains("\u{1b}[31m"));
}

/// Counts regular files; there must be nothing but those, folders, and the one link that was there.
fn look(folder: &std::path::Path, link: &std::path::Path, files: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if entry.file_name() != ".lanyard-part" {
                look(&entry.path(), link, files);
            }
        } else if kind.is_file() {
            use std::os::unix::fs::PermissionsExt;
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o111, 0, "{}", entry.path().display());
            *files += 1;
        } else {
            assert!(kind.is_symlink() && entry.path() == *link, "{}", entry.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tr_12_a_gigabyte_before_acceptance_closes_the_session_and_reaches_neither_disk_nor_memory() {
    let attic = Device::new();
    let (up, link) = attic.up(&[]);
    let hostile = Hostile::connect(&link).await;
    let transfer = TransferId(rand::random());
    hostile.offer(0, transfer, file("note.bin", 1 << 30)).await;
    let chunk = vec![7; 60_000];
    let mut pushed = 0_u64;
    // The offer is not waited for: there is no order between the channels. Until the link is gone, or all is pushed.
    while pushed < 1 << 30 {
        let mut frame = Vec::new();
        Frame {
            number: 0,
            file: 0,
            offset: pushed % (1 << 20) / 60_000 * 60_000,
            body: FrameBody::Chunk(&chunk[..40_000]),
        }
        .encode(&mut frame);
        let len = frame.len() as u64;
        match tokio::time::timeout(Duration::from_secs(20), hostile.link.send_data(Bytes::from(frame))).await {
            Ok(Ok(())) => pushed += len,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let code = hostile.closed().await;
    let expected = [ViolationCode::DataBeforeAccept, ViolationCode::UnknownTransfer, ViolationCode::OverCredit];
    assert!(code.is_some_and(|code| expected.contains(&code)), "{code:?}");
    assert_eq!(attic.tree("in"), []);
    let status = std::fs::read_to_string(format!("/proc/{}/status", up.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 200 * 1024, "{peak_kib} KiB at its peak");
}

#[tokio::test(flavor = "multi_thread")]
async fn lk_7_what_was_said_on_the_link_before_a_goodbye_is_heard_though_the_mailbox_was_faster() {
    let attic = Device::new();
    let (_up, link) = attic.up(&["--accept", "accept"]);
    let mut sender = Hostile::connect(link.trim()).await;
    let transfer = TransferId(rand::random());
    sender.send_all_but_the_end(transfer, 0, &["empty.txt".to_owned()]).await.unwrap();
    let parts = attic.path("in/.lanyard-part");
    assert!(parts.exists(), "kept until the sender knows that all has arrived");
    sender.mailbox.send(PeerMessage::Bye).unwrap();
    // So often that the goodbye has come for certain.
    for nonce in 0..50 {
        assert!(sender.is_heard(nonce).await, "the link was closed before its last words were read");
    }
    sender.say(&ControlMessage::Finished { transfer }).await;
    assert!(sender.is_heard(50).await);
    sender.link.close().await;
    let deadline = Instant::now() + support::PATIENCE;
    while parts.exists() {
        assert!(Instant::now() < deadline, "something is left of a transfer that is over");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tr_4_answers_to_nothing_and_offers_out_of_turn_close_the_session_with_a_code() {
    let unknown = TransferId(rand::random());
    let wanted = vec![Span { first: 0, count: 1 }];
    let accept = ControlMessage::Accept { transfer: unknown, wanted, last: true };
    let offered = TransferId(rand::random());
    let summary = OfferSummary { entries: 1, files: 1, total_bytes: 5 };
    let offer = |number| ControlMessage::Offer { transfer: offered, number, summary: summary.clone() };
    let entries = ControlMessage::Entries { transfer: offered, first: 0, entries: vec![file("note.txt", 5)] };
    let cases = [
        ("accept of an unknown id", vec![accept], ViolationCode::UnknownTransfer, false),
        ("two offers of one id", vec![offer(0), entries.clone(), offer(1)], ViolationCode::DuplicateOffer, false),
        ("an offer after it was accepted", vec![offer(0), entries, offer(1)], ViolationCode::DuplicateOffer, true),
    ];
    for (what, script, expected, accepted) in cases {
        let attic = Device::new();
        let (_up, link) = attic.up(if accepted { &["--accept", "accept"] } else { &[] });
        let mut hostile = Hostile::connect(&link).await;
        for message in &script {
            if accepted && matches!(message, ControlMessage::Offer { number: 1, .. }) {
                assert!(matches!(hostile.heard().await, Some(ControlMessage::Accept { .. })), "{what}");
            }
            hostile.say(message).await;
        }
        assert_eq!(hostile.closed().await, Some(expected), "{what}");
        let bytes: usize =
            attic.tree("in").iter().filter(|(path, _)| !path.ends_with("journal")).map(|(_, found)| found.len()).sum();
        assert_eq!(bytes, 0, "{what}");
        assert!(!attic.path("in/note.txt").exists(), "{what}");
    }
}
