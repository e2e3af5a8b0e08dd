//! Meetings with a page: a line of JSON asks for one, two lines of JSON answer.
//!
//! `{"open": LINK}`: the page shows a link, an agent opens it. `{"show": true}`: an agent shows a link, which is printed
//! as `{"link": LINK}`, and the page opens it. Either way `{"applied", "action", "linked", "reason"}` follows when the
//! agent knows what came of it.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lanyard_pairing::{Identity, Link, Pairing, Profile};
use lanyard_protocol::MailboxId;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::attacker::Attacker;
use super::meeting::{Alone, Secrets, Side, meet_both};
use super::middle::Middle;
use super::tampering::{Action, Tampering, Way};

/// How long an agent may take to know what came of a meeting.
const LIMIT: Duration = Duration::from_secs(100);

/// After this an agent that is linked is believed to stay so.
const SETTLED: Duration = Duration::from_millis(500);

/// Serves until the input ends.
///
/// # Errors
/// The relay does not start, or the input is not as described.
pub async fn serve(ip: IpAddr, seed: u64) -> Result<()> {
    let middle = Middle::start(ip).await?;
    say(&json!({ "page": format!("http://{}/", middle.address), "seed": seed }))?;
    let (asked_for, mut lines) = mpsc::channel(1);
    // Ends with the program: a read of the terminal cannot be interrupted.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if asked_for.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut before = [Vec::new(), Vec::new()];
    let mut number = 0;
    while let Some(line) = lines.recv().await {
        let asked: Value = serde_json::from_str(&line)?;
        let rng = &mut ChaCha20Rng::seed_from_u64(seed.wrapping_add(number));
        let tampering = if asked["honest"].as_bool() == Some(true) {
            Tampering::honest()
        } else {
            Tampering::draw(usize::try_from(number)?, Way::Link, rng)
        };
        number += 1;
        before = one(&middle, &asked, tampering, before, rng).await?;
    }
    middle.stop().await;
    Ok(())
}

async fn one(
    middle: &Middle,
    asked: &Value,
    tampering: Tampering,
    before: [Vec<Vec<u8>>; 2],
    rng: &mut ChaCha20Rng,
) -> Result<[Vec<Vec<u8>>; 2]> {
    let own = Identity::generate(rng);
    let profile = Profile::new("Attic NAS", "computer", ["webrtc", "native"])?;
    let page_link = asked["open"].as_str().map(Link::parse).transpose()?;
    let mut secrets = Secrets::draw(Way::Link, rng);
    let (mailbox, pairing) = match &page_link {
        Some(link) => {
            secrets.link = link.secret().clone();
            (link.secret().mailbox().0, Pairing::open_link(&own, link, profile, &mut rand::rng()))
        }
        None => {
            let pairing = Pairing::show_link(&own, &secrets.link, profile, &mut rand::rng());
            (secrets.link.mailbox().0, pairing)
        }
    };
    let mailbox = MailboxId(mailbox);
    let attacker = (tampering.action == Action::SwapFingerprints).then(|| Attacker::new(&secrets, rng.next_u64()));
    // The other meeting of a crossed pair is one of two agents.
    let other = (tampering.action == Action::SwapMembers).then(|| Secrets::draw(Way::Link, rng));
    let partner = other.as_ref().map(|other| other.mailbox);
    middle.hub.prepare(mailbox, tampering.clone(), partner, before, attacker);
    let crossed = other.map(|other| {
        middle.hub.prepare(other.mailbox, tampering.clone(), Some(mailbox), Default::default(), None);
        let address = middle.address;
        tokio::spawn(async move { meet_both(address, &other, LIMIT).await })
    });
    let (joined, has_joined) = oneshot::channel();
    let mut agent = Alone::meet(middle.address, mailbox, pairing, joined);
    has_joined.await.context("the agent could not join")?;
    if page_link.is_none() {
        let link = Link::new(&format!("http://{}/", middle.address), secrets.link, own.fingerprint())?;
        say(&json!({ "link": link.to_url().as_str() }))?;
    }
    let _ = tokio::time::timeout(LIMIT, agent.state.wait_for(|side: &Side| side.linked || side.reason.is_some())).await;
    tokio::time::sleep(SETTLED).await;
    let side = agent.state.borrow().clone();
    agent.stop().await;
    let (applied, said) = middle.hub.finish(mailbox);
    if let (Some(crossed), Some(partner)) = (crossed, partner) {
        crossed.abort();
        let _ = middle.hub.finish(partner);
    }
    let done = json!({ "applied": applied, "action": tampering.action.name(), "linked": side.linked,
                       "reason": side.reason, "tampering": format!("{tampering:?}") });
    say(&done)?;
    Ok(said)
}

fn say(value: &Value) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{value}")?;
    stdout.flush()?;
    Ok(())
}
