//! Settings: a flag wins over the environment, the environment over `config.toml`, that over the default.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use lanyard_protocol::limits::DEVICE_NAME_BYTES;
use serde::Deserialize;

/// TCP port of page and signaling, unless taken or told otherwise.
pub const DEFAULT_PORT: u16 = 53380;

/// `config.toml`. Keys are named like the flags; an unknown key is refused, because it would silently do nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConfigFile {
    /// What other people see; 1 to 64 bytes.
    pub name: Option<String>,
    /// Receive folder.
    pub dir: Option<PathBuf>,
    /// TCP port of page and signaling; 0 takes any free one.
    pub port: Option<u16>,
    /// Interfaces to show this device on, by name or address; empty means every one that leads to a network.
    pub interface: Vec<String>,
    /// A relay to meet through, `https://…`.
    pub relay: Option<String>,
    /// What happens to an offer.
    pub accept: Option<AcceptPolicy>,
    /// Seconds to wait for the other device.
    pub timeout: Option<u64>,
    /// Seconds that a question waits for a person, at most 60. Unanswered it counts as no.
    pub answer_timeout: Option<u64>,
    /// Draw no QR code.
    pub no_qr: bool,
    /// Draw with ASCII only.
    pub ascii: bool,
    /// No colours.
    pub no_color: bool,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there but cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown key or a value out of range.
    #[error("{} is not a configuration of this version: {source}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
}

impl ConfigFile {
    /// Reads `path`. A missing file is an empty one unless `required`.
    ///
    /// # Errors
    /// Unreadable or malformed.
    pub fn read(path: &Path, required: bool) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return Ok(Self::default()),
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        };
        toml::from_str(&text)
            .map_err(|source| ConfigError::Malformed { path: path.to_owned(), source: Box::new(source) })
    }
}

/// What happens to an offer of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum AcceptPolicy {
    /// A person is asked.
    #[default]
    Ask,
    /// Taken.
    Accept,
    /// Taken below so many bytes, asked about above.
    AcceptUnder(u64),
}

/// A text that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use ask, accept or accept-under=SIZE, such as accept-under=2GB")]
pub struct PolicyError;

impl AcceptPolicy {
    /// Whether an offer of `total_bytes` needs no question.
    #[must_use]
    pub fn accepts(self, total_bytes: u64) -> bool {
        match self {
            Self::Ask => false,
            Self::Accept => true,
            Self::AcceptUnder(limit) => total_bytes < limit,
        }
    }
}

impl AcceptPolicy {
    /// As a person writes it, and as it is read again.
    #[must_use]
    pub fn word(self) -> String {
        match self {
            Self::Ask => "ask".to_owned(),
            Self::Accept => "accept".to_owned(),
            Self::AcceptUnder(limit) => format!("accept-under={limit}"),
        }
    }
}

impl FromStr for AcceptPolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        match text {
            "ask" => Ok(Self::Ask),
            "accept" => Ok(Self::Accept),
            _ => text.strip_prefix("accept-under=").and_then(parse_size).map(Self::AcceptUnder).ok_or(PolicyError),
        }
    }
}

impl TryFrom<String> for AcceptPolicy {
    type Error = PolicyError;

    fn try_from(text: String) -> Result<Self, PolicyError> {
        text.parse()
    }
}

impl fmt::Display for AcceptPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask => f.write_str("asks first"),
            Self::Accept => f.write_str("accepts everything"),
            Self::AcceptUnder(limit) => write!(f, "accepts under {}, asks above", crate::terminal::bytes(*limit)),
        }
    }
}

/// `2GB`, `500 MB`, `64kB`, `1000`: decimal units, as everywhere in Lanyard.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A device name as it may be shown to others: trimmed, without control characters, 1 to 64 bytes.
#[must_use]
pub fn clean_name(text: &str) -> Option<String> {
    let mut name = String::new();
    for character in text.trim().chars().filter(|character| !character.is_control()) {
        if name.len() + character.len_utf8() > DEVICE_NAME_BYTES {
            break;
        }
        name.push(character);
    }
    if name.is_empty() { None } else { Some(name) }
}

/// What this device is called unless told otherwise: the machine's own name.
#[must_use]
pub fn default_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let label = host.split('.').next().unwrap_or_default();
    clean_name(label).filter(|name| name != "localhost").unwrap_or_else(|| "Lanyard".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ConfigFile, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        ConfigFile::read(&path, true)
    }

    #[test]
    fn every_key_is_read() {
        let config = read(
            "name = \"Attic\"\ndir = \"/srv/in\"\nport = 0\ninterface = [\"eth0\"]\naccept = \"accept-under=2GB\"\n\
             relay = \"https://relay.example/\"\n\
             timeout = 30\nanswer-timeout = 20\nno-qr = true\nascii = true\nno-color = true\n",
        )
        .unwrap();
        assert_eq!(config.name.as_deref(), Some("Attic"));
        assert_eq!(config.accept, Some(AcceptPolicy::AcceptUnder(2_000_000_000)));
        assert_eq!(config.relay.as_deref(), Some("https://relay.example/"));
        assert_eq!((config.port, config.timeout, config.answer_timeout), (Some(0), Some(30), Some(20)));
        assert!(config.no_qr && config.ascii && config.no_color);
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused() {
        for bad in ["nmae = \"x\"", "accept = \"sometimes\"", "port = 70000", "interface = \"eth0\""] {
            assert!(matches!(read(bad), Err(ConfigError::Malformed { .. })), "{bad}");
        }
    }

    #[test]
    fn a_missing_file_is_fine_unless_it_was_named() {
        let path = Path::new("/nonexistent/lanyard/config.toml");
        assert_eq!(ConfigFile::read(path, false).unwrap(), ConfigFile::default());
        assert!(matches!(ConfigFile::read(path, true), Err(ConfigError::Unreadable { .. })));
    }

    #[test]
    fn sizes_are_decimal_and_never_wrap() {
        for (text, size) in
            [("2GB", Some(2_000_000_000)), ("500 mb", Some(500_000_000)), ("7", Some(7)), ("64kB", Some(64_000))]
        {
            assert_eq!(parse_size(text), size, "{text}");
        }
        for bad in ["", "GB", "1.5GB", "-1", "18446744073709551615 kB", "2 gib"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn policies_decide_by_size() {
        assert!(!AcceptPolicy::Ask.accepts(0));
        assert!(AcceptPolicy::Accept.accepts(u64::MAX));
        assert!(AcceptPolicy::AcceptUnder(10).accepts(9) && !AcceptPolicy::AcceptUnder(10).accepts(10));
    }

    #[test]
    fn names_are_cleaned_and_cut_at_a_character() {
        assert_eq!(clean_name("  Ana's\u{1b} PC\n").as_deref(), Some("Ana's PC"));
        assert_eq!(clean_name(" \t "), None);
        assert_eq!(clean_name(&"ä".repeat(40)).unwrap().len(), 64);
    }
}
