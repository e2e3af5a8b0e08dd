//! A server that runs the handshake with both sides itself.

use lanyard_pairing::{
    Code, Identity, Link, LinkSecret, Output, Pairing, Profile, RememberedDevice, ResumeSecret, Role,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use zeroize::Zeroizing;

use super::meeting::Secrets;
use super::tampering::Way;

/// One handshake with each side, under the server's own key and with what it knows: the mailbox and the nameplate, and no
/// secret. Where none is needed (nearby), both handshakes succeed, and only the pictures are left.
pub struct Attacker {
    /// With the shower, as its opener, and with the opener, as its shower.
    facing: [Pairing; 2],
}

impl Attacker {
    /// Begins both; nothing is said before one of the sides has spoken.
    #[must_use]
    pub fn new(secrets: &Secrets, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let own = Identity::generate(&mut rng);
        let profile = || Profile::new("Studio", "computer", ["webrtc", "native"]).expect("short enough");
        let (shower, opener) = (secrets.shower.public_key(), secrets.opener.public_key());
        let place = secrets.pairing_mailbox();
        let facing = match secrets.way {
            Way::Link => {
                let guess = LinkSecret::generate(&mut rng);
                let shown = Pairing::show_link(&own, &guess, profile(), &mut rng);
                let link = Link::new("http://relay.example/", guess, shower.fingerprint()).expect("a web address");
                [Pairing::open_link(&own, &link, profile(), &mut rng), shown]
            }
            Way::Code => {
                let guess = Code::generate(secrets.code.nameplate(), &mut rng).expect("its nameplate was good before");
                let typed = Pairing::type_code(&own, &guess, profile(), &mut rng);
                [typed, Pairing::show_code(&own, &guess, profile(), &mut rng)]
            }
            Way::Nearby => {
                [Role::Initiator, Role::Responder].map(|role| Pairing::nearby(role, place, &own, profile(), &mut rng))
            }
            Way::Remembered => [(Role::Initiator, shower), (Role::Responder, opener)].map(|(role, peer)| {
                let guess = RememberedDevice::new(peer, Zeroizing::new([7; 32]));
                Pairing::remembered(role, place, &guess, &own, profile(), &mut rng)
            }),
            Way::Resumed => [(Role::Initiator, shower), (Role::Responder, opener)].map(|(role, peer)| {
                let guess = ResumeSecret::new(peer, lanyard_pairing::Trust::Scanned, Zeroizing::new([7; 32]));
                Pairing::resume(role, place, &guess, &own, profile(), &mut rng)
            }),
        };
        Self { facing }
    }

    /// What `member` said goes to the handshake with it; returns what to say to whom.
    pub fn take(&mut self, member: usize, body: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let mut said = self.drain();
        if let Some(pairing) = self.facing.get_mut(member) {
            pairing.handle_message(body);
        }
        said.append(&mut self.drain());
        said
    }

    fn drain(&mut self) -> Vec<(usize, Vec<u8>)> {
        let mut said = Vec::new();
        for (member, pairing) in self.facing.iter_mut().enumerate() {
            while let Some(output) = pairing.poll_output() {
                match output {
                    Output::Send(message) => said.push((member, message)),
                    // It would agree to everything; with rows it has to guess like anybody.
                    Output::ShowPictures { .. } => pairing.confirm_pictures(true),
                    Output::PickPictures { .. } => pairing.pick_row(0),
                    Output::Established(_) | Output::Refused(_) | Output::Failed(_) => {}
                }
            }
        }
        said
    }
}
