//! `udp-forward [trains]`: a bare forwarder on 127.0.0.1 to compare with. Prints where it listens.

use std::io::Write as _;

use anyhow::Result;
use lanyard_tests::turn::forwarder::Forwarder;
use lanyard_tests::turn::load::raise_file_limit;

fn main() -> Result<()> {
    raise_file_limit()?;
    let mut forwarder = Forwarder::bind(std::env::args().nth(1).as_deref() == Some("trains"))?;
    writeln!(std::io::stdout(), "{}", forwarder.address()?)?;
    forwarder.run()
}
