//! Bars on a terminal, sparse lines elsewhere.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Console, bytes, duration, shorten};
use crate::agent::event::{Direction, Route, TransferNumber};

/// Over how long the speed is averaged.
const SPEED_WINDOW: Duration = Duration::from_secs(2);

/// No estimate before this: the first seconds say nothing.
const ESTIMATE_AFTER: Duration = Duration::from_secs(5);

/// Without a terminal, a line at least this often while bytes move.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Bars shown at once; further transfers get lines.
const MAX_BARS: usize = 8;

/// How fast a transfer is and how long it will take.
#[derive(Debug)]
pub struct Pace {
    started: Instant,
    samples: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// A transfer that begins now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { started: now, samples: VecDeque::new() }
    }

    /// Takes how far it is.
    pub fn handle_progress(&mut self, now: Instant, done_bytes: u64) {
        self.samples.push_back((now, done_bytes));
        while self.samples.len() > 2
            && self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= SPEED_WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// Bytes a second over the last two seconds.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u64> {
        let ((from, first), (to, last)) = (self.samples.front()?, self.samples.back()?);
        let micros = to.duration_since(*from).as_micros();
        if micros == 0 {
            return None;
        }
        u64::try_from(u128::from(last.saturating_sub(*first)) * 1_000_000 / micros).ok()
    }

    /// Time left, from five seconds on.
    #[must_use]
    pub fn time_left(&self, now: Instant, total_bytes: u64) -> Option<Duration> {
        if now.duration_since(self.started) < ESTIMATE_AFTER {
            return None;
        }
        let (_, done) = self.samples.back()?;
        let speed = self.bytes_per_second().filter(|speed| *speed > 0)?;
        Some(Duration::from_secs(total_bytes.saturating_sub(*done).div_ceil(speed)))
    }
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
    pace: Pace,
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
        let shown =
            Shown { label, direction, total_bytes, pace: Pace::new(now), bar: None, last_line: now, last_tenth: 0 };
        self.transfers.insert(transfer, shown);
    }

    /// What a transfer is called on the screen.
    #[must_use]
    pub fn label(&self, transfer: TransferNumber) -> Option<(Direction, &str, u64)> {
        self.transfers.get(&transfer).map(|shown| (shown.direction, shown.label.as_str(), shown.total_bytes))
    }

    /// A transfer is so far.
    pub fn handle_progress(&mut self, transfer: TransferNumber, done_bytes: u64, route: Option<Route>) {
        let bars_now = self.transfers.values().filter(|shown| shown.bar.is_some()).count();
        let Some(shown) = self.transfers.get_mut(&transfer) else { return };
        let now = Instant::now();
        shown.pace.handle_progress(now, done_bytes);
        let use_bar = self.console.is_terminal() && !self.console.style().quiet;
        if use_bar && (shown.bar.is_some() || bars_now < MAX_BARS) {
            let ascii = self.console.style().ascii;
            let bar =
                shown.bar.get_or_insert_with(|| self.console.bars().add(bar(&shown.label, shown.total_bytes, ascii)));
            bar.set_position(done_bytes);
            bar.set_message(details(&shown.pace, now, done_bytes, shown.total_bytes, route));
            return;
        }
        let tenth = tenths(done_bytes, shown.total_bytes);
        if tenth > shown.last_tenth || now.duration_since(shown.last_line) >= LINE_EVERY {
            shown.last_tenth = tenth;
            shown.last_line = now;
            let percent = tenths(done_bytes.saturating_mul(10), shown.total_bytes);
            let details = details(&shown.pace, now, done_bytes, shown.total_bytes, route);
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

fn bar(label: &str, total_bytes: u64, ascii: bool) -> ProgressBar {
    let bar = ProgressBar::new(total_bytes);
    // The template is a constant, so it parses.
    if let Ok(style) = ProgressStyle::with_template("{prefix:28}  {bar:20}  {percent:>3} %  {msg}") {
        bar.set_style(style.progress_chars(if ascii { "=> " } else { "━╸ " }));
    }
    bar.set_prefix(shorten(label, 28));
    bar
}

/// `2.3 GB/3.6 GB  38 MB/s  35 s  LAN`
fn details(pace: &Pace, now: Instant, done_bytes: u64, total_bytes: u64, route: Option<Route>) -> String {
    let mut parts = vec![amounts(done_bytes, total_bytes)];
    if let Some(speed) = pace.bytes_per_second() {
        parts.push(format!("{}/s", bytes(speed)));
    }
    if let Some(left) = pace.time_left(now, total_bytes) {
        parts.push(duration(left));
    }
    match route {
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
    fn speed_is_the_mean_of_two_seconds() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for second in 0..=10u64 {
            let done = if second <= 5 { second * 10 } else { 50 + (second - 5) * 100 };
            pace.handle_progress(start + Duration::from_secs(second), done);
        }
        assert_eq!(pace.bytes_per_second(), Some(100));
        assert_eq!(pace.time_left(start + Duration::from_secs(10), 1050), Some(Duration::from_secs(5)));
    }

    #[test]
    fn there_is_no_estimate_in_the_first_seconds_and_none_at_standstill() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.bytes_per_second(), None);
        pace.handle_progress(start, 0);
        pace.handle_progress(start + Duration::from_secs(1), 100);
        assert_eq!(pace.time_left(start + Duration::from_secs(1), 1000), None);
        for second in 2..10 {
            pace.handle_progress(start + Duration::from_secs(second), 100);
        }
        assert_eq!(pace.bytes_per_second(), Some(0));
        assert_eq!(pace.time_left(start + Duration::from_secs(9), 1000), None);
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
