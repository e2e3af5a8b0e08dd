//! Moves files and text between two devices, as a state machine.
//!
//! One [`Exchange`] lives as long as a session of two paired devices. It carries any number of transfers both ways, and
//! texts, over whatever link there is, and survives the loss of a link: the next one carries on from what the receiver
//! holds. The rules that both ends keep are numbered `TR-n` in `docs/protocol/transfer.md`; the messages are
//! [`lanyard_protocol::control`] and [`lanyard_protocol::frame`].
//!
//! The machine touches no socket, no disk and no clock. A shell owns it and does four things:
//!
//! * hands in what happened: `link_up`, `link_lost`, `handle_control`, `handle_data`, `handle_timeout`, what a person
//!   decided (`offer`, `accept`, `cancel`, …) and what the disk answered (`handle_read`, `handle_written`, …);
//! * after each of these, does what [`Exchange::poll_output`] says, in that order for each transfer;
//! * sends what [`Exchange::poll_control`] and [`Exchange::poll_data`] give, each only while its channel has room: that
//!   is the back-pressure on the sending side. On the receiving side it is credit, given back as writes are answered;
//! * calls [`Exchange::handle_timeout`] at [`Exchange::poll_timeout`].
//!
//! ```
//! use std::time::Instant;
//!
//! use lanyard_protocol::control::{ManifestEntry, TransferId};
//! use lanyard_transfer::{Config, Exchange, Manifest, Output};
//!
//! let now = Instant::now();
//! let mut exchange = Exchange::new(Config::default(), 1);
//! exchange.link_up(now, 65_536);
//!
//! let file = ManifestEntry::File { path: "note.txt".into(), size_bytes: 5, modified_ms: None };
//! exchange.offer(now, TransferId([7; 16]), Manifest::new(vec![file])?)?;
//!
//! // One turn of the shell's loop.
//! while let Some(output) = exchange.poll_output() {
//!     match output {
//!         Output::Read(request) => exchange.handle_read(now, request, Ok(b"hello".to_vec())),
//!         other => println!("to do: {other:?}"),
//!     }
//! }
//! while let Some(text) = exchange.poll_control(now) {
//!     println!("to the control channel: {text}");
//! }
//! while let Some(message) = exchange.poll_data(now) {
//!     println!("to the data channel: {} bytes", message.len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a receiver writes is only ever a consequence of [`Exchange::accept`]: the states before it have no code that
//! writes. A path in an output is always a [`SafePath`]. Names and texts from the other side are hostile; [`display`]
//! makes them fit for a terminal.
//!
//! Left to the shell: where the receive folder is, part files and the journal's file (its records are [`journal`]),
//! how names that exist already are avoided, free space, and who may send how much without being asked.

#![forbid(unsafe_code)]

mod config;
mod credit;
mod display;
mod exchange;
mod hash;
mod incoming;
pub mod journal;
mod lane;
mod liveness;
mod manifest;
mod name;
mod outbox;
mod outgoing;
mod output;
mod pace;
mod paths;
mod progress;
mod receiving;
mod recheck;
mod spans;
mod texts;

pub use config::Config;
pub use display::display;
pub use exchange::{Exchange, Traffic, TransferError};
pub use hash::{file_root, piece_count, piece_hash, piece_len};
pub use manifest::{MANIFEST_BYTES, Manifest, ManifestError};
pub use name::{COMPONENT_BYTES, PATH_BYTES, PATH_DEPTH, PathError, SafePath};
pub use output::{Event, Output, Party, Placement, ReadError, ReadRequest, WriteError};
pub use pace::Pace;
pub use paths::{PathAction, PathKind, Paths};
pub use progress::Progress;
pub use texts::TextError;
