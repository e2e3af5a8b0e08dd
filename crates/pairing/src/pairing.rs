//! The state machine of a meeting, one for all five methods.

use std::collections::VecDeque;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    AbortReason, Code, Fingerprint, Identity, Link, LinkSecret, MailboxId, Method, PairingError, PictureRow, Profile,
    PublicKey, RememberedDevice, ResumeSecret, Role, Session, Trust,
    entropy::Entropy,
    frame::{self, Step},
    noise::{Noise, NoiseError},
    pake::{self, Pake},
    pictures,
};

/// Joiners of a link that may fail to know its secret; the last one closes it.
const MAX_WRONG_TRIES: u32 = 5;

/// One meeting of this device with one other, from the first message to a [`Session`].
///
/// Feed it each handshake message that comes through the mailbox ([`Pairing::handle_message`]) and drain
/// [`Pairing::poll_output`] after every call and after making it. It knows no clock: the shell ends it with
/// [`Pairing::cancel`], and when a joiner of a link goes away before the end, arms it again with [`Pairing::restart`].
pub struct Pairing {
    role: Role,
    method: Method,
    trust: Trust,
    /// What the prologue says of where the two meet.
    mailbox: Vec<u8>,
    secret: Secret,
    expected: Expected,
    identity: Identity,
    profile: Profile,
    entropy: Entropy,
    wrong_tries: u32,
    last_sent: Vec<u8>,
    last_taken: Vec<u8>,
    state: State,
    outputs: VecDeque<Output>,
}

/// What the shell has to do.
pub enum Output {
    /// Send this message to the other side of the mailbox.
    Send(Vec<u8>),
    /// Initiator of a nearby pairing: show this row and ask whether it is on the other screen too; answer with
    /// [`Pairing::confirm_pictures`].
    ShowPictures {
        /// The row.
        mine: PictureRow,
    },
    /// Responder of a nearby pairing: let the human pick the row that the other screen shows; answer with
    /// [`Pairing::pick_row`].
    PickPictures {
        /// One right row among two wrong ones.
        rows: [PictureRow; 3],
    },
    /// The two have met. The link or code is used up.
    Established(Box<Session>),
    /// A message or joiner was refused, and the meeting goes on: a link still waits for the right joiner.
    Refused(PairingError),
    /// The meeting is over. A code is burnt: give its nameplate back and show the error's text. After
    /// [`Output::Established`] it means that the other side did not take our last message, and the session is worth
    /// nothing.
    Failed(PairingError),
}

enum Secret {
    Psk(Zeroizing<[u8; 32]>),
    Code(Code),
}

/// Who must be at the other end.
enum Expected {
    Anyone,
    Fingerprint(Fingerprint),
    Key(PublicKey),
}

enum State {
    /// I, code: R's SPAKE2 element has to come first.
    AwaitPake(Pake),
    /// R. With a code, our element is sent and waits for the other one.
    AwaitM1(Option<Pake>),
    /// I.
    AwaitM2(Noise),
    /// R.
    AwaitM3(Noise),
    /// R, nearby.
    AwaitCommit(Box<Session>),
    /// I, nearby: committed to this nonce.
    AwaitNonce {
        session: Box<Session>,
        nonce: Zeroizing<[u8; 32]>,
    },
    /// R, nearby.
    AwaitReveal {
        session: Box<Session>,
        commitment: [u8; 32],
        nonce: Zeroizing<[u8; 32]>,
    },
    /// Nearby: the humans look. `right` is the row that R's human has to pick.
    Comparing {
        session: Box<Session>,
        right: Option<usize>,
        own: Verdict,
        peer: Verdict,
    },
    Established,
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Open,
    Same,
}

impl Pairing {
    /// Shows a link or QR code with this secret and waits for its opener.
    #[must_use]
    pub fn show_link(identity: &Identity, secret: &LinkSecret, profile: Profile, rng: &mut impl CryptoRng) -> Self {
        let place = Place { role: Role::Responder, method: Method::Link, mailbox: secret.mailbox().0.to_vec() };
        Self::start(place, Secret::Psk(secret.psk()), Expected::Anyone, Trust::Scanned, identity, profile, rng)
    }

    /// Opens a link that another device shows.
    #[must_use]
    pub fn open_link(identity: &Identity, link: &Link, profile: Profile, rng: &mut impl CryptoRng) -> Self {
        let secret = link.secret();
        let place = Place { role: Role::Initiator, method: Method::Link, mailbox: secret.mailbox().0.to_vec() };
        let expected = Expected::Fingerprint(link.shower());
        Self::start(place, Secret::Psk(secret.psk()), expected, Trust::Scanned, identity, profile, rng)
    }

    /// Shows a code. It is good for one try.
    #[must_use]
    pub fn show_code(identity: &Identity, code: &Code, profile: Profile, rng: &mut impl CryptoRng) -> Self {
        Self::code(Role::Responder, identity, code, profile, rng)
    }

    /// Tries a code that another device shows. Whatever comes of it, the code is used up afterwards.
    #[must_use]
    pub fn type_code(identity: &Identity, code: &Code, profile: Profile, rng: &mut impl CryptoRng) -> Self {
        Self::code(Role::Initiator, identity, code, profile, rng)
    }

    fn code(role: Role, identity: &Identity, code: &Code, profile: Profile, rng: &mut impl CryptoRng) -> Self {
        let place = Place { role, method: Method::Code, mailbox: code.nameplate().as_bytes().to_vec() };
        Self::start(place, Secret::Code(code.clone()), Expected::Anyone, Trust::Code, identity, profile, rng)
    }

    /// Meets a device that nothing is shared with; humans on both sides compare pictures. `mailbox` is where the server
    /// let the two meet. The one who is asked is the responder: its human picks.
    #[must_use]
    pub fn nearby(
        role: Role,
        mailbox: MailboxId,
        identity: &Identity,
        profile: Profile,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let place = Place { role, method: Method::Nearby, mailbox: mailbox.0.to_vec() };
        let secret = Secret::Psk(Zeroizing::new([0; 32]));
        Self::start(place, secret, Expected::Anyone, Trust::Compared, identity, profile, rng)
    }

    /// Meets a remembered device in one of its [`RememberedDevice::mailboxes`]. The first in it is the responder.
    #[must_use]
    pub fn remembered(
        role: Role,
        mailbox: MailboxId,
        device: &RememberedDevice,
        identity: &Identity,
        profile: Profile,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let place = Place { role, method: Method::Remembered, mailbox: mailbox.0.to_vec() };
        let secret = Secret::Psk(Zeroizing::new(*device.pair_secret()));
        let expected = Expected::Key(device.peer_key());
        Self::start(place, secret, expected, Trust::Remembered, identity, profile, rng)
    }

    /// Brings a session back, in the mailbox it had or in one of [`ResumeSecret::mailboxes`]. The first in it is the
    /// responder, whatever the roles were before.
    #[must_use]
    pub fn resume(
        role: Role,
        mailbox: MailboxId,
        resume: &ResumeSecret,
        identity: &Identity,
        profile: Profile,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let place = Place { role, method: Method::Resumed, mailbox: mailbox.0.to_vec() };
        let secret = Secret::Psk(Zeroizing::new(*resume.secret_bytes()));
        Self::start(place, secret, Expected::Key(resume.peer_key()), resume.trust(), identity, profile, rng)
    }

    fn start(
        place: Place,
        secret: Secret,
        expected: Expected,
        trust: Trust,
        identity: &Identity,
        profile: Profile,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let Place { role, method, mailbox } = place;
        let mut pairing = Self {
            role,
            method,
            trust,
            mailbox,
            secret,
            expected,
            identity: identity.clone(),
            profile,
            entropy: Entropy::draw(rng),
            wrong_tries: 0,
            last_sent: Vec::new(),
            last_taken: Vec::new(),
            state: State::Failed,
            outputs: VecDeque::new(),
        };
        pairing.state = pairing.first_state();
        pairing
    }

    /// Our part in it.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// How the two meet.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The next thing to do; drain it after every call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes one message of the other side, sealed messages excepted: those go to [`Session::open`]. Any bytes may come.
    pub fn handle_message(&mut self, message: &[u8]) {
        if matches!(self.state, State::Failed) {
            return;
        }
        if !self.last_taken.is_empty() && message == self.last_taken {
            self.outputs.push_back(Output::Refused(PairingError::Replayed));
            return;
        }
        if let Err(error) = self.take(message) {
            self.refuse(error);
        } else {
            message.clone_into(&mut self.last_taken);
        }
    }

    /// A message came under another sender's number than that of the side that is there (PA-9). What it says does not
    /// count: only the server can have named the number, and an answer would go to nobody.
    pub fn refuse_sender(&mut self) {
        if !matches!(self.state, State::Failed) {
            self.refuse(PairingError::WrongSender);
        }
    }

    /// The human's answer to [`Output::PickPictures`]: which row, from 0, is on the other screen. Without a question open
    /// it does nothing.
    pub fn pick_row(&mut self, row: usize) {
        if let State::Comparing { right: Some(right), own: Verdict::Open, .. } = self.state {
            self.judge_pictures(row == right, PairingError::WrongPictures);
        }
    }

    /// The human's answer to [`Output::ShowPictures`]: whether the other screen shows the same row. Without a question
    /// open it does nothing.
    pub fn confirm_pictures(&mut self, same: bool) {
        if let State::Comparing { right: None, own: Verdict::Open, .. } = self.state {
            self.judge_pictures(same, PairingError::PicturesDiffer);
        }
    }

    /// Waits for another joiner after one went away or stayed silent; nothing is counted. All keys are new, so messages
    /// of the old attempt are worth nothing. `false` when there is nothing to wait for: we are the initiator, the humans
    /// are comparing already, or the meeting is over.
    pub fn restart(&mut self) -> bool {
        let waits = matches!(self.state, State::AwaitM1(_) | State::AwaitM3(_));
        if waits {
            self.rearm();
        }
        waits
    }

    /// Ends the meeting because the human or a timeout says so. The other side is told.
    pub fn cancel(&mut self) {
        self.stop(PairingError::Cancelled);
    }

    /// Ends the meeting because the server reports a third side (SAFETY §4 rule 2). The other side is told.
    pub fn crowded(&mut self) {
        self.stop(PairingError::Crowded);
    }

    fn stop(&mut self, error: PairingError) {
        if !matches!(self.state, State::Established | State::Failed) {
            self.fail(error);
        }
    }

    fn take(&mut self, message: &[u8]) -> Result<(), PairingError> {
        if !self.last_sent.is_empty() && message == self.last_sent {
            return Err(PairingError::Reflected);
        }
        let (step, payload) = frame::decode(message, self.method, self.role)?;
        if step == Step::Abort {
            let reason = payload.first().map_or(AbortReason::Protocol, |&byte| AbortReason::from_byte(byte));
            return Err(PairingError::PeerStopped(reason));
        }
        // A refused message ends the attempt, so a state that was taken out need not be put back.
        match (std::mem::replace(&mut self.state, State::Failed), step) {
            (State::AwaitPake(pake), Step::Pake) => self.take_pake(pake, payload),
            (State::AwaitM1(pake), Step::M1) => self.take_m1(pake, payload),
            (State::AwaitM3(_), Step::M1) if self.may_retry() => {
                // The old joiner went away and the server has not said so yet: the newest one counts.
                self.entropy.next_attempt();
                self.take_m1(None, payload)
            }
            (State::AwaitM2(noise), Step::M2) => self.take_m2(noise, payload),
            (State::AwaitM3(noise), Step::M3) => self.take_m3(noise, payload),
            (State::AwaitCommit(session), Step::Commit) => self.take_commit(session, payload),
            (State::AwaitNonce { session, nonce }, Step::Nonce) => self.take_nonce(session, &nonce, payload),
            (State::AwaitReveal { session, commitment, nonce }, Step::Reveal) => {
                self.take_reveal(session, &commitment, &nonce, payload)
            }
            (State::Comparing { mut session, right, own, peer: Verdict::Open }, Step::ConfirmI | Step::ConfirmR) => {
                open_sealed::<0>(&mut session, payload)?;
                self.compared(session, right, own, Verdict::Same);
                Ok(())
            }
            (State::Established, _) => {
                self.state = State::Established;
                Err(PairingError::OutOfStep)
            }
            (_, _) => Err(PairingError::OutOfStep),
        }
    }

    fn take_pake(&mut self, pake: Pake, payload: &[u8]) -> Result<(), PairingError> {
        let element = *pake.element();
        let psk = pake.finish(payload).map_err(|_| PairingError::Malformed)?;
        let mut noise = self.noise(&psk);
        let m1 = noise.write(&[]).map_err(|_| PairingError::Malformed)?;
        self.send(Step::M1, &[&element[..], &m1].concat());
        self.state = State::AwaitM2(noise);
        Ok(())
    }

    fn take_m1(&mut self, pake: Option<Pake>, payload: &[u8]) -> Result<(), PairingError> {
        let (psk, m1) = match (&self.secret, pake) {
            (Secret::Psk(psk), _) => (psk.clone(), payload),
            (Secret::Code(_), Some(pake)) => {
                let (element, m1) = payload.split_at_checked(pake::ELEMENT_BYTES).ok_or(PairingError::Malformed)?;
                (pake.finish(element).map_err(|_| PairingError::Malformed)?, m1)
            }
            (Secret::Code(_), None) => return Err(PairingError::OutOfStep),
        };
        let mut noise = self.noise(&psk);
        noise.read(m1).map_err(|error| self.noise_error(error))?;
        let m2 = noise.write(&self.profile.encode()).map_err(|error| self.noise_error(error))?;
        if noise.has_equal_ephemerals() {
            return Err(PairingError::EqualEphemerals);
        }
        self.send(Step::M2, &m2);
        self.state = State::AwaitM3(noise);
        Ok(())
    }

    fn take_m2(&mut self, mut noise: Noise, payload: &[u8]) -> Result<(), PairingError> {
        let profile = noise.read(payload).map_err(|error| self.noise_error(error))?;
        if noise.has_equal_ephemerals() {
            return Err(PairingError::EqualEphemerals);
        }
        self.check_peer(&noise)?;
        let profile = Profile::decode(&profile).map_err(|_| PairingError::BadProfile)?;
        let m3 = noise.write(&self.profile.encode()).map_err(|error| self.noise_error(error))?;
        self.send(Step::M3, &m3);
        let mut session = self.session(noise, profile)?;
        if self.method == Method::Nearby {
            let nonce = self.entropy.picture_nonce();
            self.send_sealed(&mut session, Step::Commit, &pictures::commitment(&nonce));
            self.state = State::AwaitNonce { session, nonce };
        } else {
            self.establish(session);
        }
        Ok(())
    }

    fn take_m3(&mut self, mut noise: Noise, payload: &[u8]) -> Result<(), PairingError> {
        // Message 1 has proven the secret, so this can only be damage.
        let profile = noise.read(payload).map_err(|error| match error {
            NoiseError::Decrypt => PairingError::Tampered,
            NoiseError::WeakKey => PairingError::WeakKey,
        })?;
        self.check_peer(&noise)?;
        let profile = Profile::decode(&profile).map_err(|_| PairingError::BadProfile)?;
        let session = self.session(noise, profile)?;
        if self.method == Method::Nearby {
            self.state = State::AwaitCommit(session);
        } else {
            self.establish(session);
        }
        Ok(())
    }

    fn take_commit(&mut self, mut session: Box<Session>, payload: &[u8]) -> Result<(), PairingError> {
        let commitment = open_sealed(&mut session, payload)?;
        let nonce = self.entropy.picture_nonce();
        self.send_sealed(&mut session, Step::Nonce, &*nonce);
        self.state = State::AwaitReveal { session, commitment, nonce };
        Ok(())
    }

    fn take_nonce(
        &mut self,
        mut session: Box<Session>,
        nonce_i: &[u8; 32],
        payload: &[u8],
    ) -> Result<(), PairingError> {
        let nonce_r = open_sealed(&mut session, payload)?;
        self.send_sealed(&mut session, Step::Reveal, nonce_i);
        let mine = pictures::row(session.handshake_hash(), nonce_i, &nonce_r);
        self.outputs.push_back(Output::ShowPictures { mine });
        self.state = State::Comparing { session, right: None, own: Verdict::Open, peer: Verdict::Open };
        Ok(())
    }

    fn take_reveal(
        &mut self,
        mut session: Box<Session>,
        commitment: &[u8; 32],
        nonce_r: &[u8; 32],
        payload: &[u8],
    ) -> Result<(), PairingError> {
        let nonce_i = open_sealed(&mut session, payload)?;
        if !bool::from(pictures::commitment(&nonce_i).ct_eq(commitment)) {
            return Err(PairingError::CommitmentBroken);
        }
        let row = pictures::row(session.handshake_hash(), &nonce_i, nonce_r);
        let (rows, right) = pictures::choices(row, &self.entropy.picture_rows());
        self.outputs.push_back(Output::PickPictures { rows });
        self.state = State::Comparing { session, right: Some(right), own: Verdict::Open, peer: Verdict::Open };
        Ok(())
    }

    fn judge_pictures(&mut self, same: bool, otherwise: PairingError) {
        if !same {
            self.fail(otherwise);
            return;
        }
        if let State::Comparing { mut session, right, peer, .. } = std::mem::replace(&mut self.state, State::Failed) {
            let step = match self.role {
                Role::Initiator => Step::ConfirmI,
                Role::Responder => Step::ConfirmR,
            };
            self.send_sealed(&mut session, step, &[]);
            self.compared(session, right, Verdict::Same, peer);
        }
    }

    /// Both humans have to say yes.
    fn compared(&mut self, session: Box<Session>, right: Option<usize>, own: Verdict, peer: Verdict) {
        if own == Verdict::Same && peer == Verdict::Same {
            self.establish(session);
        } else {
            self.state = State::Comparing { session, right, own, peer };
        }
    }

    fn establish(&mut self, session: Box<Session>) {
        self.outputs.push_back(Output::Established(session));
        self.state = State::Established;
    }

    fn check_peer(&self, noise: &Noise) -> Result<(), PairingError> {
        let key = noise.peer_key().ok_or(PairingError::Malformed)?;
        if key == self.identity.public_key() {
            return Err(PairingError::EqualStatics);
        }
        match &self.expected {
            Expected::Anyone => Ok(()),
            Expected::Fingerprint(fingerprint) if key.fingerprint() == *fingerprint => Ok(()),
            Expected::Fingerprint(_) => Err(PairingError::WrongShower),
            Expected::Key(pinned) if key == *pinned => Ok(()),
            Expected::Key(_) => Err(PairingError::KeyChanged),
        }
    }

    fn session(&self, noise: Noise, peer_profile: Profile) -> Result<Box<Session>, PairingError> {
        let finished = noise.finish().ok_or(PairingError::Malformed)?;
        Ok(Box::new(Session::new(self.role, self.trust, peer_profile, finished)))
    }

    fn noise(&self, psk: &[u8; 32]) -> Noise {
        let ephemeral = self.entropy.noise_ephemeral();
        Noise::new(self.role, self.method, &self.mailbox, psk, &self.identity, ephemeral)
    }

    /// What a message 1 or 2 that does not verify means.
    fn noise_error(&self, error: NoiseError) -> PairingError {
        match (error, self.method) {
            (NoiseError::WeakKey, _) => PairingError::WeakKey,
            (NoiseError::Decrypt, Method::Code) => PairingError::WrongCode,
            (NoiseError::Decrypt, Method::Nearby) => PairingError::Tampered,
            (NoiseError::Decrypt, Method::Link | Method::Remembered | Method::Resumed) => PairingError::WrongSecret,
        }
    }

    /// Whether a failed joiner leaves the secret as good as it was: it has 128 bits or more, so tries tell nothing.
    fn may_retry(&self) -> bool {
        self.role == Role::Responder && matches!(self.method, Method::Link | Method::Remembered | Method::Resumed)
    }

    /// Ends this attempt; where the secret allows it, waits for the next joiner.
    fn refuse(&mut self, error: PairingError) {
        if matches!(self.state, State::Established) {
            // An abort that comes now says that the other side did not take our last message.
            let told = matches!(error, PairingError::PeerStopped(_));
            self.outputs.push_back(if told { Output::Failed(error) } else { Output::Refused(error) });
            return;
        }
        if !self.may_retry() {
            self.fail(error);
            return;
        }
        if error == PairingError::WrongSecret {
            self.wrong_tries += 1;
        }
        if self.wrong_tries >= MAX_WRONG_TRIES {
            self.fail(PairingError::TooManyWrongTries);
            return;
        }
        self.send_abort(&error);
        self.outputs.push_back(Output::Refused(error));
        self.rearm();
    }

    fn fail(&mut self, error: PairingError) {
        self.send_abort(&error);
        self.outputs.push_back(Output::Failed(error));
        self.state = State::Failed;
    }

    fn rearm(&mut self) {
        self.entropy.next_attempt();
        self.last_sent.clear();
        self.last_taken.clear();
        self.state = self.first_state();
    }

    /// Sends what comes first in this role, if anything, and waits.
    fn first_state(&mut self) -> State {
        let pake = match &self.secret {
            Secret::Code(code) => Some(Pake::new(self.role, code, self.entropy.spake2_scalar())),
            Secret::Psk(_) => None,
        };
        match (self.role, pake) {
            (Role::Initiator, Some(pake)) => State::AwaitPake(pake),
            (Role::Responder, Some(pake)) => {
                let element = *pake.element();
                self.send(Step::Pake, &element);
                State::AwaitM1(Some(pake))
            }
            (Role::Responder, None) => State::AwaitM1(None),
            (Role::Initiator, None) => {
                let Secret::Psk(psk) = &self.secret else { return State::Failed };
                let mut noise = self.noise(psk);
                let m1 = noise.write(&[]).expect("message 1 has 48 bytes and mixes only our own key");
                self.send(Step::M1, &m1);
                State::AwaitM2(noise)
            }
        }
    }

    fn send(&mut self, step: Step, payload: &[u8]) {
        let message = frame::encode(self.method, step, payload);
        self.last_sent.clone_from(&message);
        self.outputs.push_back(Output::Send(message));
    }

    fn send_sealed(&mut self, session: &mut Session, step: Step, plaintext: &[u8]) {
        let sealed = session.seal(plaintext);
        self.send(step, &sealed);
    }

    /// Tells the other side why it is over, unless it said so itself.
    fn send_abort(&mut self, error: &PairingError) {
        if !matches!(error, PairingError::PeerStopped(_)) {
            let message = frame::encode(self.method, Step::Abort, &[error.abort_reason().byte()]);
            self.outputs.push_back(Output::Send(message));
        }
    }
}

struct Place {
    role: Role,
    method: Method,
    mailbox: Vec<u8>,
}

fn open_sealed<const N: usize>(session: &mut Session, payload: &[u8]) -> Result<[u8; N], PairingError> {
    let plaintext = Zeroizing::new(session.open(payload).map_err(|_| PairingError::Tampered)?);
    plaintext.as_slice().try_into().map_err(|_| PairingError::Malformed)
}
