//! `netlab lan HOST...`: a local network for tests that are not written in Rust.
//!
//! Prints one line of JSON with each host's namespace and addresses, keeps the network until its input ends, then
//! removes it with every process in it.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result, bail};
use lanyard_tests::lan::Lan;
use serde_json::{Map, Value, json};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((kind, hosts)) = args.split_first() else { bail!("usage: netlab lan HOST...") };
    if kind != "lan" || hosts.is_empty() {
        bail!("usage: netlab lan HOST...");
    }
    let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let lan = Lan::new(&names)?;
    let described: Map<String, Value> = lan
        .hosts()
        .iter()
        .map(|host| {
            let facts = json!({
                "namespace": host.namespace(),
                "ipv4": host.ipv4(),
                "ipv6": host.ipv6(),
                "router": lan.router(),
                "port": host.port(),
            });
            (host.name().to_owned(), facts)
        })
        .collect();
    writeln!(std::io::stdout(), "{}", json!({ "hosts": described })).context("nobody reads the description")?;
    let mut rest = Vec::new();
    std::io::stdin().take(1 << 20).read_to_end(&mut rest).context("lost the input")?;
    Ok(())
}
