//! One remembered device, and its form in the file.

use data_encoding::BASE64URL_NOPAD;
use lanyard_pairing::{PublicKey, RememberedDevice};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::AcceptPolicy;

/// Servers kept for one device: its own addresses, and where the two met.
const MAX_SERVERS: usize = 8;

/// A device that both people agreed to remember.
#[derive(Clone)]
pub struct Remembered {
    /// What it calls itself: hostile text.
    pub name: String,
    /// Its key, and the secret shared with it.
    pub bond: RememberedDevice,
    /// What happens to its offers; `None` is what holds for everyone.
    pub policy: Option<AcceptPolicy>,
    /// Whether it is a program with a server, and no page.
    pub native: bool,
    /// Addresses of pages at whose servers it may be met, the latest first.
    pub servers: Vec<String>,
}

impl Remembered {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.bond.peer_key()
    }

    /// Notes where it may be met, the latest first; the oldest make room.
    pub fn add_server(&mut self, server: String) {
        self.servers.retain(|known| *known != server);
        self.servers.insert(0, server);
        self.servers.truncate(MAX_SERVERS);
    }
}

/// As it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    name: String,
    key: String,
    #[serde(with = "secret")]
    secret: Zeroizing<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(default)]
    native: bool,
    #[serde(default)]
    servers: Vec<String>,
}

/// A text that is wiped when dropped; what JSON makes of it on the way is wiped with the file's bytes.
mod secret {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(secret: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(deserializer).map(Zeroizing::new)
    }
}

impl From<&Remembered> for Entry {
    fn from(device: &Remembered) -> Self {
        Self {
            name: device.name.clone(),
            key: BASE64URL_NOPAD.encode(&device.key().0),
            secret: Zeroizing::new(BASE64URL_NOPAD.encode(device.bond.pair_secret())),
            policy: device.policy.map(AcceptPolicy::word),
            native: device.native,
            servers: device.servers.clone(),
        }
    }
}

impl Entry {
    /// `None` when it is damaged.
    pub(super) fn read(self) -> Option<Remembered> {
        let key: [u8; 32] = BASE64URL_NOPAD.decode(self.key.as_bytes()).ok()?.try_into().ok()?;
        let secret = Zeroizing::new(BASE64URL_NOPAD.decode(self.secret.as_bytes()).ok()?);
        let mut pair_secret = Zeroizing::new([0; 32]);
        if secret.len() != pair_secret.len() {
            return None;
        }
        pair_secret.copy_from_slice(&secret);
        let policy = self.policy.map(|policy| policy.parse()).transpose().ok()?;
        Some(Remembered {
            name: self.name,
            bond: RememberedDevice::new(PublicKey(key), pair_secret),
            policy,
            native: self.native,
            servers: self.servers.into_iter().take(MAX_SERVERS).collect(),
        })
    }
}
