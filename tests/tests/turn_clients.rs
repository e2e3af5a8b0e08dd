//! TURN clients of other projects allocate at our relay and are relayed: PyPI's `aioice`, and the `turn` crate.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lanyard_tests::program::{Program, built};
use lanyard_tests::turn::relay::{Echo, PASSWORD, Relay, Rules, USER};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn as _;

const PATIENCE: Duration = Duration::from_secs(30);

/// Where `cargo xtask test` put aioice.
fn python_packages() -> PathBuf {
    let programs = built("lanyard-relay");
    let dir = programs.ancestors().nth(2).unwrap().join("python");
    assert!(dir.join("aioice").is_dir(), "aioice is not in {}: `cargo xtask test` installs it", dir.display());
    dir
}

#[test]
fn aioice_is_relayed_over_udp_tcp_and_tls() {
    let relay = Relay::start(Rules::default()).unwrap();
    let echo = Echo::start(Ipv4Addr::LOCALHOST.into()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/aioice_relay.py");
    for (way, server) in [("udp", relay.udp), ("tcp", relay.udp), ("tls", relay.https)] {
        let mut command = Command::new("python3");
        command.arg(&script).arg(way).args([server.ip().to_string(), server.port().to_string()]).arg(USER);
        command.args([echo.address.ip().to_string(), echo.address.port().to_string()]);
        command.env("CERTIFICATE", relay.certificate().unwrap()).env("PYTHONPATH", python_packages());
        let mut client = Program::start("aioice", command).unwrap();
        client.type_line(PASSWORD).unwrap();
        let status = client.wait(PATIENCE).unwrap();
        assert!(status.success() && client.printed() == "through a relay", "{way}: {}", client.printed());
    }
}

#[tokio::test]
async fn the_turn_crates_client_is_relayed() {
    // Not on the test's own thread: the fixture blocks.
    let (relay, echo) = tokio::task::spawn_blocking(|| {
        (Relay::start(Rules::default()).unwrap(), Echo::start(Ipv4Addr::LOCALHOST.into()).unwrap())
    })
    .await
    .unwrap();
    let socket = UdpSocket::bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).await.unwrap();
    let client = Client::new(ClientConfig {
        stun_serv_addr: relay.udp.to_string(),
        turn_serv_addr: relay.udp.to_string(),
        username: USER.to_owned(),
        password: PASSWORD.to_owned(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    });
    let client = client.await.unwrap();
    client.listen().await.unwrap();
    let relayed = client.allocate().await.unwrap();
    assert_eq!(relayed.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
    relayed.send_to(b"through a relay", echo.address).await.unwrap();
    let mut buffer = [0; 100];
    let (len, from) = timeout(PATIENCE, relayed.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!((&buffer[..len], from), (&b"through a relay"[..], echo.address));
    client.close().await.unwrap();
}
