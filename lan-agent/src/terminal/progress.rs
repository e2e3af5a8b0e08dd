//! Bars on a terminal, sparse lines elsewhere.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Console, bytes, duration, shorten};
use crate::agent::event::{Direction, Route, TransferNumber};

/// Without a terminal, a line at least this often while bytes move.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Bars shown at once; further transfers get lines.
const MAX_BARS: usize = 8;

/// How far a transfer is, as [`crate::agent::event::Event::Progress`] tells it.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Safe at the receiver.
    pub done_bytes: u64,
    /// All together.
    pub total_bytes: u64,
    /// Mean of the last two seconds.
    pub bytes_per_second: u64,
    /// Time left at that speed.
    pub left: Option<Duration>,
    /// How, if a link is open.
    pub route: Option<Route>,
}

/// The transfers on the screen.
pub struct Bars {
    console: Console,
    transfers: HashMap<TransferNumber, Shown>,
}

struct Shown {
    label: String,
    direction: Direction,
    total_bytes: u64,
    bar: Option<ProgressBar>,
    last_line: Instant,
    last_tenth: u64,
}

impl Bars {
    /// Nothing yet.
    #[must_use]
    pub fn new(console: Console) -> Self {
        Self { console, transfers: HashMap::new() }
    }

    /// A transfer was offered. `label` must be safe to print.
    pub fn handle_offered(&mut self, transfer: TransferNumber, direction: Direction, label: String, total_bytes: u64) {
        let now = Instant::now();
        let shown = Shown { label, direction, total_bytes, bar: None, last_line: now, last_tenth: 0 };
        self.transfers.insert(transfer, shown);
    }

    /// What a transfer is called on the screen.
    #[must_use]
    pub fn label(&self, transfer: TransferNumber) -> Option<(Direction, &str, u64)> {
        self.transfers.get(&transfer).map(|shown| (shown.direction, shown.label.as_str(), shown.total_bytes))
    }

    /// A transfer is so far.
    pub fn handle_progress(&mut self, transfer: TransferNumber, progress: Progress) {
        let bars_now = self.transfers.values().filter(|shown| shown.bar.is_some()).count();
        let Some(shown) = self.transfers.get_mut(&transfer) else { return };
        let now = Instant::now();
        let use_bar = self.console.is_terminal() && !self.console.style().quiet;
        if use_bar && (shown.bar.is_some() || bars_now < MAX_BARS) {
            let ascii = self.console.style().ascii;
            let columns = self.console.columns().unwrap_or(80);
            let bar = shown
                .bar
                .get_or_insert_with(|| self.console.bars().add(bar(&shown.label, shown.total_bytes, ascii, columns)));
            bar.set_length(progress.total_bytes);
            bar.set_position(progress.done_bytes);
            bar.set_message(details(&progress));
            return;
        }
        let tenth = tenths(progress.done_bytes, progress.total_bytes);
        if tenth > shown.last_tenth || now.duration_since(shown.last_line) >= LINE_EVERY {
            shown.last_tenth = tenth;
            shown.last_line = now;
            let percent = tenths(progress.done_bytes.saturating_mul(10), progress.total_bytes);
            let details = details(&progress);
            let line = format!("{}  {percent} %  {details}", shown.label);
            self.console.say(line.trim_end());
        }
    }

    /// A transfer is over: its bar goes.
    pub fn handle_finished(&mut self, transfer: TransferNumber) {
        if let Some(bar) = self.transfers.remove(&transfer).and_then(|shown| shown.bar) {
            bar.finish_and_clear();
            self.console.bars().remove(&bar);
        }
    }
}

fn bar(label: &str, total_bytes: u64, ascii: bool, columns: usize) -> ProgressBar {
    // Drawn from when it is among the others: what it drew by itself before, nobody would clear.
    let bar = ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::hidden());
    let (name_columns, template) = layout(columns);
    // The templates are constants, so they parse.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars(if ascii { "=> " } else { "━╸ " }));
    }
    bar.set_prefix(shorten(label, name_columns));
    bar
}

/// Columns for the name, and the line that it stands in. A line that is longer than the terminal could not be cleared:
/// its end is cut instead.
fn layout(columns: usize) -> (usize, &'static str) {
    match columns {
        100.. => (28, "{prefix:28}  {bar:20}  {percent:>3} %  {wide_msg}"),
        70.. => (18, "{prefix:18}  {bar:12}  {percent:>3} %  {wide_msg}"),
        _ => (12, "{prefix:12}  {percent:>3} %  {wide_msg}"),
    }
}

/// `2.3 GB/3.6 GB  38 MB/s  35 s  LAN`
fn details(progress: &Progress) -> String {
    let mut parts = vec![amounts(progress.done_bytes, progress.total_bytes)];
    if progress.bytes_per_second > 0 {
        parts.push(format!("{}/s", bytes(progress.bytes_per_second)));
    }
    if let Some(left) = progress.left {
        parts.push(duration(left));
    }
    match progress.route {
        Some(Route::Lan) => parts.push("LAN".to_owned()),
        Some(Route::Internet) => parts.push("Internet".to_owned()),
        Some(Route::Relayed) => parts.push("Relayed".to_owned()),
        None => parts.push("waiting".to_owned()),
    }
    parts.join("  ")
}

/// `2.3/3.6 GB` when both have one unit.
fn amounts(done_bytes: u64, total_bytes: u64) -> String {
    let (done, total) = (bytes(done_bytes), bytes(total_bytes));
    match (done.split_once(' '), total.split_once(' ')) {
        (Some((amount, unit)), Some((_, total_unit))) if unit == total_unit => format!("{amount}/{total}"),
        _ => format!("{done}/{total}"),
    }
}

/// Whole tenths done; an empty transfer is done at once.
fn tenths(done_bytes: u64, total_bytes: u64) -> u64 {
    u128::from(done_bytes)
        .saturating_mul(10)
        .checked_div(u128::from(total_bytes))
        .map_or(10, |tenths| u64::try_from(tenths).unwrap_or(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_amounts_speed_time_and_route() {
        let progress = Progress {
            done_bytes: 2_300_000_000,
            total_bytes: 3_600_000_000,
            bytes_per_second: 38_000_000,
            left: Some(Duration::from_secs(35)),
            route: Some(Route::Lan),
        };
        assert_eq!(details(&progress), "2.3/3.6 GB  38 MB/s  35 s  LAN");
        let waiting = Progress { bytes_per_second: 0, left: None, route: None, ..progress };
        assert_eq!(details(&waiting), "2.3/3.6 GB  waiting");
    }

    #[test]
    fn amounts_of_one_unit_name_it_once() {
        assert_eq!(amounts(2_300_000_000, 3_600_000_000), "2.3/3.6 GB");
        assert_eq!(amounts(300_000_000, 3_600_000_000), "300 MB/3.6 GB");
    }

    #[test]
    fn tenths_of_nothing_and_of_the_largest_size_are_right() {
        assert_eq!(tenths(0, 0), 10);
        assert_eq!(tenths(u64::MAX, u64::MAX), 10);
        assert_eq!(tenths(5, 100), 0);
    }
}
