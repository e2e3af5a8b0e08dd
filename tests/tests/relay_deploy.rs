//! What stands in `deploy/`, started; and how the relay ends.
#![expect(clippy::unwrap_used, reason = "a failed test is what they are for")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lanyard_tests::program::{Program, built};
use lanyard_tests::turn::client::TurnClient;
use lanyard_tests::turn::metrics::{figure, get};

const PATIENCE: Duration = Duration::from_secs(20);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A relay on loopback with a user for TURN, its page and its STUN address.
fn start_relay(folder: &Path, more: &str) -> (Program, SocketAddr, SocketAddr) {
    start_relay_with(folder, more, "")
}

/// `turn`: more for that section.
fn start_relay_with(folder: &Path, more: &str, turn: &str) -> (Program, SocketAddr, SocketAddr) {
    let (http, stun) = (free_port(), free_port());
    let text = format!(
        "{more}\n[stun]\nlisten = \"127.0.0.1:{stun}\"\n\
         [turn]\npeer_policy = \"any\"\nusers = [{{ name = \"meet\", password = \"north-of-the-river\" }}]\n{turn}\n\
         [http]\nlisten = [\"127.0.0.1:{http}\"]\ntrusted_proxies = [\"127.0.0.1/32\"]\nhosts = [\"127.0.0.1\"]\n"
    );
    let file = folder.join("relay.toml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(built("lanyard-relay"));
    command.arg("--config").arg(file);
    let relay = Program::start("lanyard-relay", command).unwrap();
    relay.wait_for("its STUN server", PATIENCE, |line| line.contains("stun:").then_some(())).unwrap();
    (relay, SocketAddr::new(LOOPBACK, http), SocketAddr::new(LOOPBACK, stun))
}

/// Two clients with a channel to each other.
fn connected(stun: SocketAddr) -> (TurnClient, TurnClient) {
    let client = || TurnClient::udp(LOOPBACK, stun, "meet", "north-of-the-river").unwrap();
    let (mut one, mut other) = (client(), client());
    let (relayed, peer) = (one.allocate().unwrap(), other.allocate().unwrap());
    assert_eq!((one.bind(0x4000, peer).unwrap(), other.bind(0x4000, relayed).unwrap()), (0, 0));
    (one, other)
}

#[test]
fn what_is_relayed_goes_on_after_sigterm_until_it_is_idle() {
    let folder = tempfile::tempdir().unwrap();
    let (mut relay, _, stun) = start_relay(folder.path(), "drain_seconds = 15");
    let (mut one, mut other) = connected(stun);
    relay.signal("TERM").unwrap();
    let until = Instant::now() + Duration::from_secs(2);
    let mut count = 0_u32;
    while Instant::now() < until {
        one.send_on(0x4000, &count.to_be_bytes()).unwrap();
        assert_eq!(other.receive_on(0x4000).unwrap(), count.to_be_bytes(), "packet {count} of a draining relay");
        count += 1;
    }
    let mut late = TurnClient::udp(LOOPBACK, stun, "meet", "north-of-the-river").unwrap();
    assert!(late.allocate().is_err(), "no new allocations");
    let status = relay.wait(Duration::from_secs(10)).unwrap();
    assert_eq!(status.code(), Some(0), "{}", relay.printed());
}

/// Debian's client does as it is told by ALTERNATE-SERVER (RFC 8489 §10).
#[test]
fn new_clients_are_sent_to_the_other_relay_while_one_drains() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (_other, http, elsewhere) = start_relay(folders[0].path(), "");
    // Enough for all that are asked for until it drains.
    let alternate = format!("allocations_per_user = 200\nalternate_server = {{ address = \"{elsewhere}\" }}");
    let (relay, _, stun) = start_relay_with(folders[1].path(), "drain_seconds = 15", &alternate);
    let (mut one, mut other) = connected(stun);
    relay.signal("TERM").unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        // What keeps the relay from ending.
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                one.send_on(0x4000, b"more").unwrap();
                other.receive_on(0x4000).unwrap();
            }
        });
        let serves = || TurnClient::udp(LOOPBACK, stun, "meet", "north-of-the-river").unwrap().allocate().is_ok();
        while serves() {}
        let mut command = Command::new("turnutils_uclient");
        command.args(["-y", "-c", "-m", "1", "-n", "5", "-u", "meet", "-w", "north-of-the-river"]);
        command.args(["-p", &stun.port().to_string(), &LOOPBACK.to_string()]);
        let tool = Program::start("turnutils_uclient", command).unwrap();
        let lost = |line: &str| line.split_once("Total lost packets ").map(|(_, lost)| lost.to_owned());
        let lost = tool.wait_for("what was lost", Duration::from_secs(12), lost);
        is_done.store(true, Ordering::Relaxed);
        assert!(lost.unwrap().starts_with("0 "), "{}", tool.printed());
    });
    assert!(
        figure(&get(http, "/metrics").unwrap(), "lanyard_turn_allocations_total").unwrap() > 0,
        "the other relay was used"
    );
}

#[test]
fn exit_code_says_that_what_was_relayed_had_to_be_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (mut relay, _, stun) = start_relay(folder.path(), "drain_seconds = 1");
    let (mut one, mut other) = connected(stun);
    relay.signal("TERM").unwrap();
    while one.send_on(0x4000, b"more").is_ok() && other.receive_on(0x4000).is_ok() {}
    let status = relay.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(4), "{}", relay.printed());
}

#[test]
fn metrics_of_the_program_count_what_was_relayed_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, http, stun) = start_relay(folder.path(), "");
    let (mut one, mut other) = connected(stun);
    for payload in [&b"four"[..], b"sevenfold"] {
        one.send_on(0x4000, payload).unwrap();
        assert_eq!(other.receive_on(0x4000).unwrap(), payload);
    }
    let mut stranger = TurnClient::udp(LOOPBACK, stun, "meet", "south-of-the-river").unwrap();
    assert!(stranger.allocate().is_err());
    let metrics = get(http, "/metrics").unwrap();
    assert_eq!(figure(&metrics, "lanyard_turn_allocations").unwrap(), 2);
    for direction in ["to_peer", "to_client"] {
        let labels = format!("{{direction=\"{direction}\",transport=\"udp\"}}");
        assert_eq!(figure(&metrics, &format!("lanyard_turn_relayed_packets_total{labels}")).unwrap(), 2);
        assert_eq!(figure(&metrics, &format!("lanyard_turn_relayed_bytes_total{labels}")).unwrap(), 13);
    }
    assert_eq!(
        figure(&metrics, "lanyard_turn_refusals_total{why=\"challenge\"}").unwrap(),
        3,
        "each client's first request"
    );
    assert_eq!(figure(&metrics, "lanyard_turn_refusals_total{why=\"wrong_credentials\"}").unwrap(), 1);
    assert!(figure(&metrics, "lanyard_turn_send_calls_total").unwrap() > 0);
    for word in ["127.0.0.1", "meet", "river"] {
        assert!(!metrics.contains(&format!("\"{word}")), "no label names {word}");
    }
}

#[test]
fn nginx_passes_page_and_signaling_on_and_hides_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, http, _) = start_relay(folder.path(), "");
    let port = free_port();
    let example = std::fs::read_to_string(deploy("nginx.conf")).unwrap();
    let server = example
        .replace("    listen 80;\n", &format!("    listen 127.0.0.1:{port};\n"))
        .replace("    listen [::]:80;\n", "")
        .replace("127.0.0.1:8080;", &format!("{http};"));
    assert!(server.contains(&format!("proxy_pass http://{http};")), "{server}");
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("{kind}_temp_path {kind};")).concat();
    let config = format!(
        "daemon off; pid nginx.pid; error_log stderr; user root;\nevents {{}}\n\
         http {{ access_log off; {temporary}\n{server}\n}}\n"
    );
    std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf")).arg("-e").arg("stderr");
    // Debian keeps it where a user's PATH may not look.
    command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
    let mut nginx = Program::start("nginx", command).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect((LOOPBACK, port)).is_err() {
        assert!(Instant::now() < deadline, "nginx does not listen:\n{}", nginx.printed());
        std::thread::sleep(Duration::from_millis(20));
    }

    let mut doctor = Command::new(built("lanyard-relay"));
    let output = doctor.args(["doctor", &format!("http://127.0.0.1:{port}"), "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdict = |check: &str| {
        let findings = report["findings"].as_array().unwrap().iter();
        let mut those = findings.filter(|finding| finding["check"].as_str().unwrap().starts_with(check));
        those.next().unwrap_or_else(|| panic!("no {check} in {report:#}"))["verdict"].clone()
    };
    for check in ["page", "WebSocket", "TURN over UDP", "TURN over TCP"] {
        assert_eq!(verdict(check), "ok", "{check} in {report:#}");
    }

    // Loopback may read them; who comes through the proxy is somebody else.
    assert!(get(http, "/metrics").unwrap().starts_with("HTTP/1.1 200"));
    assert!(get(SocketAddr::new(LOOPBACK, port), "/metrics").unwrap().starts_with("HTTP/1.1 404"));
    // By itself it would leave its worker behind when it is killed.
    nginx.signal("TERM").unwrap();
    nginx.wait(PATIENCE).unwrap();
}

#[test]
fn the_systemd_unit_is_valid_and_confines_the_relay() {
    let folder = tempfile::tempdir().unwrap();
    let unit = std::fs::read_to_string(deploy("lanyard-relay.service")).unwrap();
    let program = built("lanyard-relay");
    let unit = unit.replace("/usr/local/bin/lanyard-relay", program.to_str().unwrap());
    let path = folder.path().join("lanyard-relay.service");
    std::fs::write(&path, unit).unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&path).output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), text)
    };
    let (is_valid, text) = analyze(&["verify", "--man=no"]);
    assert!(is_valid && !text.contains("lanyard-relay.service:"), "{text}");
    // From 0 (nothing can be reached) to 10; above 5 systemd calls it exposed.
    let (is_confined, text) = analyze(&["security", "--offline=true", "--threshold=20"]);
    assert!(is_confined, "{text}");
}
