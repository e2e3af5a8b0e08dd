//! Networks that lose packets or hide names (F1, F5, F25).

use std::time::Duration;

use lanyard_tests::fault::{Content, Crossing, Report, rounds};
use lanyard_tests::lan::{Host, Lan};

const PATIENCE: Duration = Duration::from_secs(300);

/// Lets a packet filter loose on what arrives at a host.
fn filter(host: &Host, rule: &str) -> anyhow::Result<()> {
    host.nft(&format!("table inet fault {{ chain input {{ type filter hook input priority 0; {rule}; }}; }}"))
}

/// Sends from one host to another, and how long it took from the acceptance on.
fn send(content: &Content, rule: Option<&str>) -> Duration {
    let lan = Lan::new(&["attic", "studio"]).unwrap();
    let (attic, studio) = (lan.host("attic"), lan.host("studio"));
    let disturb = || match rule {
        Some(rule) => lan.hosts().iter().try_for_each(|host| {
            // Packets are to come one by one, and not as trains that only a real cable would take apart.
            host.ip("link set dev eth0 gso_max_segs 1")?;
            filter(host, rule)
        }),
        None => Ok(()),
    };
    let crossing = Crossing::begin(attic, studio, content, disturb).unwrap();
    crossing.conclude(PATIENCE).unwrap().1
}

#[test]
fn f1_transfers_complete_though_packets_are_lost() {
    // The kernel's own TCP does no better: 2.6 MiB/s at 5 % both ways and 0.8 MiB/s at 10 %, in such a lab (ADR 10).
    let mut faults = vec![(1, 64), (5, 16), (10, 16)];
    if rounds() > 100 {
        faults.extend([(5, 64), (10, 64)]);
    }
    for (percent, mib) in faults {
        let report = Report::begin("F1", &format!("{percent} % of all packets lost, both ways, {mib} MiB"));
        let rule = format!("numgen random mod 100 < {percent} drop");
        let took = send(&Content::large(mib << 20, 1), Some(&rule));
        report.held(&format!("complete, equal; {:.1} MiB/s", mib as f64 / took.as_secs_f64()));
    }
}

#[test]
fn f5_a_network_in_which_large_packets_vanish_is_only_slow() {
    let report = Report::begin("F5", "packets over 1200 bytes vanish, both ways, 8 MiB");
    let took = send(&Content::large(8 << 20, 5), Some("meta length > 1200 drop"));
    report.held(&format!("complete, equal in {:.0} s", took.as_secs_f64()));
}

#[test]
fn f25_a_link_works_where_names_are_not_to_be_found() {
    let content = Content::large(4 << 20, 25);
    let report = Report::begin("F25", "mDNS blocked both ways; met by link");
    send(&content, Some("udp dport 5353 drop"));
    report.held("complete, equal");

    let report = Report::begin("F25", "mDNS blocked and only IPv6; met by link");
    let lan = Lan::new(&["attic", "studio"]).unwrap();
    for host in lan.hosts() {
        host.ip("-4 addr flush dev eth0").unwrap();
        filter(host, "udp dport 5353 drop").unwrap();
    }
    let crossing = Crossing::begin(lan.host("attic"), lan.host("studio"), &content, || Ok(())).unwrap();
    crossing.conclude(PATIENCE).unwrap();
    report.held("complete, equal");
}
