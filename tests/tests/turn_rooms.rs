//! What members of mailboxes may do with the credentials that signaling gave them: reach each other, and nobody else.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use lanyard_protocol::signaling::{ClientMessage, ServerMessage};
use lanyard_protocol::{MailboxId, PROTOCOL_VERSION};
use lanyard_tests::turn::client::TurnClient;
use lanyard_tests::turn::metrics::{figure, get};
use lanyard_tests::turn::relay::{Relay, Rules};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::Message;

/// A member whose WebSocket stays open, and its TURN credentials.
struct Member {
    address: IpAddr,
    username: String,
    credential: String,
    _socket: tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>,
}

impl Member {
    async fn join(relay: &Relay, address: Ipv4Addr, mailbox: MailboxId) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.into(), 0)).unwrap();
        let stream = socket.connect(relay.http).await.unwrap();
        let (mut socket, _) =
            tokio_tungstenite::client_async(format!("ws://{}/v1/ws", relay.http), stream).await.unwrap();
        for message in
            [ClientMessage::Hello { protocol_version: PROTOCOL_VERSION }, ClientMessage::Join { mailbox, slot: None }]
        {
            socket.send(Message::text(serde_json::to_string(&message).unwrap())).await.unwrap();
        }
        loop {
            let message = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap().unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            let ServerMessage::Joined { ice_servers, .. } = serde_json::from_str(&text).unwrap() else { continue };
            let turn = ice_servers.into_iter().find(|server| server.username.is_some()).unwrap();
            let (username, credential) = (turn.username.unwrap(), turn.credential.unwrap());
            return Self { address: address.into(), username, credential, _socket: socket };
        }
    }

    fn udp(&self, relay: &Relay) -> TurnClient {
        TurnClient::udp(self.address, relay.udp, &self.username, &self.credential).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_reaches_the_other_member_and_nobody_of_another_room() {
    assert!(room_keeps_to_itself("workers = 1").await > 0, "by the short cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_at_different_workers_reach_each_other_and_nobody_of_another_room() {
    // Which worker an address falls to is drawn with each start, so two may meet at one.
    for _ in 0..5 {
        if room_keeps_to_itself("workers = 32").await == 0 {
            return;
        }
    }
    panic!("the members always met at one worker");
}

/// How many packets took the short cut inside a worker.
async fn room_keeps_to_itself(workers: &'static str) -> u64 {
    let start = || Relay::start(Rules { policy: "room", users: workers }).unwrap();
    let relay = tokio::task::spawn_blocking(start).await.unwrap();
    let (ours, theirs) = (MailboxId([1; 16]), MailboxId([2; 16]));
    let one = Member::join(&relay, Ipv4Addr::new(127, 0, 0, 11), ours).await;
    let two = Member::join(&relay, Ipv4Addr::new(127, 0, 0, 12), ours).await;
    let stranger = Member::join(&relay, Ipv4Addr::new(127, 0, 0, 13), theirs).await;
    tokio::task::spawn_blocking(move || {
        let (mut one_turn, mut two_turn, mut strange_turn) = (one.udp(&relay), two.udp(&relay), stranger.udp(&relay));
        let one_relayed = one_turn.allocate().unwrap();
        let two_relayed = two_turn.allocate().unwrap();
        let strange_relayed = strange_turn.allocate().unwrap();

        // The other member, by its relayed address both ways.
        assert_eq!(one_turn.bind(0x4000, two_relayed).unwrap(), 0);
        assert_eq!(two_turn.bind(0x4000, one_relayed).unwrap(), 0);
        one_turn.send_on(0x4000, b"hello").unwrap();
        assert_eq!(two_turn.receive_on(0x4000).unwrap(), b"hello");
        // Seen at a loopback address, which is this machine's own whoever was seen there.
        assert_eq!(one_turn.permit(SocketAddr::new(two.address, 9)).unwrap(), 403);

        // Somebody of another room: neither at the address it was seen at nor by its relayed address, whoever begins.
        assert_eq!(one_turn.permit(SocketAddr::new(stranger.address, 9)).unwrap(), 403);
        let _ = strange_turn.bind(0x4000, one_relayed).unwrap();
        one_turn.send_to(strange_relayed, b"hello").unwrap();
        let _ = one_turn.bind(0x4001, strange_relayed).unwrap();
        one_turn.send_on(0x4001, b"hello").unwrap();
        strange_turn.send_on(0x4000, b"hello").unwrap();
        assert_eq!(strange_turn.receive(Duration::from_millis(500)).unwrap(), None);
        assert_eq!(one_turn.receive(Duration::from_millis(500)).unwrap(), None);

        // Anything else on this machine, the relay's own listeners among it.
        let trap = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 14), 0)).unwrap();
        trap.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let trap_address = trap.local_addr().unwrap();
        assert_eq!(one_turn.permit(trap_address).unwrap(), 403);
        one_turn.send_to(trap_address, b"hello").unwrap();
        one_turn.send_to(relay.udp, b"hello").unwrap();
        assert!(trap.recv(&mut [0; 16]).is_err(), "the trap was reached");
        let metrics = get(relay.http, "/metrics").unwrap();
        figure(&metrics, "lanyard_turn_local_packets_total").unwrap()
    })
    .await
    .unwrap()
}
