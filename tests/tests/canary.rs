//! What a relay gets to know: after a session with marked secrets, none of the marks is in its memory, its log or what
//! crossed its sockets. A mark that is planted is found in all three, so a search that finds nothing means something.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its programs has failed")]

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use lanyard_agent::agent::event::{Event, Outcome};
use lanyard_agent::agent::question::Asker;
use lanyard_agent::config::AcceptPolicy;
use lanyard_agent::inbox::ReceiveFolder;
use lanyard_agent::session::{self, Context, meet, start};
use lanyard_agent::signaling_client::{ServerUrl, SignalingClient};
use lanyard_agent::source;
use lanyard_pairing::Pairing;
use lanyard_tests::hostile::Recorder;
use lanyard_tests::hostile::meeting::Secrets;
use lanyard_tests::hostile::tampering::Way;
use lanyard_tests::program::{Program, built};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tokio::sync::{broadcast, oneshot};

const PATIENCE: Duration = Duration::from_secs(60);

/// A thing that must stay between the two devices, in every spelling that it could have.
struct Mark {
    what: &'static str,
    spellings: BTreeSet<Vec<u8>>,
}

impl Mark {
    fn text(what: &'static str, text: &str) -> Self {
        Self::bytes(what, text.as_bytes())
    }

    fn bytes(what: &'static str, bytes: &[u8]) -> Self {
        let mut spellings = BTreeSet::from([bytes.to_vec()]);
        spellings.insert(HEXLOWER.encode(bytes).into_bytes());
        // Base64 begins anew every three bytes; what is before the mark decides where it stands.
        for offset in 0..3 {
            let inner = bytes.get(offset..).unwrap_or_default();
            let inner = &inner[..inner.len() / 3 * 3];
            for text in [BASE64.encode(inner), BASE64URL_NOPAD.encode(inner)] {
                if text.len() >= 8 {
                    spellings.insert(text.into_bytes());
                }
            }
        }
        Self { what, spellings }
    }

    fn is_in(&self, haystack: &[u8]) -> bool {
        self.spellings.iter().any(|spelling| contains(haystack, spelling))
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return false };
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// All memory of a process that it can write to.
fn memory(pid: u32) -> Vec<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let file = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut image = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
        let Some((from, to)) = range.split_once('-') else { continue };
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut mapping = vec![0; usize::try_from(to - from).unwrap()];
        // Some mappings of the kernel cannot be read.
        if file.read_exact_at(&mut mapping, from).is_ok() {
            image.extend_from_slice(&mapping);
        }
    }
    image
}

/// The relay as people run it, saying all that it can say.
fn relay() -> (Program, SocketAddr, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("relay.toml");
    // Without STUN: on one machine a device's own address is what it would be seen at.
    let text = "drain_seconds = 0\n[http]\nlisten = [\"127.0.0.1:0\"]\n[stun]\nenabled = false\n[turn]\nenabled = false\n\
                [log]\nfilter = \"trace\"\n";
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(built("lanyard-relay"));
    command.arg("--config").arg(&config);
    let program = Program::start("lanyard-relay", command).unwrap();
    let address = program
        .wait_for("its address", PATIENCE, |line| {
            let (_, rest) = line.split_once("http://127.0.0.1:")?;
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            port.parse::<u16>().ok()
        })
        .unwrap();
    (program, SocketAddr::from(([127, 0, 0, 1], address)), dir)
}

/// One device: meets, and sends `paths` or takes what comes. Returns when the transfer is done.
async fn device(
    server: SocketAddr,
    secrets: &Secrets,
    pairing: Pairing,
    address: IpAddr,
    folder: Option<Arc<ReceiveFolder>>,
    paths: Vec<std::path::PathBuf>,
    joined: Option<oneshot::Sender<()>>,
) {
    let (asker, _questions) = Asker::channel();
    let (events, mut happened) = broadcast::channel(1024);
    let (client, _rings) = SignalingClient::connect(vec![ServerUrl::of_agent(server.ip(), server.port())], None);
    let mailbox = client.join(secrets.mailbox).await.unwrap();
    if let Some(joined) = joined {
        joined.send(()).unwrap();
    }
    let met = meet(mailbox, pairing, &asker, "the other", Some(PATIENCE)).await.unwrap();
    let context =
        Context { addresses: vec![address], folder, accept: AcceptPolicy::Accept, ..Context::new(events, asker) };
    let handle = start(met, Arc::new(context));
    if !paths.is_empty() {
        let collected = source::collect(&paths, source::MAX_ENTRIES).unwrap();
        let (reply, answer) = oneshot::channel();
        assert!(handle.commands.send(session::Command::Send { collected, reply }).await.is_ok());
        answer.await.unwrap().unwrap();
    }
    loop {
        if let Event::Finished { outcome, .. } = happened.recv().await.unwrap() {
            assert_eq!(outcome, Outcome::Done);
            break;
        }
    }
    // The other one says goodbye too, or is gone.
    let mut over = handle.over.clone();
    let _ = handle.commands.send(session::Command::Stop).await;
    let _ = tokio::time::timeout(PATIENCE, over.wait_for(|over| *over)).await;
}

async fn session_leaves_no_mark(way: Way) {
    let (relay, address, _dir) = relay();
    let recorder = Recorder::start(address).await.unwrap();
    let secrets = Secrets::draw(way, &mut ChaCha20Rng::seed_from_u64(rand::random()));
    let lan: IpAddr = "127.87.65.43".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (outbox, inbox) = (folder.path().join("out"), folder.path().join("in"));
    std::fs::create_dir_all(&outbox).unwrap();
    std::fs::create_dir_all(&inbox).unwrap();
    let content = "canary-content-5f1c9b27 ".repeat(4_000);
    let file = outbox.join("canary-name-8e44d0a1.txt");
    std::fs::write(&file, &content).unwrap();
    let mut marks = vec![
        Mark::text("file name", "canary-name-8e44d0a1"),
        Mark::text("content", "canary-content-5f1c9b27"),
        Mark::text("LAN address", "127.87.65.43"),
    ];
    match way {
        Way::Code => {
            let [first, second] = secrets.code.words();
            marks.push(Mark::text("words", &format!("{first}{second}")));
            marks.push(Mark::text("words", &format!("{first}-{second}")));
        }
        Way::Link => {
            let url =
                lanyard_pairing::Link::new("http://a/", secrets.link.clone(), secrets.shower.fingerprint()).unwrap();
            let url = url.to_url();
            let text = url.split(['#', '.']).nth(2).unwrap();
            let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
            let mut mark = Mark::bytes("secret", &bytes);
            mark.spellings.insert(text.as_bytes().to_vec());
            marks.push(mark);
        }
        Way::Nearby | Way::Remembered | Way::Resumed => marks.push(Mark::bytes("secret", &secrets.pair)),
    }

    let receive = Arc::new(ReceiveFolder::open(&inbox).unwrap());
    let (joined, has_joined) = oneshot::channel();
    let receiving = async {
        device(recorder.address, &secrets, secrets.show(), lan, Some(receive), Vec::new(), Some(joined)).await;
    };
    let sending = async {
        has_joined.await.unwrap();
        device(recorder.address, &secrets, secrets.open(), lan, None, vec![file.clone()], None).await;
    };
    tokio::time::timeout(2 * PATIENCE, async { tokio::join!(receiving, sending) }).await.expect("the file arrives");
    assert_eq!(std::fs::read_to_string(inbox.join("canary-name-8e44d0a1.txt")).unwrap(), content);

    let (traffic, log, image) = (recorder.recorded(), relay.printed(), memory(relay.pid()));
    assert!(traffic.len() > 2_000, "the session went through the relay: {} bytes", traffic.len());
    assert!(image.len() > 1_000_000, "{} bytes of memory", image.len());
    for mark in &marks {
        assert!(!mark.is_in(&traffic), "{} in the traffic", mark.what);
        assert!(!mark.is_in(log.as_bytes()), "{} in the log", mark.what);
        assert!(!mark.is_in(&image), "{} in the memory", mark.what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_by_link_leaves_no_mark_at_the_relay() {
    session_leaves_no_mark(Way::Link).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_by_code_leaves_no_mark_at_the_relay() {
    session_leaves_no_mark(Way::Code).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_mark_is_found_in_traffic_and_memory() {
    let (relay, address, _dir) = relay();
    let recorder = Recorder::start(address).await.unwrap();
    let (client, _rings) =
        SignalingClient::connect(vec![ServerUrl::of_agent(recorder.address.ip(), recorder.address.port())], None);
    let secrets = Secrets::draw(Way::Link, &mut ChaCha20Rng::seed_from_u64(rand::random()));
    let mailbox = client.join(secrets.mailbox).await.unwrap();
    // A body that waits for a side that never comes stays in the relay's memory.
    let body = lanyard_protocol::signaling::Body::new(b"canary-planted-77aa01 and more".to_vec()).unwrap();
    mailbox.sender().send(1, body).await.unwrap();
    let mark = Mark::text("planted", "canary-planted-77aa01");
    let deadline = std::time::Instant::now() + PATIENCE;
    while !(mark.is_in(&recorder.recorded()) && mark.is_in(&memory(relay.pid()))) {
        assert!(std::time::Instant::now() < deadline, "the planted mark was not found");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
