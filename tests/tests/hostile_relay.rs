//! Real clients through a relay that tampers: nobody authenticates, and everybody learns why. The whole of it, with ten
//! thousand meetings and with browsers, is `cargo xtask hostile-relay`.

use lanyard_tests::hostile::run::{Plan, agents};
use lanyard_tests::hostile::tampering::ACTIONS;

#[tokio::test(flavor = "multi_thread")]
async fn no_tampered_meeting_of_two_agents_authenticates_and_both_people_learn_why() {
    let seed = rand::random::<u64>() >> 20;
    let report = agents(Plan { tampered: 500, at_once: 96, seed }).await.unwrap();
    let total = report.total();
    assert!(report.wrong.is_empty(), "seed {seed}: {:#?}", report.wrong);
    assert!(total.tampered >= 500 && total.authenticated == 0 && total.without_reason == 0);
    assert!(total.connected >= 20, "untouched meetings connect: {total:?}");
    for action in ACTIONS {
        let times: usize =
            report.counts.iter().filter(|((one, _), _)| *one == action).map(|(_, count)| count.tampered).sum();
        assert!(times > 0, "seed {seed}: {action} never changed anything");
    }
}
