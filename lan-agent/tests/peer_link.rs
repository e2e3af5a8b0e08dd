//! Two links over loopback: what one side sends, the other receives, whatever happens around it.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names the events that it expects; all others fail it")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanyard_agent::peer_link::{
    CandidateKind, CloseReason, Family, IceServer, Interfaces, LinkConfig, LinkEvent, LinkEvents, OpenError, Pacing,
    PeerLink, Policy, RestartError, Role, Route, SendError, Signal, SignalError,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

struct Side {
    link: Arc<PeerLink>,
    events: LinkEvents,
    /// Events that came while the other side was still connecting.
    early: Vec<LinkEvent>,
}

impl Side {
    async fn open(config: LinkConfig) -> Self {
        let (link, events) = PeerLink::open(config).await.expect("link opens");
        Self { link: Arc::new(link), events, early: Vec::new() }
    }

    async fn next(&mut self) -> LinkEvent {
        timeout(PATIENCE, self.events.next()).await.expect("an event in time").expect("the link has not ended")
    }

    /// The next event that is neither a signal nor news of the path.
    async fn message(&mut self) -> LinkEvent {
        loop {
            let event = if self.early.is_empty() { self.next().await } else { self.early.remove(0) };
            match event {
                LinkEvent::Signal(_) | LinkEvent::Route(_) | LinkEvent::State(_) => {}
                LinkEvent::Open
                | LinkEvent::Control(_)
                | LinkEvent::Bind(_)
                | LinkEvent::Data(_)
                | LinkEvent::Closed(_) => return event,
            }
        }
    }

    async fn closed(&mut self) -> CloseReason {
        loop {
            if let LinkEvent::Closed(reason) = self.message().await {
                return reason;
            }
        }
    }
}

fn loopback(role: Role) -> LinkConfig {
    LinkConfig { interfaces: Interfaces::Only(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]), ..LinkConfig::new(role) }
}

/// Carries signals both ways, changed by `change` (from the offerer when true), until both sides are open.
async fn connect(offerer: &mut Side, answerer: &mut Side, change: impl Fn(bool, Signal) -> Option<Signal>) {
    let deadline = Instant::now() + PATIENCE;
    let (mut offerer_open, mut answerer_open) = (false, false);
    while !(offerer_open && answerer_open) {
        assert!(Instant::now() < deadline, "not open in time: offerer {offerer_open}, answerer {answerer_open}");
        let (from_offerer, event) = tokio::select! {
            event = offerer.next(), if !offerer_open => (true, event),
            event = answerer.next(), if !answerer_open => (false, event),
        };
        match event {
            LinkEvent::Signal(signal) => {
                let to = if from_offerer { &answerer.link } else { &offerer.link };
                if let Some(signal) = change(from_offerer, signal) {
                    to.handle_signal(signal).await.expect("signal is taken");
                }
            }
            LinkEvent::Open if from_offerer => offerer_open = true,
            LinkEvent::Open => answerer_open = true,
            LinkEvent::Closed(reason) => panic!("closed while connecting: {reason}"),
            other @ (LinkEvent::Route(_)
            | LinkEvent::Control(_)
            | LinkEvent::Bind(_)
            | LinkEvent::Data(_)
            | LinkEvent::State(_)) => {
                if from_offerer { &mut *offerer } else { &mut *answerer }.early.push(other);
            }
        }
    }
}

async fn pair_of(offerer: LinkConfig, answerer: LinkConfig) -> (Side, Side) {
    let mut offerer = Side::open(offerer).await;
    let mut answerer = Side::open(answerer).await;
    connect(&mut offerer, &mut answerer, |_, signal| Some(signal)).await;
    (offerer, answerer)
}

async fn pair() -> (Side, Side) {
    pair_of(loopback(Role::Offerer), loopback(Role::Answerer)).await
}

/// Bytes that differ from frame to frame and from place to place.
fn frame(number: usize, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

async fn send_and_check(sender: &Side, receiver: &mut Side, frames: usize, frame_bytes: usize, high_water: usize) {
    let link = Arc::clone(&sender.link);
    let sending = tokio::spawn(async move {
        let mut hash = blake3::Hasher::new();
        let mut most_buffered = 0;
        for number in 0..frames {
            let frame = frame(number, frame_bytes);
            hash.update(&frame);
            link.send_data(frame).await.expect("frame is sent");
            most_buffered = most_buffered.max(link.buffered_amount().await);
        }
        (hash.finalize(), most_buffered)
    });
    let mut hash = blake3::Hasher::new();
    for _ in 0..frames {
        match receiver.message().await {
            LinkEvent::Data(frame) => {
                assert_eq!(frame.len(), frame_bytes);
                hash.update(&frame);
            }
            other => panic!("expected data, got {other:?}"),
        }
    }
    let (sent, most_buffered) = sending.await.expect("sender ends");
    assert_eq!(hash.finalize(), sent);
    assert!(most_buffered <= high_water + frame_bytes, "{most_buffered} bytes were buffered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_arrive_unchanged_and_never_more_than_high_water_is_buffered() {
    let (offerer, mut answerer) = pair().await;
    assert_eq!(offerer.link.max_message_size(), 256 * 1024);
    send_and_check(&offerer, &mut answerer, 256, 256 * 1024, Pacing::NATIVE.high_water_bytes).await;
    offerer.link.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_paced_for_browsers_keeps_less_on_its_way() {
    let paced = LinkConfig { pacing: Pacing::BROWSER, ..loopback(Role::Answerer) };
    let (mut offerer, answerer) = pair_of(loopback(Role::Offerer), paced).await;
    send_and_check(&answerer, &mut offerer, 128, 64 * 1024, Pacing::BROWSER.high_water_bytes).await;
    offerer.link.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_holds_the_sender_back_and_loses_nothing() {
    const FRAME_BYTES: usize = 16 * 1024;
    const LIMIT: usize = 2048;
    let (offerer, mut answerer) = pair().await;
    let link = Arc::clone(&offerer.link);
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let sending = tokio::spawn(async move {
        for number in 0..LIMIT {
            link.send_data(frame(number, FRAME_BYTES)).await.expect("frame is sent");
            counter.fetch_add(1, Ordering::Release);
        }
    });

    // Nobody reads: the count must come to rest below the limit.
    let mut last = 0;
    let mut since = Instant::now();
    let deadline = Instant::now() + PATIENCE;
    while since.elapsed() < Duration::from_secs(1) {
        assert!(Instant::now() < deadline, "the sender is never held back");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = taken.load(Ordering::Acquire);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    assert!((1..LIMIT / 2).contains(&last), "{last} frames were taken without a reader");

    for number in 0..LIMIT {
        match answerer.message().await {
            LinkEvent::Data(received) => assert_eq!(received, frame(number, FRAME_BYTES), "frame {number}"),
            other => panic!("expected data, got {other:?}"),
        }
    }
    sending.await.expect("sender ends");
    offerer.link.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_messages_of_both_sides_arrive_in_order() {
    for round in 0..10 {
        let mut offerer = Side::open(loopback(Role::Offerer)).await;
        let mut answerer = Side::open(loopback(Role::Answerer)).await;
        // These wait for the channels and go out the moment they open.
        let senders = [&offerer, &answerer].map(|side| {
            let link = Arc::clone(&side.link);
            tokio::spawn(async move {
                for number in 0..20 {
                    link.send_control(&format!("control {number}")).await.expect("control is sent");
                    link.send_data(frame(number, 1000)).await.expect("data is sent");
                }
            })
        });
        connect(&mut offerer, &mut answerer, |_, signal| Some(signal)).await;
        for side in [&mut offerer, &mut answerer] {
            let (mut control, mut data) = (0, 0);
            while control < 20 || data < 20 {
                match side.message().await {
                    LinkEvent::Control(text) => {
                        assert_eq!(text, format!("control {control}"), "round {round}");
                        control += 1;
                    }
                    LinkEvent::Data(received) => {
                        assert_eq!(received, frame(data, 1000), "round {round}");
                        data += 1;
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
        for sender in senders {
            sender.await.expect("sender ends");
        }
        offerer.link.close().await;
        answerer.link.close().await;
    }
}

#[tokio::test]
async fn a_binary_control_message_is_told_from_a_text_and_keeps_its_place() {
    let (offerer, mut answerer) = pair().await;
    offerer.link.send_bind(b"\xff bind").await.expect("bind is sent");
    offerer.link.send_control("text").await.expect("control is sent");
    assert!(matches!(answerer.message().await, LinkEvent::Bind(bind) if bind == b"\xff bind"[..]));
    assert!(matches!(answerer.message().await, LinkEvent::Control(text) if text == "text"));
    offerer.link.close().await;
}

#[tokio::test]
async fn each_side_sees_the_certificate_that_the_other_shows() {
    let (offerer, answerer) = pair().await;
    let own = [offerer.link.local_certificate_sha256(), answerer.link.local_certificate_sha256()];
    let seen = [answerer.link.remote_certificate_sha256().await, offerer.link.remote_certificate_sha256().await];
    assert_eq!(own.map(Some), seen);
    assert_ne!(own[0], own[1]);
    offerer.link.close().await;
}

#[tokio::test]
async fn the_certificate_is_unknown_before_the_handshake() {
    let offerer = Side::open(loopback(Role::Offerer)).await;
    assert_eq!(offerer.link.remote_certificate_sha256().await, None);
    assert_eq!(offerer.link.max_message_size(), 0);
}

#[tokio::test]
async fn closing_on_either_side_ends_both_at_once_and_leaves_no_task() {
    for offerer_closes in [true, false] {
        let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let (mut offerer, mut answerer) = pair().await;
        let started = Instant::now();
        let (closer, other) =
            if offerer_closes { (&mut offerer, &mut answerer) } else { (&mut answerer, &mut offerer) };
        closer.link.close().await;
        closer.link.close().await;
        assert_eq!(closer.closed().await, CloseReason::Local);
        assert!(closer.events.next().await.is_none());
        assert_eq!(other.closed().await, CloseReason::Peer);
        assert!(started.elapsed() < Duration::from_secs(3), "took {:?}", started.elapsed());
        assert!(matches!(closer.link.send_control("late").await, Err(SendError::Closed)));
        assert!(matches!(other.link.send_data(Bytes::from_static(b"late")).await, Err(SendError::Closed)));
        other.link.close().await;

        let deadline = Instant::now() + PATIENCE;
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > before {
            assert!(Instant::now() < deadline, "tasks are left");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn what_was_sent_before_the_peer_closed_is_still_delivered() {
    let (offerer, mut answerer) = pair().await;
    for number in 0..8 {
        offerer.link.send_data(frame(number, 10_000)).await.expect("frame is sent");
    }
    let deadline = Instant::now() + PATIENCE;
    while offerer.link.buffered_amount().await > 0 {
        assert!(Instant::now() < deadline, "never acknowledged");
        tokio::task::yield_now().await;
    }
    offerer.link.close().await;
    for number in 0..8 {
        assert!(matches!(answerer.message().await, LinkEvent::Data(received) if received == frame(number, 10_000)));
    }
    assert_eq!(answerer.closed().await, CloseReason::Peer);
}

#[tokio::test]
async fn a_send_that_waits_is_released_by_close() {
    let (offerer, answerer) = pair().await;
    let link = Arc::clone(&offerer.link);
    let sending = tokio::spawn(async move {
        loop {
            if let Err(error) = link.send_data(frame(0, 64 * 1024)).await {
                return error;
            }
        }
    });
    let deadline = Instant::now() + PATIENCE;
    while offerer.link.buffered_amount().await < Pacing::NATIVE.high_water_bytes {
        assert!(Instant::now() < deadline, "the buffer never fills");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    offerer.link.close().await;
    let error = timeout(PATIENCE, sending).await.expect("released in time").expect("sender ends");
    assert!(matches!(error, SendError::Closed));
    answerer.link.close().await;
}

#[tokio::test]
async fn dropping_the_handle_closes_the_other_side() {
    let (offerer, mut answerer) = pair().await;
    let Side { link, events, .. } = offerer;
    drop(link);
    assert_eq!(answerer.closed().await, CloseReason::Peer);
    drop(events);
}

#[tokio::test]
async fn dropping_the_events_closes_the_other_side() {
    let (offerer, mut answerer) = pair().await;
    let Side { link, events, .. } = offerer;
    drop(events);
    assert_eq!(answerer.closed().await, CloseReason::Peer);
    link.close().await;
}

#[tokio::test]
async fn relay_only_without_a_server_says_so() {
    let config = LinkConfig { policy: Policy::RelayOnly, ..loopback(Role::Offerer) };
    let error = PeerLink::open(config).await.expect_err("no relay");
    assert!(matches!(error, OpenError::NoRelayServer));
    assert!(error.to_string().contains("no TURN server"), "{error}");
}

#[tokio::test]
async fn relay_only_tells_the_peer_no_address_of_this_device() {
    // Nothing listens there, so no candidate can come of it.
    let nobody = IceServer {
        urls: vec!["turn:127.0.0.1:9".to_owned()],
        username: "user".to_owned(),
        credential: "secret".to_owned(),
    };
    let config = LinkConfig { policy: Policy::RelayOnly, ice_servers: vec![nobody], ..loopback(Role::Offerer) };
    let mut offerer = Side::open(config).await;
    match offerer.next().await {
        LinkEvent::Signal(Signal::Offer { sdp }) => assert!(!sdp.contains("a=candidate"), "{sdp}"),
        other => panic!("expected the offer, got {other:?}"),
    }
    let more = timeout(Duration::from_millis(500), offerer.events.next()).await;
    assert!(!matches!(more, Ok(Some(LinkEvent::Signal(Signal::Candidate { .. })))), "{more:?}");
}

#[tokio::test]
async fn candidates_that_overtake_the_offer_are_kept_for_it() {
    let mut offerer = Side::open(loopback(Role::Offerer)).await;
    let mut answerer = Side::open(loopback(Role::Answerer)).await;
    let mut offer = None;
    loop {
        match offerer.next().await {
            LinkEvent::Signal(signal @ Signal::Offer { .. }) => offer = Some(signal),
            LinkEvent::Signal(Signal::EndOfCandidates) => break,
            LinkEvent::Signal(candidate) => answerer.link.handle_signal(candidate).await.expect("kept"),
            other => panic!("unexpected {other:?}"),
        }
    }
    answerer.link.handle_signal(offer.expect("the offer comes before its candidates")).await.expect("offer");
    // The answerer's own candidates are withheld: it must find the offerer by those it kept.
    connect(&mut offerer, &mut answerer, |_, signal| match signal {
        Signal::Candidate { .. } => None,
        Signal::Offer { .. } | Signal::Answer { .. } | Signal::EndOfCandidates | Signal::Lane { .. } => Some(signal),
    })
    .await;
    offerer.link.close().await;
}

#[tokio::test]
async fn candidates_inside_the_description_are_used() {
    let mut offerer = Side::open(loopback(Role::Offerer)).await;
    let mut answerer = Side::open(loopback(Role::Answerer)).await;
    let mut sdp = String::new();
    let mut candidates = String::new();
    loop {
        match offerer.next().await {
            LinkEvent::Signal(Signal::Offer { sdp: offer }) => sdp = offer,
            LinkEvent::Signal(Signal::Candidate { candidate, .. }) => candidates += &format!("a={candidate}\r\n"),
            LinkEvent::Signal(Signal::EndOfCandidates) => break,
            other => panic!("unexpected {other:?}"),
        }
    }
    answerer.link.handle_signal(Signal::Offer { sdp: sdp + &candidates }).await.expect("offer");
    connect(&mut offerer, &mut answerer, |_, signal| match signal {
        Signal::Candidate { .. } => None,
        Signal::Offer { .. } | Signal::Answer { .. } | Signal::EndOfCandidates | Signal::Lane { .. } => Some(signal),
    })
    .await;
    offerer.link.close().await;
}

#[tokio::test]
async fn a_local_name_is_resolved_and_checked_at_once() {
    const NAME: &str = "3f0c5a52-8a4e-4d51-9f0e-5f3f1d0c7a11.local";
    let mut config = loopback(Role::Answerer);
    config.resolve_name =
        Some(Arc::new(|name| Box::pin(async move { (name == NAME).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)) })));
    let mut offerer = Side::open(loopback(Role::Offerer)).await;
    let mut answerer = Side::open(config).await;
    // The offerer hides its address and learns none, so only the answerer's checks can connect them.
    connect(&mut offerer, &mut answerer, |from_offerer, signal| match signal {
        Signal::Candidate { candidate, sdp_mid, sdp_m_line_index } if from_offerer => {
            Some(Signal::Candidate { candidate: candidate.replace("127.0.0.1", NAME), sdp_mid, sdp_m_line_index })
        }
        Signal::Candidate { .. } => None,
        Signal::Offer { .. } | Signal::Answer { .. } | Signal::EndOfCandidates | Signal::Lane { .. } => Some(signal),
    })
    .await;
    offerer.link.close().await;
}

#[tokio::test]
async fn a_link_without_any_candidate_ends_by_its_timeout() {
    let short = |role| LinkConfig { connect_timeout: Duration::from_millis(300), ..loopback(role) };
    let mut offerer = Side::open(short(Role::Offerer)).await;
    let mut answerer = Side::open(short(Role::Answerer)).await;
    for _ in 0..2 {
        loop {
            match offerer.next().await {
                LinkEvent::Signal(offer @ Signal::Offer { .. }) => {
                    answerer.link.handle_signal(offer).await.expect("offer");
                    break;
                }
                LinkEvent::Closed(reason) => {
                    assert_eq!(reason, CloseReason::ConnectTimeout);
                    return;
                }
                LinkEvent::Signal(_) | LinkEvent::State(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
        loop {
            if let LinkEvent::Signal(answer @ Signal::Answer { .. }) = answerer.next().await {
                offerer.link.handle_signal(answer).await.expect("answer");
                break;
            }
        }
        assert_eq!(answerer.closed().await, CloseReason::ConnectTimeout);
    }
    panic!("the offerer did not end");
}

#[tokio::test]
async fn loopback_is_shown_as_the_lan() {
    let (mut offerer, answerer) = pair().await;
    let reported = loop {
        let event = if offerer.early.is_empty() { offerer.next().await } else { offerer.early.remove(0) };
        if let LinkEvent::Route(route) = event {
            break route;
        }
    };
    assert_eq!((reported.route, reported.family, reported.tcp), (Route::DirectLan, Family::V4, false));
    assert_eq!(reported.local, CandidateKind::Host);
    let deadline = Instant::now() + PATIENCE;
    while offerer.link.stats().await.route.is_none_or(|route| route.round_trip_time.is_none()) {
        assert!(Instant::now() < deadline, "no round trip time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stats = answerer.link.stats().await;
    assert!(stats.bytes_sent > 0 && stats.bytes_received > 0, "{stats:?}");
    offerer.link.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ice_restart_in_the_middle_loses_nothing() {
    const FRAMES: usize = 400;
    let (offerer, answerer) = pair().await;
    let Side { link: sender, events: mut offerer_events, .. } = offerer;
    let Side { link: receiver, events: mut answerer_events, .. } = answerer;
    let (half, half_reached) = tokio::sync::oneshot::channel();

    let to_answerer = Arc::clone(&receiver);
    let from_offerer = tokio::spawn(async move {
        while let Some(event) = offerer_events.next().await {
            if let LinkEvent::Signal(signal) = event {
                let _ = to_answerer.handle_signal(signal).await;
            }
        }
    });
    let to_offerer = Arc::clone(&sender);
    let receiving = tokio::spawn(async move {
        let mut half = Some(half);
        let mut number = 0;
        while number < FRAMES {
            match timeout(PATIENCE, answerer_events.next()).await.expect("an event in time").expect("still open") {
                LinkEvent::Signal(signal) => {
                    let _ = to_offerer.handle_signal(signal).await;
                }
                LinkEvent::Data(received) => {
                    assert_eq!(received, frame(number, 32 * 1024), "frame {number}");
                    number += 1;
                    if number == FRAMES / 4 {
                        half.take().expect("once").send(()).expect("main waits");
                    }
                }
                LinkEvent::Closed(reason) => panic!("closed: {reason}"),
                LinkEvent::Open
                | LinkEvent::Control(_)
                | LinkEvent::Bind(_)
                | LinkEvent::Route(_)
                | LinkEvent::State(_) => {}
            }
        }
    });
    let link = Arc::clone(&sender);
    let sending = tokio::spawn(async move {
        for number in 0..FRAMES {
            link.send_data(frame(number, 32 * 1024)).await.expect("frame is sent");
        }
    });

    half_reached.await.expect("the receiver lives");
    assert!(matches!(receiver.restart_ice().await, Err(RestartError::NotOfferer)));
    sender.restart_ice().await.expect("restart");
    timeout(PATIENCE, sending).await.expect("sent in time").expect("sender ends");
    timeout(PATIENCE, receiving).await.expect("received in time").expect("receiver ends");
    sender.close().await;
    receiver.close().await;
    from_offerer.await.expect("forwarder ends");
}

#[tokio::test]
async fn messages_over_the_limit_are_refused_before_they_are_sent() {
    let (offerer, mut answerer) = pair().await;
    let limit = offerer.link.max_message_size();
    let error = offerer.link.send_data(frame(0, limit + 1)).await.expect_err("too long");
    assert!(matches!(error, SendError::TooLong { len, limit: said } if len == limit + 1 && said == limit));
    let error = offerer.link.send_control(&"x".repeat(64 * 1024 + 1)).await.expect_err("too long");
    assert!(matches!(error, SendError::TooLong { limit: 65_536, .. }));
    // The link goes on.
    let text = "x".repeat(64 * 1024);
    offerer.link.send_control(&text).await.expect("control is sent");
    assert!(matches!(answerer.message().await, LinkEvent::Control(received) if received == text));
    offerer.link.close().await;
}

#[tokio::test]
async fn signals_out_of_turn_or_out_of_bounds_are_refused_and_change_nothing() {
    let mut offerer = Side::open(loopback(Role::Offerer)).await;
    let mut answerer = Side::open(loopback(Role::Answerer)).await;
    let sdp = || "v=0\r\n".to_owned();
    let refused = offerer.link.handle_signal(Signal::Offer { sdp: sdp() }).await;
    assert!(matches!(refused, Err(SignalError::Unexpected { kind: "offer", .. })));
    let refused = answerer.link.handle_signal(Signal::Answer { sdp: sdp() }).await;
    assert!(matches!(refused, Err(SignalError::Unexpected { kind: "answer", .. })));
    let refused = answerer.link.handle_signal(Signal::Offer { sdp: "\u{1f9e8}".repeat(100) }).await;
    assert!(matches!(refused, Err(SignalError::Description(_))), "{refused:?}");
    let refused = answerer.link.handle_signal(Signal::Offer { sdp: "x".repeat(1 << 20) }).await;
    assert!(matches!(refused, Err(SignalError::TooLong { .. })));

    let candidate =
        |text: &str| Signal::Candidate { candidate: text.to_owned(), sdp_mid: None, sdp_m_line_index: None };
    let refused = answerer.link.handle_signal(candidate("candidate:nonsense")).await;
    assert!(matches!(refused, Err(SignalError::Candidate(_))));
    let refused = answerer.link.handle_signal(candidate(&"candidate:".repeat(1000))).await;
    assert!(matches!(refused, Err(SignalError::TooLong { .. })));
    answerer.link.handle_signal(candidate("")).await.expect("a browser's end of candidates");
    let early = candidate("candidate:1 1 udp 1 127.0.0.1 9 typ host ufrag of-another-generation");
    for _ in 0..64 {
        answerer.link.handle_signal(early.clone()).await.expect("kept");
    }
    let refused = answerer.link.handle_signal(early).await;
    assert!(matches!(refused, Err(SignalError::TooManyCandidates { limit: 64 })));

    connect(&mut offerer, &mut answerer, |_, signal| Some(signal)).await;
    offerer.link.close().await;
}
