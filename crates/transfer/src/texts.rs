//! Text from person to person: in order, shown once, repeated until acknowledged (TR-75).

use std::collections::VecDeque;

use lanyard_protocol::control::ControlMessage;
use lanyard_protocol::limits::{CONTROL_MESSAGE_BYTES, TEXT_BYTES};

/// Ids of shown texts that are remembered; more than ever wait for their acknowledgement.
const REMEMBERED: usize = 1024;

/// Why a text was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Empty.
    #[error("the text is empty")]
    Empty,
    /// Over 48 KiB, or over 64 KiB with its characters escaped: send it as a file.
    #[error("the text is too long to be sent as a message")]
    TooLong,
    /// One with this id is waiting.
    #[error("a text with this id is waiting already")]
    Exists,
    /// Too many texts wait for their acknowledgement.
    #[error("too many texts are waiting for the other device")]
    Full,
}

#[derive(Debug, Default)]
pub(crate) struct Texts {
    unacknowledged: VecDeque<(u64, String)>,
    shown: VecDeque<u64>,
}

impl Texts {
    pub(crate) fn send(&mut self, id: u64, text: String, limit: usize) -> Result<ControlMessage, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        let message = ControlMessage::Text { id, text: text.clone() };
        if text.len() > TEXT_BYTES || message.encode().len() > CONTROL_MESSAGE_BYTES {
            return Err(TextError::TooLong);
        }
        if self.unacknowledged.iter().any(|(waiting, _)| *waiting == id) {
            return Err(TextError::Exists);
        }
        if self.unacknowledged.len() >= limit {
            return Err(TextError::Full);
        }
        self.unacknowledged.push_back((id, text));
        Ok(message)
    }

    /// What a new link must repeat.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = ControlMessage> {
        self.unacknowledged.iter().map(|(id, text)| ControlMessage::Text { id: *id, text: text.clone() })
    }

    /// Whether the text has not been shown yet.
    pub(crate) fn is_new(&mut self, id: u64) -> bool {
        if self.shown.contains(&id) {
            return false;
        }
        if self.shown.len() == REMEMBERED {
            self.shown.pop_front();
        }
        self.shown.push_back(id);
        true
    }

    /// Whether it was waiting.
    pub(crate) fn handle_received(&mut self, id: u64) -> bool {
        let before = self.unacknowledged.len();
        self.unacknowledged.retain(|(waiting, _)| *waiting != id);
        self.unacknowledged.len() < before
    }
}
