//! The relay's command line.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use lanyard_relay::config::{Config, LogConfig, LogFormat};
use lanyard_relay::{Relay, RelayHandle};
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command, welcome};

/// Exit codes, as the README lists them.
mod exit {
    /// Something else went wrong.
    pub(crate) const FAILED: u8 = 1;
    /// The configuration cannot be used. The same as for a wrong flag.
    pub(crate) const CONFIG: u8 = 2;
    /// An address cannot be listened on.
    pub(crate) const BIND: u8 = 3;
    /// Connections were still open when the time to drain was over.
    pub(crate) const CUT: u8 = 4;
    /// `doctor` reached nothing.
    pub(crate) const UNREACHABLE: u8 = 7;
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match cli.config() {
        Ok(config) => config,
        Err(problem) => {
            eprintln!("lanyard-relay: {problem}");
            return ExitCode::from(exit::CONFIG);
        }
    };
    match &cli.command {
        Some(Command::Doctor(arguments)) => return arguments.run(config),
        Some(Command::Credentials(arguments)) => return arguments.run(&config),
        None => {}
    }
    if cli.check_config {
        eprintln!("lanyard-relay: the configuration is fine");
        return ExitCode::SUCCESS;
    }
    if let Err(problem) = start_log(&config.log) {
        eprintln!("lanyard-relay: log.filter: {problem}");
        return ExitCode::from(exit::CONFIG);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => {
            error!(%problem, "cannot start");
            return ExitCode::from(exit::FAILED);
        }
    };
    runtime.block_on(run(&cli, config))
}

async fn run(cli: &Cli, config: Config) -> ExitCode {
    // Before anything is open, so that a signal during the start is not lost.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(problem) => {
            error!(%problem, "cannot listen for signals");
            return ExitCode::from(exit::FAILED);
        }
    };
    let shown = config.clone();
    let relay = match Relay::start(config).await {
        Ok(relay) => relay,
        Err(problem) => {
            error!(%problem, "cannot start");
            return ExitCode::from(match problem {
                lanyard_relay::StartError::Bind { .. } => exit::BIND,
                lanyard_relay::StartError::Config(_) | lanyard_relay::StartError::Identity(_) => exit::CONFIG,
            });
        }
    };
    for line in welcome::lines(&shown, &relay, !cli.no_qr) {
        eprintln!("{line}");
    }
    signals.wait_for_end(cli, &relay).await;
    info!("stopping");
    if relay.shutdown().await { ExitCode::SUCCESS } else { ExitCode::from(exit::CUT) }
}

fn start_log(config: &LogConfig) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(&config.filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

#[cfg(unix)]
async fn reload(cli: &Cli, relay: &RelayHandle) {
    match cli.config() {
        Ok(config) => match relay.reload(&config).await {
            Ok(()) => info!("took over certificate and TURN rules; the rest of the configuration needs a restart"),
            Err(problem) => error!(%problem, "kept the old certificate"),
        },
        Err(problem) => error!(%problem, "kept the old configuration"),
    }
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or Ctrl-C; SIGHUP reads configuration and certificate again.
    async fn wait_for_end(mut self, cli: &Cli, relay: &RelayHandle) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reload(cli, relay).await,
            }
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Waits for Ctrl-C.
    async fn wait_for_end(self, _cli: &Cli, _relay: &RelayHandle) {
        if let Err(problem) = tokio::signal::ctrl_c().await {
            error!(%problem, "cannot wait for Ctrl-C");
        }
    }
}
