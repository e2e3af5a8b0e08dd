//! Flags and environment, over a file, over defaults; and the commands.

mod credentials;
mod doctor;
pub(crate) mod welcome;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use lanyard_relay::config::{Config, ConfigError, LogFormat, MetricsAccess, Secret};

/// Lets devices find each other and connect: signaling, STUN, TURN and the Lanyard page in one process.
///
/// Without a command it serves. A flag overrides its environment variable, that overrides the configuration file, and
/// that the defaults.
#[derive(Debug, Parser)]
#[command(name = "lanyard-relay", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Configuration file in TOML; see deploy/relay.toml.
    #[arg(long, env = "LANYARD_RELAY_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Address to serve http on; may be given more than once [default: [::]:8080].
    #[arg(long, env = "LANYARD_RELAY_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
    listen: Option<Vec<SocketAddr>>,

    /// Address to serve https on, when there is a certificate [default: [::]:8443].
    #[arg(long, env = "LANYARD_RELAY_TLS_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
    tls_listen: Option<Vec<SocketAddr>>,

    /// Certificate chain in PEM.
    #[arg(long, env = "LANYARD_RELAY_TLS_CERTIFICATE", value_name = "FILE")]
    tls_certificate: Option<PathBuf>,

    /// The certificate's private key in PEM.
    #[arg(long, env = "LANYARD_RELAY_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Address for STUN and TURN over UDP, and for TURN over TCP [default: [::]:3478].
    #[arg(long, env = "LANYARD_RELAY_STUN_LISTEN", value_name = "ADDRESS")]
    stun_listen: Option<SocketAddr>,

    /// Host that browsers are told for STUN and TURN, where it is not the page's own.
    #[arg(long, env = "LANYARD_RELAY_STUN_HOST", value_name = "HOST")]
    stun_host: Option<String>,

    /// A name by which browsers may call this relay; may be given more than once.
    #[arg(long, env = "LANYARD_RELAY_HOST", value_name = "HOST", value_delimiter = ',')]
    host: Option<Vec<String>>,

    /// A reverse proxy whose X-Forwarded-For and X-Forwarded-Proto are believed; may be given more than once.
    #[arg(long, env = "LANYARD_RELAY_TRUSTED_PROXY", value_name = "NETWORK", value_delimiter = ',')]
    trusted_proxy: Option<Vec<IpNet>>,

    /// Whether devices may choose to be listed to everyone who is connected.
    #[arg(long, env = "LANYARD_RELAY_NEARBY", value_name = "true|false")]
    nearby: Option<bool>,

    /// Who may read /metrics.
    #[arg(long, env = "LANYARD_RELAY_METRICS", value_name = "WHO")]
    metrics: Option<MetricsFlag>,

    /// How log lines are written.
    #[arg(long, env = "LANYARD_RELAY_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormatFlag>,

    /// What is logged: error, warn, info, debug, trace, or a list such as info,lanyard_relay=debug.
    #[arg(long, env = "LANYARD_RELAY_LOG", value_name = "FILTER")]
    log: Option<String>,

    /// Check the configuration and stop.
    #[arg(long)]
    pub(crate) check_config: bool,

    /// Do not draw the link as a QR code.
    #[arg(long, env = "LANYARD_RELAY_NO_QR")]
    pub(crate) no_qr: bool,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find out why devices cannot connect through a relay, from where this is run.
    Doctor(doctor::Arguments),
    /// Make time-limited TURN credentials for another application.
    Credentials(credentials::Arguments),
}

/// Where a secret may be besides the configuration. Never a flag: others on this machine can read those.
const SECRET_VARIABLE: &str = "LANYARD_RELAY_TURN_SECRET";

/// The secret in a file, or in the environment.
fn given_secret(file: Option<&Path>) -> Result<Option<Secret>, String> {
    match file {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let secret = text.trim();
            if secret.is_empty() {
                return Err(format!("{} holds no secret", path.display()));
            }
            Ok(Some(Secret::new(secret)))
        }
        None => Ok(std::env::var(SECRET_VARIABLE).ok().filter(|secret| !secret.is_empty()).map(Secret::new)),
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MetricsFlag {
    /// Nobody.
    Off,
    /// Who comes from this machine.
    Loopback,
    /// Everyone.
    All,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormatFlag {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Cli {
    /// The configuration that results, checked.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::from_file(path)?,
            None => Config::default(),
        };
        set(&mut config.http.listen, &self.listen);
        set(&mut config.tls.listen, &self.tls_listen);
        set_some(&mut config.tls.certificate, &self.tls_certificate);
        set_some(&mut config.tls.key, &self.tls_key);
        set(&mut config.stun.listen, &self.stun_listen);
        set_some(&mut config.stun.host, &self.stun_host);
        set(&mut config.http.hosts, &self.host);
        set(&mut config.http.trusted_proxies, &self.trusted_proxy);
        set(&mut config.signaling.nearby, &self.nearby);
        set(&mut config.log.filter, &self.log);
        if let Some(metrics) = self.metrics {
            config.metrics = match metrics {
                MetricsFlag::Off => MetricsAccess::Off,
                MetricsFlag::Loopback => MetricsAccess::Loopback,
                MetricsFlag::All => MetricsAccess::All,
            };
        }
        if let Some(format) = self.log_format {
            config.log.format = match format {
                LogFormatFlag::Text => LogFormat::Text,
                LogFormatFlag::Json => LogFormat::Json,
            };
        }
        config.check()?;
        Ok(config)
    }
}

fn set<T: Clone>(field: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

fn set_some<T: Clone>(field: &mut Option<T>, value: &Option<T>) {
    if value.is_some() {
        field.clone_from(value);
    }
}
