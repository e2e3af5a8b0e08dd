//! The external address, asked from a STUN server elsewhere.
#![expect(clippy::unwrap_used, reason = "a failed test is what they are for")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use lanyard_relay::config::{PeerPolicy, Secret};
use lanyard_relay::doctor::{Options, StaticSecret, Subject, TurnTransport, examine};
use support::{config, start, until};
use tokio::net::UdpSocket;

/// A STUN server that says what it is told to say.
async fn start_stun(address: Arc<Mutex<Ipv4Addr>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let own = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            let octets = address.lock().unwrap().octets();
            let cookie = [0x21, 0x12, 0xa4, 0x42];
            let mut answer = vec![1, 1, 0, 12];
            answer.extend(&buffer[4..20]);
            // XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
            answer.extend([0, 0x20, 0, 8, 0, 1, 0x30, 0x39]);
            answer.extend(octets.iter().zip(cookie).map(|(octet, mask)| octet ^ mask));
            let _ = socket.send_to(&answer, from).await;
        }
    });
    own
}

#[tokio::test]
async fn relayed_addresses_follow_the_address_that_others_see() {
    let seen = Arc::new(Mutex::new(Ipv4Addr::new(198, 51, 100, 7)));
    let mut config = config();
    config.turn.stun_server = Some(start_stun(Arc::clone(&seen)).await.to_string());
    config.turn.stun_server_seconds = 1;
    config.turn.peer_policy = PeerPolicy::Any;
    config.turn.secrets = vec![Secret::new("north-of-the-river")];
    let relay = start(config).await;
    let host = relay.stun_address().unwrap().to_string().parse().unwrap();
    let secret = StaticSecret { secret: Secret::new("north-of-the-river"), transports: vec![TurnTransport::Udp] };
    let options = Options::new(Subject::Turn(host, secret));
    for last in [7, 8] {
        *seen.lock().unwrap() = Ipv4Addr::new(198, 51, 100, last);
        until("relayed at the new address", || async {
            let report = examine(&options, |_| {}).await.unwrap();
            report.is_well() && report.findings.iter().any(|one| one.detail.contains(&format!("at 198.51.100.{last}:")))
        })
        .await;
    }
}
