//! Where a code or link comes from: never only the command line, which everybody on the machine can read.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use lanyard_pairing::{Code, Link};
use zeroize::Zeroizing;

use crate::exit::{Exit, Stop};
use crate::terminal::Console;

/// Environment variable with the code or link.
const VARIABLE: &str = "LANYARD_CODE";

/// How long a person may look for what to type.
const TYPE_TIMEOUT: Duration = Duration::from_secs(600);

/// What another device shows.
#[derive(Clone)]
pub(super) enum Shown {
    /// Also what a QR code holds.
    Link(Link),
    /// A number and two words.
    Code(Code),
}

impl Shown {
    /// Reads either; only a link has `://` in it.
    ///
    /// # Errors
    /// What is missing, in words. Nothing was sent, so no code is burnt by it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if looks_like_link(text) {
            Link::parse(text).map(Self::Link).map_err(|error| error.to_string())
        } else {
            Code::parse(text).map(Self::Code).map_err(|error| error.to_string())
        }
    }
}

/// Whether a text can only be meant as a link.
#[must_use]
pub(super) fn looks_like_link(text: &str) -> bool {
    text.contains("://") || text.contains('#')
}

/// Whether a text can only be meant as a code: device names that begin like one are rare, and have no words of the list.
#[must_use]
pub(super) fn looks_like_code(text: &str) -> bool {
    Code::parse(text).is_ok()
}

/// The code or link from the argument (with a warning), `-` for stdin, a file, the environment, or the person.
///
/// # Errors
/// There is none, or it is none.
pub(super) async fn shown(argument: Option<&str>, file: Option<&Path>, console: &Console) -> Result<Shown, Stop> {
    let usage = |error: std::io::Error| Stop::new(Exit::Usage, format!("the code cannot be read: {error}"));
    let text = match (argument, file, std::env::var(VARIABLE)) {
        (Some("-"), ..) => read_some(std::io::stdin()).map_err(usage)?,
        (Some(text), ..) => {
            console.complain(
                "A code or link is a secret, and everybody on this machine can see it in the process list. Better: \
                 give it by `-` (stdin), LANYARD_CODE, --code-file, or when asked.",
            );
            Zeroizing::new(text.to_owned())
        }
        (None, Some(file), _) => std::fs::File::open(file).and_then(read_some).map_err(usage)?,
        (None, None, Ok(text)) => Zeroizing::new(text),
        (None, None, Err(_)) => return ask(console).await,
    };
    Shown::parse(&text).map_err(|message| Stop::new(Exit::WrongSecret, message))
}

/// Asks until what was typed can be a code or link: a typing error is corrected before anything is sent.
async fn ask(console: &Console) -> Result<Shown, Stop> {
    let deadline = tokio::time::Instant::now() + TYPE_TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let line = console.ask_code("Code or link:", left).await;
        let line = Zeroizing::new(line.ok_or_else(|| Stop::new(Exit::Usage, "no code was given"))?);
        match Shown::parse(&line) {
            Ok(shown) => return Ok(shown),
            Err(message) => console.complain(&format!("{}.", capitalised(&crate::terminal::display(&message)))),
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Whether a code or link was given some way that asks nobody.
#[must_use]
pub(super) fn is_given(file: Option<&Path>) -> bool {
    file.is_some() || std::env::var_os(VARIABLE).is_some()
}

fn read_some(source: impl Read) -> std::io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    source.take(4 * Link::MAX_BYTES as u64).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed_and_refused_without_its_words() {
        for text in ["4821-piano-tiger", "4821 Piano Tiger", " 4821pianotiger\n"] {
            assert!(matches!(Shown::parse(text), Ok(Shown::Code(_))), "{text}");
        }
        for text in ["4821", "4821-piano", "4821-piano-tigre", "piano-tiger", ""] {
            assert!(Shown::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_devices_are_no_codes() {
        for name in ["Attic NAS", "2024 macbook", "4821", "https://relay.example"] {
            assert!(!looks_like_code(name), "{name}");
        }
        assert!(looks_like_code("4821-piano-tiger"));
    }
}
