//! What the commands share: a context, somebody who prints, somebody who answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lanyard_protocol::peer::SecurePage;
use lanyard_protocol::signaling::ListedDevice;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use super::Settings;
use crate::agent::board::Board;
use crate::agent::event::{Event, TransferNumber};
use crate::agent::ledger::Ledger;
use crate::agent::question::Asker;
use crate::agent::sessions::Sessions;
use crate::config::AcceptPolicy;
use crate::devices::DeviceBook;
use crate::discovery::mdns::{LocalNames, Mdns};
use crate::exit::{Exit, Stop};
use crate::inbox::ReceiveFolder;
use crate::session::{Context, Conversations, Downloads, Handle, Met};
use crate::share::Registry;
use crate::terminal::{Console, Reporter, answer_questions};

/// Events that wait for a slow reader. Progress comes often; what is missed is told again.
const EVENTS: usize = 1024;

/// Questions that wait for this terminal.
const TERMINAL_QUESTIONS: usize = 16;

/// What a server of this program's own adds.
#[derive(Default)]
pub(super) struct OwnServer {
    /// Its addresses, for those who remember this device.
    pub doors: Vec<String>,
    /// Its links, for pages that cannot hold an offer.
    pub links: Option<Registry>,
}

/// One run of the program.
pub(super) struct Run {
    /// Everyone it talks with.
    pub sessions: Sessions,
    /// What conversations share.
    pub context: Arc<Context>,
    /// Where the devices for linked pages go in.
    pub nearby: watch::Sender<Arc<[ListedDevice]>>,
    /// What is under way.
    pub ledger: Ledger,
    /// What waits for an answer.
    pub board: Board,
    tasks: Vec<JoinHandle<()>>,
}

impl Run {
    /// Begins to print and to answer.
    #[must_use]
    pub(super) fn start(
        settings: &Settings,
        console: &Console,
        folder: Option<Arc<ReceiveFolder>>,
        names: Option<LocalNames>,
        server: OwnServer,
    ) -> Self {
        let (events, printed) = broadcast::channel(EVENTS);
        let (asker, asked) = Asker::channel();
        // What waits at the agent can be answered from another terminal too.
        let board = Board::default();
        let (terminal, questions) = mpsc::channel(TERMINAL_QUESTIONS);
        let ledger = Ledger::new(crate::paths::history_file());
        let ledger_events = events.subscribe();
        let asker = asker.with_events(events.clone()).with_patience(settings.answer_timeout);
        let (nearby, nearby_receiver) = watch::channel(Arc::from([]));
        let addresses: Vec<IpAddr> =
            if settings.interface_names.is_empty() { Vec::new() } else { settings.interfaces().addresses() };
        let accept = if settings.yes { AcceptPolicy::Accept } else { settings.accept };
        let context = Arc::new(Context {
            events,
            asker,
            folder,
            accept,
            names,
            addresses,
            nearby: nearby_receiver,
            sent_records: crate::paths::sent_records(),
            book: open_book(console),
            doors: server.doors,
            links: server.links,
            // A relay without a certificate is no secure page.
            secure_page: settings.relay.as_ref().and_then(|relay| SecurePage::try_from(relay.base.clone()).ok()),
            downloads: Downloads::default(),
            memory: Arc::default(),
            conversations: Conversations::default(),
            numbers: AtomicU64::new(0),
        });
        let reporter = Reporter::new(console.clone(), settings.format);
        let tasks = vec![
            tokio::spawn(reporter.run(printed)),
            tokio::spawn(ledger.clone().run(ledger_events)),
            tokio::spawn(board.clone().run(asked, terminal)),
            tokio::spawn(answer_questions(console.clone(), questions, settings.yes)),
        ];
        Self { sessions: Sessions::new(context.clone()), context, nearby, ledger, board, tasks }
    }

    /// Takes in a device that was met.
    ///
    /// # Errors
    /// Too many are connected, or it pretends to be a remembered one.
    pub(super) async fn admit(&self, met: Met) -> Result<Handle, Stop> {
        Ok(self.sessions.admit(met).await?)
    }

    /// Says goodbye to every device, prints what is left to print, and ends.
    pub(super) async fn finish(self) {
        self.sessions.stop().await;
        let Self { sessions, context, tasks, .. } = self;
        // The reporter ends when the last sender of events is gone; conversations may still hold one.
        drop((sessions, context));
        let mut tasks = tasks.into_iter();
        if let Some(mut reporter) = tasks.next()
            && tokio::time::timeout(std::time::Duration::from_millis(300), &mut reporter).await.is_err()
        {
            reporter.abort();
        }
        for task in tasks {
            task.abort();
        }
    }
}

/// The remembered devices; a book that cannot be used is as good as none, and is left as it is.
#[must_use]
pub(super) fn open_book(console: &Console) -> Option<Arc<DeviceBook>> {
    let directory = crate::paths::data_directory()?;
    match DeviceBook::open(&directory) {
        Ok(book) => Some(Arc::new(book)),
        Err(error) => {
            console.complain(&format!("Nobody is remembered: {error}."));
            None
        }
    }
}

/// Waits for the end of a transfer and returns what to exit with.
pub(super) async fn wait_for_end(events: &mut broadcast::Receiver<Event>, number: TransferNumber) -> Exit {
    loop {
        match events.recv().await {
            Ok(Event::Finished { transfer, outcome }) if transfer == number => return Exit::from(&outcome),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return Exit::Failure,
        }
    }
}

/// Multicast DNS for a run: without it devices still meet by link.
pub(super) fn start_mdns(settings: &Settings, boot_id: &str, console: &Console) -> Option<Mdns> {
    match Mdns::start(&settings.interfaces(), boot_id) {
        Ok(mdns) => Some(mdns),
        Err(error) => {
            console.complain(&format!("Other devices cannot be found by name: {error}. Links and QR codes work."));
            None
        }
    }
}

/// Drawn anew each time, so that nobody can follow a device from network to network.
#[must_use]
pub(super) fn boot_id() -> String {
    data_encoding::BASE64URL_NOPAD.encode(&rand::random::<[u8; 16]>())
}

/// The address of the page that others are sent to: the likeliest of this device's.
#[must_use]
pub(super) fn page_address(settings: &Settings, port: u16, console: &Console) -> (String, Vec<IpAddr>) {
    let addresses = settings.interfaces().addresses();
    let best = addresses.first().copied().unwrap_or_else(|| {
        console.complain("This device is on no network; the link works on this device only.");
        IpAddr::from([127, 0, 0, 1])
    });
    (format!("http://{}/", std::net::SocketAddr::new(best, port)), addresses)
}

/// A folder to receive into.
///
/// # Errors
/// It cannot be used.
pub(super) fn open_folder(path: &std::path::Path) -> Result<Arc<ReceiveFolder>, Stop> {
    let folder = ReceiveFolder::open(path).map_err(|error| Stop::new(Exit::NoSpace, error.to_string()))?;
    crate::inbox::sweep(&folder, std::time::SystemTime::now());
    Ok(Arc::new(folder))
}
