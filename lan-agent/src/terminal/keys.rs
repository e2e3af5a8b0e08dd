//! Single keys of the terminal, as they are pressed.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

/// Keys pressed and not yet taken: a pasted link fits.
const KEYS: usize = 1024;

/// How long one look at the terminal lasts, in tenths of a second: so late does the thread notice that it is over.
const LOOK_DECISECONDS: u8 = 1;

/// The terminal in the mode that gives single keys; its own mode is back when this is dropped. Ctrl-C stays a signal.
pub(super) struct Keys {
    before: Termios,
    keys: mpsc::Receiver<char>,
    over: Arc<AtomicBool>,
}

impl Keys {
    /// `None` when stdin is no terminal.
    pub(super) fn open() -> Option<Self> {
        let before = tcgetattr(io::stdin().as_fd()).ok()?;
        let mut single = before.clone();
        single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        single.special_codes[SpecialCodeIndex::VMIN] = 0;
        single.special_codes[SpecialCodeIndex::VTIME] = LOOK_DECISECONDS;
        tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &single).ok()?;
        let (sender, keys) = mpsc::channel(KEYS);
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        std::thread::spawn(move || read(&sender, &is_over));
        Some(Self { before, keys, over })
    }

    /// The next key; `None` when the terminal is gone.
    pub(super) async fn next(&mut self) -> Option<char> {
        self.keys.recv().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // A terminal that is gone needs no mode.
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.before);
    }
}

/// Reads byte by byte, unbuffered, so that nothing typed later is taken from the questions that follow.
fn read(keys: &mpsc::Sender<char>, over: &AtomicBool) {
    let mut pending = Vec::with_capacity(4);
    while !over.load(Ordering::Relaxed) {
        let mut byte = [0];
        match rustix::io::read(io::stdin().as_fd(), &mut byte) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => pending.push(byte[0]),
            Err(_) => return,
        }
        match std::str::from_utf8(&pending) {
            Ok(text) => {
                for key in text.chars() {
                    if keys.blocking_send(key).is_err() {
                        return;
                    }
                }
                pending.clear();
            }
            // At most four bytes make a character (RFC 3629).
            Err(_) if pending.len() >= 4 => pending.clear(),
            Err(_) => {}
        }
    }
}
