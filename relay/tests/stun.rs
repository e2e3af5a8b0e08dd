//! STUN over a real socket; the answer is read here byte by byte, by RFC 8489 alone.

mod support;

use std::net::{IpAddr, SocketAddr};

use support::{config, start};
use tokio::net::UdpSocket;

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const TRANSACTION: [u8; 12] = *b"twelve bytes";

fn binding_request() -> Vec<u8> {
    let mut request = vec![0x00, 0x01, 0x00, 0x00];
    request.extend(MAGIC_COOKIE);
    request.extend(TRANSACTION);
    request
}

/// The XOR-MAPPED-ADDRESS of a Binding success response (RFC 8489 §5, §14.2).
fn mapped_address(answer: &[u8]) -> Option<SocketAddr> {
    let head = answer.get(..20)?;
    if head[..2] != [0x01, 0x01] || head[4..8] != MAGIC_COOKIE || head[8..] != TRANSACTION {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let mut rest = answer.get(20..20 + length)?;
    while let Some(&[type_high, type_low, length_high, length_low]) = rest.get(..4) {
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let value = rest.get(4..4 + length)?;
        if [type_high, type_low] == [0x00, 0x20] {
            let port = u16::from_be_bytes([value[2] ^ MAGIC_COOKIE[0], value[3] ^ MAGIC_COOKIE[1]]);
            let key: Vec<u8> = MAGIC_COOKIE.iter().chain(&TRANSACTION).copied().collect();
            let plain: Vec<u8> = value[4..].iter().zip(key).map(|(byte, key)| byte ^ key).collect();
            let ip = match value[1] {
                1 => IpAddr::from(<[u8; 4]>::try_from(plain).ok()?),
                2 => IpAddr::from(<[u8; 16]>::try_from(plain).ok()?),
                _ => return None,
            };
            return Some(SocketAddr::new(ip, port));
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
    None
}

async fn ask(client: &UdpSocket, server: SocketAddr) -> Vec<u8> {
    client.send_to(&binding_request(), server).await.expect("sendable");
    let mut answer = [0; 512];
    let (len, from) = tokio::time::timeout(support::PATIENCE, client.recv_from(&mut answer))
        .await
        .expect("an answer")
        .expect("readable");
    assert_eq!(from, server);
    answer[..len].to_vec()
}

#[tokio::test]
async fn binding_tells_a_client_its_own_address() {
    let relay = start(config()).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let answer = ask(&client, relay.stun_address().unwrap()).await;
    assert_eq!(mapped_address(&answer), Some(client.local_addr().unwrap()));
}

#[tokio::test]
async fn a_dual_stack_socket_tells_an_ipv4_client_its_ipv4_address() {
    let mut config = config();
    config.stun.listen = "[::]:0".parse().unwrap();
    let relay = start(config).await;
    let port = relay.stun_address().unwrap().port();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let answer = ask(&client, SocketAddr::new("127.0.0.1".parse().unwrap(), port)).await;
    assert_eq!(mapped_address(&answer), Some(client.local_addr().unwrap()));
}

#[tokio::test]
async fn garbage_is_ignored_and_the_next_question_answered() {
    let relay = start(config()).await;
    let server = relay.stun_address().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = binding_request();
    for len in 0..request.len() {
        client.send_to(&request[..len], server).await.unwrap();
    }
    for first in 0..=255 {
        client.send_to(&[first; 40], server).await.unwrap();
    }
    let answer = ask(&client, server).await;
    assert!(mapped_address(&answer).is_some());
}

#[tokio::test]
async fn stun_can_be_switched_off_and_is_then_not_offered() {
    let mut config = config();
    config.stun.enabled = false;
    let relay = start(config).await;
    assert_eq!(relay.stun_address(), None);
    let mut client = support::Client::connect(support::address(&relay)).await;
    let joined = client.join(lanyard_protocol::MailboxId([1; 16]), None).await;
    let lanyard_protocol::signaling::ServerMessage::Joined { ice_servers, .. } = joined else { panic!() };
    assert!(ice_servers.is_empty());
}
