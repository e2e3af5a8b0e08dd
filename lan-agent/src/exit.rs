//! How a command ends, as scripts see it.

use std::process::ExitCode;

use crate::agent::event::Outcome;

/// Exit status of every command. The numbers are documented and do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All done and checked.
    Done,
    /// Anything that has no number of its own.
    Failure,
    /// The command line or the configuration is wrong.
    Usage,
    /// The device was not found, or did not come in time.
    NotFound,
    /// The other side said no.
    Declined,
    /// Wrong link, code or pictures, or a changed key.
    WrongSecret,
    /// What arrived is not what was sent.
    Damaged,
    /// The relay or the network cannot be reached.
    Unreachable,
    /// No space, or no permission to read or write.
    NoSpace,
    /// Some files arrived, some did not.
    Partly,
    /// The two sides speak different versions.
    Incompatible,
    /// Stopped by a person; parts are kept.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Declined => 4,
            Self::WrongSecret => 5,
            Self::Damaged => 6,
            Self::Unreachable => 7,
            Self::NoSpace => 8,
            Self::Partly => 9,
            Self::Incompatible => 10,
            Self::Interrupted => 130,
        }
    }
}

impl Exit {
    /// The exit with this number; [`Exit::Failure`] for one that is not ours.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        const ALL: [Exit; 12] = [
            Exit::Done,
            Exit::Failure,
            Exit::Usage,
            Exit::NotFound,
            Exit::Declined,
            Exit::WrongSecret,
            Exit::Damaged,
            Exit::Unreachable,
            Exit::NoSpace,
            Exit::Partly,
            Exit::Incompatible,
            Exit::Interrupted,
        ];
        ALL.into_iter().find(|exit| exit.number() == number).unwrap_or(Self::Failure)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

impl From<&Outcome> for Exit {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done | Outcome::Taken => Self::Done,
            Outcome::Partly { .. } => Self::Partly,
            Outcome::Declined { .. } => Self::Declined,
            Outcome::NoAnswer => Self::NotFound,
            Outcome::Cancelled { here: true } | Outcome::Interrupted { .. } => Self::Interrupted,
            Outcome::Cancelled { here: false } => Self::Declined,
            Outcome::Damaged => Self::Damaged,
            Outcome::NoSpace { .. } => Self::NoSpace,
            Outcome::Failed { .. } => Self::Failure,
        }
    }
}

/// Why a command could not do its work: a sentence for the person and a number for the script.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Stop {
    /// For the script.
    pub exit: Exit,
    /// What happened and what to do next.
    pub message: String,
}

impl Stop {
    /// A reason to stop.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}
