//! TURN over real sockets with clients that are not ours: Debian's `turnutils_uclient`, in each of its modes, and the
//! probes of an attacker who wants into the relay's network.

#![allow(clippy::unwrap_used, reason = "a failed test is what they are for")]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use lanyard_tests::program::Program;
use lanyard_tests::turn::client::TurnClient;
use lanyard_tests::turn::relay::{Echo, PASSWORD, Relay, Rules, USER};

const PATIENCE: Duration = Duration::from_secs(30);
/// Of the tool: two RTP-like sessions of five messages.
const MESSAGES: usize = 5;

fn relay(policy: &str) -> Relay {
    Relay::start(Rules { policy, ..Rules::default() }).unwrap()
}

/// Runs the tool and says what went wrong, if anything.
fn uclient(server: SocketAddr, args: &[&str]) -> Result<()> {
    uclient_within(Duration::from_secs(90), server, &[&["-m", "2"][..], args].concat())
}

fn uclient_within(limit: Duration, server: SocketAddr, args: &[&str]) -> Result<()> {
    let mut command = Command::new("turnutils_uclient");
    command
        .args(["-l", "160", "-u", USER, "-w", PASSWORD])
        .args(["-n", &MESSAGES.to_string(), "-p", &server.port().to_string()])
        .args(args)
        .arg(server.ip().to_string());
    let mut tool = Program::start(&format!("turnutils_uclient {}", args.join(" ")), command)?;
    let lost = tool.wait_for("how much was lost", limit, |line| {
        line.split_once("Total lost packets ").map(|(_, lost)| lost.to_owned())
    })?;
    let status = tool.wait(PATIENCE)?;
    if !status.success() || !lost.starts_with("0 ") {
        bail!("turnutils_uclient {} ended with {status}:\n{}", args.join(" "), tool.printed());
    }
    Ok(())
}

#[test]
fn turnutils_uclient_passes_in_every_mode() {
    let relay = relay("any");
    pass_in_every_mode(&relay, &["-g"]);
}

/// One datagram a call, as on systems that cannot take many. DONT-FRAGMENT is not to be had there.
#[test]
fn turnutils_uclient_passes_on_the_portable_data_plane() {
    let users = format!("{}\ndata_plane = \"portable\"", Rules::default().users);
    let relay = Relay::start(Rules { users: &users, ..Rules::default() }).unwrap();
    pass_in_every_mode(&relay, &[]);
}

/// `more`: a mode besides those that pass everywhere.
fn pass_in_every_mode(relay: &Relay, more: &[&'static str]) {
    let (v4, v6) = (Echo::start(Ipv4Addr::LOCALHOST.into()).unwrap(), Echo::start(Ipv6Addr::LOCALHOST.into()).unwrap());
    let (port4, port6) = (v4.address.port().to_string(), v6.address.port().to_string());
    let with_peer = ["-e", "127.0.0.1", "-r", &port4];
    let with_peer6 = ["-x", "-e", "::1", "-r", &port6];
    let udp = |extra: &[&'static str]| (relay.udp, [&with_peer[..], extra].concat());
    let alone = |extra: &[&'static str]| (relay.udp, extra.to_vec());
    let modes = [
        udp(&[]),
        udp(&["-c"]),
        udp(&["-s"]),
        udp(&["-X"]),
        udp(more),
        udp(&["-D"]),
        udp(&["-G"]),
        udp(&["-Z"]),
        (relay.udp, with_peer6.to_vec()),
        alone(&["-y"]),
        alone(&["-y", "-c"]),
        alone(&["-y", "-s"]),
        udp(&["-t", "-c"]),
        udp(&["-t", "-s"]),
        alone(&["-t", "-y"]),
        // On the ports of the page: plain, and inside TLS.
        (relay.http, [&with_peer[..], &["-t", "-c"]].concat()),
        (relay.https, [&with_peer[..], &["-S", "-t", "-c"]].concat()),
        (relay.https, [&with_peer[..], &["-S", "-t", "-s"]].concat()),
        (relay.https, vec!["-S", "-t", "-y"]),
    ];
    // The tool mostly waits, so several at a time.
    for group in modes.chunks(5) {
        thread::scope(|scope| {
            let runs: Vec<_> = group.iter().map(|(server, args)| scope.spawn(|| uclient(*server, args))).collect();
            for run in runs {
                run.join().unwrap().unwrap();
            }
        });
    }
    relay.serve_one(v4.address).unwrap();
}

/// With `-R` the tool changes up to nine bytes in every tenth message, and draws anew in each run which. What it sends
/// again is as it was, and it waits for the answer without end. A request with a wrong fingerprint, magic cookie or
/// length gets none, here as from coturn (RFC 8489 §6.3), so a run passes only when the tool's own set-up stays whole:
/// these arguments passed in 47 of 120 runs with coturn 4.6.1 and in 47 of 120 with this relay, so 48 runs hardly all
/// fail by chance. Each has an address of its own, as one address gets only so many answers without credentials.
#[test]
fn turnutils_uclient_passes_while_it_sends_mutilated_messages() {
    let relay = relay("any");
    let echo = Echo::start(Ipv4Addr::LOCALHOST.into()).unwrap();
    let port = echo.address.port().to_string();
    let run = |number: u8| {
        let own = Ipv4Addr::new(127, 0, 5, number).to_string();
        let args = ["-L", &own, "-R", "-m", "1", "-c", "-e", "127.0.0.1", "-r", &port];
        uclient_within(Duration::from_secs(20), relay.udp, &args)
    };
    let any_of_16_passes = || {
        thread::scope(|scope| {
            let runs: Vec<_> = (0..16).map(|number| scope.spawn(move || run(number))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).filter(Result::is_ok).count() > 0
        })
    };
    assert!((0..3).any(|_| any_of_16_passes()), "none of 48 runs passed");
    // Whatever the others sent, the relay is well.
    uclient(relay.udp, &["-c", "-e", "127.0.0.1", "-r", &port]).unwrap();
}

#[test]
fn page_and_turn_share_one_port() {
    let relay = relay("any");
    let echo = Echo::start(Ipv4Addr::LOCALHOST.into()).unwrap();
    let mut turn = TurnClient::tcp(Ipv4Addr::LOCALHOST.into(), relay.http, USER, PASSWORD).unwrap();
    turn.allocate().unwrap();
    assert_eq!(turn.bind(0x4000, echo.address).unwrap(), 0);
    let mut web = TcpStream::connect(relay.http).unwrap();
    web.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    web.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    turn.send_on(0x4000, b"odd").unwrap();
    assert_eq!(turn.receive_on(0x4000).unwrap(), b"odd");
}

/// Special ranges in every spelling, this host, and cloud metadata.
fn forbidden_addresses() -> Vec<IpAddr> {
    let v4: Vec<Ipv4Addr> = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.0.0.53",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.254",
        "192.0.0.192",
        "192.168.0.1",
        "192.168.255.255",
        "198.18.0.1",
        "224.0.0.1",
        "224.0.0.251",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
    ]
    .iter()
    .map(|text| text.parse().unwrap())
    .collect();
    let embedded = v4.iter().flat_map(|ip| {
        let low = u128::from(ip.to_bits());
        let well_known = 0x64_ff9b_u128 << 96;
        // Mapped, compatible, NAT64, 6to4, Teredo (the client's address is inverted there).
        let six_to_four = 0x2002_u128 << 112 | low << 80 | 1;
        let teredo = 0x2001_u128 << 112 | u128::from(!ip.to_bits());
        [0xffff_u128 << 32 | low, low, well_known | low, six_to_four, teredo]
    });
    let v6 = ["::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff05::2", "100::1", "2001:db8::1"];
    let v6 = v6.iter().map(|text| text.parse::<Ipv6Addr>().unwrap());
    v4.iter()
        .map(|ip| IpAddr::V4(*ip))
        .chain(embedded.map(|bits| Ipv6Addr::from_bits(bits).into()))
        .chain(v6.map(IpAddr::V6))
        .collect()
}

#[test]
fn no_probe_reaches_the_relays_own_network() {
    ["workers = 1", "workers = 8"].into_iter().for_each(probe_the_relays_own_network);
}

fn probe_the_relays_own_network(workers: &str) {
    // A user who may talk to the public internet, which is more than members of a room may.
    let users = format!("{}\n{workers}", Rules::default().users);
    let relay = Relay::start(Rules { policy: "public", users: &users }).unwrap();
    let trap = UdpSocket::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let trap_port = trap.local_addr().unwrap().port();
    let addresses = forbidden_addresses();
    assert!(addresses.len() >= 120, "{}", addresses.len());
    // Each from an address of its own, and so at one worker or another.
    let [udp, tcp, tls] = [1, 2, 3].map(|number| Ipv4Addr::new(127, 0, 6, number).into());
    let over_udp = TurnClient::udp(udp, relay.udp, USER, PASSWORD).unwrap();
    let over_tcp = TurnClient::tcp(tcp, relay.udp, USER, PASSWORD).unwrap();
    let over_tls = TurnClient::tls(tls, relay.https, &relay.certificate().unwrap(), USER, PASSWORD).unwrap();
    for mut client in [over_udp, over_tcp, over_tls] {
        let relayed = client.allocate().unwrap();
        let mut reached = Vec::new();
        for ip in &addresses {
            for port in [trap_port, relay.udp.port(), relay.http.port(), 80] {
                let peer = SocketAddr::new(*ip, port);
                let permitted = client.permit(peer).unwrap();
                // A permission for the address that relay sockets have is given, and packets go to relayed ports only.
                if permitted == 0 && *ip != relayed.ip() {
                    reached.push(peer);
                }
                client.send_to(peer, b"probe").unwrap();
            }
            // One bind each: channels are few.
            let peer = SocketAddr::new(*ip, trap_port);
            if *ip != relayed.ip() && client.bind(0x4000, peer).unwrap() == 0 {
                reached.push(peer);
            }
        }
        assert!(reached.is_empty(), "{reached:?}");
        // Everything before it is done once this is answered.
        assert_eq!(client.release().unwrap(), 0);
        assert!(trap.recv(&mut [0; 16]).is_err(), "a probe arrived");
    }
}
