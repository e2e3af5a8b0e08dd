//! Two agents of one process with a real relay between them: lanes, the switch between paths, and what a relay can do
//! to them (LK-30 to LK-45).

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lanyard_agent::agent::event::{Event, Outcome, Route};
use lanyard_agent::agent::question::Asker;
use lanyard_agent::config::AcceptPolicy;
use lanyard_agent::inbox::ReceiveFolder;
use lanyard_agent::session::{self, Command, Context, Handle, Met, meet};
use lanyard_agent::signaling_client::{ServerUrl, SignalingClient};
use lanyard_agent::source;
use lanyard_pairing::{Identity, LinkSecret, Pairing, Profile};
use lanyard_protocol::MailboxId;
use lanyard_relay::{AGENT_TOKEN_HEADER, Config, Page, Relay, RelayHandle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, oneshot};

const PATIENCE: Duration = Duration::from_secs(60);

/// An address that no interface has: nothing can be bound to it, so WebRTC is impossible.
const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 77));
const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn relay(port: u16) -> RelayHandle {
    let mut config = Config::default();
    config.http.listen = vec![SocketAddr::new(LOOPBACK, port)];
    config.stun.enabled = false;
    config.drain_seconds = 0;
    // A stopped relay's port may be busy for a moment.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = Page::from_files([("index.html".to_owned(), std::borrow::Cow::Borrowed(&b"x"[..]))]);
        match Relay::new(config.clone()).with_page(page).run().await {
            Ok(relay) => return relay,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn port(relay: &RelayHandle) -> u16 {
    relay.http_addresses()[0].port()
}

/// A client of the server at a port of this machine.
fn client(port: u16, token: Option<&RelayHandle>) -> SignalingClient {
    let header = token.map(|relay| (AGENT_TOKEN_HEADER, relay.agent_token().as_str().to_owned()));
    SignalingClient::connect(vec![ServerUrl::of_agent(LOOPBACK, port)], header).0
}

struct Side {
    handle: Handle,
    events: broadcast::Receiver<Event>,
}

fn start(met: Met, folder: Option<&Path>, address: IpAddr) -> Side {
    let (events, receiver) = broadcast::channel(4096);
    let (asker, _) = Asker::channel();
    let context = Context {
        folder: folder.map(|path| Arc::new(ReceiveFolder::open(path).unwrap())),
        accept: AcceptPolicy::Accept,
        addresses: vec![address],
        ..Context::new(events, asker)
    };
    Side { handle: session::start(met, Arc::new(context)), events: receiver }
}

/// Two devices that have met by a link: the first showed it.
async fn two(shower: SignalingClient, opener: SignalingClient) -> (Met, Met) {
    let secret = LinkSecret::generate(&mut rand::rng());
    let mailbox = MailboxId(secret.mailbox().0);
    let profile = |name: &str| Profile::new(name, "computer", ["webrtc", "native"]).unwrap();
    let (shows, opens) = (Identity::generate(&mut rand::rng()), Identity::generate(&mut rand::rng()));
    let (asker, _questions) = Asker::channel();
    let shown = Pairing::show_link(&shows, &secret, profile("Attic"), &mut rand::rng());
    let link = lanyard_pairing::Link::new("http://127.0.0.1/", secret, shows.fingerprint()).unwrap();
    let opened = Pairing::open_link(&opens, &link, profile("Bee"), &mut rand::rng());
    let first = shower.join(mailbox).await.unwrap();
    let second = opener.join(mailbox).await.unwrap();
    let (first, second) =
        tokio::join!(meet(first, shown, &asker, "", Some(PATIENCE)), meet(second, opened, &asker, "", Some(PATIENCE)));
    (first.unwrap(), second.unwrap())
}

impl Side {
    /// Offers a file.
    async fn send(&self, path: &Path) {
        let collected = source::collect(&[path.to_owned()], source::MAX_ENTRIES).unwrap();
        let (reply, answer) = oneshot::channel();
        assert!(self.handle.commands.send(Command::Send { collected, reply }).await.is_ok());
        answer.await.unwrap().unwrap();
    }

    /// The next event that is looked for.
    async fn until<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let waiting = async {
            loop {
                match self.events.recv().await {
                    Ok(event) => {
                        if let Some(found) = wanted(&event) {
                            return found;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => panic!("ended before {what}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
    }

    async fn route(&mut self) -> Route {
        self.until("a link", |event| if let Event::Connected { route, .. } = event { Some(*route) } else { None }).await
    }

    async fn finished(&mut self) -> Outcome {
        let ending =
            |event: &Event| if let Event::Finished { outcome, .. } = event { Some(outcome.clone()) } else { None };
        self.until("the end of the transfer", ending).await
    }

    /// Waits until so much has arrived.
    async fn progress(&mut self, bytes: u64) {
        let far =
            |event: &Event| matches!(event, Event::Progress { done_bytes, .. } if *done_bytes >= bytes).then_some(());
        self.until("progress", far).await;
    }
}

/// A file that no two places of are alike.
fn write_file(folder: &Path, megabytes: u32) -> std::path::PathBuf {
    let path = folder.join("large.bin");
    let content: Vec<u8> =
        (0..megabytes * 250_000).flat_map(|n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&path, content).unwrap();
    path
}

fn assert_same(sent: &Path, inbox: &Path) {
    let (sent_bytes, got) = (std::fs::read(sent).unwrap(), std::fs::read(inbox.join("large.bin")).unwrap());
    assert!(sent_bytes == got, "the file arrived as it is");
    assert_eq!(std::fs::read_dir(inbox).unwrap().count(), 1, "no unfinished files are left");
}

struct Folders {
    outbox: tempfile::TempDir,
    inbox: tempfile::TempDir,
}

impl Folders {
    fn new() -> Self {
        Self { outbox: tempfile::tempdir().unwrap(), inbox: tempfile::tempdir().unwrap() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lk_40_without_webrtc_a_file_moves_over_a_lane_at_once_in_either_direction() {
    let relay = relay(0).await;
    for shower_sends in [true, false] {
        let folders = Folders::new();
        let file = write_file(folders.outbox.path(), 20);
        let (shower, opener) = two(client(port(&relay), None), client(port(&relay), None)).await;
        let begun = Instant::now();
        let inbox = folders.inbox.path();
        let (mut sender, mut receiver) = if shower_sends {
            (start(shower, None, NOWHERE), start(opener, Some(inbox), NOWHERE))
        } else {
            (start(opener, None, NOWHERE), start(shower, Some(inbox), NOWHERE))
        };
        sender.send(&file).await;
        assert_eq!(receiver.route().await, Route::Relayed);
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        assert_eq!(sender.finished().await, Outcome::Done);
        assert_eq!(receiver.finished().await, Outcome::Done);
        assert_same(&file, inbox);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lk_40_one_side_without_webrtc_is_enough_for_a_lane() {
    let relay = relay(0).await;
    for (shower_at, opener_at) in [(NOWHERE, LOOPBACK), (LOOPBACK, NOWHERE)] {
        let (shower, opener) = two(client(port(&relay), None), client(port(&relay), None)).await;
        let begun = Instant::now();
        let (mut one, mut other) = (start(shower, None, shower_at), start(opener, None, opener_at));
        assert_eq!((one.route().await, other.route().await), (Route::Relayed, Route::Relayed));
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lk_39_a_lane_at_the_own_server_of_one_side_is_direct() {
    let relay = relay(0).await;
    let (shower, opener) = two(client(port(&relay), Some(&relay)), client(port(&relay), None)).await;
    let (mut one, mut other) = (start(shower, None, NOWHERE), start(opener, None, NOWHERE));
    assert_eq!((one.route().await, other.route().await), (Route::Lan, Route::Lan));
}

#[tokio::test(flavor = "multi_thread")]
async fn webrtc_is_taken_where_it_works() {
    let relay = relay(0).await;
    let (shower, opener) = two(client(port(&relay), None), client(port(&relay), None)).await;
    let (mut one, mut other) = (start(shower, None, LOOPBACK), start(opener, None, LOOPBACK));
    assert_eq!((one.route().await, other.route().await), (Route::Lan, Route::Lan));
}

#[tokio::test(flavor = "multi_thread")]
async fn lk_30_a_transfer_over_a_lane_outlives_a_restart_of_the_relay() {
    let folders = Folders::new();
    let file = write_file(folders.outbox.path(), 60);
    let first = relay(0).await;
    let port = port(&first);
    let (shower, opener) = two(client(port, None), client(port, None)).await;
    let mut receiver = start(shower, Some(folders.inbox.path()), NOWHERE);
    let mut sender = start(opener, None, NOWHERE);
    sender.send(&file).await;
    receiver.progress(5_000_000).await;
    first.shutdown().await;
    let _second = relay(port).await;
    let back = Instant::now();
    receiver.route().await;
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    assert_eq!(sender.finished().await, Outcome::Done);
    assert_eq!(receiver.finished().await, Outcome::Done);
    assert_same(&file, folders.inbox.path());
}

/// Stands before the relay; changes a bit of so many large messages that come from it.
async fn tampering_proxy(relay: u16, tampers: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let own_port = listener.local_addr().unwrap().port();
    let left = Arc::new(AtomicUsize::new(tampers));
    let counted = Arc::clone(&left);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect((LOOPBACK, relay)).await.unwrap();
            let left = Arc::clone(&counted);
            tokio::spawn(async move {
                let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut near_in, &mut far_out).await });
                let (mut buffer, mut seen) = (vec![0; 64 * 1024], 0_usize);
                while let Ok(read) = far_in.read(&mut buffer).await {
                    if read == 0 {
                        break;
                    }
                    seen += read;
                    // Past handshakes and signaling: this is in the middle of a frame of a transfer.
                    let late = seen > 1_000_000;
                    if late && left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok() {
                        buffer[read / 2] ^= 1;
                        seen = 0;
                    }
                    if near_out.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (own_port, left)
}

#[tokio::test(flavor = "multi_thread")]
async fn lk_33_a_server_that_changes_a_frame_is_noticed_and_named_and_the_file_arrives_all_the_same() {
    let folders = Folders::new();
    let file = write_file(folders.outbox.path(), 40);
    let relay = relay(0).await;
    let (proxy, left) = tampering_proxy(port(&relay), 2).await;
    // The receiver's `Host` names the proxy, which loopback allows under any port.
    let (shower, opener) = two(client(port(&relay), None), client(proxy, None)).await;
    let sender = start(shower, None, NOWHERE);
    let mut receiver = start(opener, Some(folders.inbox.path()), NOWHERE);
    sender.send(&file).await;
    let warning = receiver
        .until("a warning", |event| if let Event::Warning { message } = event { Some(message.clone()) } else { None })
        .await;
    assert!(warning.contains("changed what it carried"), "{warning}");
    assert_eq!(receiver.finished().await, Outcome::Done);
    assert_same(&file, folders.inbox.path());
    assert_eq!(left.load(Ordering::Acquire), 0);
}
