//! `turn-load SERVER PID USER PASSWORD LOAD`: puts one load on a TURN server and prints what it cost as a line of JSON.
//! Without USER (an empty word) the server is a `udp-forward`.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lanyard_tests::turn::load::{Direction, Load, Service, Target, raise_file_limit};
use serde_json::{Value, json};

const USAGE: &str = "usage: turn-load SERVER PID USER PASSWORD \
                     up|down|between|up-trains|down-trains [RATE]|echo RATE|allocate COUNT|flood RATE";
/// How long a load lasts.
const DURATION: Duration = Duration::from_millis(1_500);
/// Sessions of single packets.
const SESSIONS: usize = 64;
/// Sessions of trains, and pairs of clients that talk to each other.
const FEW_SESSIONS: usize = 16;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, pid, username, password, load, rest @ ..] = args.as_slice() else { bail!(USAGE) };
    raise_file_limit()?;
    let service = match username.as_str() {
        "" => Service::Forwarder,
        _ => Service::Turn { username: username.clone(), password: password.clone() },
    };
    let target = Target {
        server: server.parse().context("SERVER is an address with port")?,
        pid: pid.parse().context("PID is a number")?,
        service,
    };
    let number = rest.first().map(|text| text.parse::<u64>()).transpose().context(USAGE)?;
    let (direction, sessions, trains) = match load.as_str() {
        "up" => (Direction::Up, SESSIONS, false),
        "down" => (Direction::Down, SESSIONS, false),
        "between" => (Direction::Between, FEW_SESSIONS, false),
        "up-trains" => (Direction::Up, FEW_SESSIONS, true),
        "down-trains" => (Direction::Down, FEW_SESSIONS, true),
        other => return print(&special(&target, other, number.context(USAGE)?)?),
    };
    let payload_bytes = if trains { 1200 } else { 160 };
    let rate = number.unwrap_or(0);
    let outcome = target.run(Load { direction, sessions, payload_bytes, trains, rate, duration: DURATION })?;
    print(&json!({
        "offered_per_second": outcome.offered as f64 / outcome.seconds,
        "per_second": outcome.delivered as f64 / outcome.seconds,
        "loss": outcome.loss(),
        "cpu_per_million": outcome.cpu_per_million(),
    }))
}

/// Loads of another form.
fn special(target: &Target, load: &str, number: u64) -> Result<Value> {
    Ok(match load {
        "echo" => {
            let echoed = target.echo(SESSIONS, number, DURATION)?;
            json!({
                "offered_per_second": 2.0 * echoed.offered as f64 / echoed.seconds,
                // Both directions count.
                "per_second": 2.0 * echoed.returned as f64 / echoed.seconds,
                "loss": echoed.loss(),
                "cpu_per_million": echoed.cpu_per_million(),
                "p50": echoed.p50_microseconds,
                "p99": echoed.p99_microseconds,
            })
        }
        "allocate" => {
            let cost = target.allocate_many(usize::try_from(number)?)?;
            json!({
                "per_second": cost.per_second,
                "cpu_microseconds": cost.cpu_microseconds,
                "resident_kib": cost.resident_kib,
                "heap_kib": cost.heap_kib,
                "resident_kib_after": cost.resident_kib_after,
                "loss": cost.resent,
            })
        }
        "flood" => {
            let cost = target.flood(50_000, number, Duration::from_secs(3))?;
            json!({
                "kept_bytes": cost.kept_bytes,
                "cpu_microseconds": cost.cpu_microseconds,
                "bytes_out_per_in": cost.bytes_out_per_in,
                "loss": 1.0 - cost.answered,
            })
        }
        _ => bail!(USAGE),
    })
}

fn print(value: &Value) -> Result<()> {
    writeln!(std::io::stdout(), "{value}").context("could not print")
}
