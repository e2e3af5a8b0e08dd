//! Two agent-side clients that meet through the middle: the code of `lanyard` from the WebSocket to the bound link.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lanyard_agent::agent::event::Event;
use lanyard_agent::agent::question::{Answer, Asked, Asker, Question};
use lanyard_agent::session::{Command, Context, meet, start};
use lanyard_agent::signaling_client::{ServerUrl, SignalingClient};
use lanyard_pairing::{
    Code, Identity, Link, LinkSecret, Pairing, Profile, RememberedDevice, ResumeSecret, Role, Trust,
};
use lanyard_protocol::MailboxId;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng as _;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use zeroize::Zeroizing;

use super::tampering::Way;

/// How long the other side is waited for at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a device may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(10);

/// What two devices know of each other before they meet.
#[derive(Clone)]
pub struct Secrets {
    /// How they meet.
    pub way: Way,
    /// The key of the one that shows.
    pub shower: Identity,
    /// The key of the one that opens.
    pub opener: Identity,
    /// For links.
    pub link: LinkSecret,
    /// For codes.
    pub code: Code,
    /// For remembered devices and resumed sessions.
    pub pair: [u8; 32],
    /// Where they meet.
    pub mailbox: MailboxId,
}

impl Secrets {
    /// Two new devices.
    #[must_use]
    pub fn draw(way: Way, rng: &mut ChaCha20Rng) -> Self {
        let mut bytes = [0; 48];
        rng.fill_bytes(&mut bytes);
        let (mailbox, pair) = bytes.split_at(16);
        let nameplate = format!("{}", 1000 + rng.next_u32() % 9000);
        let link = LinkSecret::generate(rng);
        let mailbox = match way {
            Way::Link => link.mailbox().0,
            Way::Code | Way::Nearby | Way::Remembered | Way::Resumed => mailbox.try_into().expect("16 bytes"),
        };
        Self {
            way,
            shower: Identity::generate(rng),
            opener: Identity::generate(rng),
            link,
            code: Code::generate(&nameplate, rng).expect("four digits"),
            pair: pair.try_into().expect("32 bytes"),
            mailbox: MailboxId(mailbox),
        }
    }

    /// The mailbox as the handshake names it.
    #[must_use]
    pub fn pairing_mailbox(&self) -> lanyard_pairing::MailboxId {
        lanyard_pairing::MailboxId(self.mailbox.0)
    }

    /// The one that shows, with one-time keys of its own.
    #[must_use]
    pub fn show(&self) -> Pairing {
        self.pairing(Role::Responder)
    }

    /// The one that opens.
    #[must_use]
    pub fn open(&self) -> Pairing {
        self.pairing(Role::Initiator)
    }

    fn pairing(&self, role: Role) -> Pairing {
        let rng = &mut rand::rng();
        let (own, peer, name) = match role {
            Role::Responder => (&self.shower, self.opener.public_key(), "Attic NAS"),
            Role::Initiator => (&self.opener, self.shower.public_key(), "Otter"),
        };
        let profile = Profile::new(name, "computer", ["webrtc", "native"]).expect("short enough");
        let place = self.pairing_mailbox();
        match (self.way, role) {
            (Way::Link, Role::Responder) => Pairing::show_link(own, &self.link, profile, rng),
            (Way::Link, Role::Initiator) => {
                let link = Link::new("http://relay.example/", self.link.clone(), self.shower.fingerprint());
                Pairing::open_link(own, &link.expect("a web address"), profile, rng)
            }
            (Way::Code, Role::Responder) => Pairing::show_code(own, &self.code, profile, rng),
            (Way::Code, Role::Initiator) => Pairing::type_code(own, &self.code, profile, rng),
            (Way::Nearby, role) => Pairing::nearby(role, place, own, profile, rng),
            (Way::Remembered, role) => {
                let device = RememberedDevice::new(peer, Zeroizing::new(self.pair));
                Pairing::remembered(role, place, &device, own, profile, rng)
            }
            (Way::Resumed, role) => {
                let resume = ResumeSecret::new(peer, Trust::Scanned, Zeroizing::new(self.pair));
                Pairing::resume(role, place, &resume, own, profile, rng)
            }
        }
    }
}

/// What became of one side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    /// Its link was bound: from here on files could flow.
    pub linked: bool,
    /// What its person was told.
    pub reason: Option<String>,
}

impl Side {
    fn is_settled(&self) -> bool {
        self.linked || self.reason.is_some()
    }
}

/// Both sides through the same server; returns when each is linked or knows why not, or the time is over.
pub async fn meet_both(server: SocketAddr, secrets: &Secrets, limit: Duration) -> [Side; 2] {
    let (question_sender, questions) = mpsc::channel(8);
    let people = tokio::spawn(compare(questions));
    let (stop, stopped) = watch::channel(false);
    let (shower, shower_state) = Client::new(server, secrets.mailbox, question_sender.clone(), stopped.clone());
    let (opener, opener_state) = Client::new(server, secrets.mailbox, question_sender, stopped);
    let (joined, has_joined) = oneshot::channel();
    let showing = tokio::spawn(shower.run(secrets.show(), Some(joined)));
    let _ = has_joined.await;
    let opening = tokio::spawn(opener.run(secrets.open(), None));
    let mut states = [shower_state, opener_state];
    let settled = async {
        for state in &mut states {
            let _ = state.wait_for(Side::is_settled).await;
        }
    };
    let _ = tokio::time::timeout(limit, settled).await;
    // What they say at the end is theirs to say: nothing is cut off.
    let _ = stop.send(true);
    for task in [showing, opening] {
        let _ = tokio::time::timeout(GOODBYE, task).await;
    }
    people.abort();
    states.map(|state| state.borrow().clone())
}

/// One side alone: the other one is a page.
pub struct Alone {
    /// Its state, kept current.
    pub state: watch::Receiver<Side>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Alone {
    /// Begins; `joined` is told when the mailbox was joined.
    #[must_use]
    pub fn meet(server: SocketAddr, mailbox: MailboxId, pairing: Pairing, joined: oneshot::Sender<()>) -> Self {
        let (questions, _nobody) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let (client, state) = Client::new(server, mailbox, questions, stopped);
        Self { state, stop, task: tokio::spawn(client.run(pairing, Some(joined))) }
    }

    /// Says goodbye and ends.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = tokio::time::timeout(GOODBYE, self.task).await;
    }
}

struct Client {
    server: SocketAddr,
    mailbox: MailboxId,
    questions: mpsc::Sender<Asked>,
    state: watch::Sender<Side>,
    stopped: watch::Receiver<bool>,
}

impl Client {
    fn new(
        server: SocketAddr,
        mailbox: MailboxId,
        questions: mpsc::Sender<Asked>,
        stopped: watch::Receiver<bool>,
    ) -> (Self, watch::Receiver<Side>) {
        let (state, seen) = watch::channel(Side::default());
        (Self { server, mailbox, questions, state, stopped }, seen)
    }

    async fn run(self, pairing: Pairing, joined: Option<oneshot::Sender<()>>) {
        if let Err(reason) = self.try_run(pairing, joined).await {
            self.tell(reason);
        }
    }

    fn tell(&self, reason: String) {
        self.state.send_if_modified(|side| {
            let first = side.reason.is_none();
            side.reason.get_or_insert(reason);
            first
        });
    }

    async fn try_run(&self, pairing: Pairing, joined: Option<oneshot::Sender<()>>) -> Result<(), String> {
        let (asker, mut asked) = Asker::channel();
        let (events, mut happened) = broadcast::channel(64);
        let asker = asker.with_events(events.clone());
        let questions = self.questions.clone();
        // The person reads every warning and answers every question, also while the meeting goes on.
        let listening = async {
            loop {
                tokio::select! {
                    Some(question) = asked.recv() => drop(questions.send(question).await),
                    Ok(event) = happened.recv() => if let Event::Warning { message } = event { self.tell(message) },
                    else => std::future::pending::<()>().await,
                }
            }
        };
        tokio::select! {
            result = self.meet_and_link(pairing, joined, asker, events) => result,
            () = listening => Ok(()),
        }
    }

    async fn meet_and_link(
        &self,
        pairing: Pairing,
        joined: Option<oneshot::Sender<()>>,
        asker: Asker,
        events: broadcast::Sender<Event>,
    ) -> Result<(), String> {
        let url = ServerUrl::of_agent(self.server.ip(), self.server.port());
        let (client, _rings) = SignalingClient::connect(vec![url], None);
        let mailbox = client.join(self.mailbox).await.map_err(|error| error.to_string())?;
        if let Some(joined) = joined {
            let _ = joined.send(());
        }
        let mut stopped = self.stopped.clone();
        let met = tokio::select! {
            met = meet(mailbox, pairing, &asker, "the other", Some(PATIENCE)) => met.map_err(|error| error.to_string())?,
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
        };
        let context = Context { addresses: vec![self.server.ip()], ..Context::new(events, asker) };
        let mut handle = start(met, Arc::new(context));
        let linking = async {
            if handle.linked.wait_for(|linked| *linked).await.is_ok() {
                self.state.send_modify(|side| side.linked = true);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = linking => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        let _ = handle.commands.send(Command::Stop).await;
        let _ = handle.over.wait_for(|over| *over).await;
        Ok(())
    }
}

/// Both people, who look at both screens: they agree when the row that one shows is among the other's three.
async fn compare(mut questions: mpsc::Receiver<Asked>) {
    let (mut shown, mut offered) = (None, None);
    while let Some(Asked { question, reply }) = questions.recv().await {
        if let Question::ShowPictures { row, .. } = question {
            shown = Some((row, reply));
        } else if let Question::PickPictures { rows, .. } = question {
            offered = Some((rows, reply));
        }
        if let (Some((row, _)), Some((rows, _))) = (&shown, &offered) {
            let right = rows.iter().position(|one| one == row).and_then(|at| u8::try_from(at).ok());
            let (says, picks) = match right {
                Some(at) => (Answer::Yes, Answer::Picked(at)),
                None => (Answer::No, Answer::Picked(u8::MAX)),
            };
            for (reply, answer) in
                [(shown.take().map(|(_, reply)| reply), says), (offered.take().map(|(_, reply)| reply), picks)]
            {
                if let Some(reply) = reply {
                    let _ = reply.send(answer);
                }
            }
        }
    }
}
