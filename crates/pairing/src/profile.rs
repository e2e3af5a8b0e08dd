//! What a device says of itself, encrypted inside the handshake (PA-11).

/// Name, kind and abilities of a device. Travels in messages 2 and 3, so the relay never sees it.
///
/// The text may come from the other device: escape it before it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    name: String,
    platform: String,
    caps: Vec<String>,
}

/// Why a profile cannot be sent or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// A text beyond its limit.
    #[error("a part of the device's profile is too long")]
    TooLong,
    /// Not the form of PA-11.
    #[error("the device's profile can not be read")]
    Malformed,
}

const NAME_BYTES: usize = 128;
const PLATFORM_BYTES: usize = 32;
const CAP_BYTES: usize = 32;
const CAPS: usize = 32;

impl Profile {
    /// `name` is what the person called the device, at most 128 bytes; `platform` its kind, such as `computer` or `phone`,
    /// at most 32 bytes; `caps` what it can do, such as `webrtc` or `tls`, at most 32 of 1 to 32 bytes each.
    ///
    /// # Errors
    /// When a part is longer than that, or a cap empty.
    pub fn new<C: Into<String>>(
        name: impl Into<String>,
        platform: impl Into<String>,
        caps: impl IntoIterator<Item = C>,
    ) -> Result<Self, ProfileError> {
        let (name, platform) = (name.into(), platform.into());
        let caps: Vec<String> = caps.into_iter().map(Into::into).collect();
        if name.len() > NAME_BYTES || platform.len() > PLATFORM_BYTES || caps.len() > CAPS {
            return Err(ProfileError::TooLong);
        }
        caps.iter().try_for_each(|cap| checked_cap_len(cap.len()))?;
        Ok(Self { name, platform, caps })
    }

    /// What the person called the device.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of device.
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// All abilities, also those unknown to this version.
    #[must_use]
    pub fn caps(&self) -> &[String] {
        &self.caps
    }

    /// Whether the device has this ability.
    #[must_use]
    pub fn can(&self, cap: &str) -> bool {
        self.caps.iter().any(|have| have == cap)
    }

    /// Name, platform, number of caps, caps; each text with its length in one byte in front.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        push_text(&mut bytes, &self.name);
        push_text(&mut bytes, &self.platform);
        bytes.push(length_byte(self.caps.len()));
        for cap in &self.caps {
            push_text(&mut bytes, cap);
        }
        bytes
    }

    /// Reads what `encode` made. Bytes after the last cap belong to newer versions and are ignored.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ProfileError> {
        let mut rest = bytes;
        let name = take_text(&mut rest, NAME_BYTES)?;
        let platform = take_text(&mut rest, PLATFORM_BYTES)?;
        let count = usize::from(take_byte(&mut rest)?);
        if count > CAPS {
            return Err(ProfileError::TooLong);
        }
        let mut caps = Vec::with_capacity(count);
        for _ in 0..count {
            let cap = take_text(&mut rest, CAP_BYTES)?;
            checked_cap_len(cap.len())?;
            caps.push(cap);
        }
        Ok(Self { name, platform, caps })
    }
}

fn checked_cap_len(len: usize) -> Result<(), ProfileError> {
    match len {
        0 => Err(ProfileError::Malformed),
        1..=CAP_BYTES => Ok(()),
        _ => Err(ProfileError::TooLong),
    }
}

fn length_byte(len: usize) -> u8 {
    u8::try_from(len).expect("`new` and `decode` allow at most 128")
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(length_byte(text.len()));
    bytes.extend_from_slice(text.as_bytes());
}

fn take_byte(rest: &mut &[u8]) -> Result<u8, ProfileError> {
    let (&byte, tail) = rest.split_first().ok_or(ProfileError::Malformed)?;
    *rest = tail;
    Ok(byte)
}

fn take_text(rest: &mut &[u8], limit: usize) -> Result<String, ProfileError> {
    let len = usize::from(take_byte(rest)?);
    if len > limit {
        return Err(ProfileError::TooLong);
    }
    let (text, tail) = rest.split_at_checked(len).ok_or(ProfileError::Malformed)?;
    *rest = tail;
    String::from_utf8(text.to_vec()).map_err(|_| ProfileError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_survives_the_round_trip_and_ignores_what_a_newer_version_appends() {
        let profile = Profile::new("Violet Otter 🦦", "phone", ["webrtc", "tls"]).unwrap();
        let mut bytes = profile.encode();
        assert_eq!(Profile::decode(&bytes), Ok(profile.clone()));
        bytes.extend_from_slice(b"more");
        assert_eq!(Profile::decode(&bytes), Ok(profile));
    }

    #[test]
    fn name_beyond_128_bytes_is_refused_on_both_ends() {
        assert_eq!(Profile::new("x".repeat(129), "phone", [""; 0]), Err(ProfileError::TooLong));
        let mut bytes = vec![129];
        bytes.extend_from_slice(&[b'x'; 140]);
        assert_eq!(Profile::decode(&bytes), Err(ProfileError::TooLong));
    }

    #[test]
    fn cut_profile_is_malformed() {
        let bytes = Profile::new("Attic NAS", "server", ["tls"]).unwrap().encode();
        for len in 0..bytes.len() {
            assert_eq!(Profile::decode(&bytes[..len]), Err(ProfileError::Malformed), "cut after {len} bytes");
        }
    }
}
