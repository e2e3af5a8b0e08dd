//! Links and QR codes: `https://host/#1.<S>.<F>` (PA-3).

use data_encoding::BASE64URL_NOPAD;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{Fingerprint, MailboxId, kdf};

/// What both sides of a link know and the relay does not: 16 random bytes.
///
/// It stands in the fragment of a URL, which browsers never send. Draw a new one after each use or ten minutes.
#[derive(Clone)]
pub struct LinkSecret(Zeroizing<[u8; 16]>);

impl LinkSecret {
    /// Draws a new secret.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 16]);
        rng.fill_bytes(&mut *bytes);
        Self(bytes)
    }

    /// Takes 16 bytes that were drawn elsewhere.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Where the shower waits for the opener.
    #[must_use]
    pub fn mailbox(&self) -> MailboxId {
        MailboxId(kdf::derive_short("lanyard/1 mailbox", &[&*self.0]))
    }

    pub(crate) fn psk(&self) -> Zeroizing<[u8; 32]> {
        kdf::derive_secret("lanyard/1 psk", &[&*self.0])
    }
}

/// `#1.<S>.<F>`, both halves of 16 bytes.
const FRAGMENT_BYTES: usize = 3 + 22 + 1 + 22;

/// A link as it is shown, copied, scanned and opened.
#[derive(Clone)]
pub struct Link {
    base: String,
    secret: LinkSecret,
    shower: Fingerprint,
}

impl Link {
    /// The longest link that is read, in bytes. A link of ours has about 80.
    pub const MAX_BYTES: usize = 512;

    /// Builds a link on `base`, the address of a page such as `https://relay.example/` or `http://192.168.1.5:8080/`.
    ///
    /// # Errors
    /// [`LinkError::NotAWebAddress`] when `base` is no `http` or `https` address with a host, or has a query or fragment;
    /// [`LinkError::TooLong`] when the whole link would be.
    pub fn new(base: &str, secret: LinkSecret, shower: Fingerprint) -> Result<Self, LinkError> {
        Ok(Self { base: checked_base(base)?, secret, shower })
    }

    /// Reads a link that was scanned or pasted. White space around it does not matter.
    ///
    /// # Errors
    /// Says which part does not fit; nothing is guessed.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if text.len() > Self::MAX_BYTES {
            return Err(LinkError::TooLong { len: text.len() });
        }
        let (base, fragment) = text.split_once('#').ok_or(LinkError::NoSecret)?;
        let base = checked_base(base)?;
        let (secret, shower) = parse_fragment(fragment)?;
        Ok(Self { base, secret, shower })
    }

    /// The page that the link opens, with a slash at its end: name it to the human when it is not our own (issue 4.4).
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The secret half.
    #[must_use]
    pub fn secret(&self) -> &LinkSecret {
        &self.secret
    }

    /// Who must answer; somebody who only photographed the code has another key.
    #[must_use]
    pub fn shower(&self) -> Fingerprint {
        self.shower
    }

    /// The whole text. It holds the secret: show it, never log it.
    #[must_use]
    pub fn to_url(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(BASE64URL_NOPAD.encode(&*self.secret.0));
        Zeroizing::new(format!("{}#1.{}.{}", self.base, *secret, self.shower))
    }
}

/// Why a text is no link of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Longer than [`Link::MAX_BYTES`].
    #[error("this link is {len} bytes long, a Lanyard link has at most 512: copy it again")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// No `http` or `https` address with a host in front.
    #[error("this is not a web address: a Lanyard link begins with https:// or http://")]
    NotAWebAddress,
    /// Nothing after `#`.
    #[error("this link lacks the part after #, so it opens nothing: copy all of it")]
    NoSecret,
    /// The fragment begins with a number that is not 1.
    #[error("this link was made by a newer Lanyard: update this one")]
    NewerVersion,
    /// The fragment is not `1.<22 characters>.<22 characters>`.
    #[error("this link is damaged or incomplete: copy or scan it again")]
    Damaged,
}

impl LinkError {
    /// The name both languages and the vectors use.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::NotAWebAddress => "not_a_web_address",
            Self::NoSecret => "no_secret",
            Self::NewerVersion => "newer_version",
            Self::Damaged => "damaged",
        }
    }
}

fn parse_fragment(fragment: &str) -> Result<(LinkSecret, Fingerprint), LinkError> {
    if fragment.is_empty() {
        return Err(LinkError::NoSecret);
    }
    let mut parts = fragment.split('.');
    let version = parts.next().unwrap_or_default();
    if version != "1" {
        let is_number = !version.is_empty() && version.len() <= 4 && version.bytes().all(|byte| byte.is_ascii_digit());
        return Err(if is_number { LinkError::NewerVersion } else { LinkError::Damaged });
    }
    let (Some(secret), Some(shower), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(LinkError::Damaged);
    };
    Ok((LinkSecret(Zeroizing::new(decode_16(secret)?)), Fingerprint(decode_16(shower)?)))
}

/// Strict base64url: no padding, no other alphabet, and zero bits at the end, so that a value has one spelling.
fn decode_16(text: &str) -> Result<[u8; 16], LinkError> {
    if text.len() != 22 {
        return Err(LinkError::Damaged);
    }
    let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| LinkError::Damaged)?);
    bytes.as_slice().try_into().map_err(|_| LinkError::Damaged)
}

/// `scheme://authority/path`, lower-case scheme, slash at the end, no user, query, fragment, space or control character.
fn checked_base(base: &str) -> Result<String, LinkError> {
    let (scheme, rest) = base.split_once("://").ok_or(LinkError::NotAWebAddress)?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "https" && scheme != "http" {
        return Err(LinkError::NotAWebAddress);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte));
    if authority.is_empty()
        || authority.starts_with(':')
        || authority.contains(['@', '?', '#', '%'])
        || path.contains(['?', '#'])
        || !printable(authority)
        || !printable(path)
    {
        return Err(LinkError::NotAWebAddress);
    }
    let slash = if path.is_empty() || path.ends_with('/') { "" } else { "/" };
    let base = format!("{scheme}://{authority}/{path}{slash}");
    // With its slash it may have become too long to be read again.
    let len = base.len() + FRAGMENT_BYTES;
    if len > Link::MAX_BYTES { Err(LinkError::TooLong { len }) } else { Ok(base) }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use serde_json::Value;

    use super::*;
    use crate::{Hour, PublicKey, RememberedDevice};

    fn hex<const N: usize>(value: &Value) -> [u8; N] {
        HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap().try_into().unwrap()
    }

    #[test]
    fn derived_values_are_those_of_an_independent_blake3() {
        let cases: Value = serde_json::from_str(include_str!("../vectors/derivations.json")).unwrap();
        for case in cases.as_array().unwrap() {
            let secret = LinkSecret::from_bytes(hex(&case["link_secret"]));
            assert_eq!(secret.mailbox().to_string(), case["link_mailbox"].as_str().unwrap());
            assert_eq!(*secret.psk(), hex(&case["link_psk"]));
            let key = PublicKey(hex(&case["public_key"]));
            assert_eq!(key.fingerprint().0, hex(&case["fingerprint"]));
            let device = RememberedDevice::new(key, Zeroizing::new(hex(&case["secret"])));
            let mailboxes = device.mailboxes(Hour(case["hour"].as_u64().unwrap()));
            assert_eq!(Value::from(mailboxes.map(|id| id.to_string()).to_vec()), case["mailboxes"]);
        }
    }

    #[test]
    fn every_valid_link_is_read_and_written_the_same() {
        let cases: Value = serde_json::from_str(include_str!("../vectors/links.json")).unwrap();
        for case in cases["valid"].as_array().unwrap() {
            let link = Link::parse(case["text"].as_str().unwrap()).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(link.base(), case["base"]);
            assert_eq!(*link.secret().0, hex(&case["secret"]));
            assert_eq!(link.shower().0, hex(&case["shower"]));
            assert_eq!(*link.to_url(), case["url"]);
        }
    }

    #[test]
    fn every_invalid_link_is_refused_with_its_reason() {
        let cases: Value = serde_json::from_str(include_str!("../vectors/links.json")).unwrap();
        for case in cases["invalid"].as_array().unwrap() {
            let error = Link::parse(case["text"].as_str().unwrap()).err().map(|error| error.name());
            assert_eq!(error, case["error"].as_str(), "{case}");
        }
        let long = format!("https://{}/#1.AAECAwQFBgcICQoLDA0ODw.EBESExQVFhcYGRobHB0eHw", "x".repeat(460));
        assert_eq!(Link::parse(&long).err(), Some(LinkError::TooLong { len: long.len() }));
    }

    #[test]
    fn a_link_that_is_too_long_once_its_slash_is_added_is_refused() {
        let link = |host_bytes: usize| {
            format!("https://{}#1.AAECAwQFBgcICQoLDA0ODw.EBESExQVFhcYGRobHB0eHw", "x".repeat(host_bytes))
        };
        let longest = Link::parse(&link(455)).unwrap().to_url();
        assert_eq!(longest.len(), Link::MAX_BYTES);
        assert!(Link::parse(&longest).is_ok());
        assert_eq!(Link::parse(&link(456)).err(), Some(LinkError::TooLong { len: 513 }));
    }
}
