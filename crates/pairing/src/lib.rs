//! How two devices meet and become sure of each other, before anything else is said between them.
//!
//! Five ways to meet, one handshake: `Noise_XXpsk0_25519_ChaChaPoly_SHA256` through a mailbox of the signaling server,
//! which sees the mailbox's id, sizes and times only. The ways differ in the pre-shared key:
//!
//! | way | pre-shared key | [`Trust`] |
//! |---|---|---|
//! | [`Link`] or QR code | from its 16-byte secret | `scanned` |
//! | spoken [`Code`] | SPAKE2 over two words, one try | `code` |
//! | nearby | none; humans compare four pictures | `compared` |
//! | [`RememberedDevice`] | pair secret, and the pinned key | `remembered` |
//! | [`ResumeSecret`] | from the session that was lost | as before |
//!
//! Drive a [`Pairing`]: give it the messages that come, do what [`Pairing::poll_output`] says, until it hands out a
//! [`Session`]. That seals all further signaling, checks with [`Session::verify_bind`] that a new transport ends at the
//! same device, and derives keys for paths without certificates.
//!
//! ```
//! # use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//! use lanyard_pairing::{Identity, Link, LinkSecret, Output, Pairing, Profile, Trust};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut rng = ChaCha20Rng::seed_from_u64(1);
//! let (desktop, phone) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
//! let link = Link::new("https://relay.example/", LinkSecret::generate(&mut rng), desktop.fingerprint())?;
//! let caps = ["webrtc"];
//! let mut shower = Pairing::show_link(&desktop, link.secret(), Profile::new("Studio", "computer", caps)?, &mut rng);
//! let mut opener = Pairing::open_link(&phone, &link, Profile::new("Otter", "phone", caps)?, &mut rng);
//!
//! let mut met = Vec::new();
//! while met.len() < 2 {
//!     while let Some(output) = opener.poll_output() {
//!         match output {
//!             Output::Send(message) => shower.handle_message(&message),
//!             Output::Established(session) => met.push(session),
//!             _ => unreachable!("nothing interferes here"),
//!         }
//!     }
//!     while let Some(output) = shower.poll_output() {
//!         match output {
//!             Output::Send(message) => opener.handle_message(&message),
//!             Output::Established(session) => met.push(session),
//!             _ => unreachable!("nothing interferes here"),
//!         }
//!     }
//! }
//! let sealed = met[0].seal(b"offer");
//! assert_eq!(met[1].open(&sealed)?, b"offer");
//! assert_eq!(met[1].trust(), Trust::Scanned);
//! # Ok(())
//! # }
//! ```
//!
//! The core has no socket, clock or random source of its own. Rules are numbered `PA-n` in `docs/protocol/pairing.md`; the
//! TypeScript twin is `web/src/core/pairing`, and both read `vectors/`.
//!
//! Secrets are wiped when dropped and have no `Debug`, as far as that is ours: `snow` keeps the pre-shared key and its
//! chaining key, and `spake2` the words, in memory that is freed without being wiped. Neither crate has been audited.

#![forbid(unsafe_code)]

mod code;
mod entropy;
mod error;
mod frame;
mod identity;
mod kdf;
mod lane;
mod link;
mod mailbox;
mod noise;
mod pairing;
mod pake;
mod pictures;
mod profile;
mod remembered;
mod role;
mod seal;
mod session;
mod words;

pub use code::{Code, CodeError};
pub use error::{AbortReason, PairingError};
pub use frame::{MAX_MESSAGE_BYTES, Method};
pub use identity::{Fingerprint, Identity, PublicKey};
pub use lane::{LaneError, LaneFrame, LaneOpener, LaneSealer, NO_CERTIFICATE, lane_session_id};
pub use link::{Link, LinkError, LinkSecret};
pub use mailbox::{Hour, MailboxId};
pub use pairing::{Output, Pairing};
pub use pictures::{Picture, PictureRow, pictures};
pub use profile::{Profile, ProfileError};
pub use remembered::{RememberedDevice, ResumeSecret};
pub use role::Role;
pub use seal::{OpenError, Opener, SEAL_OVERHEAD, Sealer};
pub use session::{BindError, LaneKeys, Session, Trust};
pub use words::{complete, words};
