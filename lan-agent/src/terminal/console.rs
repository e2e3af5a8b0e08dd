//! The terminal itself: lines above the bars, one question at a time, and a QR code where it fits.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tokio::sync::{Mutex, mpsc};

use super::code_line::{CodeLine, Typed};
use super::format::wrap;
use super::keys::Keys;
use super::qr::{self, QrStyle};

/// Lines typed ahead that are kept when nobody asks. More stop the reader, not the program.
const TYPED_LINES: usize = 16;

/// How to print.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConsoleStyle {
    /// ANSI colours. The QR code's own colours go with them.
    pub color: bool,
    /// Nothing outside ASCII in what this program draws.
    pub ascii: bool,
    /// Draw QR codes.
    pub qr: bool,
    /// Say only what was asked for and what went wrong.
    pub quiet: bool,
}

/// A person's terminal, shared by everything that prints or asks.
#[derive(Clone)]
pub struct Console(Arc<Inner>);

struct Inner {
    style: ConsoleStyle,
    bars: MultiProgress,
    is_terminal: bool,
    typed: Mutex<Option<mpsc::Receiver<String>>>,
}

impl Console {
    /// The program's own stdin, stdout and stderr.
    #[must_use]
    pub fn new(style: ConsoleStyle) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let bars = if is_terminal && !style.quiet {
            MultiProgress::new()
        } else {
            MultiProgress::with_draw_target(ProgressDrawTarget::hidden())
        };
        Self(Arc::new(Inner { style, bars, is_terminal, typed: Mutex::new(None) }))
    }

    /// How to print.
    #[must_use]
    pub fn style(&self) -> ConsoleStyle {
        self.0.style
    }

    /// Whether bars and QR codes can be seen.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.0.is_terminal
    }

    pub(super) fn bars(&self) -> &MultiProgress {
        &self.0.bars
    }

    /// A line on stderr, above the bars; not when quiet.
    pub fn say(&self, line: &str) {
        if !self.0.style.quiet {
            self.complain(line);
        }
    }

    /// A line on stderr, above the bars, even when quiet.
    pub fn complain(&self, line: &str) {
        self.write(&self.wrapped(line));
    }

    /// As it fits this terminal; whoever reads something else gets the line whole.
    fn wrapped(&self, line: &str) -> String {
        match self.columns().filter(|_| self.0.is_terminal) {
            Some(columns) => wrap(line, columns),
            None => line.to_owned(),
        }
    }

    fn write(&self, line: &str) {
        self.0.bars.suspend(|| {
            // A closed stderr ends no transfer.
            let _ = writeln!(io::stderr(), "{line}");
        });
    }

    /// What nobody may overlook, in red where there are colours.
    pub fn alarm(&self, line: &str) {
        let line = self.wrapped(line);
        if self.0.style.color { self.write(&format!("\x1b[1;31m{line}\x1b[0m")) } else { self.write(&line) }
    }

    /// A result: a line on stdout.
    pub fn result(&self, line: &str) {
        self.0.bars.suspend(|| {
            let mut out = io::stdout().lock();
            let _ = writeln!(out, "{line}");
            let _ = out.flush();
        });
    }

    /// Draws the link as a QR code where that makes sense.
    pub fn show_qr(&self, link: &str) {
        let style = self.0.style;
        if !style.qr || style.quiet {
            return;
        }
        let Some(columns) = self.columns() else { return };
        let drawing = match (style.ascii, style.color) {
            (false, true) => qr::draw(link, QrStyle::HalfBlocks, columns),
            (true, true) => qr::draw(link, QrStyle::Ascii, columns),
            (_, false) => qr::draw(link, QrStyle::AsciiPlain, columns),
        };
        if let Some(drawing) = drawing {
            self.write(drawing.trim_end_matches('\n'));
        }
    }

    /// Columns of the terminal; of `COLUMNS` when stderr is none.
    pub(super) fn columns(&self) -> Option<usize> {
        if self.0.is_terminal {
            let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
            let columns = size.map_or(0, |size| usize::from(size.ws_col));
            return Some(if columns == 0 { 80 } else { columns });
        }
        std::env::var("COLUMNS").ok()?.parse().ok()
    }

    /// Asks for a code or link: on a terminal with words that complete while one types, elsewhere for a line. `None` when
    /// the time is over or nobody can type. Dropping the future takes the question back.
    pub async fn ask_code(&self, prompt: &str, limit: Duration) -> Option<String> {
        let typed = self.0.typed.lock().await;
        // Once lines are read, single keys are not ours any more.
        let keys = if self.0.is_terminal && typed.is_none() { Keys::open() } else { None };
        let Some(mut keys) = keys else {
            drop(typed);
            return self.ask_line(prompt, limit).await;
        };
        let end = EndOfQuestion(self);
        let asking = async {
            let mut line = CodeLine::default();
            loop {
                end.0.draw(prompt, &line);
                match line.handle_key(keys.next().await?) {
                    Typed::More => {}
                    Typed::Line(text) => return Some(text),
                    Typed::End => return None,
                }
            }
        };
        tokio::time::timeout(limit, asking).await.ok().flatten()
    }

    /// The line, what would complete it, and below it the words to choose from. The cursor stays behind what was typed.
    fn draw(&self, prompt: &str, line: &CodeLine) {
        let columns = self.columns().unwrap_or(80);
        let room = columns.saturating_sub(prompt.chars().count() + 2).max(1);
        let typed: Vec<char> = line.text().chars().collect();
        let typed = super::display(&typed[typed.len().saturating_sub(room)..].iter().collect::<String>());
        let column = prompt.chars().count() + 1 + typed.chars().count();
        let (dim, plain) = if self.0.style.color { ("\x1b[2m", "\x1b[22m") } else { ("", "") };
        // Without dimming nobody could tell what is typed from what is proposed.
        let suggestion = if self.0.style.color { line.suggestion() } else { String::new() };
        let suggestion: String = suggestion.chars().take(columns.saturating_sub(column + 1)).collect();
        let choices: String = line.choices().join(" ").chars().take(columns.saturating_sub(1)).collect();
        let below = if choices.is_empty() { String::new() } else { format!("\r\n{dim}{choices}{plain}\x1b[1A") };
        self.0.bars.suspend(|| {
            let mut out = io::stderr().lock();
            let _ = write!(out, "\r\x1b[J{prompt} {typed}{dim}{suggestion}{plain}{below}\r\x1b[{column}C");
            let _ = out.flush();
        });
    }

    /// Shows `prompt` and waits for a typed line. `None` when the time is over or nobody can type.
    ///
    /// One question at a time: a second one waits for the first. Dropping the future takes the question back.
    pub async fn ask_line(&self, prompt: &str, limit: Duration) -> Option<String> {
        let asking = async {
            let mut typed = self.0.typed.lock().await;
            let lines = typed.get_or_insert_with(read_stdin);
            if io::stdin().is_terminal() {
                // What was typed before the question was seen is no answer to it.
                while lines.try_recv().is_ok() {}
            }
            self.0.bars.suspend(|| {
                let mut out = io::stderr().lock();
                let _ = write!(out, "{prompt} ");
                let _ = out.flush();
            });
            let mut unanswered = NewlineOnDrop { console: self, armed: true };
            let line = lines.recv().await;
            unanswered.armed = line.is_none();
            line
        };
        tokio::time::timeout(limit, asking).await.ok().flatten()
    }
}

/// Ends the line of a question that was never answered.
struct NewlineOnDrop<'a> {
    console: &'a Console,
    armed: bool,
}

impl Drop for NewlineOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.console.complain("");
        }
    }
}

/// Leaves the line of a code, however the question ended, and what was proposed below it.
struct EndOfQuestion<'a>(&'a Console);

impl Drop for EndOfQuestion<'_> {
    fn drop(&mut self) {
        self.0.0.bars.suspend(|| {
            let mut out = io::stderr().lock();
            let _ = write!(out, "\x1b[J\r\n");
            let _ = out.flush();
        });
    }
}

/// A thread of its own, because reading a terminal cannot be cancelled; it ends with the program.
fn read_stdin() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(TYPED_LINES);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
