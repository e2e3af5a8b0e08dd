//! The machine against a small model of it, under random doings of a few sockets in a few mailboxes.

mod world;

use std::collections::BTreeMap;

use lanyard_protocol::signaling::{ClientMessage, ErrorCode, ServerMessage};
use lanyard_protocol::{MemberNumber, SlotToken};
use lanyard_signaling::{ConnectionId, Limits, Occupancy};
use proptest::prelude::*;
use world::{World, mailbox, seconds};

const SOCKETS: usize = 4;
const MAILBOXES: u8 = 2;

#[derive(Debug, Clone)]
enum Step {
    Join {
        socket: usize,
        mailbox: u8,
    },
    /// Joins with the token this socket's person got last in that mailbox.
    Rejoin {
        socket: usize,
        mailbox: u8,
    },
    /// So many that some wait for a slow socket, or no more fit.
    Send {
        socket: usize,
        mailbox: u8,
        to: MemberNumber,
        times: usize,
    },
    Leave {
        socket: usize,
        mailbox: u8,
    },
    /// The socket drops and a new one of the same person says hello.
    Reconnect {
        socket: usize,
    },
    Pass {
        seconds: u64,
    },
    Drained {
        socket: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let socket = 0..SOCKETS;
    let mailbox = 0..MAILBOXES;
    prop_oneof![
        3 => (socket.clone(), mailbox.clone()).prop_map(|(socket, mailbox)| Step::Join { socket, mailbox }),
        3 => (socket.clone(), mailbox.clone()).prop_map(|(socket, mailbox)| Step::Rejoin { socket, mailbox }),
        12 => (socket.clone(), mailbox.clone(), 0..4_u8, prop_oneof![Just(1), 10..30_usize])
            .prop_map(|(socket, mailbox, to, times)| Step::Send { socket, mailbox, to, times }),
        1 => (socket.clone(), mailbox).prop_map(|(socket, mailbox)| Step::Leave { socket, mailbox }),
        2 => socket.clone().prop_map(|socket| Step::Reconnect { socket }),
        2 => (0..20_u64).prop_map(|seconds| Step::Pass { seconds }),
        3 => socket.prop_map(|socket| Step::Drained { socket }),
    ]
}

/// A mailbox as its rules describe it: who has a side, since when away, and what each side must get, in order.
#[derive(Debug, Default)]
struct Model {
    sides: BTreeMap<MemberNumber, Sidekick>,
    next: MemberNumber,
    early: Vec<u32>,
}

#[derive(Debug)]
struct Sidekick {
    person: Option<usize>,
    away_for: u64,
    slot: SlotToken,
    expected: Vec<u32>,
}

struct Run {
    world: World,
    sockets: Vec<ConnectionId>,
    models: BTreeMap<u8, Model>,
    tokens: BTreeMap<(usize, u8), SlotToken>,
    next_body: u32,
}

impl Run {
    fn new() -> Self {
        let mut world = World::new(Limits::default());
        let sockets = (0..SOCKETS).map(|n| world.device(&format!("192.0.2.{n}"))).collect();
        world.forget_told();
        Self { world, sockets, models: BTreeMap::new(), tokens: BTreeMap::new(), next_body: 0 }
    }

    fn member_of(&self, person: usize, mailbox: u8) -> Option<MemberNumber> {
        let model = self.models.get(&mailbox)?;
        model.sides.iter().find(|(_, side)| side.person == Some(person)).map(|(number, _)| *number)
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Join { socket, mailbox } => self.join(socket, mailbox),
            Step::Rejoin { socket, mailbox } => self.rejoin(socket, mailbox),
            Step::Send { socket, mailbox, to, times } => (0..times).for_each(|_| self.send(socket, mailbox, to)),
            Step::Leave { socket, mailbox } => self.leave(socket, mailbox),
            Step::Reconnect { socket } => self.reconnect(socket),
            Step::Pass { seconds } => self.pass(seconds),
            Step::Drained { socket } => {
                let id = self.sockets[socket];
                if let Some(at) = self.world.drains.iter().position(|asked| *asked == id) {
                    self.world.drains.remove(at);
                    self.world.server.handle_drained(self.world.now, id);
                    self.world.drain();
                }
            }
        }
        self.check();
    }

    fn join(&mut self, socket: usize, n: u8) {
        let id = self.sockets[socket];
        let already = self.member_of(socket, n);
        self.world.join(id, mailbox(n));
        if already.is_some() {
            return;
        }
        let model = self.models.entry(n).or_default();
        if model.sides.len() == 2 {
            self.models.remove(&n);
            let told = self.world.told.get(&id).expect("an answer");
            assert!(told.contains(&ServerMessage::Crowded { mailbox: mailbox(n) }));
            return;
        }
        let number = model.next;
        let expected = std::mem::take(&mut model.early);
        let (told_number, others, slot) = self.world.joined(id);
        assert_eq!(told_number, number);
        assert_eq!(others, model.sides.keys().copied().collect::<Vec<_>>());
        model.next += 1;
        model.sides.insert(number, Sidekick { person: Some(socket), away_for: 0, slot, expected });
        self.tokens.insert((socket, n), slot);
    }

    fn rejoin(&mut self, socket: usize, n: u8) {
        let Some(slot) = self.tokens.get(&(socket, n)).copied() else { return };
        let id = self.sockets[socket];
        if self.member_of(socket, n).is_some() {
            return;
        }
        self.world.rejoin(id, mailbox(n), slot);
        let side = self.models.get_mut(&n).and_then(|model| model.sides.values_mut().find(|side| side.slot == slot));
        match side {
            Some(side) => {
                side.person = Some(socket);
                side.away_for = 0;
            }
            None => assert_eq!(self.last_error(id), Some(ErrorCode::SlotGone)),
        }
    }

    fn send(&mut self, socket: usize, n: u8, to: MemberNumber) {
        let id = self.sockets[socket];
        let from = self.member_of(socket, n);
        self.next_body += 1;
        let number = self.next_body;
        let errors_before = self.error_count(id);
        self.world.send(id, mailbox(n), to, &number.to_be_bytes());
        let refused = self.error_count(id) > errors_before;
        let Some(from) = from else {
            assert!(refused, "sent without being a member");
            return;
        };
        let model = self.models.get_mut(&n).expect("has a member");
        if from == to {
            assert!(refused);
        } else if let Some(side) = model.sides.get_mut(&to) {
            if refused {
                assert!(side.expected.len() >= 64, "refused with room left");
            } else {
                side.expected.push(number);
            }
        } else if to == model.next && model.sides.len() < 2 {
            if refused {
                assert!(model.early.len() >= 64);
            } else {
                model.early.push(number);
            }
        } else {
            assert!(refused, "sent to nobody");
        }
    }

    fn leave(&mut self, socket: usize, n: u8) {
        let id = self.sockets[socket];
        let number = self.member_of(socket, n);
        self.receive(socket);
        self.world.say(id, ClientMessage::Leave { mailbox: mailbox(n) });
        if let Some(number) = number {
            self.remove_side(n, number);
        }
    }

    fn reconnect(&mut self, socket: usize) {
        self.receive(socket);
        let id = self.sockets[socket];
        self.world.drop_socket(id);
        self.world.told.remove(&id);
        self.world.drains.retain(|asked| *asked != id);
        for model in self.models.values_mut() {
            for side in model.sides.values_mut().filter(|side| side.person == Some(socket)) {
                side.person = None;
                side.away_for = 0;
            }
        }
        self.sockets[socket] = self.world.device(&format!("192.0.2.{socket}"));
    }

    fn pass(&mut self, time: u64) {
        self.world.pass(seconds(time));
        let mut gone = Vec::new();
        for (n, model) in &mut self.models {
            for (number, side) in model.sides.iter_mut().filter(|(_, side)| side.person.is_none()) {
                side.away_for += time;
                if side.away_for >= 30 {
                    gone.push((*n, *number));
                }
            }
        }
        for (n, number) in gone {
            self.remove_side(n, number);
        }
    }

    fn remove_side(&mut self, n: u8, number: MemberNumber) {
        let Some(model) = self.models.get_mut(&n) else { return };
        model.sides.remove(&number);
        if model.sides.is_empty() {
            self.models.remove(&n);
        }
    }

    /// Compares the bodies a person got with the front of what it must get.
    fn receive(&mut self, person: usize) {
        let id = self.sockets[person];
        let Some(told) = self.world.told.get_mut(&id) else { return };
        let mut messages = Vec::new();
        told.retain(|message| {
            let ServerMessage::Message { mailbox, body, .. } = message else { return true };
            messages.push((mailbox.0[0], u32::from_be_bytes(body.as_bytes().try_into().expect("four bytes"))));
            false
        });
        for (n, number) in messages {
            let side = self
                .models
                .get_mut(&n)
                .and_then(|model| model.sides.values_mut().find(|side| side.person == Some(person)));
            let side = side.expect("bodies reach members only");
            assert_eq!(side.expected.first(), Some(&number), "lost, doubled or out of order");
            side.expected.remove(0);
        }
    }

    fn check(&mut self) {
        for person in 0..SOCKETS {
            self.receive(person);
        }
        let occupancy = self.world.server.occupancy();
        assert_eq!(occupancy.mailboxes, self.models.len());
        let waiting: usize = self
            .models
            .values()
            .map(|model| model.early.len() + model.sides.values().map(|side| side.expected.len()).sum::<usize>())
            .sum();
        assert_eq!(occupancy.stored_messages, waiting);
        assert_eq!(occupancy.stored_bytes, waiting * 4);
    }

    fn error_count(&self, id: ConnectionId) -> usize {
        let told = self.world.told.get(&id).map(Vec::as_slice).unwrap_or_default();
        told.iter().filter(|message| matches!(message, ServerMessage::Error { .. })).count()
    }

    fn last_error(&self, id: ConnectionId) -> Option<ErrorCode> {
        self.world
            .told
            .get(&id)?
            .iter()
            .rev()
            .find_map(|message| if let ServerMessage::Error { code, .. } = message { Some(*code) } else { None })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_body_arrives_once_in_order_at_its_side_and_nothing_is_left_at_the_end(
        steps in prop::collection::vec(step(), 1..200)
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.apply(step);
        }
        for id in run.sockets.clone() {
            run.world.drop_socket(id);
        }
        run.world.pass(seconds(24 * 3600));
        prop_assert_eq!(run.world.server.occupancy(), Occupancy::default());
        prop_assert_eq!(run.world.server.poll_timeout(), None);
    }
}
