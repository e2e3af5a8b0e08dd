//! Devices whose address changes in the middle of a transfer, and a NAT that forgets (F7, F10).

use std::time::Duration;

use lanyard_tests::fault::{Content, Crossing, Report};
use lanyard_tests::lan::Lan;
use lanyard_tests::relay::Relay;

/// 8 MB/s, so that a moment of the transfer can be met.
const KBIT_PER_SECOND: u32 = 64_000;

/// How long a transfer may need to go on from another address.
const BACK_WITHIN: Duration = Duration::from_secs(10);

const PATIENCE: Duration = Duration::from_secs(120);

fn go_on_and_conclude(report: Report, crossing: Crossing<'_>, change: impl FnOnce()) {
    crossing.wait_for_percent(50).unwrap();
    change();
    // What was on its way before arrives now.
    let before = crossing.done_bytes() + (4 << 20);
    let went_on = crossing.wait_until_it_goes_on(before, BACK_WITHIN).unwrap();
    let (again, _) = crossing.conclude(PATIENCE).unwrap();
    let mib = again as f64 / f64::from(1 << 20);
    report.held(&format!("goes on after {:.1} s; equal; {mib:.1} MiB sent again", went_on.as_secs_f64()));
}

#[test]
fn f7_a_sender_that_gets_another_address_goes_on_from_there() {
    let report = Report::begin("F7", "the sender gets another address of the same network");
    let lan = Lan::new(&["attic", "studio"]).unwrap();
    let (attic, studio) = (lan.host("attic"), lan.host("studio"));
    lan.slow_down(attic, KBIT_PER_SECOND).unwrap();
    let content = Content::large(64 << 20, 7);
    let crossing = Crossing::begin(attic, studio, &content, || Ok(())).unwrap();
    go_on_and_conclude(report, crossing, || studio.readdress("192.168.77.111/24", "192.168.77.1").unwrap());
}

#[test]
fn f7_devices_that_met_at_a_relay_go_on_when_one_of_them_comes_to_another_network() {
    for moves in ["sender", "receiver"] {
        let report =
            Report::begin("F7", &format!("the {moves} comes to another network behind a router; met at a relay"));
        let lan = Lan::new(&["relay", "attic", "studio"]).unwrap();
        lan.add_network("192.168.78.1/24").unwrap();
        let relay = Relay::start(lan.host("relay")).unwrap();
        let (attic, studio) = (lan.host("attic"), lan.host("studio"));
        lan.slow_down(attic, KBIT_PER_SECOND).unwrap();
        let content = Content::large(64 << 20, 7);
        let crossing = Crossing::begin_through(&relay, attic, studio, &content).unwrap();
        let moving = if moves == "sender" { studio } else { attic };
        go_on_and_conclude(report, crossing, || moving.readdress("192.168.78.50/24", "192.168.78.1").unwrap());
    }
}

#[test]
fn f10_a_nat_that_forgets_its_mappings_is_only_a_pause() {
    let report = Report::begin("F10", "the sender's NAT forgets all mappings");
    let lan = Lan::new(&["attic", "studio"]).unwrap();
    lan.add_network("192.168.78.1/24").unwrap();
    let (attic, studio) = (lan.host("attic"), lan.host("studio"));
    studio.readdress("192.168.78.50/24", "192.168.78.1").unwrap();
    lan.nft(
        "table ip nat {
            chain out { type nat hook postrouting priority 100; ip saddr 192.168.78.0/24 ip daddr 192.168.77.0/24 masquerade fully-random; }
            chain pass { type filter hook forward priority 0; ct state new ip saddr 192.168.77.0/24 ip daddr 192.168.78.0/24 drop; }
        }",
    )
    .unwrap();
    lan.slow_down(attic, KBIT_PER_SECOND).unwrap();
    let content = Content::large(64 << 20, 10);
    let crossing = Crossing::begin(attic, studio, &content, || Ok(())).unwrap();
    go_on_and_conclude(report, crossing, || {
        // A masquerade's mappings end with the address that they were made with.
        lan.router_ip("addr del 192.168.77.1/24 dev br0").unwrap();
        lan.router_ip("addr add 192.168.77.1/24 dev br0").unwrap();
    });
}
