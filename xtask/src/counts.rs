//! How many tests ran, read off the runners' own closing lines.

/// Tests that passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    /// Sums up what cargo's harness (`12 passed; 0 failed;`), Vitest (`Tests  12 passed (12)`) and Playwright
    /// (`12 passed (3.1m)`) print.
    pub(crate) fn read(output: &str) -> Self {
        let mut counts = Self::default();
        for line in output.lines() {
            let line = without_colours(line);
            let line = line.trim();
            let closing = line.starts_with("test result:") || line.starts_with("Tests ") || is_playwright(line);
            if closing {
                counts.passed += number_before(line, "passed");
                counts.failed += number_before(line, "failed");
            }
        }
        counts
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

fn is_playwright(line: &str) -> bool {
    let mut words = line.split(' ');
    let counted = words.next().is_some_and(|word| word.parse::<u64>().is_ok());
    counted && matches!(words.next(), Some("passed" | "failed"))
}

fn number_before(line: &str, word: &str) -> u64 {
    let words: Vec<_> = line.split_whitespace().collect();
    let at = words.iter().position(|candidate| candidate.trim_end_matches([';', ',']) == word);
    at.and_then(|at| words.get(at.checked_sub(1)?)).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_runner_and_nothing_else() {
        let output = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            \u{1b}[2m      Tests \u{1b}[22m \u{1b}[1m\u{1b}[32m12 passed\u{1b}[39m\u{1b}[22m (12)\n\
            Test Files  4 passed (4)\n\
            \x20 1 failed\n\
            \x20 2 passed (3.1m)\n";
        assert_eq!(Counts::read(output), Counts { passed: 17, failed: 1 });
    }
}
