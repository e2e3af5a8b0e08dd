//! Agents are found by DNS-SD, by each other and by somebody else's software, and vanish when they end.

use std::time::{Duration, Instant};

use lanyard_tests::avahi::{Avahi, Resolved};
use lanyard_tests::device::Device;
use lanyard_tests::lan::Lan;

const SERVICE: &str = "_lanyard._tcp";

#[test]
fn avahi_sees_an_agent_with_its_addresses_and_port_until_it_ends() {
    for signal in ["TERM", "INT"] {
        let lan = Lan::new(&["pc", "other"]).unwrap();
        let pc = lan.host("pc");
        let mut avahi = Avahi::on(lan.host("other")).unwrap();
        let device = Device::new(pc).unwrap();
        let mut agent = device.up("Studio PC", &[]).unwrap();

        // Avahi names one address of each family.
        let by = |answer: &[Resolved], family: &str| answer.iter().any(|found| found.address.contains(family));
        let seen = avahi
            .browse_until(SERVICE, Duration::from_secs(20), |answer| by(answer, &pc.ipv4()) && by(answer, ":"))
            .unwrap();
        let found = seen.iter().find(|found| found.address == pc.ipv4()).unwrap();
        assert_eq!(found.port, 53380, "the documented port");
        assert!(found.instance.contains("Studio"), "{found:?}");
        assert!(found.txt.contains("v=1"), "{found:?}");

        agent.signal(signal).unwrap();
        let status = agent.wait(Duration::from_secs(10)).unwrap();
        assert!(status.code().is_some(), "it ended by itself: {status}");
        avahi.browse_until(SERVICE, Duration::from_secs(5), <[_]>::is_empty).unwrap();
    }
}

#[test]
fn two_agents_list_each_other_within_three_seconds() {
    let lan = Lan::new(&["one", "two"]).unwrap();
    let (one, two) = (Device::new(lan.host("one")).unwrap(), Device::new(lan.host("two")).unwrap());
    let _attic = one.up("Attic NAS", &[]).unwrap();
    let _studio = two.up("Studio PC", &[]).unwrap();
    let both_up = Instant::now();
    let devices = |device: &Device<'_>| {
        let output = device.lanyard(&["devices", "--json"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    loop {
        let (by_attic, by_studio) = (devices(&one), devices(&two));
        if by_attic.contains("Studio PC") && by_studio.contains("Attic NAS") {
            break;
        }
        assert!(both_up.elapsed() < Duration::from_secs(3), "after 3 s: {by_attic:?} and {by_studio:?}");
    }
}

#[test]
fn two_agents_of_one_name_get_different_instances() {
    let lan = Lan::new(&["one", "two", "other"]).unwrap();
    let mut avahi = Avahi::on(lan.host("other")).unwrap();
    let (one, two) = (Device::new(lan.host("one")).unwrap(), Device::new(lan.host("two")).unwrap());
    let _first = one.up("Twin", &[]).unwrap();
    avahi.browse_until(SERVICE, Duration::from_secs(20), |answer| !answer.is_empty()).unwrap();
    let _second = two.up("Twin", &[]).unwrap();
    let addresses = [lan.host("one").ipv4(), lan.host("two").ipv4()];
    let seen = avahi
        .browse_until(SERVICE, Duration::from_secs(20), |answer| {
            addresses.iter().all(|address| answer.iter().any(|found| found.address == *address))
        })
        .unwrap();
    let instance_of =
        |address: &String| seen.iter().find(|found| found.address == *address).map(|found| &found.instance);
    assert_ne!(instance_of(&addresses[0]), instance_of(&addresses[1]), "{seen:#?}");
}

#[test]
fn the_next_port_is_taken_when_the_documented_one_is_in_use() {
    let lan = Lan::new(&["pc", "other"]).unwrap();
    let mut avahi = Avahi::on(lan.host("other")).unwrap();
    let (one, two) = (Device::new(lan.host("pc")).unwrap(), Device::new(lan.host("pc")).unwrap());
    let _first = one.up("First", &[]).unwrap();
    let _second = two.up("Second", &[]).unwrap();
    let ports = |answer: &[Resolved]| {
        let mut ports: Vec<u16> = answer.iter().map(|found| found.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    avahi.browse_until(SERVICE, Duration::from_secs(20), |answer| ports(answer) == [53380, 53381]).unwrap();
}
