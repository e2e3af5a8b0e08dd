//! Identifiers on the wire. All are opaque random bytes in base64url without padding, except the few a person types.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not base64url without padding, or not of the right length.
    #[error("an identifier here is {expected} bytes in base64url without padding")]
    Malformed {
        /// Bytes the identifier has.
        expected: usize,
    },
    /// A nameplate has 4 to 6 decimal digits.
    #[error("a nameplate has 4 to 6 digits")]
    NotANameplate,
    /// The beginning of a link is `/s/`, an identifier and `/`.
    #[error("not where a link begins")]
    NotALink,
    /// The address of a page over https is short and has neither user nor query.
    #[error("not the address of a page over https")]
    NotAPage,
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, TS)]
        #[serde(try_from = "String", into = "String")]
        #[ts(type = "string")]
        pub struct $name(pub [u8; 16]);

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let malformed = IdError::Malformed { expected: 16 };
                let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| malformed.clone())?;
                bytes.try_into().map(Self).map_err(|_| malformed)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                BASE64URL_NOPAD.encode(&id.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&BASE64URL_NOPAD.encode(&self.0))
            }
        }
    };
}

opaque_id! {
    /// Where two devices meet on a signaling server. Derived from a secret or drawn at random; says nothing by itself.
    MailboxId
}
opaque_id! {
    /// One connected device at one signaling server, drawn by the server for each socket. Whoever knows it may ring
    /// that device, so it is only told to those who may.
    DeviceId
}
opaque_id! {
    /// Proof that a returning socket is the one that held a mailbox's slot before it dropped.
    SlotToken
}

opaque_id! {
    /// Opens `/v1/relay` for one side of a mailbox. Drawn by the server, told to that side alone.
    LaneTicket
}

/// Logs show the first six characters: enough to follow one through a log, too few to use it.
macro_rules! short_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:.6}…)", stringify!($name), BASE64URL_NOPAD.encode(&self.0))
            }
        }
    )*};
}
short_debug!(MailboxId, DeviceId);

impl fmt::Debug for SlotToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotToken(redacted)")
    }
}

impl fmt::Debug for LaneTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneTicket(redacted)")
    }
}

/// A side of a mailbox: its first member is 0, the second 1. Never reused while the mailbox lives.
pub type MemberNumber = u8;

/// The public number of a spoken code: 4 to 6 decimal digits, drawn by the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(try_from = "String", into = "String")]
#[ts(type = "string")]
pub struct Nameplate(String);

impl Nameplate {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Nameplate {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        let fits = (4..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { Ok(Self(text)) } else { Err(IdError::NotANameplate) }
    }
}

impl From<Nameplate> for String {
    fn from(nameplate: Nameplate) -> String {
        nameplate.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_round_trips_through_its_text() {
        let id = MailboxId([7; 16]);
        assert_eq!(id.to_string().parse::<MailboxId>().unwrap(), id);
        assert_eq!(id.to_string().len(), 22);
    }

    #[test]
    fn id_with_stray_trailing_bits_is_refused() {
        // The last of 22 characters carries 4 bits only; another spelling of the same bytes would be a second name.
        assert!("AAAAAAAAAAAAAAAAAAAAAB".parse::<MailboxId>().is_err());
        assert!("AAAAAAAAAAAAAAAAAAAAA".parse::<MailboxId>().is_err());
        assert!("AAAAAAAAAAAAAAAAAAAAA=".parse::<MailboxId>().is_err());
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let token = SlotToken([9; 16]);
        assert!(!format!("{token:?}").contains(&token.to_string()));
    }

    #[test]
    fn nameplate_takes_four_to_six_digits_only() {
        assert!(Nameplate::try_from("0421".to_owned()).is_ok());
        for bad in ["421", "0042199", "12a4", "١٢٣٤", ""] {
            assert!(Nameplate::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
