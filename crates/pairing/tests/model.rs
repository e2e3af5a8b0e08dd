//! A model of mailbox, handshake and attacker, explored to its end.
//!
//! Cryptography is perfect here: a key is a term, two are equal when they were made from the same parts, and nobody makes a
//! tag without its key. What is left are the questions this protocol answers: who may try a code how often, when a link is
//! spent, and who chooses a nonce when. The network loses, keeps and repeats messages. Small numbers stand for large ones:
//! codes have four words, pictures four rows, tries are two.
//!
//! Each rule can be taken out; a test for each shows that the model then finds the path that the rule closes.

use std::{fmt::Debug, hash::Hash};

use stateright::{Checker, Model, Property};

/// The rules under test (SAFETY §4 rule 1, PA-6, PA-12).
#[derive(Clone, Copy)]
struct Rules {
    /// A code is burnt by its first wrong message 1.
    one_try: bool,
    /// I commits to its nonce before it sees R's.
    commit_first: bool,
    /// A link is spent when message 3 verifies, not when message 1 does.
    spent_by_message_3: bool,
}

const ALL: Rules = Rules { one_try: true, commit_first: true, spent_by_message_3: true };

// A code: the attacker guesses, the owner of the words comes too.

const WORDS: u8 = 4;
const RIGHT: u8 = 2;
/// Guesses that the mailbox lets an attacker send; more than one, so that only the rule stops it.
const GUESSES: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shower {
    /// Waits for message 1.
    Waiting,
    /// Message 1 with these words verified; waits for message 3 of the same sender.
    Answered(Sender),
    Met(Sender),
    Burnt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sender {
    Friend,
    Attacker,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CodeState {
    shower: Shower,
    /// Sent by the friend and not yet delivered; the attacker owns the mailbox and decides when, and whether.
    friend_waits: bool,
    guessed: Vec<u8>,
    /// What the attacker has learnt: the answer to a guess tells it whether the guess was right.
    excluded: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CodeAction {
    Guess(u8),
    DeliverFriend,
    LoseFriend,
    SendMessage3,
}

struct CodeModel(Rules);

impl Model for CodeModel {
    type State = CodeState;
    type Action = CodeAction;

    fn init_states(&self) -> Vec<CodeState> {
        vec![CodeState { shower: Shower::Waiting, friend_waits: true, guessed: vec![], excluded: vec![] }]
    }

    fn actions(&self, state: &CodeState, actions: &mut Vec<CodeAction>) {
        let takes_messages = matches!(state.shower, Shower::Waiting | Shower::Answered(Sender::Friend));
        if state.guessed.len() < usize::from(GUESSES) && takes_messages {
            actions.extend((0..WORDS).filter(|words| !state.excluded.contains(words)).map(CodeAction::Guess));
        }
        if state.friend_waits {
            actions.extend([CodeAction::DeliverFriend, CodeAction::LoseFriend]);
        }
        if matches!(state.shower, Shower::Answered(_)) {
            actions.push(CodeAction::SendMessage3);
        }
    }

    fn next_state(&self, last: &CodeState, action: CodeAction) -> Option<CodeState> {
        let mut state = last.clone();
        match action {
            CodeAction::Guess(words) => {
                state.guessed.push(words);
                if last.shower != Shower::Waiting {
                    // Out of step: the code is burnt, and nothing is said about these words.
                    state.shower = Shower::Burnt;
                } else if words == RIGHT {
                    state.shower = Shower::Answered(Sender::Attacker);
                } else {
                    state.excluded.push(words);
                    if self.0.one_try {
                        state.shower = Shower::Burnt;
                    }
                }
            }
            CodeAction::DeliverFriend => {
                state.friend_waits = false;
                if state.shower == Shower::Waiting {
                    state.shower = Shower::Answered(Sender::Friend);
                }
            }
            CodeAction::LoseFriend => state.friend_waits = false,
            CodeAction::SendMessage3 => {
                if let Shower::Answered(sender) = state.shower {
                    state.shower = Shower::Met(sender);
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            // One guess is what a code allows; it may be right. What must not happen is a success after a failure.
            Property::always("attacker has one guess", |_, state: &CodeState| {
                state.shower != Shower::Met(Sender::Attacker) || state.guessed.len() == 1
            }),
            Property::sometimes("friend meets", |_, state: &CodeState| state.shower == Shower::Met(Sender::Friend)),
            Property::sometimes("attacker burns the code", |_, state: &CodeState| state.shower == Shower::Burnt),
        ]
    }
}

// A link: the attacker has no secret, but every message that was ever sent.

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LinkState {
    shower: Shower,
    /// A message 1 of the friend was recorded: it verifies, now and later.
    recorded: bool,
    spent: bool,
    friend_may_come: u8,
    wrong_tags: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkAction {
    FriendSendsMessage1,
    ReplayMessage1,
    ForgeMessage1,
    FriendSendsMessage3,
    ForgeMessage3,
    JoinerGone,
}

struct LinkModel(Rules);

const LINK_WRONG_TAGS: u8 = 2;

impl LinkModel {
    fn answer(&self, state: &mut LinkState, sender: Sender) {
        if !self.0.spent_by_message_3 {
            state.spent = true;
        }
        state.shower = Shower::Answered(sender);
    }
}

impl Model for LinkModel {
    type State = LinkState;
    type Action = LinkAction;

    fn init_states(&self) -> Vec<LinkState> {
        vec![LinkState { shower: Shower::Waiting, recorded: false, spent: false, friend_may_come: 2, wrong_tags: 0 }]
    }

    fn actions(&self, state: &LinkState, actions: &mut Vec<LinkAction>) {
        let open = matches!(state.shower, Shower::Waiting | Shower::Answered(_));
        if open && !(state.spent && state.shower == Shower::Waiting) {
            if state.friend_may_come > 0 {
                actions.push(LinkAction::FriendSendsMessage1);
            }
            if state.recorded {
                actions.push(LinkAction::ReplayMessage1);
            }
            actions.push(LinkAction::ForgeMessage1);
        }
        match state.shower {
            Shower::Answered(Sender::Friend) => {
                actions.extend([LinkAction::FriendSendsMessage3, LinkAction::ForgeMessage3, LinkAction::JoinerGone])
            }
            Shower::Answered(Sender::Attacker) => actions.extend([LinkAction::ForgeMessage3, LinkAction::JoinerGone]),
            Shower::Waiting | Shower::Met(_) | Shower::Burnt => {}
        }
    }

    fn next_state(&self, last: &LinkState, action: LinkAction) -> Option<LinkState> {
        let mut state = last.clone();
        match action {
            LinkAction::FriendSendsMessage1 => {
                state.friend_may_come -= 1;
                state.recorded = true;
                self.answer(&mut state, Sender::Friend);
            }
            LinkAction::ReplayMessage1 => self.answer(&mut state, Sender::Attacker),
            LinkAction::ForgeMessage1 => {
                state.wrong_tags += 1;
                state.shower = if state.wrong_tags >= LINK_WRONG_TAGS { Shower::Burnt } else { Shower::Waiting };
            }
            LinkAction::FriendSendsMessage3 => {
                state.spent = true;
                state.shower = Shower::Met(Sender::Friend);
            }
            // No tag without its key: the joiner is dropped, the link waits on.
            LinkAction::ForgeMessage3 | LinkAction::JoinerGone => state.shower = Shower::Waiting,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("attacker never meets", |_, state: &LinkState| {
                state.shower != Shower::Met(Sender::Attacker)
            }),
            Property::always("only a meeting spends a link", |_, state: &LinkState| {
                !state.spent || matches!(state.shower, Shower::Met(_))
            }),
            Property::sometimes("friend meets after a replay", |_, state: &LinkState| {
                state.shower == Shower::Met(Sender::Friend) && state.recorded && state.friend_may_come == 0
            }),
        ]
    }
}

// Nearby: the attacker sits in the middle of two handshakes and wants equal pictures.

const NONCES: u8 = 4;
const ROWS: u8 = 4;

/// Pictures of one leg: of its handshake hash and both nonces. Any function that each input changes will do.
fn pictures(leg: u8, nonce_i: u8, nonce_r: u8) -> u8 {
    (leg + nonce_i + nonce_r) % ROWS
}

/// The honest I talks to the attacker on the left leg, the attacker to the honest R on the right one. `None` is not yet
/// drawn. The checker tries every honest nonce; the attacker decides what happens when, and may choose each of its own
/// nonces as soon as the honest side's rules let it and no earlier than it likes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct NearbyState {
    /// The honest I's nonce, and whether the attacker has seen it.
    left_i: Option<u8>,
    left_i_seen: bool,
    /// The attacker's, as R of the left leg.
    left_r: Option<u8>,
    /// The attacker's, as I of the right leg: fixed by its commitment, or by sending it where there is none.
    right_i: Option<u8>,
    right_i_sent: bool,
    /// The honest R's; the attacker sees it at once.
    right_r: Option<u8>,
    /// The attacker made a choice when the three other nonces were known to it: it can make the pictures equal.
    chose_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NearbyAction {
    /// Honest I draws its nonce, and commits to it or sends it.
    LeftBegin(u8),
    /// Honest I has R's nonce and reveals its own.
    LeftReveal,
    /// Honest R draws and sends its nonce.
    RightAnswer(u8),
    /// The attacker fixes a nonce.
    ChooseLeftR(u8),
    ChooseRightI(u8),
    SendRightI,
}

struct NearbyModel(Rules);

impl NearbyState {
    fn equal_pictures(&self) -> Option<bool> {
        let all_out = self.left_i_seen && self.right_i_sent;
        let left = pictures(0, self.left_i?, self.left_r?);
        let right = pictures(1, self.right_i?, self.right_r?);
        all_out.then_some(left == right)
    }
}

impl Model for NearbyModel {
    type State = NearbyState;
    type Action = NearbyAction;

    fn init_states(&self) -> Vec<NearbyState> {
        vec![NearbyState::default()]
    }

    fn actions(&self, state: &NearbyState, actions: &mut Vec<NearbyAction>) {
        let nonces = 0..NONCES;
        if state.left_i.is_none() {
            actions.extend(nonces.clone().map(NearbyAction::LeftBegin));
        }
        if state.left_i.is_some() && state.left_r.is_none() {
            actions.extend(nonces.clone().map(NearbyAction::ChooseLeftR));
        }
        if state.left_r.is_some() && !state.left_i_seen {
            actions.push(NearbyAction::LeftReveal);
        }
        if state.right_i.is_none() {
            actions.extend(nonces.clone().map(NearbyAction::ChooseRightI));
        }
        // R answers the commitment, or the nonce itself where there is none.
        if state.right_i.is_some() && state.right_r.is_none() {
            actions.extend(nonces.map(NearbyAction::RightAnswer));
        }
        if state.right_r.is_some() && !state.right_i_sent {
            actions.push(NearbyAction::SendRightI);
        }
    }

    fn next_state(&self, last: &NearbyState, action: NearbyAction) -> Option<NearbyState> {
        let mut state = last.clone();
        match action {
            NearbyAction::LeftBegin(nonce) => {
                state.left_i = Some(nonce);
                state.left_i_seen = !self.0.commit_first;
            }
            NearbyAction::LeftReveal => state.left_i_seen = true,
            NearbyAction::RightAnswer(nonce) => state.right_r = Some(nonce),
            NearbyAction::ChooseLeftR(nonce) => {
                state.chose_last |= last.left_i_seen && last.right_i.is_some() && last.right_r.is_some();
                state.left_r = Some(nonce);
            }
            NearbyAction::ChooseRightI(nonce) => {
                state.chose_last |= last.left_i_seen && last.left_r.is_some() && last.right_r.is_some();
                state.right_i = Some(nonce);
                state.right_i_sent = !self.0.commit_first;
            }
            NearbyAction::SendRightI => state.right_i_sent = true,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            // Equal by chance is what 24 bits allow; equal by choice is not.
            Property::always("attacker can not choose equal pictures", |_, state: &NearbyState| {
                !(state.chose_last && state.equal_pictures() == Some(true))
            }),
            Property::sometimes("pictures can be compared", |_, state: &NearbyState| state.equal_pictures().is_some()),
        ]
    }
}

fn assert_holds<M>(model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let checker = model.checker().spawn_bfs().join();
    assert!(checker.unique_state_count() > 10, "{} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn code_gives_an_attacker_one_guess() {
    assert_holds(CodeModel(ALL));
}

#[test]
fn without_the_one_try_rule_an_attacker_gets_in_by_a_later_guess() {
    let checker = CodeModel(Rules { one_try: false, ..ALL }).checker().spawn_bfs().join();
    checker.assert_any_discovery("attacker has one guess");
}

#[test]
fn link_is_spent_by_a_meeting_only() {
    assert_holds(LinkModel(ALL));
}

#[test]
fn link_that_message_1_spends_is_spent_by_a_replay() {
    let checker = LinkModel(Rules { spent_by_message_3: false, ..ALL }).checker().spawn_bfs().join();
    checker.assert_any_discovery("only a meeting spends a link");
}

#[test]
fn attacker_in_the_middle_can_not_choose_equal_pictures() {
    assert_holds(NearbyModel(ALL));
}

#[test]
fn without_the_commitment_the_attacker_chooses_equal_pictures() {
    let checker = NearbyModel(Rules { commit_first: false, ..ALL }).checker().spawn_bfs().join();
    let path = checker.assert_any_discovery("attacker can not choose equal pictures");
    assert_eq!(path.last_state().equal_pictures(), Some(true));
}
