//! Flags, environment, file and defaults made one.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use super::args::Global;
use crate::agent::Own;
use crate::agent::question::ANSWER_TIMEOUT;
use crate::config::{AcceptPolicy, ConfigFile, DEFAULT_PORT, default_name};
use crate::discovery::interface::InterfaceChoice;
use crate::exit::{Exit, Stop};
use crate::signaling_client::ServerUrl;
use crate::terminal::{Console, ConsoleStyle, OutputFormat};
use crate::{identity, paths};

/// A server that others are sent to.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Address of its page, with a slash at the end.
    pub base: String,
    /// Where it is.
    pub url: ServerUrl,
}

impl Relay {
    fn parse(text: &str) -> Result<Self, Stop> {
        let url =
            ServerUrl::of_page(text).map_err(|error| Stop::new(Exit::Usage, format!("{text} is no relay: {error}")))?;
        Ok(Self { base: url.to_string(), url })
    }
}

/// What holds for this run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What other people see.
    pub name: String,
    /// TCP port of page and signaling.
    pub port: u16,
    /// As asked for; empty for every suitable one.
    pub interface_names: Vec<String>,
    /// A relay to meet through.
    pub relay: Option<Relay>,
    /// What happens to offers.
    pub accept: AcceptPolicy,
    /// Agree without asking.
    pub yes: bool,
    /// How long to wait for the other device.
    pub timeout: Option<Duration>,
    /// How long a question waits for a person.
    pub answer_timeout: Duration,
    /// Who reads.
    pub format: OutputFormat,
    /// How to print.
    pub style: ConsoleStyle,
    /// Receive folder of the configuration.
    pub dir: Option<PathBuf>,
}

impl Settings {
    /// Flags over `config.toml` over defaults; the environment came in with the flags.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn resolve(flags: Global) -> Result<Self, Stop> {
        let usage = |error: &dyn std::fmt::Display| Stop::new(Exit::Usage, error.to_string());
        let file = match (&flags.config, paths::config_file()) {
            (Some(named), _) => ConfigFile::read(named, true).map_err(|error| usage(&error))?,
            (None, Some(default)) => ConfigFile::read(&default, false).map_err(|error| usage(&error))?,
            (None, None) => ConfigFile::default(),
        };
        let no_color = flags.no_color || file.no_color || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let color = !no_color && (std::io::stderr().is_terminal() || std::env::var_os("COLUMNS").is_some());
        let style = ConsoleStyle {
            color,
            ascii: flags.ascii || file.ascii,
            qr: !(flags.no_qr || file.no_qr || flags.json),
            quiet: flags.quiet,
        };
        Ok(Self {
            name: flags.name.or(file.name).unwrap_or_else(default_name),
            port: flags.port.or(file.port).unwrap_or(DEFAULT_PORT),
            interface_names: if flags.interface.is_empty() { file.interface } else { flags.interface },
            relay: flags.relay.or(file.relay).as_deref().map(Relay::parse).transpose()?,
            accept: flags.accept.or(file.accept).unwrap_or_default(),
            yes: flags.yes,
            timeout: flags.timeout.or(file.timeout).map(Duration::from_secs),
            answer_timeout: file.answer_timeout.map_or(ANSWER_TIMEOUT, Duration::from_secs),
            format: if flags.json { OutputFormat::Json } else { OutputFormat::Human },
            style,
            dir: file.dir,
        })
    }

    /// Which interfaces to show this device on.
    #[must_use]
    pub fn interfaces(&self) -> InterfaceChoice {
        InterfaceChoice::new(self.interface_names.clone())
    }

    /// This device.
    ///
    /// # Errors
    /// Its key cannot be read or kept.
    pub fn own(&self, console: &Console) -> Result<Own, Stop> {
        let identity = match paths::data_directory() {
            Some(directory) => {
                identity::load_or_create(&directory).map_err(|error| Stop::new(Exit::NoSpace, error.to_string()))?
            }
            None => {
                console.complain("There is no home folder, so this device is a new one each time.");
                lanyard_pairing::Identity::generate(&mut rand::rng())
            }
        };
        Ok(Own::new(identity, &self.name))
    }
}
