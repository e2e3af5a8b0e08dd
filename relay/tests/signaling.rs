//! Signaling over real WebSockets; rules `SG-n` of `docs/protocol/signaling.md`.

mod support;

use lanyard_protocol::MailboxId;
use lanyard_protocol::limits::SIGNALING_MESSAGE_BYTES;
use lanyard_protocol::signaling::{ClientMessage, ErrorCode, ListingSource, Platform, PresenceState, ServerMessage};
use lanyard_relay::{AGENT_TOKEN_HEADER, Fronted};
use support::{Client, address, config, figure, get, start, status, until};
use tokio_tungstenite::tungstenite;

const MAILBOX: MailboxId = MailboxId([1; 16]);

fn is_message(message: &ServerMessage) -> bool {
    matches!(message, ServerMessage::Message { .. })
}

#[tokio::test]
async fn two_devices_meet_and_bodies_pass_both_ways() {
    let relay = start(config()).await;
    let (mut a, mut b) = (Client::connect(address(&relay)).await, Client::connect(address(&relay)).await);
    a.join(MAILBOX, None).await;
    b.join(MAILBOX, None).await;
    a.send(MAILBOX, 1, b"ping").await;
    let ServerMessage::Message { from: 0, body, .. } = b.hear(is_message).await else { panic!() };
    assert_eq!(body.as_bytes(), b"ping");
    b.send(MAILBOX, 0, b"pong").await;
    let ServerMessage::Message { from: 1, body, .. } = a.hear(is_message).await else { panic!() };
    assert_eq!(body.as_bytes(), b"pong");
}

#[tokio::test]
async fn sg_7_last_words_of_a_socket_that_closes_at_once_are_carried() {
    let relay = start(config()).await;
    for round in 0..20 {
        let mailbox = MailboxId([round; 16]);
        let (mut a, mut b) = (Client::connect(address(&relay)).await, Client::connect(address(&relay)).await);
        a.join(mailbox, None).await;
        b.join(mailbox, None).await;
        b.send(mailbox, 0, b"the code was wrong").await;
        b.say(&ClientMessage::Leave { mailbox }).await;
        drop(b);
        a.hear(is_message).await;
        let left = |message: &ServerMessage| {
            assert!(!matches!(message, ServerMessage::Presence { state: PresenceState::Away, .. }), "round {round}");
            matches!(message, ServerMessage::Presence { state: PresenceState::Left, .. })
        };
        a.hear(left).await;
    }
}

#[tokio::test]
async fn sg_2_welcome_tells_the_servers_time() {
    let relay = start(config()).await;
    let mut client = Client::open(address(&relay), &[]).await.unwrap();
    let ServerMessage::Welcome { time_ms, .. } = client.hello().await else { panic!() };
    let here = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(here.abs_diff(time_ms) < 10_000);
}

#[tokio::test]
async fn sg_19_joined_names_the_stun_server_at_the_address_the_client_used() {
    let relay = start(config()).await;
    let stun = relay.stun_address().unwrap();
    let mut client = Client::connect(address(&relay)).await;
    let ServerMessage::Joined { ice_servers, .. } = client.join(MAILBOX, None).await else { panic!() };
    assert_eq!(ice_servers[0].urls, [format!("stun:127.0.0.1:{}", stun.port())]);

    let port = address(&relay).port().to_string();
    let host = format!("localhost:{port}");
    let mut by_name = Client::open(address(&relay), &[("host", &host)]).await.unwrap();
    by_name.hello().await;
    let ServerMessage::Joined { ice_servers, .. } = by_name.join(MailboxId([2; 16]), None).await else { panic!() };
    assert_eq!(ice_servers[0].urls, [format!("stun:127.0.0.1:{}", stun.port())], "no name that only we can resolve");
}

#[tokio::test]
async fn sg_19_a_configured_stun_host_is_told_instead() {
    let mut config = config();
    config.stun.host = Some("stun.example".into());
    let relay = start(config).await;
    let mut client = Client::connect(address(&relay)).await;
    let ServerMessage::Joined { ice_servers, .. } = client.join(MAILBOX, None).await else { panic!() };
    assert!(ice_servers[0].urls[0].starts_with("stun:stun.example:"));
}

#[tokio::test]
async fn sg_6_a_dropped_socket_returns_to_its_slot_and_gets_what_waited() {
    let relay = start(config()).await;
    let (mut a, mut b) = (Client::connect(address(&relay)).await, Client::connect(address(&relay)).await);
    a.join(MAILBOX, None).await;
    let ServerMessage::Joined { slot, .. } = b.join(MAILBOX, None).await else { panic!() };
    drop(b);
    let away = |m: &ServerMessage| matches!(m, ServerMessage::Presence { state: PresenceState::Away, .. });
    a.hear(away).await;
    for n in 0..64 {
        a.send(MAILBOX, 1, &vec![n; 4000]).await;
    }
    let mut b = Client::connect(address(&relay)).await;
    let ServerMessage::Joined { member, .. } = b.join(MAILBOX, Some(slot)).await else { panic!() };
    assert_eq!(member, 1);
    for n in 0..64 {
        let ServerMessage::Message { body, .. } = b.hear(is_message).await else { panic!() };
        assert_eq!(body.as_bytes()[0], n);
    }
    a.hear(|m| matches!(m, ServerMessage::Presence { state: PresenceState::Back, .. })).await;
}

#[tokio::test]
async fn sg_4_a_third_joiner_is_crowded_and_both_sides_are_told() {
    let relay = start(config()).await;
    let mut sides = Vec::new();
    for _ in 0..3 {
        sides.push(Client::connect(address(&relay)).await);
    }
    sides[0].join(MAILBOX, None).await;
    sides[1].join(MAILBOX, None).await;
    sides[2].say(&ClientMessage::Join { mailbox: MAILBOX, slot: None }).await;
    for side in &mut sides {
        side.hear(|m| matches!(m, ServerMessage::Crowded { .. })).await;
    }
}

#[tokio::test]
async fn sg_1_what_is_no_message_is_answered_and_closed() {
    let relay = start(config()).await;
    for text in ["", "{}", "null", "{\"type\":\"teleport\"}", "{\"type\":\"join\",\"mailbox\":\"x\"}", "\u{0}"] {
        let mut client = Client::connect(address(&relay)).await;
        client.say_text(text.to_owned()).await;
        client.hear(|m| matches!(m, ServerMessage::Error { code: ErrorCode::Malformed, .. })).await;
        assert_eq!(client.end().await, Some(1002), "{text:?}");
    }
}

#[tokio::test]
async fn sg_1_a_binary_message_is_answered_and_closed() {
    use futures_util::SinkExt;
    let relay = start(config()).await;
    let mut client = Client::connect(address(&relay)).await;
    client.socket.send(tungstenite::Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(client.end().await, Some(1002));
}

#[tokio::test]
async fn sg_15_a_message_over_64_kib_closes_the_socket() {
    use futures_util::SinkExt;
    let relay = start(config()).await;
    let mut client = Client::connect(address(&relay)).await;
    client.socket.send(tungstenite::Message::text(" ".repeat(SIGNALING_MESSAGE_BYTES + 1))).await.unwrap();
    assert_eq!(client.end().await, Some(1009));
    assert_eq!(status(&get(address(&relay), "/healthz", "").await), 200);
}

#[tokio::test]
async fn sg_15_the_33rd_socket_of_one_address_is_refused_and_the_agent_is_not() {
    let relay = start(config()).await;
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(Client::open(address(&relay), &[]).await.unwrap());
    }
    let Err(tungstenite::Error::Http(answer)) = Client::open(address(&relay), &[]).await else { panic!("was taken") };
    assert_eq!(answer.status(), 429);
    let token = relay.agent_token().as_str().to_owned();
    let mut agent = Client::open(address(&relay), &[(AGENT_TOKEN_HEADER, &token)]).await.unwrap();
    agent.hello().await;
    let wrong = Client::open(address(&relay), &[(AGENT_TOKEN_HEADER, "AAAA")]).await;
    assert!(wrong.is_err(), "a wrong token exempts from nothing");
    open.pop();
    let address = address(&relay);
    until("a place is free again", || async move { Client::open(address, &[]).await.is_ok() }).await;
}

#[tokio::test]
async fn sg_16_a_flood_is_read_at_its_rate_and_others_do_not_feel_it() {
    let relay = start(config()).await;
    let (mut flood, mut other) = (Client::connect(address(&relay)).await, Client::connect(address(&relay)).await);
    let started = std::time::Instant::now();
    let leave = ClientMessage::Leave { mailbox: MAILBOX };
    for _ in 0..90 {
        flood.say(&leave).await;
    }
    other.join(MAILBOX, None).await;
    assert!(started.elapsed() < std::time::Duration::from_secs(1), "the other one was answered at once");
    for _ in 0..90 {
        flood.hear(|m| matches!(m, ServerMessage::Error { code: ErrorCode::NotJoined, .. })).await;
    }
    let took = started.elapsed().as_secs_f64();
    assert!(took > 0.9, "90 messages are a burst of 60 and a second of 30, but took {took} s");
}

#[tokio::test]
async fn sg_17_a_socket_that_does_not_read_is_closed_and_keeps_nothing() {
    let relay = start(config()).await;
    // The agent's socket is not slowed down, so it fills the other one's buffers quickly.
    let token = relay.agent_token().as_str().to_owned();
    let mut a = Client::open(address(&relay), &[(AGENT_TOKEN_HEADER, &token)]).await.unwrap();
    a.hello().await;
    let mut deaf = Client::connect(address(&relay)).await;
    a.join(MAILBOX, None).await;
    deaf.join(MAILBOX, None).await;
    let body = vec![7; 40 * 1024];
    // Until its socket buffers and then its queue are full; the relay then calls it away.
    let sending = async {
        loop {
            a.send(MAILBOX, 1, &body).await;
            let metrics = get(address(&relay), "/metrics", "").await;
            if figure(&metrics, "lanyard_signaling_sockets_closed_total{code=\"1013\"}") == 1 {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), sending).await.expect("it is closed");
    a.hear(|m| matches!(m, ServerMessage::Presence { state: PresenceState::Away, .. })).await;
}

#[tokio::test]
async fn sg_17_a_silent_socket_is_pinged_and_a_dead_one_given_up() {
    let mut config = config();
    (config.signaling.ping_seconds, config.signaling.dead_seconds) = (1, 2);
    let relay = start(config).await;
    let (mut alive, dead) = (Client::connect(address(&relay)).await, Client::connect(address(&relay)).await);
    alive.join(MAILBOX, None).await;
    let reading = tokio::spawn(async move {
        // Reading answers pings; `dead` is open and never read.
        alive.hear(|m| matches!(m, ServerMessage::Crowded { .. })).await
    });
    until("the dead one is gone and the other is not", || async {
        let metrics = get(address(&relay), "/metrics", "").await;
        figure(&metrics, "lanyard_signaling_sockets_dead_total") == 1
            && figure(&metrics, "lanyard_signaling_sockets") == 1
    })
    .await;
    assert!(!reading.is_finished());
    reading.abort();
    drop(dead);
}

#[tokio::test]
async fn sg_12_the_agents_own_socket_is_listed_as_this_agent_and_pages_are_counted_without_it() {
    let relay = start(config()).await;
    let token = relay.agent_token().as_str().to_owned();
    let mut agent = Client::open(address(&relay), &[(AGENT_TOKEN_HEADER, &token)]).await.unwrap();
    agent.hello().await;
    agent.say(&ClientMessage::Announce { name: "Attic".into(), platform: Platform::Server, seconds: 1 }).await;
    let mut page = Client::connect(address(&relay)).await;
    let ServerMessage::Nearby { devices } = page.hear(|m| matches!(m, ServerMessage::Nearby { .. })).await else {
        panic!()
    };
    assert_eq!((devices[0].name.as_str(), devices[0].source), ("Attic", ListingSource::ThisAgent));
    assert_eq!(*relay.connected_pages().borrow(), 1);
}

#[tokio::test]
async fn sg_14_a_dial_of_a_fronted_device_reaches_the_agent_and_its_answer_the_page() {
    let mut relay = start(config()).await;
    let fronted = Fronted { key: "attic".into(), name: "Attic".into(), platform: Platform::Server };
    relay.set_fronted(vec![fronted]).await;
    let mut page = Client::connect(address(&relay)).await;
    let ServerMessage::Nearby { devices } = page.hear(|m| matches!(m, ServerMessage::Nearby { .. })).await else {
        panic!()
    };
    let device = devices[0].device;
    page.say(&ClientMessage::Dial { device }).await;
    let call = relay.next_fronted_call().await.unwrap();
    assert_eq!(call.key, "attic");
    call.answer(MAILBOX).await;
    let dialed = page.hear(|m| matches!(m, ServerMessage::Dialed { .. })).await;
    assert_eq!(dialed, ServerMessage::Dialed { device, mailbox: MAILBOX });

    page.say(&ClientMessage::Dial { device }).await;
    drop(relay.next_fronted_call().await.unwrap());
    page.hear(|m| matches!(m, ServerMessage::Error { code: ErrorCode::NoSuchDevice, .. })).await;
}

#[tokio::test]
async fn shutdown_tells_every_socket_and_ends_in_time() {
    let relay = start(config()).await;
    let at = address(&relay);
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::connect(at).await);
    }
    let (ended, codes) = tokio::join!(relay.shutdown(), async {
        let mut codes = Vec::new();
        for client in &mut clients {
            codes.push(client.end().await);
        }
        codes
    });
    assert!(ended);
    assert_eq!(codes, [Some(1001); 5]);
    assert!(tokio::net::TcpStream::connect(at).await.is_err(), "nobody listens any more");
}
