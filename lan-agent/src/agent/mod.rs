//! A running agent: what happens in it, what it asks, and the tasks that join its parts.

pub mod again;
pub mod board;
pub mod code;
pub mod desk;
pub mod event;
pub mod history;
pub mod home;
pub mod ledger;
pub mod nearby;
pub mod question;
pub mod reunion;
pub mod rotation;
pub mod sessions;
pub mod sharing;
pub mod trust;

use std::sync::Arc;

use lanyard_pairing::{Identity, Profile};

use crate::config::clean_name;

/// Who this device is, for everything that meets others.
#[derive(Clone)]
pub struct Own {
    /// Its key.
    pub identity: Arc<Identity>,
    /// What other people see; 1 to 64 bytes.
    pub name: String,
}

impl Own {
    /// A device with this key and name.
    #[must_use]
    pub fn new(identity: Identity, name: &str) -> Self {
        let name = clean_name(name).unwrap_or_else(crate::config::default_name);
        Self { identity: Arc::new(identity), name }
    }

    /// What it says of itself in a handshake. `native`: its sockets hold more than a browser's.
    #[must_use]
    pub fn profile(&self) -> Profile {
        // A clean name is at most 64 bytes and the rest is constant: always within the limits.
        Profile::new(self.name.as_str(), "computer", ["webrtc", "native", "remember"])
            .unwrap_or_else(|_| Self::nameless())
    }

    fn nameless() -> Profile {
        #[expect(clippy::unwrap_used, reason = "an empty profile is within every limit")]
        Profile::new("", "computer", [""; 0]).unwrap()
    }
}
