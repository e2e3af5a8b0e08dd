//! `lanyard-relay doctor` across a network: firewalls that hide ports, and a host whose address changes.
#![expect(clippy::unwrap_used, reason = "a failed test is what they are for")]

use std::time::{Duration, Instant};

use lanyard_tests::lan::{Host, Lan};
use lanyard_tests::program::{Program, built};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(40);

fn start_relay(host: &Host) -> Program {
    let mut command = host.command(built("lanyard-relay").to_str().unwrap());
    command.env_clear().env("PATH", std::env::var("PATH").unwrap_or_default());
    let relay = Program::start("lanyard-relay", command).unwrap();
    relay.wait_for("its STUN server", PATIENCE, |line| line.contains("stun:").then_some(())).unwrap();
    relay
}

/// What doctor finds from `host`: its exit code and report.
fn doctor(host: &Host, address: &str) -> (Option<i32>, Value) {
    let mut command = host.command(built("lanyard-relay").to_str().unwrap());
    let output = command.args(["doctor", &format!("http://{address}:8080"), "--json"]).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
}

/// Verdict, detail and fix of the first check whose name starts like this.
fn finding(report: &Value, check: &str) -> (String, String) {
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("no findings in {report}"));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let found = findings.iter().find(|finding| text(finding, "check").starts_with(check));
    let found = found.unwrap_or_else(|| panic!("no {check} in {report:#}"));
    (text(found, "verdict"), format!("{} {}", text(found, "detail"), text(found, "fix")))
}

/// Lets UDP to these ports go nowhere, and to no others.
fn drop_udp(host: &Host, ports: Option<&str>) {
    let mut commands = vec!["flush ruleset".to_owned()];
    if let Some(ports) = ports {
        commands.push("add table inet lab".to_owned());
        commands.push("add chain inet lab in { type filter hook input priority 0; }".to_owned());
        commands.push(format!("add rule inet lab in udp dport {ports} drop"));
    }
    for command in commands {
        assert!(host.command("nft").arg(&command).status().unwrap().success(), "{command}");
    }
}

#[test]
fn firewalls_are_found_out_and_a_new_address_is_relayed_at() {
    let lan = Lan::new(&["relay", "phone"]).unwrap();
    let (relay, phone) = (lan.host("relay"), lan.host("phone"));
    let _program = start_relay(relay);
    let (_, report) = doctor(phone, &relay.ipv4());
    for check in ["page", "WebSocket", "TURN over UDP", "TURN over TCP", "relayed ports"] {
        assert_eq!(finding(&report, check).0, "ok", "{check} in {report:#}");
    }

    drop_udp(relay, Some("3478"));
    let (code, report) = doctor(phone, &relay.ipv4());
    assert_eq!(code, Some(1));
    let (verdict, text) = finding(&report, "TURN over UDP");
    assert_eq!(verdict, "failed");
    assert!(text.contains("Let UDP 3478 in"), "{text}");
    assert_eq!(finding(&report, "TURN over TCP").0, "ok");

    drop_udp(relay, Some("49152-65535"));
    let (code, report) = doctor(phone, &relay.ipv4());
    assert_eq!(code, Some(1));
    assert_eq!(finding(&report, "TURN over UDP").0, "ok", "inside the relay nothing is filtered");
    let (verdict, text) = finding(&report, "relayed ports");
    assert_eq!(verdict, "failed");
    assert!(text.contains("turn.relay_ports"), "{text}");
    drop_udp(relay, None);

    let (old, new) = (relay.ipv4(), "192.168.77.99");
    relay.ip(&format!("addr del {old}/24 dev eth0")).unwrap();
    relay.ip(&format!("addr add {new}/24 dev eth0")).unwrap();
    relay.ip("route replace default via 192.168.77.1").unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, report) = doctor(phone, new);
        let (verdict, text) = finding(&report, "TURN over UDP");
        if verdict == "ok" && text.contains(&format!("relayed at {new}:")) {
            break;
        }
        assert!(Instant::now() < deadline, "never relayed at the new address: {report:#}");
        std::thread::sleep(Duration::from_millis(500));
    }
}
