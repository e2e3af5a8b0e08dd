//! `lanyard-relay credentials`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use lanyard_relay::config::{Config, PeerPolicy, Secret};
use lanyard_relay::credentials::{Minted, Ports, mint};
use serde_json::json;

use super::{given_secret, welcome};
use crate::exit;

/// The secret is the newest of turn.secrets, or LANYARD_RELAY_TURN_SECRET.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lanyard-relay credentials --ttl 12h --id meeting --host turn.example.org --json")]
pub(crate) struct Arguments {
    /// How long new connections may be made: 90s, 30m, 12h or 7d.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = time)]
    ttl: Duration,

    /// Whom they are for: a quota belongs to an id.
    #[arg(long, value_name = "TEXT", default_value = "guest")]
    id: String,

    /// The host that applications reach the relay at, where it is not stun.host or the first of http.hosts.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,

    /// A file with the secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(crate) fn run(&self, config: &Config) -> ExitCode {
        match self.minted(config) {
            Ok(minted) => {
                for warning in self.warnings(config) {
                    eprintln!("lanyard-relay: {warning}");
                }
                // Nobody reads it any more.
                let _ = writeln!(io::stdout(), "{}", self.text(config, &minted));
                ExitCode::SUCCESS
            }
            Err(problem) => {
                eprintln!("lanyard-relay: {problem}");
                ExitCode::from(exit::CONFIG)
            }
        }
    }

    fn secret(&self, config: &Config) -> Result<Secret, String> {
        let given = given_secret(self.secret_file.as_deref())?;
        given.or_else(|| config.turn.secrets.first().cloned()).ok_or_else(|| {
            "there is no secret to mint with; put one into turn.secrets (`openssl rand -hex 16` makes a good one) and \
             reload the relay"
                .to_owned()
        })
    }

    fn minted(&self, config: &Config) -> Result<Minted, String> {
        mint(&self.secret(config)?, self.ttl, &self.id).map_err(|error| error.to_string())
    }

    fn warnings(&self, config: &Config) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if !config.turn.enabled || !config.stun.enabled {
            warnings.push("the relay of this configuration does not relay: set stun.enabled and turn.enabled.");
        }
        if config.turn.peer_policy == PeerPolicy::Room {
            warnings.push(
                "turn.peer_policy is \"room\": these credentials belong to no room, so the relay will refuse every \
                 peer. Other applications need \"public\".",
            );
        }
        if self.secret(config).is_ok_and(|secret| !config.turn.secrets.contains(&secret)) {
            warnings.push("this secret is not in turn.secrets of this configuration.");
        }
        if self.ttl > Duration::from_secs(7 * 24 * 3600) {
            warnings.push("anybody who gets hold of these can relay here until they end; a day is usual.");
        }
        warnings
    }

    fn text(&self, config: &Config, minted: &Minted) -> String {
        let host = self.host.clone().or_else(|| config.stun.host.clone());
        let host = host.unwrap_or_else(|| welcome::host_of(config, config.stun.listen));
        let ports = Ports::of_config(config).unwrap_or(Ports { udp: 3478, tcp: Some(3478), tls: None });
        let credential = minted.credential.reveal();
        let servers = [ports.stun(&host), ports.turn(&host, &minted.username, credential)];
        if self.json {
            let all = json!({
                "username": minted.username,
                "credential": credential,
                "expires_unix": minted.expires_unix,
                "iceServers": servers,
            });
            return format!("{all:#}");
        }
        let servers = serde_json::to_string_pretty(&json!({ "iceServers": servers })).unwrap_or_default();
        format!("username    {}\ncredential  {credential}\n{servers}", minted.username)
    }
}

/// Reads `90s`, `30m`, `12h`, `7d`, or seconds.
fn time(text: &str) -> Result<Duration, String> {
    let (digits, seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 86_400),
        Some(_) | None => (text, 1),
    };
    let count: u64 = digits.parse().map_err(|_| "write it as 90s, 30m, 12h or 7d".to_owned())?;
    match count.checked_mul(seconds) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        Some(_) | None => Err("must be at least a second, and less than for ever".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(time("90"), Ok(Duration::from_secs(90)));
        assert_eq!(time("12h"), Ok(Duration::from_secs(43_200)));
        for bad in ["", "h", "0", "-1s", "1y", "999999999999999999999d", "1 h"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
