//! The command `lanyard`: reads its arguments, runs one command, and says how it ended.

mod args;
mod devices;
mod list;
mod meeting_place;
mod open;
mod pair;
mod receive;
mod run;
mod secret;
mod send;
mod settings;
mod share;
mod stop;
mod trust;
mod up;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

pub use args::{Cli, Command, Global};
pub use settings::Settings;

use crate::exit::{Exit, Stop};
use crate::terminal::Console;

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    init_log(&cli.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            Console::new(Default::default()).complain(&format!("lanyard cannot start: {error}"));
            return Exit::Failure.into();
        }
    };
    let exit = runtime.block_on(async {
        let settings = match Settings::resolve(cli.global) {
            Ok(settings) => settings,
            Err(stop) => {
                Console::new(Default::default()).complain(&format!("lanyard: {stop}"));
                return stop.exit;
            }
        };
        let console = Console::new(settings.style);
        run_command(cli.command, settings, &console).await.unwrap_or_else(|stop| {
            if stop.exit == Exit::WrongSecret && stop.message.starts_with("STOP.") {
                console.alarm(&stop.message);
            } else {
                console.complain(&format!("lanyard: {stop}"));
            }
            stop.exit
        })
    });
    // A thread that waits for a line of the terminal, or for a disk, does not hold the program.
    runtime.shutdown_background();
    exit.into()
}

async fn run_command(command: Command, settings: Settings, console: &Console) -> Result<Exit, Stop> {
    let stop = stop::on_signals();
    match command {
        Command::Up(up) => up::run(up, settings, console, stop).await,
        Command::Send(send) => send::run(send, settings, console, stop).await,
        Command::Receive(receive) => receive::run(receive, settings, console, stop).await,
        Command::Pair(pair) => pair::run(pair, settings, console, stop).await,
        Command::Trust(trust) => trust::trust(trust, console, stop).await,
        Command::Forget(forget) => trust::forget(&forget, console, stop).await,
        Command::List(args) => list::list(args, &settings, console).await,
        Command::Resume(args) => list::resume(args, settings, console, stop).await,
        Command::Cancel(args) => list::cancel(&args, console).await,
        Command::History(args) => list::history(&args, &settings, console),
        Command::Devices(devices) => devices::run(devices, settings, console, stop).await,
        Command::Share(share) => share::run(share, settings, console, stop).await,
    }
}

/// Logs go to stderr; `RUST_LOG` decides, or else how often `-v` was given.
fn init_log(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        // The WebRTC stack calls errors what is normal, such as a candidate that a relay refuses or that leads nowhere.
        (true, _) => "error,webrtc=off",
        (false, 0) => "error,webrtc=off,lanyard_agent=warn,lanyard_relay=warn",
        (false, 1) => "error,lanyard_agent=info,lanyard_relay=info",
        (false, 2) => "warn,lanyard_agent=debug,lanyard_relay=debug",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Another subscriber is there only in tests.
    let _ = format.with_ansi(!global.no_color && std::io::stderr().is_terminal()).try_init();
}
