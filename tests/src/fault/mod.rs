//! Transfers between real processes on this machine that are disturbed on purpose, and what must hold afterwards.

mod chance;
mod content;
mod crossing;
mod person;
mod report;
mod rounds;
mod wire;

pub use chance::Chance;
pub use content::Content;
pub use crossing::Crossing;
pub use person::{Person, Sending, Up, agent_traffic};
pub use report::Report;
pub use rounds::{Rounds, wait_for};
pub use wire::{Weather, Wire};

/// What may travel again after one break: 16 MiB of window and 8 MiB that are not in the journal yet.
pub const AGAIN_BYTES: u64 = 24 << 20;

/// Data that carries no content: frame headers, hashes of pieces, roots. Far more than there is of it.
pub const OVERHEAD_BYTES: u64 = 1 << 20;

/// How many rounds a test of random moments has: `LANYARD_FAULT_ROUNDS`, or a tenth of the whole run.
#[must_use]
pub fn rounds() -> u32 {
    let given = std::env::var("LANYARD_FAULT_ROUNDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(30)
}
