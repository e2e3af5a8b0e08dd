//! Agents are found by DNS-SD, by each other and by somebody else's software, and vanish when they end.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its network has failed")]

use std::process::Command;
use std::time::{Duration, Instant};

use lanyard_tests::avahi::{Avahi, Resolved};
use lanyard_tests::lan::{Host, Lan};
use lanyard_tests::program::{Program, built};
use tempfile::TempDir;

const SERVICE: &str = "_lanyard._tcp";

/// An agent with a home of its own.
struct Agent {
    program: Program,
    home: TempDir,
}

impl Agent {
    fn up(host: &Host, name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = command(host, &home);
        command.args(["up", &home.path().join("inbox").display().to_string(), "--name", name, "--no-qr", "--no-color"]);
        let program = Program::start(name, command).unwrap();
        program.wait_for("its link", Duration::from_secs(20), |line| line.contains("/#1.").then_some(())).unwrap();
        Self { program, home }
    }

    /// What `lanyard devices` lists beside it.
    fn devices(&self, host: &Host) -> String {
        let output = command(host, &self.home).args(["devices", "--json"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn command(host: &Host, home: &TempDir) -> Command {
    let mut command = host.command(&built("lanyard").display().to_string());
    let runtime = home.path().join("run");
    std::fs::create_dir_all(&runtime).unwrap();
    std::fs::create_dir_all(home.path().join("inbox")).unwrap();
    command.env("HOME", home.path()).env("XDG_RUNTIME_DIR", runtime);
    for (variable, folder) in [("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state")] {
        command.env(variable, home.path().join(folder));
    }
    command
}

#[test]
fn avahi_sees_an_agent_with_its_addresses_and_port_until_it_ends() {
    for signal in ["TERM", "INT"] {
        let lan = Lan::new(&["pc", "other"]).unwrap();
        let pc = lan.host("pc");
        let mut avahi = Avahi::on(lan.host("other")).unwrap();
        let mut agent = Agent::up(pc, "Studio PC");

        // Avahi names one address of each family.
        let by = |answer: &[Resolved], family: &str| answer.iter().any(|found| found.address.contains(family));
        let seen = avahi
            .browse_until(SERVICE, Duration::from_secs(20), |answer| by(answer, &pc.ipv4()) && by(answer, ":"))
            .unwrap();
        let found = seen.iter().find(|found| found.address == pc.ipv4()).unwrap();
        assert_eq!(found.port, 53380, "the documented port");
        assert!(found.instance.contains("Studio"), "{found:?}");
        assert!(found.txt.contains("v=1"), "{found:?}");

        agent.program.signal(signal).unwrap();
        let status = agent.program.wait(Duration::from_secs(10)).unwrap();
        assert!(status.code().is_some(), "it ended by itself: {status}");
        avahi.browse_until(SERVICE, Duration::from_secs(5), <[_]>::is_empty).unwrap();
    }
}

#[test]
fn two_agents_list_each_other_within_three_seconds() {
    let lan = Lan::new(&["one", "two"]).unwrap();
    let (one, two) = (lan.host("one"), lan.host("two"));
    let attic = Agent::up(one, "Attic NAS");
    let studio = Agent::up(two, "Studio PC");
    let both_up = Instant::now();
    loop {
        let (by_attic, by_studio) = (attic.devices(one), studio.devices(two));
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
    let _first = Agent::up(lan.host("one"), "Twin");
    avahi.browse_until(SERVICE, Duration::from_secs(20), |answer| !answer.is_empty()).unwrap();
    let _second = Agent::up(lan.host("two"), "Twin");
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
    let _first = Agent::up(lan.host("pc"), "First");
    let _second = Agent::up(lan.host("pc"), "Second");
    let ports = |answer: &[Resolved]| {
        let mut ports: Vec<u16> = answer.iter().map(|found| found.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    avahi.browse_until(SERVICE, Duration::from_secs(20), |answer| ports(answer) == [53380, 53381]).unwrap();
}
