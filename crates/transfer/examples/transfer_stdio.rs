//! One exchange on standard input and output: a line of JSON in, what came of it out. Compared step by step with the
//! TypeScript implementation by `web/src/core/transfer/twins.interop.test.ts`.

use std::io::{BufRead, Write};

#[path = "../tests/script/mod.rs"]
mod script;

fn main() -> std::io::Result<()> {
    let mut script = script::Script::new();
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let step = serde_json::from_str(&line?)?;
        writeln!(output, "{}", script.apply(&step))?;
        output.flush()?;
    }
    Ok(())
}
