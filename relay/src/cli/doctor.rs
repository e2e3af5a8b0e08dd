//! `lanyard-relay doctor`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lanyard_relay::config::Config;
use lanyard_relay::doctor::{Finding, HostName, Options, StaticSecret, Subject, TurnTransport, Verdict, examine};

use super::given_secret;
use crate::exit;

/// Exit code 0: all is well; 1: something is not; 7: nothing was reached.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lanyard-relay doctor                            the relay of this machine's configuration
  lanyard-relay doctor relay.example.org          a relay, from here, as a device sees it
  lanyard-relay doctor turn.example.org --secret-file secret --transport udp,tcp
                                                  any TURN server that shares a secret")]
pub(crate) struct Arguments {
    /// The relay to examine: a host, host:port, or the address of the page. Without, that of the configuration.
    host: Option<HostName>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,

    /// A file with the shared secret of a TURN server without Lanyard's signaling. LANYARD_RELAY_TURN_SECRET does too.
    #[arg(long, value_name = "FILE", requires = "host")]
    secret_file: Option<PathBuf>,

    /// With a secret: the transports to try.
    #[arg(long, value_name = "TRANSPORT", value_delimiter = ',', default_value = "udp,tcp,tls")]
    transport: Vec<TurnTransport>,

    /// Root certificates in PEM to trust instead of the system's.
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn run(&self, config: Config) -> ExitCode {
        let subject = match (&self.host, given_secret(self.secret_file.as_deref())) {
            (_, Err(problem)) => {
                eprintln!("lanyard-relay: {problem}");
                return ExitCode::from(exit::CONFIG);
            }
            (None, _) => Subject::Own(Box::new(config)),
            (Some(host), Ok(None)) => Subject::Host(host.clone()),
            (Some(host), Ok(Some(secret))) => {
                Subject::Turn(host.clone(), StaticSecret { secret, transports: self.transport.clone() })
            }
        };
        let options = Options { subject, roots: self.roots.clone() };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(problem) => {
                eprintln!("lanyard-relay: cannot start: {problem}");
                return ExitCode::from(exit::FAILED);
            }
        };
        let report = runtime.block_on(examine(&options, |finding| {
            if !self.json {
                show(finding);
            }
        }));
        let report = match report {
            Ok(report) => report,
            Err(problem) => {
                eprintln!("lanyard-relay: {problem}");
                return ExitCode::from(exit::CONFIG);
            }
        };
        if self.json {
            let text = serde_json::to_string_pretty(&report).unwrap_or_default();
            // Nobody reads it any more.
            let _ = writeln!(io::stdout(), "{text}");
        }
        if report.is_well() {
            ExitCode::SUCCESS
        } else if report.is_reached {
            ExitCode::from(exit::FAILED)
        } else {
            ExitCode::from(exit::UNREACHABLE)
        }
    }
}

fn show(finding: &Finding) {
    let is_coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (word, colour) = match finding.verdict {
        Verdict::Ok => ("ok    ", "32"),
        Verdict::Note => ("note  ", "33"),
        Verdict::Failed => ("FAILED", "31"),
    };
    let word = if is_coloured { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() };
    let mut out = io::stdout().lock();
    // Nobody reads it any more.
    let _ = writeln!(out, "{word}  {}: {}", finding.check, printable(&finding.detail));
    if let Some(fix) = &finding.fix {
        let _ = writeln!(out, "        → {}", printable(fix));
    }
}

/// Parts of it come from servers: nothing of that may steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|symbol| if symbol.is_control() { '\u{fffd}' } else { symbol }).collect()
}
