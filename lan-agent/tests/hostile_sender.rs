//! A device that passed the pairing and then breaks every rule: nothing of it reaches the disk.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "an answer that is not expected fails the test")]

mod support;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use lanyard_agent::agent::question::Asker;
use lanyard_agent::peer_link::{Interfaces, LinkConfig, LinkEvent, LinkEvents, PeerLink, Role};
use lanyard_agent::session::meet;
use lanyard_agent::signaling_client::{MailboxEvent, ServerUrl, SignalingClient};
use lanyard_pairing::{Identity, Link, Pairing, Profile};
use lanyard_protocol::MailboxId;
use lanyard_protocol::control::{ControlMessage, DeclineReason, ManifestEntry, OfferSummary, TransferId};
use lanyard_protocol::frame::{Body as FrameBody, Frame};
use lanyard_protocol::peer::PeerMessage;
use lanyard_protocol::signaling::Body;
use serde_json::json;
use support::Device;

/// A link that is bound to the pairing, from where on anything can be said.
struct Hostile {
    link: PeerLink,
    events: LinkEvents,
    _client: SignalingClient,
}

impl Hostile {
    async fn connect(link: &str) -> Self {
        let link = Link::parse(link).unwrap();
        let (client, _rings) = SignalingClient::connect(vec![ServerUrl::of_page(link.base()).unwrap()], None);
        let mailbox = client.join(MailboxId(link.secret().mailbox().0)).await.unwrap();
        let profile = Profile::new("\u{1b}[31mMallory\u{202e}", "phone", [""; 0]).unwrap();
        let pairing = Pairing::open_link(&Identity::generate(&mut rand::rng()), &link, profile, &mut rand::rng());
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
                    LinkEvent::Signal(signal) => {
                        let plain = serde_json::to_vec(&PeerMessage::Signal { attempt: 1, signal }).unwrap();
                        let body = Body::new(met.session.seal(&plain)).unwrap();
                        met.mailbox.sender().send(met.peer, body).await.unwrap();
                    }
                    LinkEvent::Open => {
                        let theirs = link.remote_certificate_sha256().await.unwrap();
                        let own = link.local_certificate_sha256();
                        let bind = met.session.bind_message(&1_u128.to_be_bytes(), &own, &theirs);
                        link.send_bind(&bind).await.unwrap();
                    }
                    LinkEvent::Bind(_) => break,
                    other => assert!(!matches!(other, LinkEvent::Closed(_)), "{other:?}"),
                },
            }
        }
        let hostile = Self { link, events, _client: client };
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

    /// The next message that says something, or `None` when the link was closed.
    async fn heard(&mut self) -> Option<ControlMessage> {
        loop {
            match tokio::time::timeout(support::PATIENCE, self.events.next()).await.expect("an answer") {
                Some(LinkEvent::Control(text)) => match ControlMessage::decode(&text).unwrap() {
                    ControlMessage::Credit { .. } | ControlMessage::Pong { .. } => {}
                    ControlMessage::Ping { nonce } => self.say(&ControlMessage::Pong { nonce }).await,
                    other => return Some(other),
                },
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
    let mut hostile = Hostile::connect(&link).await;
    let transfer = TransferId(rand::random());
    hostile.offer(0, transfer, file("note.txt", 5)).await;
    let mut frame = Vec::new();
    Frame { number: 0, file: 0, offset: 0, body: FrameBody::Chunk(b"hello") }.encode(&mut frame);
    // The two channels have no order between them: the frame may come before the offer, and is refused all the same.
    let _ = hostile.link.send_data(Bytes::from(frame)).await;
    let mut last = None;
    while let Some(message) = hostile.heard().await {
        last = Some(message);
    }
    assert!(matches!(last, Some(ControlMessage::Error { .. })), "{last:?}");
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
    for script in [vec![offer.clone(), offer], vec![negative.to_string()], vec![many.to_string()], vec!["{".to_owned()]]
    {
        let attic = Device::new();
        let (_up, link) = attic.up(&["--accept", "accept"]);
        let mut hostile = Hostile::connect(&link).await;
        for text in &script {
            hostile.link.send_control(text).await.unwrap();
        }
        while hostile.heard().await.is_some() {}
        assert_eq!(attic.tree("in"), [], "{script:?}");
    }
}
