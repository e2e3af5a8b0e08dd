//! `/v1/relay` over real sockets (rules LK-31 to LK-37): who is joined with whom, and what ends a lane.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use lanyard_protocol::lane::LaneHello;
use lanyard_protocol::limits::LANE_MESSAGE_BYTES;
use lanyard_protocol::signaling::{ClientMessage, ServerMessage};
use lanyard_protocol::{LaneTicket, MailboxId};
use support::{Client, PATIENCE, address, body, config, figure, get, start, until};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const MAILBOX: MailboxId = MailboxId([1; 16]);

/// A socket of a lane.
struct Lane(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Lane {
    async fn open(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{address}/v1/relay").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let opening = tokio_tungstenite::connect_async(request);
        let (socket, _) = tokio::time::timeout(PATIENCE, opening).await.expect("the relay answers")?;
        Ok(Self(socket))
    }

    async fn with_ticket(address: SocketAddr, ticket: LaneTicket, stream: u64) -> Self {
        let mut lane = Self::open(address, &[]).await.unwrap();
        lane.send(LaneHello { ticket, stream }.encode().to_vec()).await;
        lane
    }

    async fn send(&mut self, bytes: Vec<u8>) {
        self.0.send(Message::binary(bytes)).await.unwrap();
    }

    /// The next binary message, or the close code.
    async fn next(&mut self) -> Result<Bytes, u16> {
        let listening = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
                    Some(Ok(Message::Close(frame))) => return Err(frame.map_or(0, |frame| frame.code.into())),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(0),
                }
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("the relay carries or closes")
    }
}

/// Two clients in one mailbox, and their tickets.
async fn two(address: SocketAddr) -> [(Client, LaneTicket); 2] {
    [one(address).await, one(address).await]
}

async fn one(address: SocketAddr) -> (Client, LaneTicket) {
    let mut client = Client::connect(address).await;
    let ServerMessage::Joined { lane, .. } = client.join(MAILBOX, None).await else { panic!() };
    (client, lane.expect("a ticket"))
}

#[tokio::test]
async fn lk_32_two_sides_of_one_mailbox_and_stream_get_each_others_messages_as_they_are() {
    let relay = start(config()).await;
    let [(_a, ticket_a), (_b, ticket_b)] = two(address(&relay)).await;
    let mut a = Lane::with_ticket(address(&relay), ticket_a, 7).await;
    // Said before the other side is there.
    a.send(b"early".to_vec()).await;
    let mut b = Lane::with_ticket(address(&relay), ticket_b, 7).await;
    assert_eq!(b.next().await.unwrap(), "early");
    let long: Vec<u8> = (0..LANE_MESSAGE_BYTES).map(|n| n as u8).collect();
    b.send(long.clone()).await;
    b.send(Vec::new()).await;
    assert_eq!(a.next().await.unwrap(), long);
    assert_eq!(a.next().await.unwrap(), "");
    let metrics = get(address(&relay), "/metrics", "").await;
    assert_eq!(figure(body(&metrics), "lanyard_lane_sockets"), 2);
    assert_eq!(figure(body(&metrics), "lanyard_lane_messages_total"), 3);
    assert_eq!(figure(body(&metrics), "lanyard_lane_bytes_total"), 5 + LANE_MESSAGE_BYTES as u64);
}

#[tokio::test]
async fn lk_31_a_ticket_is_the_same_after_a_return_and_another_for_each_side_and_mailbox() {
    let relay = start(config()).await;
    let [(mut a, ticket_a), (_b, ticket_b)] = two(address(&relay)).await;
    let ServerMessage::Joined { lane: again, .. } = a.join(MAILBOX, None).await else { panic!() };
    let ServerMessage::Joined { lane: elsewhere, .. } = a.join(MailboxId([2; 16]), None).await else { panic!() };
    assert_eq!(again, Some(ticket_a));
    assert_ne!(ticket_a, ticket_b);
    assert_ne!(elsewhere, Some(ticket_a));
}

#[tokio::test]
async fn lk_32_a_ticket_that_is_not_known_a_text_and_a_short_hello_open_nothing() {
    let relay = start(config()).await;
    let mut guessed = Lane::with_ticket(address(&relay), LaneTicket([9; 16]), 1).await;
    assert_eq!(guessed.next().await, Err(1008));
    let mut short = Lane::open(address(&relay), &[]).await.unwrap();
    short.send(vec![0; 23]).await;
    assert_eq!(short.next().await, Err(1002));
    let mut text = Lane::open(address(&relay), &[]).await.unwrap();
    text.0.send(Message::text("hello")).await.unwrap();
    assert_eq!(text.next().await, Err(1002));
}

#[tokio::test]
async fn lk_34_a_message_that_is_too_long_ends_the_lane_for_both() {
    let relay = start(config()).await;
    let [(_a, ticket_a), (_b, ticket_b)] = two(address(&relay)).await;
    let mut a = Lane::with_ticket(address(&relay), ticket_a, 1).await;
    let mut b = Lane::with_ticket(address(&relay), ticket_b, 1).await;
    a.send(vec![0; LANE_MESSAGE_BYTES + 1]).await;
    assert_eq!(a.next().await, Err(1009));
    assert_eq!(b.next().await, Err(4002));
}

#[tokio::test]
async fn lk_34_a_side_that_does_not_read_stops_the_other_within_a_mebibyte_and_loses_nothing() {
    let relay = start(config()).await;
    let [(_a, ticket_a), (_b, ticket_b)] = two(address(&relay)).await;
    let mut a = Lane::with_ticket(address(&relay), ticket_a, 1).await;
    let mut b = Lane::with_ticket(address(&relay), ticket_b, 1).await;
    let message = Bytes::from(vec![5; 64 * 1024]);
    let mut sent = 0_usize;
    // What the systems' own buffers hold comes on top of the pipe.
    let stopped = async {
        loop {
            let sending = a.0.send(Message::Binary(message.clone()));
            match tokio::time::timeout(Duration::from_millis(500), sending).await {
                Ok(sent_one) => sent_one.unwrap(),
                Err(_) => return,
            }
            sent += 1;
            assert!(sent < 1600, "100 MB were taken from a side that nobody reads");
        }
    };
    stopped.await;
    let metrics = get(address(&relay), "/metrics", "").await;
    let carried = figure(body(&metrics), "lanyard_lane_bytes_total");
    assert!(carried < (sent as u64 + 1) * 64 * 1024);
    let reading = async {
        for _ in 0..=sent {
            assert_eq!(b.next().await.unwrap(), message);
        }
    };
    // The one that was cut off while it waited is finished first.
    let (flushed, ()) = tokio::join!(a.0.flush(), reading);
    flushed.unwrap();
}

#[tokio::test]
async fn lk_35_the_newer_socket_of_a_side_takes_the_place_of_a_stale_one() {
    let relay = start(config()).await;
    let [(_a, ticket_a), (_b, ticket_b)] = two(address(&relay)).await;
    let mut stale = Lane::with_ticket(address(&relay), ticket_a, 1).await;
    let mut old = Lane::with_ticket(address(&relay), ticket_b, 1).await;
    old.send(b"old".to_vec()).await;
    assert_eq!(stale.next().await.unwrap(), "old");
    let mut a = Lane::with_ticket(address(&relay), ticket_a, 2).await;
    assert_eq!(stale.next().await, Err(4001));
    assert_eq!(old.next().await, Err(4002));
    let mut b = Lane::with_ticket(address(&relay), ticket_b, 2).await;
    b.send(b"new".to_vec()).await;
    assert_eq!(a.next().await.unwrap(), "new");
    let mut older = Lane::with_ticket(address(&relay), ticket_a, 1).await;
    assert_eq!(older.next().await, Err(4001), "an older attempt does not come back");
}

#[tokio::test]
async fn lk_35_a_lane_ends_with_the_mailbox_and_with_the_other_side() {
    let relay = start(config()).await;
    let [(mut a_client, ticket_a), (_b, ticket_b)] = two(address(&relay)).await;
    let mut a = Lane::with_ticket(address(&relay), ticket_a, 1).await;
    let mut b = Lane::with_ticket(address(&relay), ticket_b, 1).await;
    b.send(b"last".to_vec()).await;
    b.0.close(None).await.unwrap();
    assert_eq!(a.next().await.unwrap(), "last", "what was said before the end arrives");
    assert_eq!(a.next().await, Err(4002));
    let mut a = Lane::with_ticket(address(&relay), ticket_a, 2).await;
    a_client.say(&ClientMessage::Leave { mailbox: MAILBOX }).await;
    assert_eq!(a.next().await, Err(4003));
    let mut late = Lane::with_ticket(address(&relay), ticket_a, 3).await;
    assert_eq!(late.next().await, Err(1008));
    until("no socket is left", || async {
        figure(body(&get(address(&relay), "/metrics", "").await), "lanyard_lane_sockets") == 0
    })
    .await;
}

#[tokio::test]
async fn lk_35_a_side_whose_partner_does_not_come_is_sent_away() {
    let mut config = config();
    config.lanes.partner_seconds = 1;
    let relay = start(config).await;
    let (_a, ticket) = one(address(&relay)).await;
    let mut alone = Lane::with_ticket(address(&relay), ticket, 1).await;
    assert_eq!(alone.next().await, Err(1008));
}

#[tokio::test]
async fn lk_36_pages_of_other_origins_and_one_socket_too_many_are_refused() {
    let mut config = config();
    config.lanes.sockets_per_source = 1;
    let relay = start(config).await;
    let foreign = Lane::open(address(&relay), &[("origin", "http://evil.example")]).await;
    assert!(matches!(foreign, Err(tungstenite::Error::Http(answer)) if answer.status() == 403));
    let _first = Lane::open(address(&relay), &[]).await.unwrap();
    let second = Lane::open(address(&relay), &[]).await;
    assert!(matches!(second, Err(tungstenite::Error::Http(answer)) if answer.status() == 429));
}

#[tokio::test]
async fn lk_36_a_server_without_lanes_gives_no_ticket_and_has_no_endpoint() {
    let mut config = config();
    config.lanes.enabled = false;
    let relay = start(config).await;
    let mut client = Client::connect(address(&relay)).await;
    let ServerMessage::Joined { lane, .. } = client.join(MAILBOX, None).await else { panic!() };
    assert_eq!(lane, None);
    let refused = Lane::open(address(&relay), &[]).await;
    assert!(matches!(refused, Err(tungstenite::Error::Http(answer)) if answer.status() == 404));
}

#[tokio::test]
async fn lk_36_a_device_over_its_rate_is_read_later_and_the_day_has_an_end() {
    let mut config = config();
    config.lanes.megabits_per_device = 4;
    config.lanes.gigabytes_per_day = 0;
    let relay = start(config).await;
    let [(_a, ticket_a), (_b, ticket_b)] = two(address(&relay)).await;
    let mut a = Lane::with_ticket(address(&relay), ticket_a, 1).await;
    let mut b = Lane::with_ticket(address(&relay), ticket_b, 1).await;
    // 4 Mbit/s are 500 kB/s; a quarter of a second of that passes at once.
    let begun = Instant::now();
    let sending = async {
        for _ in 0..10 {
            a.send(vec![0; 50_000]).await;
        }
    };
    let reading = async {
        for _ in 0..10 {
            b.next().await.unwrap();
        }
    };
    tokio::join!(sending, reading);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(600), "500 kB in {took:?} are faster than the limit");
}

#[tokio::test]
async fn a_relay_that_stops_closes_its_lanes() {
    let relay = start(config()).await;
    let (_a, ticket) = one(address(&relay)).await;
    let mut a = Lane::with_ticket(address(&relay), ticket, 1).await;
    let stopping = tokio::spawn(relay.shutdown());
    assert_eq!(a.next().await, Err(1001));
    drop(a);
    drop(_a);
    assert!(stopping.await.unwrap());
}
