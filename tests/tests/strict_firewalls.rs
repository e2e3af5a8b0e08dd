//! Agents behind firewalls that leave little open meet through a relay, by what the product does by itself.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lanyard_tests::device::Device;
use lanyard_tests::lan::{Host, Lan};
use lanyard_tests::program::Program;
use lanyard_tests::relay::Relay;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of the file that is moved.
const SIZE: usize = 5_000_000;

fn lanyard(device: &Device<'_>, relay: &Relay<'_>, args: &[&str]) -> Command {
    let mut command = device.lanyard(args);
    command.env("SSL_CERT_FILE", relay.certificate());
    command
}

/// A member of an event that `lanyard --json` printed.
fn of_event(event: &'static str, member: &'static str) -> impl Fn(&str) -> Option<String> {
    move |line| {
        let value: Value = serde_json::from_str(line).ok()?;
        (value["event"] == event).then(|| value[member].as_str().map(str::to_owned))?
    }
}

fn pseudo_random(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(len)
    .collect()
}

/// Sends a file from one host to another through `relay` and returns the route and the time from the link to it.
fn send_through(relay: &Relay<'_>, at: [&str; 2], from: &Host, to: &Host) -> (String, Duration) {
    let (sender, receiver) = (Device::new(from).unwrap(), Device::new(to).unwrap());
    let content = pseudo_random(SIZE);
    let file = sender.home().join("report.pdf");
    std::fs::write(&file, &content).unwrap();
    let file = file.display().to_string();
    let send = lanyard(&sender, relay, &["send", &file, "--relay", at[0], "--yes", "--json", "-vv"]);
    let mut sending = Program::start("lanyard send", send).unwrap();
    let link = sending.wait_for("its link", PATIENCE, of_event("link", "link")).unwrap();
    let link = link.replacen(at[0], at[1], 1);

    let began = Instant::now();
    let inbox = receiver.inbox();
    let receive = lanyard(&receiver, relay, &["receive", "-", "-o", &inbox.display().to_string(), "--yes", "--json"]);
    let mut receiving = Program::start("lanyard receive", receive).unwrap();
    receiving.type_line(&link).unwrap();
    receiving.close_input();
    let route = receiving.wait_for("its route", PATIENCE, of_event("connected", "route"));
    let route = route.unwrap_or_else(|error| panic!("{error:#}\nthe sender printed:\n{}", sending.printed()));
    let connected = began.elapsed();
    assert!(receiving.wait(PATIENCE).unwrap().success(), "{}", receiving.printed());
    assert!(sending.wait(PATIENCE).unwrap().success(), "{}", sending.printed());
    assert_same(&inbox.join("report.pdf"), &content);
    (route, connected)
}

fn assert_same(path: &Path, content: &[u8]) {
    assert!(std::fs::read(path).unwrap() == content, "{} differs", path.display());
}

#[test]
fn agents_that_may_only_use_tcp_443_meet_through_turn_over_tls() {
    let lan = Lan::new(&["relay", "one", "two"]).unwrap();
    let relay = Relay::start(lan.host("relay")).unwrap();
    let (one, two) = (lan.host("one"), lan.host("two"));
    let only_443 = format!("ip daddr {} tcp dport 443", lan.host("relay").ipv4());
    for host in [one, two] {
        host.allow_only(&[&only_443]).unwrap();
    }
    let (route, connected) = send_through(&relay, [&relay.url(); 2], one, two);
    assert_eq!(route, "relayed");
    assert!(connected < Duration::from_secs(10), "connected after {connected:?}");
    // No other port is open, so TURN means TURN over TLS.
    let relayed = relay.metric("lanyard_turn_relayed_bytes_total", "direction=\"to_peer\"").unwrap();
    assert!(relayed > SIZE as f64, "{relayed} bytes through TURN");
}

#[test]
fn agents_without_udp_meet_through_turn_over_tcp() {
    let lan = Lan::new(&["relay", "one", "two"]).unwrap();
    let relay = Relay::start(lan.host("relay")).unwrap();
    let (one, two) = (lan.host("one"), lan.host("two"));
    let to_relay = format!("ip daddr {} meta l4proto tcp", lan.host("relay").ipv4());
    for host in [one, two] {
        host.allow_only(&[&to_relay]).unwrap();
    }
    let (route, connected) = send_through(&relay, [&relay.url(); 2], one, two);
    assert_eq!(route, "relayed");
    assert!(connected < Duration::from_secs(10), "connected after {connected:?}");
}

#[test]
fn a_host_with_ipv6_only_meets_one_with_ipv4_only() {
    let lan = Lan::new(&["relay", "six", "four"]).unwrap();
    let relay_host = lan.host("relay");
    let relay = Relay::start(relay_host).unwrap();
    let (six, four) = (lan.host("six"), lan.host("four"));
    six.ip("addr flush dev eth0 scope global").unwrap();
    six.ip(&format!("-6 addr add {}/64 dev eth0 nodad", six.ipv6())).unwrap();
    six.ip("-6 route replace default via fd77::1").unwrap();
    four.ip("-6 addr flush dev eth0").unwrap();
    let by_six = relay.url_at(relay_host.ipv6().parse().unwrap());
    let (route, _) = send_through(&relay, [&by_six, &relay.url()], six, four);
    assert_eq!(route, "relayed");
    let (route, _) = send_through(&relay, [&relay.url(), &by_six], four, six);
    assert_eq!(route, "relayed");
}
