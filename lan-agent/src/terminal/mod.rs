//! What a person at a terminal sees and answers: results on stdout; questions, bars and the QR code on stderr.

mod code_line;
mod console;
mod format;
mod keys;
pub mod progress;
pub use lanyard_relay::qr;
mod question;
mod report;
mod share;

pub use console::{Console, ConsoleStyle};
pub use format::{bytes, duration, shorten};
pub use lanyard_transfer::display;
pub use question::{answer, answer_questions};
pub use report::{OutputFormat, Reporter, key_changed};
pub use share::ShareReporter;
