//! What a person at a terminal sees and answers: results on stdout; questions, bars and the QR code on stderr.

mod console;
mod format;
pub mod progress;
pub mod qr;
mod question;
mod report;
mod untrusted;

pub use console::{Console, ConsoleStyle};
pub use format::{bytes, duration, shorten};
pub use question::answer_questions;
pub use report::{OutputFormat, Reporter};
pub use untrusted::display;
