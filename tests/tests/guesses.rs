//! Strangers at a real relay: a code allows one try, and a recorded message 1 spends no link.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lanyard_agent::agent::question::Asker;
use lanyard_agent::session::{MeetError, Met, meet};
use lanyard_agent::signaling_client::{MailboxEvent, ServerUrl, SignalingClient, SignalingError};
use lanyard_pairing::{AbortReason, Code, Identity, Link, LinkSecret, Output, Pairing, PairingError, Profile, words};
use lanyard_protocol::MailboxId;
use lanyard_protocol::signaling::{Body, ErrorCode};
use lanyard_relay::{AGENT_TOKEN_HEADER, Config, Relay, RelayHandle};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(60);

/// Guesses, and replays of a message 1.
const MANY: usize = 1000;

async fn relay() -> RelayHandle {
    let mut config = Config::default();
    config.http.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    config.stun.enabled = false;
    config.drain_seconds = 0;
    Relay::start(config).await.unwrap()
}

/// A client that the relay counts nothing of: its limits are raised for the test.
fn client(relay: &RelayHandle) -> SignalingClient {
    let header = (AGENT_TOKEN_HEADER, relay.agent_token().as_str().to_owned());
    let port = relay.http_addresses()[0].port();
    SignalingClient::connect(vec![ServerUrl::of_agent(Ipv4Addr::LOCALHOST.into(), port)], Some(header)).0
}

fn profile() -> Profile {
    Profile::new("Otter", "computer", ["webrtc"]).unwrap()
}

/// As a person on whose screen nothing is asked.
fn nobody() -> Asker {
    Asker::channel().0
}

/// Types a code with these words, as `lanyard` does.
async fn type_code(client: &SignalingClient, code: &Code) -> Result<Met, MeetError> {
    let mailbox = client.claim(code.nameplate().to_owned().try_into().unwrap()).await?;
    let pairing = Pairing::type_code(&Identity::generate(&mut rand::rng()), code, profile(), &mut rand::rng());
    meet(client.join(mailbox).await?, pairing, &nobody(), "", Some(PATIENCE)).await
}

/// Shows a code, has it guessed wrong, then typed right. `Err` says how it was not burnt, or that somebody got in.
async fn guess_wrong(shower: &SignalingClient, guesser: &SignalingClient, number: usize) -> Result<(), String> {
    let (nameplate, mailbox) = shower.allocate().await.unwrap();
    let mut joined = shower.join(mailbox).await.unwrap();
    joined.stand_behind(nameplate.clone());
    let code = Code::generate(nameplate.as_str(), &mut rand::rng()).unwrap();
    let own = Identity::generate(&mut rand::rng());
    let pairing = Pairing::show_code(&own, &code, profile(), &mut rand::rng());
    // The first word is the right one in every other guess, the second one never.
    let [right, other] = code.words();
    let first = if number.is_multiple_of(2) { right } else { words()[number] };
    let second = words().iter().find(|word| **word != other).unwrap();
    let guess = Code::parse(&format!("{}-{first}-{second}", nameplate.as_str())).unwrap();
    let asker = nobody();
    let (shown, guessed) = tokio::join!(meet(joined, pairing, &asker, "", Some(PATIENCE)), type_code(guesser, &guess));
    if !matches!(shown, Err(MeetError::Pairing(PairingError::WrongCode))) {
        return Err(format!("{number}: the shower: {:?}", shown.err()));
    }
    let told = PairingError::PeerStopped(AbortReason::WrongCode);
    if !matches!(&guessed, Err(MeetError::Pairing(error)) if *error == told) {
        return Err(format!("{number}: who guessed: {:?}", guessed.err()));
    }
    // On the socket that gave the nameplate back, so that it has been given back.
    let late = type_code(shower, &code).await.err();
    let is_used =
        matches!(&late, Some(MeetError::Signaling(SignalingError::Refused { code: ErrorCode::NameplateUsed, .. })));
    if is_used { Ok(()) } else { Err(format!("{number}: the right words came too late: {late:?}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_wrong_codes_at_a_relay_get_nobody_in_and_burn_a_thousand_codes() {
    let relay = relay().await;
    let (shower, guesser) = (client(&relay), client(&relay));
    let (next, burns) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut guessers = JoinSet::new();
    for _ in 0..16 {
        let (shower, guesser, next, burns) = (shower.clone(), guesser.clone(), Arc::clone(&next), Arc::clone(&burns));
        let tell = tell.clone();
        guessers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= MANY {
                    return;
                }
                match guess_wrong(&shower, &guesser, number).await {
                    Ok(()) => drop(burns.fetch_add(1, Ordering::Relaxed)),
                    Err(otherwise) => drop(tell.send(otherwise)),
                }
            }
        });
    }
    while let Some(done) = guessers.join_next().await {
        done.unwrap();
    }
    drop(tell);
    let mut otherwise = Vec::new();
    told.recv_many(&mut otherwise, MANY).await;
    assert_eq!((burns.load(Ordering::Relaxed), otherwise), (MANY, Vec::new()));
    relay.shutdown().await;
}

/// Message 1 of an opener that went away with it.
fn recorded_message_1(link: &Link) -> Vec<u8> {
    let own = Identity::generate(&mut rand::rng());
    let mut opener = Pairing::open_link(&own, link, profile(), &mut rand::rng());
    let Some(Output::Send(message)) = opener.poll_output() else { unreachable!("an opener begins with message 1") };
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_replays_of_message_1_at_a_relay_do_not_spend_a_link() {
    /// Replays of one joiner: 255 sides come to one mailbox (SG-3).
    const OF_ONE_JOINER: usize = 10;

    let relay = relay().await;
    // All who come do so on one socket, so that each has left when the next one joins.
    let (shower, comers) = (client(&relay), client(&relay));
    let secret = LinkSecret::generate(&mut rand::rng());
    let place = MailboxId(secret.mailbox().0);
    let own = Identity::generate(&mut rand::rng());
    let link = Link::new("http://relay.example/", secret.clone(), own.fingerprint()).unwrap();
    let pairing = Pairing::show_link(&own, &secret, profile(), &mut rand::rng());
    let joined = shower.join(place).await.unwrap();
    let (met, mut has_met) = mpsc::channel(1);
    let showing = tokio::spawn(async move {
        // For good, as the link in a QR code waits.
        let outcome = meet(joined, pairing, &nobody(), "", None).await;
        let _ = met.send(()).await;
        outcome
    });
    let recorded = recorded_message_1(&link);
    for _ in 0..MANY / OF_ONE_JOINER {
        let mut mailbox = comers.join(place).await.unwrap();
        for _ in 0..OF_ONE_JOINER {
            mailbox.sender().send(0, Body::new(recorded.clone()).unwrap()).await.unwrap();
        }
        // Each joiner is answered once: the shower waits for its message 3.
        while !matches!(mailbox.next().await.unwrap(), MailboxEvent::Message { .. }) {}
    }
    assert!(has_met.try_recv().is_err(), "nobody came by a replay");
    let pairing = Pairing::open_link(&Identity::generate(&mut rand::rng()), &link, profile(), &mut rand::rng());
    let opened = meet(comers.join(place).await.unwrap(), pairing, &nobody(), "", Some(PATIENCE)).await;
    assert!(opened.is_ok(), "{:?}", opened.err());
    assert!(showing.await.unwrap().is_ok());
    relay.shutdown().await;
}
