//! Benchmarks: `cargo xtask bench NAME`.

mod connect;
mod figures;
mod server;
mod transfer;
mod turn;

use anyhow::{Result, bail};

pub(crate) use transfer::tcp_copy;

/// A benchmark: its name, and what runs it with the arguments that follow.
type Bench = (&'static str, fn(&[String]) -> Result<()>);

const BENCHES: &[Bench] = &[("connect", connect::run), ("transfer", transfer::run), ("turn", turn::run)];

/// Runs the one that is named.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let names: Vec<_> = BENCHES.iter().map(|(name, _)| *name).collect();
    let [name, rest @ ..] = args else { bail!("which one? There are: {}", names.join(", ")) };
    match BENCHES.iter().find(|(bench, _)| bench == name) {
        Some((_, run)) => run(rest),
        None => bail!("there is no benchmark {name:?}. There are: {}", names.join(", ")),
    }
}
