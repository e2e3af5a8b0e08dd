//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::AcceptPolicy;

/// Examples under `--help`.
const EXAMPLES: &str = "\
Examples:
  lanyard up ~/Downloads             show a QR code; phones open the page and send here
  lanyard send holiday.zip           show a QR code; whoever scans it gets the file
  lanyard send photos/ --to Attic    send to a device on this network by its name
  lanyard receive -o ~/inbox         type the code that another device shows";

/// Move files and text between devices, directly and encrypted.
#[derive(Debug, Parser)]
#[command(name = "lanyard", version, after_help = EXAMPLES, disable_help_subcommand = true)]
#[command(max_term_width = 100, infer_subcommands = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent: serve the page, announce this device, show a QR code, receive
    Up(Up),
    /// Send files, folders or a text
    Send(Send),
    /// Receive from a device that shows a code or link
    #[command(visible_alias = "get")]
    Receive(Receive),
    /// List the devices on this network
    Devices(Devices),
    /// Meet a device and remember it: both meet again without a question
    Pair(Pair),
    /// Remember a connected device, or say what happens to its files
    Trust(Trust),
    /// Forget a remembered device
    Forget(Forget),
    /// What is under way, what waits for an answer, what was within seven days
    List(List),
    /// Carry on sending what was broken off
    Resume(Resume),
    /// End a transfer on both devices
    Cancel(Cancel),
    /// What was sent and received within seven days
    History(History),
    /// Print a link that curl, wget and aria2 download and resume, or upload to
    Share(Share),
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global")]
pub struct Global {
    /// Name of this device, as others see it
    #[arg(long, global = true, env = "LANYARD_NAME", hide_env = true)]
    pub name: Option<String>,
    /// TCP port of page and signaling [default: 53380 or the next free one]
    #[arg(long, global = true, env = "LANYARD_PORT", hide_env = true)]
    pub port: Option<u16>,
    /// Show this device only on this interface (name or address); may be repeated
    #[arg(long, global = true, env = "LANYARD_INTERFACE", hide_env = true, value_delimiter = ',')]
    pub interface: Vec<String>,
    /// Meet through this relay (https://…), for devices that are not on this network
    #[arg(long, global = true, env = "LANYARD_RELAY", hide_env = true, value_name = "URL")]
    pub relay: Option<String>,
    /// What happens to offers: ask, accept, accept-under=SIZE
    #[arg(long, global = true, env = "LANYARD_ACCEPT", hide_env = true, value_name = "POLICY")]
    pub accept: Option<AcceptPolicy>,
    /// Answer yes to every question except pictures
    #[arg(long, global = true)]
    pub yes: bool,
    /// Seconds to wait for the other device
    #[arg(long, global = true, env = "LANYARD_TIMEOUT", hide_env = true, value_name = "SECS")]
    pub timeout: Option<u64>,
    /// One JSON object a line on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Say only what matters
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No colours (also NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
    /// No QR code
    #[arg(long, global = true)]
    pub no_qr: bool,
    /// Draw with ASCII only
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Settings file [default: ~/.config/lanyard/config.toml]
    #[arg(long, global = true, env = "LANYARD_CONFIG", hide_env = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `lanyard up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Receive folder [default: ~/Downloads]
    pub dir: Option<PathBuf>,
}

/// `lanyard send`.
#[derive(Debug, Args)]
pub struct Send {
    /// Files and folders; `-` reads a text from stdin
    #[arg(required_unless_present = "text")]
    pub paths: Vec<PathBuf>,
    /// Device name, or the link or code it shows; `-` reads that from stdin. Without it, show a code and wait
    #[arg(long, value_name = "NAME|LINK|CODE")]
    pub to: Option<String>,
    /// Send this text
    #[arg(short, long, conflicts_with = "paths")]
    pub text: Option<String>,
    /// Read the other device's link or code from this file (also LANYARD_CODE)
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub code_file: Option<PathBuf>,
}

/// `lanyard receive`.
#[derive(Debug, Args)]
pub struct Receive {
    /// The code or link that the other device shows; `-` reads it from stdin, nothing asks for it
    pub code: Option<String>,
    /// Receive folder [default: the current one]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Read the code or link from this file (also LANYARD_CODE)
    #[arg(long, value_name = "FILE", conflicts_with = "code")]
    pub code_file: Option<PathBuf>,
}

/// `lanyard devices`.
#[derive(Debug, Args)]
pub struct Devices {
    /// Go on and tell each change
    #[arg(long)]
    pub watch: bool,
}

/// `lanyard pair`.
#[derive(Debug, Args)]
pub struct Pair {
    /// The code or link that the other device shows; `-` reads it from stdin. Without it, show a code and wait
    pub code: Option<String>,
    /// Read the code or link from this file (also LANYARD_CODE)
    #[arg(long, value_name = "FILE", conflicts_with = "code")]
    pub code_file: Option<PathBuf>,
}

/// `lanyard trust`.
#[derive(Debug, Args)]
pub struct Trust {
    /// Name of the device
    pub name: String,
    /// What happens to its files: ask, accept, accept-under=SIZE
    #[arg(long, value_name = "POLICY")]
    pub policy: Option<AcceptPolicy>,
}

/// `lanyard forget`.
#[derive(Debug, Args)]
pub struct Forget {
    /// Name of the device
    pub name: String,
}

/// `lanyard list`.
#[derive(Debug, Args)]
pub struct List {
    /// Say yes to the question with this number
    #[arg(long, value_name = "N", conflicts_with = "decline")]
    pub allow: Option<u64>,
    /// Say no to the question with this number
    #[arg(long, value_name = "N")]
    pub decline: Option<u64>,
}

/// `lanyard resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// From `lanyard list` [default: the latest]
    pub id: Option<String>,
}

/// `lanyard cancel`.
#[derive(Debug, Args)]
pub struct Cancel {
    /// From `lanyard list`
    pub id: u64,
}

/// `lanyard history`.
#[derive(Debug, Args)]
pub struct History {
    /// Forget it
    #[arg(long)]
    pub clear: bool,
}

/// `lanyard share`.
#[derive(Debug, Args)]
pub struct Share {
    /// Files and folders
    #[arg(required_unless_present = "upload", conflicts_with = "upload")]
    pub paths: Vec<PathBuf>,
    /// Take one file instead: curl -T FILE LINK
    #[arg(long)]
    pub upload: bool,
    /// End the link when everything was taken once
    #[arg(long, conflicts_with = "upload")]
    pub once: bool,
    /// End the link after this time, such as 90s, 30m, 2h or 7d
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub expires: Lifetime,
    /// Receive folder of an upload [default: that of the running agent]
    #[arg(short, long, value_name = "DIR", requires = "upload")]
    pub output: Option<PathBuf>,
}

/// How long a link lives; at most 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(pub Duration);

impl FromStr for Lifetime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = "give a number and s, m, h or d, up to 30d";
        let unit = text.chars().last().ok_or(bad)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            _ => return Err(bad),
        };
        let count: u64 = text.strip_suffix(unit).and_then(|count| count.parse().ok()).ok_or(bad)?;
        let whole = count.checked_mul(seconds).filter(|whole| (1..=30 * 24 * 3600).contains(whole));
        whole.map(|whole| Self(Duration::from_secs(whole))).ok_or(bad)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_one_screen() {
        let help = Cli::command().term_width(100).render_help().to_string();
        assert!(help.lines().count() <= 45, "{} lines:\n{help}", help.lines().count());
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }

    #[test]
    fn lifetimes_have_a_unit_and_an_end() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("24h", 86_400), ("30d", 2_592_000)] {
            assert_eq!(text.parse(), Ok(Lifetime(Duration::from_secs(seconds))));
        }
        for bad in ["", "s", "0s", "31d", "5", "-1h", "1w", "99999999999999999999h", "5é"] {
            assert!(bad.parse::<Lifetime>().is_err(), "{bad}");
        }
    }

    #[test]
    fn policies_are_read_and_refused() {
        let cli = Cli::try_parse_from(["lanyard", "up", "--accept", "accept-under=2GB"]).unwrap();
        assert_eq!(cli.global.accept, Some(AcceptPolicy::AcceptUnder(2_000_000_000)));
        assert!(Cli::try_parse_from(["lanyard", "up", "--accept", "always"]).is_err());
        assert!(Cli::try_parse_from(["lanyard", "send"]).is_err());
        assert!(Cli::try_parse_from(["lanyard", "send", "a", "-t", "b"]).is_err());
    }
}
