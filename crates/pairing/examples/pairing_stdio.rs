//! One side of a meeting over standard input and output, for live runs against another implementation.
//!
//! Every line is a JSON object. The first says who we are and how to meet, each later one is a command:
//!
//! ```text
//! {"method":"link","role":"R","identity":"<hex>","seed":"<hex>","name":"Rust","secret":"<hex>","peer_key":"<hex>",
//!  "code":"4821-piano-tiger","mailbox":"<base64url>"}
//! {"do":"message","hex":"…"}       {"do":"pick","row":1}            {"do":"confirm","same":true}
//! {"do":"seal","hex":"…"}          {"do":"open","hex":"…"}
//! {"do":"bind","session_id":"…","own":"…","peer":"…"}
//! {"do":"verify","session_id":"…","own":"…","peer":"…","hex":"…"}
//! ```
//!
//! What the pairing wants comes out as `{"event":…}` lines, and each command is followed by `{"event":"idle"}`.

use std::io::{self, BufRead, Write};

use anyhow::{Context, bail};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use lanyard_pairing::{
    Code, Identity, Link, LinkSecret, MailboxId, Output, Pairing, Profile, PublicKey, RememberedDevice, ResumeSecret,
    Role, Session, Trust,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use serde_json::{Value, json};
use zeroize::Zeroizing;

fn main() -> anyhow::Result<()> {
    let mut lines = io::stdin().lock().lines();
    let first: Value = serde_json::from_str(&lines.next().context("no first line")??)?;
    let mut pairing = start(&first)?;
    let mut session = None;
    let mut out = io::stdout().lock();
    report(&mut pairing, &mut session, &mut out)?;
    for line in lines {
        let command: Value = serde_json::from_str(&line?)?;
        obey(&command, &mut pairing, session.as_mut(), &mut out)?;
        report(&mut pairing, &mut session, &mut out)?;
    }
    Ok(())
}

fn start(first: &Value) -> anyhow::Result<Pairing> {
    let identity = Identity::from_secret_bytes(Zeroizing::new(array(first, "identity")?));
    let profile = Profile::new(text(first, "name")?, "computer", ["tls"])?;
    let rng = &mut ChaCha20Rng::from_seed(array(first, "seed")?);
    let role = match text(first, "role")? {
        "I" => Role::Initiator,
        "R" => Role::Responder,
        other => bail!("no role {other}"),
    };
    let peer_key = || array(first, "peer_key").map(PublicKey);
    let secret = || array(first, "secret").map(Zeroizing::new);
    let mailbox = || -> anyhow::Result<MailboxId> {
        let bytes = BASE64URL_NOPAD.decode(text(first, "mailbox")?.as_bytes())?;
        Ok(MailboxId(bytes.try_into().ok().context("a mailbox has 16 bytes")?))
    };
    Ok(match (text(first, "method")?, role) {
        ("link", Role::Responder) => {
            Pairing::show_link(&identity, &LinkSecret::from_bytes(array(first, "secret")?), profile, rng)
        }
        ("link", Role::Initiator) => {
            let secret = LinkSecret::from_bytes(array(first, "secret")?);
            let link = Link::new("https://relay.example/", secret, peer_key()?.fingerprint())?;
            Pairing::open_link(&identity, &link, profile, rng)
        }
        ("code", Role::Responder) => Pairing::show_code(&identity, &Code::parse(text(first, "code")?)?, profile, rng),
        ("code", Role::Initiator) => Pairing::type_code(&identity, &Code::parse(text(first, "code")?)?, profile, rng),
        ("nearby", role) => Pairing::nearby(role, mailbox()?, &identity, profile, rng),
        ("remembered", role) => {
            let device = RememberedDevice::new(peer_key()?, secret()?);
            Pairing::remembered(role, mailbox()?, &device, &identity, profile, rng)
        }
        ("resumed", role) => {
            let resume = ResumeSecret::new(peer_key()?, Trust::Compared, secret()?);
            Pairing::resume(role, mailbox()?, &resume, &identity, profile, rng)
        }
        (other, _) => bail!("no method {other}"),
    })
}

fn obey(
    command: &Value,
    pairing: &mut Pairing,
    session: Option<&mut Session>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match (text(command, "do")?, session) {
        ("message", _) => pairing.handle_message(&bytes(command, "hex")?),
        ("pick", _) => pairing.pick_row(usize::try_from(command["row"].as_u64().context("no row")?)?),
        ("confirm", _) => pairing.confirm_pictures(command["same"].as_bool().context("no answer")?),
        ("seal", Some(session)) => {
            let sealed = session.seal(&bytes(command, "hex")?);
            say(out, &json!({ "event": "sealed", "hex": HEXLOWER.encode(&sealed) }))?;
        }
        ("open", Some(session)) => {
            let event = match session.open(&bytes(command, "hex")?) {
                Ok(plaintext) => json!({ "event": "opened", "hex": HEXLOWER.encode(&plaintext) }),
                Err(error) => json!({ "event": "not_opened", "error": error.name() }),
            };
            say(out, &event)?;
        }
        ("bind", Some(session)) => {
            let (id, own, peer) = bound(command)?;
            let bind = session.bind_message(&id, &own, &peer);
            say(out, &json!({ "event": "bind", "hex": HEXLOWER.encode(&bind) }))?;
        }
        ("verify", Some(session)) => {
            let (id, own, peer) = bound(command)?;
            let good = session.verify_bind(&id, &own, &peer, &bytes(command, "hex")?).is_ok();
            say(out, &json!({ "event": "verified", "good": good }))?;
        }
        (other, _) => bail!("can not {other} now"),
    }
    Ok(())
}

fn bound(command: &Value) -> anyhow::Result<([u8; 16], [u8; 32], [u8; 32])> {
    Ok((array(command, "session_id")?, array(command, "own")?, array(command, "peer")?))
}

fn report(pairing: &mut Pairing, session: &mut Option<Session>, out: &mut impl Write) -> anyhow::Result<()> {
    while let Some(output) = pairing.poll_output() {
        let event = match output {
            Output::Send(message) => json!({ "event": "send", "hex": HEXLOWER.encode(&message) }),
            Output::ShowPictures { mine } => json!({ "event": "show", "mine": mine.map(|picture| picture.index()) }),
            Output::PickPictures { rows } => {
                json!({ "event": "pick", "rows": rows.map(|row| row.map(|picture| picture.index())) })
            }
            Output::Established(met) => {
                let event = json!({
                    "event": "established",
                    "trust": met.trust().name(),
                    "peer_key": HEXLOWER.encode(&met.peer_key().0),
                    "peer_name": met.peer_profile().name(),
                    "token": HEXLOWER.encode(met.lane_keys().token()),
                    "pair_secret": HEXLOWER.encode(met.remember().pair_secret()),
                    "resume_secret": HEXLOWER.encode(met.resume_secret().secret_bytes()),
                });
                *session = Some(*met);
                event
            }
            Output::Refused(error) => json!({ "event": "refused", "error": error.name(), "text": error.to_string() }),
            Output::Failed(error) => json!({ "event": "failed", "error": error.name(), "text": error.to_string() }),
        };
        say(out, &event)?;
    }
    say(out, &json!({ "event": "idle" }))
}

fn say(out: &mut impl Write, event: &Value) -> anyhow::Result<()> {
    writeln!(out, "{event}")?;
    out.flush()?;
    Ok(())
}

fn text<'a>(object: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    object[field].as_str().with_context(|| format!("no text {field:?}"))
}

fn bytes(object: &Value, field: &str) -> anyhow::Result<Vec<u8>> {
    HEXLOWER.decode(text(object, field)?.as_bytes()).with_context(|| format!("{field:?} is not hex"))
}

fn array<const N: usize>(object: &Value, field: &str) -> anyhow::Result<[u8; N]> {
    bytes(object, field)?.try_into().ok().with_context(|| format!("{field:?} has another length"))
}
