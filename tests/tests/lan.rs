//! The lab itself: a test that runs on a broken network proves nothing.

use lanyard_tests::lan::Lan;

#[test]
fn hosts_of_one_lan_reach_each_other_and_nothing_else() {
    let lan = Lan::new(&["one", "two"]).unwrap();
    let ping =
        |to: &str| lan.host("one").command("ping").args(["-c1", "-W1", "-q", to]).output().unwrap().status.success();
    assert!(ping(&lan.host("two").ipv4()), "IPv4 on the LAN");
    assert!(ping(&lan.host("two").ipv6()), "IPv6 on the LAN");
    assert!(!ping("203.0.113.1"), "the lab has no way out");
}

#[test]
fn a_lan_leaves_nothing_behind() {
    let namespace = {
        let lan = Lan::new(&["only"]).unwrap();
        lan.host("only").namespace().to_owned()
    };
    let listed = std::process::Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&listed.stdout).contains(&namespace));
}
