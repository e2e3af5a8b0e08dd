//! `turn-load SERVER PID USER PASSWORD LOAD`: puts one load on a TURN server and prints what it cost as a line of JSON.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lanyard_tests::turn::load::{Direction, Load, Target, raise_file_limit};
use serde_json::{Value, json};

const USAGE: &str = "usage: turn-load SERVER PID USER PASSWORD \
                     up|down|between|up-trains|down-trains|up-at RATE|allocate COUNT|flood";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, pid, username, password, load, rest @ ..] = args.as_slice() else { bail!(USAGE) };
    raise_file_limit()?;
    let target = Target {
        server: server.parse().context("SERVER is an address with port")?,
        pid: pid.parse().context("PID is a number")?,
        username: username.clone(),
        password: password.clone(),
    };
    let number = || rest.first().and_then(|text| text.parse().ok()).context(USAGE);
    let load_of = |direction, sessions, trains, rate| Load {
        direction,
        sessions,
        payload_bytes: if trains { 1200 } else { 160 },
        trains,
        rate,
        duration: Duration::from_secs(3),
    };
    let load = match load.as_str() {
        "up" => load_of(Direction::Up, 64, false, 0),
        "down" => load_of(Direction::Down, 64, false, 0),
        "between" => load_of(Direction::Between, 32, false, 0),
        "up-trains" => load_of(Direction::Up, 16, true, 0),
        "down-trains" => load_of(Direction::Down, 16, true, 0),
        "up-at" => Load { duration: Duration::from_secs(1), ..load_of(Direction::Up, 64, false, number()?) },
        "allocate" => {
            let count = usize::try_from(number()?)?;
            let cost = target.allocate_many(count)?;
            return print(&json!({
                "per_second": cost.per_second,
                "cpu_microseconds": cost.cpu_microseconds,
                "resident_kib": cost.resident_kib,
                "resident_kib_after": cost.resident_kib_after,
            }));
        }
        "flood" => {
            let cost = target.flood(50_000, 20_000, Duration::from_secs(4))?;
            return print(&json!({
                "kept_bytes": cost.kept_bytes,
                "cpu_microseconds": cost.cpu_microseconds,
                "bytes_out_per_in": cost.bytes_out_per_in,
                "answered": cost.answered,
            }));
        }
        _ => bail!(USAGE),
    };
    let outcome = target.run(load)?;
    print(&json!({
        "offered": outcome.offered,
        "delivered": outcome.delivered,
        "loss": outcome.loss(),
        "per_second": outcome.delivered as f64 / outcome.seconds,
        "cpu_seconds": outcome.cpu_seconds,
        "cpu_per_million": outcome.cpu_per_million(),
    }))
}

fn print(value: &Value) -> Result<()> {
    writeln!(std::io::stdout(), "{value}").context("could not print")
}
