//! A line for each fault, for people and for the table of `cargo xtask faults`.

use std::io::Write as _;
use std::time::Instant;

/// One row of the matrix while it is being proved.
#[derive(Debug)]
pub struct Report {
    fault: &'static str,
    what: String,
    begun: Instant,
}

impl Report {
    /// Begins a row; `fault` is its number in the matrix.
    #[must_use]
    pub fn begin(fault: &'static str, what: &str) -> Self {
        Self { fault, what: what.to_owned(), begun: Instant::now() }
    }

    /// The row holds; `found` is what was measured.
    pub fn held(self, found: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        // Not by `println!`, so that it is seen though the harness keeps what tests print. On a line of its own.
        let row = format!("\nfault | {} | {} | {found} | {seconds:.0} s |\n", self.fault, self.what);
        let _ = std::io::stdout().write_all(row.as_bytes());
    }
}
