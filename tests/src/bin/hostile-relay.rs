//! `hostile-relay agents TAMPERED [AT-ONCE] [SEED]`: meetings of two agents through a hostile relay, and what came of
//! them, as JSON. `hostile-relay pages IP [SEED]`: meetings with a page, as somebody at the other end of a pipe asks.

use std::io::Write as _;

use anyhow::{Result, bail};
use lanyard_tests::hostile::pages;
use lanyard_tests::hostile::run::{self, Plan};

const USAGE: &str = "usage: hostile-relay agents TAMPERED [AT-ONCE] [SEED] | hostile-relay pages IP [SEED]";

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: u64| args.get(at).map_or(Ok(otherwise), |text| text.parse());
    let fresh = rand::random::<u64>() >> 20;
    match (args.first().map(String::as_str), args.get(1)) {
        (Some("agents"), Some(tampered)) => {
            let at_once = usize::try_from(number(2, 64)?)?;
            let plan = Plan { tampered: tampered.parse()?, at_once, seed: number(3, fresh)? };
            let report = run::agents(plan).await?;
            let mut value = report.to_json();
            value["seed"] = plan.seed.into();
            writeln!(std::io::stdout(), "{value:#}")?;
            if !report.wrong.is_empty() {
                bail!("{} meetings were not as they should be", report.wrong.len());
            }
            Ok(())
        }
        (Some("pages"), Some(ip)) => pages::serve(ip.parse()?, number(2, fresh)?).await,
        _ => bail!(USAGE),
    }
}
