//! How the agent in this process proves on a WebSocket that it is that.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq;

/// The request header that carries the token. It counts only on connections over loopback.
pub const AGENT_TOKEN_HEADER: &str = "x-lanyard-agent";

/// 32 random bytes in base64url, drawn when the relay starts and never written anywhere.
#[derive(Clone)]
pub struct AgentToken(String);

impl AgentToken {
    pub(crate) fn draw() -> Self {
        Self(BASE64URL_NOPAD.encode(&rand::random::<[u8; 32]>()))
    }

    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(value).into()
    }
}

impl fmt::Debug for AgentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentToken(redacted)")
    }
}
