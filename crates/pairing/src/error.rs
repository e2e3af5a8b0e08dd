//! What can go wrong while two devices meet, in words for people and names for programs.

/// Why a meeting failed. The text says what happened and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// More than [`crate::MAX_MESSAGE_BYTES`].
    #[error("a message of {len} bytes came, but at most 4096 are allowed: the other side is no Lanyard device")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Not of the form that its step has.
    #[error("a message could not be read: the other side is no Lanyard device, or the message was damaged")]
    Malformed,
    /// The other side speaks a version we do not know.
    #[error("the other device runs a newer Lanyard: update this one, then try again")]
    NewerVersion {
        /// Its version.
        theirs: u8,
    },
    /// The other side speaks a version we no longer know.
    #[error("the other device runs an older Lanyard: update it, then try again")]
    OlderVersion {
        /// Its version.
        theirs: u8,
    },
    /// A code meets a link, or the like.
    #[error("the other device tries to meet in another way than this one: start again on both")]
    WrongMethod,
    /// A step that only our own role sends.
    #[error("the other device plays the same part as this one: start again, one shows and one opens")]
    WrongRole,
    /// The very message that we sent came back.
    #[error("our own message came back to us: somebody between the devices interferes, start again")]
    Reflected,
    /// The server named another sender than the side that is there.
    #[error("a message came under the number of a side that is not there: the server interferes, start again")]
    WrongSender,
    /// The very message that was handled before.
    #[error("a message came twice: it was ignored")]
    Replayed,
    /// A step before or after its time.
    #[error("a message came out of turn: start again")]
    OutOfStep,
    /// Both sides have the same one-time key.
    #[error("the other side uses our own one-time key: somebody between the devices interferes, start again")]
    EqualEphemerals,
    /// Both sides have the same device key.
    #[error("the other device has this device's own key: if it is a copy of this one, reset its identity")]
    EqualStatics,
    /// A key that would make the shared secret known to everyone.
    #[error("the other side sent a key that protects nothing: somebody interferes, start again")]
    WeakKey,
    /// Message 1 or 2 did not fit our code. It is burnt.
    #[error("the code was wrong, or somebody else tried it: it is used up, make a new code")]
    WrongCode,
    /// Message 1 or 2 did not fit our link, pair secret or resume secret.
    #[error(
        "the other device does not know the secret of this link or pairing: scan the link again, or pair the two anew"
    )]
    WrongSecret,
    /// Five joiners did not know the secret.
    #[error("five wrong attempts were made on this link: it is closed, make a new one")]
    TooManyWrongTries,
    /// A later message did not verify.
    #[error("a message was changed on its way: somebody between the devices interferes, start again")]
    Tampered,
    /// The key of who answered is not the one in the link.
    #[error("somebody else answered in place of the device that showed this link: do not go on, ask for a new link")]
    WrongShower,
    /// The key of a remembered device is not the one that was pinned.
    #[error("this device has another key than the one you remembered: forget it and pair again only if you know why")]
    KeyChanged,
    /// The nonce does not fit the commitment.
    #[error("the other side changed its mind about the pictures: somebody between the devices interferes, start again")]
    CommitmentBroken,
    /// Our human picked another row than the right one.
    #[error("these are not the pictures of the other screen: nothing was accepted, start again")]
    WrongPictures,
    /// Our human said that the pictures differ.
    #[error("the pictures differ: nothing was accepted, start again")]
    PicturesDiffer,
    /// The profile in message 2 or 3 cannot be read, or ours cannot be sent.
    #[error("the device's name or abilities can not be read: update both devices")]
    BadProfile,
    /// Our shell ended it.
    #[error("the meeting was ended on this device")]
    Cancelled,
    /// The server says that a third side came.
    #[error("a third device tried to join, so both stopped: make a new code")]
    Crowded,
    /// The other side ended it.
    #[error("the other device stopped: {0}")]
    PeerStopped(AbortReason),
}

impl PairingError {
    /// The name that both languages, the vectors and the logs use.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::Malformed => "malformed",
            Self::NewerVersion { .. } => "newer_version",
            Self::OlderVersion { .. } => "older_version",
            Self::WrongMethod => "wrong_method",
            Self::WrongRole => "wrong_role",
            Self::Reflected => "reflected",
            Self::WrongSender => "wrong_sender",
            Self::Replayed => "replayed",
            Self::OutOfStep => "out_of_step",
            Self::EqualEphemerals => "equal_ephemerals",
            Self::EqualStatics => "equal_statics",
            Self::WeakKey => "weak_key",
            Self::WrongCode => "wrong_code",
            Self::WrongSecret => "wrong_secret",
            Self::TooManyWrongTries => "too_many_wrong_tries",
            Self::Tampered => "tampered",
            Self::WrongShower => "wrong_shower",
            Self::KeyChanged => "key_changed",
            Self::CommitmentBroken => "commitment_broken",
            Self::WrongPictures => "wrong_pictures",
            Self::PicturesDiffer => "pictures_differ",
            Self::BadProfile => "bad_profile",
            Self::Cancelled => "cancelled",
            Self::Crowded => "crowded",
            Self::PeerStopped(_) => "peer_stopped",
        }
    }

    /// What the other side is told.
    pub(crate) fn abort_reason(&self) -> AbortReason {
        match self {
            Self::WrongCode => AbortReason::WrongCode,
            Self::WrongSecret => AbortReason::WrongSecret,
            Self::TooManyWrongTries => AbortReason::Closed,
            Self::NewerVersion { .. } | Self::OlderVersion { .. } => AbortReason::Version,
            Self::WrongPictures | Self::PicturesDiffer => AbortReason::Pictures,
            Self::WrongShower | Self::KeyChanged => AbortReason::Key,
            Self::Cancelled => AbortReason::Cancelled,
            Self::Crowded => AbortReason::Crowded,
            Self::TooLong { .. }
            | Self::Malformed
            | Self::WrongMethod
            | Self::WrongRole
            | Self::Reflected
            | Self::WrongSender
            | Self::Replayed
            | Self::OutOfStep
            | Self::EqualEphemerals
            | Self::EqualStatics
            | Self::WeakKey
            | Self::Tampered
            | Self::CommitmentBroken
            | Self::BadProfile
            | Self::PeerStopped(_) => AbortReason::Protocol,
        }
    }
}

/// What an abort message says, one byte. It is not authenticated, so it explains and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortReason {
    /// 1
    WrongCode,
    /// 2
    WrongSecret,
    /// 3: any breach of the protocol; also what an unknown byte is read as.
    Protocol,
    /// 4
    Pictures,
    /// 5
    Key,
    /// 6
    Version,
    /// 7
    Crowded,
    /// 8
    Cancelled,
    /// 9: the link is used up.
    Closed,
}

impl AbortReason {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::WrongCode => 1,
            Self::WrongSecret => 2,
            Self::Protocol => 3,
            Self::Pictures => 4,
            Self::Key => 5,
            Self::Version => 6,
            Self::Crowded => 7,
            Self::Cancelled => 8,
            Self::Closed => 9,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::WrongCode,
            2 => Self::WrongSecret,
            4 => Self::Pictures,
            5 => Self::Key,
            6 => Self::Version,
            7 => Self::Crowded,
            8 => Self::Cancelled,
            9 => Self::Closed,
            _ => Self::Protocol,
        }
    }
}

impl std::fmt::Display for AbortReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WrongCode => "the code was wrong, or somebody else tried it; it is used up, make a new code",
            Self::WrongSecret => {
                "it has another secret for this link or pairing; scan the link again, or pair the two anew"
            }
            Self::Protocol => "it could not follow our messages; start again",
            Self::Pictures => "the pictures were not the same; nothing was accepted, start again",
            Self::Key => "it expected another device in our place; do not go on before you know why",
            Self::Version => "the two run different versions of Lanyard; update the older one",
            Self::Crowded => "a third device tried to join; make a new code",
            Self::Cancelled => "its user ended the meeting",
            Self::Closed => "the link was closed after wrong attempts; ask for a new one",
        })
    }
}
