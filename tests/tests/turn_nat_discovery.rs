//! STUN that tells a client what kind of NAT it is behind (RFC 5780), over real sockets: 127.0.0.1 and 127.0.0.2 are
//! the two addresses.

#![allow(clippy::unwrap_used, reason = "a failed test is what they are for")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use lanyard_tests::program::{Program, built};
use lanyard_turn_core::stun::{
    AttributeKind, Class, Message, MessageWriter, Method, TransactionId, decode_address, decode_xor_address,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
const CHANGE_IP: u32 = 4;
const CHANGE_PORT: u32 = 2;

struct Relay {
    primary: SocketAddr,
    _program: Program,
    _dir: TempDir,
}

impl Relay {
    fn start(alternate: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("relay.toml");
        let text = format!(
            "drain_seconds = 0\n[http]\nlisten = [\"127.0.0.1:0\"]\n[stun]\nlisten = \"127.0.0.1:0\"\n{alternate}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(built("lanyard-relay"));
        command.arg("--config").arg(&config);
        let program = Program::start("lanyard-relay", command).unwrap();
        let port = program.wait_for("its STUN address", PATIENCE, |line| {
            line.split_once("stun:127.0.0.1:")?.1.split_once('"')?.0.parse().ok()
        });
        let primary = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.unwrap());
        Self { primary, _program: program, _dir: dir }
    }
}

/// What a Binding response says.
#[derive(Debug, PartialEq)]
struct Bound {
    from: SocketAddr,
    mapped: SocketAddr,
    origin: Option<SocketAddr>,
    other: Option<SocketAddr>,
}

/// Asks for an answer from another address or port; `None` when there is none.
fn ask(socket: &UdpSocket, server: SocketAddr, change: Option<u32>) -> Option<Bound> {
    let mut request = Vec::new();
    let id = TransactionId(*b"a nat's name");
    let mut writer = MessageWriter::new(&mut request, Class::Request, Method::BINDING, id);
    if let Some(change) = change {
        writer.u32(AttributeKind::CHANGE_REQUEST, change);
    }
    writer.finish().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&request, server).unwrap();
    let mut buffer = [0; 512];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    let answer = Message::decode(&buffer[..len]).unwrap();
    assert_eq!(answer.transaction_id(), id);
    if answer.class() == Class::Error {
        return None;
    }
    let address = |kind| answer.attribute(kind).map(|value| decode_address(value).unwrap());
    let mapped = decode_xor_address(answer.attribute(AttributeKind::XOR_MAPPED_ADDRESS).unwrap(), id).unwrap();
    let (origin, other) = (address(AttributeKind::RESPONSE_ORIGIN), address(AttributeKind::OTHER_ADDRESS));
    Some(Bound { from, mapped, origin, other })
}

#[test]
fn answers_come_from_the_address_and_port_that_were_asked_for() {
    let relay = Relay::start("alternate = \"127.0.0.2:0\"");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mapped = client.local_addr().unwrap();
    let (a1, p1) = (relay.primary.ip(), relay.primary.port());
    let first = ask(&client, relay.primary, None).unwrap();
    let other = first.other.unwrap();
    let (a2, p2) = (other.ip(), other.port());
    assert_eq!(a2.to_string(), "127.0.0.2");
    assert_ne!(p1, p2);
    let listeners = [(a1, p1), (a1, p2), (a2, p1), (a2, p2)].map(|(ip, port)| SocketAddr::new(ip, port));
    for asked in listeners {
        for (change, flip_ip, flip_port) in [
            (None, false, false),
            (Some(0), false, false),
            (Some(CHANGE_IP), true, false),
            (Some(CHANGE_PORT), false, true),
            (Some(CHANGE_IP | CHANGE_PORT), true, true),
        ] {
            let flipped = |ip: bool, port: bool| {
                let ip = if ip { if asked.ip() == a1 { a2 } else { a1 } } else { asked.ip() };
                let port = if port { if asked.port() == p1 { p2 } else { p1 } } else { asked.port() };
                SocketAddr::new(ip, port)
            };
            let from = flipped(flip_ip, flip_port);
            let expected = Bound { from, mapped, origin: Some(from), other: Some(flipped(true, true)) };
            assert_eq!(ask(&client, asked, change), Some(expected), "asked {asked} to change {change:?}");
        }
    }
}

#[test]
fn server_with_one_address_offers_no_other_and_refuses_to_change() {
    let relay = Relay::start("");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let bound = ask(&client, relay.primary, None).unwrap();
    assert_eq!((bound.from, bound.origin, bound.other), (relay.primary, None, None));
    assert_eq!(ask(&client, relay.primary, Some(CHANGE_IP)), None, "420");
}

#[test]
fn turnutils_natdiscovery_finds_no_nat_on_loopback() {
    let relay = Relay::start("alternate = \"127.0.0.2:0\"");
    let mut command = Command::new("turnutils_natdiscovery");
    command.args(["-m", "-f", "-L", "127.0.0.1", "-p", &relay.primary.port().to_string(), "127.0.0.1"]);
    let tool = Program::start("turnutils_natdiscovery", command).unwrap();
    let has = |wanted: &'static [&'static str]| {
        move |line: &str| wanted.iter().any(|wanted| line.contains(wanted)).then_some(())
    };
    let mapping = &["NAT with Endpoint Independent Mapping", "No NAT detected"];
    tool.wait_for("how the mapping behaves", PATIENCE, has(mapping)).unwrap();
    let filtering = &["Endpoint Independent Filtering"];
    tool.wait_for("how the filtering behaves", PATIENCE, has(filtering)).unwrap();
}
