//! What several runs have found: medians, spreads, and how they compare.

use std::collections::BTreeMap;

/// All values of one figure of one server, a run each, and what was lost meanwhile.
#[derive(Debug, Default)]
struct Values {
    values: Vec<f64>,
    losses: Vec<f64>,
}

/// The figures of all servers.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    by_server: BTreeMap<(usize, String), Values>,
}

/// The middle one, and how far the others are away at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Share of packets lost, of requests sent again, or of requests not answered: the median.
    pub(crate) loss: Option<f64>,
}

impl Figures {
    /// Adds what a run has found.
    pub(crate) fn add(&mut self, server: usize, figure: &str, value: f64, loss: Option<f64>) {
        let values = self.by_server.entry((server, figure.to_owned())).or_default();
        values.values.push(value);
        values.losses.extend(loss);
    }

    pub(crate) fn summary(&self, server: usize, figure: &str) -> Option<Summary> {
        let values = self.by_server.get(&(server, figure.to_owned()))?;
        let (low, high) = values.values.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        Some(Summary { median: median(&values.values)?, low, high, loss: median(&values.losses) })
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_is_of_all_runs_of_one_server() {
        let mut figures = Figures::default();
        for value in [3.0, 1.0, 10.0] {
            figures.add(0, "x", value, Some(value / 100.0));
            figures.add(1, "x", 7.0, None);
        }
        let summary = figures.summary(0, "x");
        assert_eq!(summary, Some(Summary { median: 3.0, low: 1.0, high: 10.0, loss: Some(0.03) }));
        assert_eq!(figures.summary(1, "x").and_then(|summary| summary.loss), None);
        assert_eq!(figures.summary(0, "y"), None);
    }

    #[test]
    fn median_of_an_even_count_is_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
