//! Where a link comes from: never only the command line, which everybody on the machine can read.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use lanyard_pairing::Link;

use crate::exit::{Exit, Stop};
use crate::terminal::Console;

/// Environment variable with the link.
const VARIABLE: &str = "LANYARD_CODE";

/// How long a person may look for the link to paste.
const PASTE_TIMEOUT: Duration = Duration::from_secs(600);

/// The link from the argument (with a warning), `-` for stdin, a file, the environment, or the person.
///
/// # Errors
/// There is none, or it is none.
pub(super) async fn link(argument: Option<&str>, file: Option<&Path>, console: &Console) -> Result<Link, Stop> {
    let usage = |error: std::io::Error| Stop::new(Exit::Usage, format!("the link cannot be read: {error}"));
    let text = match (argument, file, std::env::var(VARIABLE)) {
        (Some("-"), ..) => read_some(std::io::stdin()).map_err(usage)?,
        (Some(link), ..) => {
            console.complain(
                "The link is a secret, and everybody on this machine can see it in the process list. Better: give it \
                 by `-` (stdin), LANYARD_CODE, --code-file, or when asked.",
            );
            link.to_owned()
        }
        (None, Some(file), _) => std::fs::File::open(file).and_then(read_some).map_err(usage)?,
        (None, None, Ok(link)) => link,
        (None, None, Err(_)) => console
            .ask_line("Link that the other device shows:", PASTE_TIMEOUT)
            .await
            .ok_or_else(|| Stop::new(Exit::Usage, "no link was given"))?,
    };
    Link::parse(&text).map_err(|error| Stop::new(Exit::WrongSecret, format!("this is no Lanyard link: {error}")))
}

/// Whether a link was given some way that asks nobody.
#[must_use]
pub(super) fn is_given(file: Option<&Path>) -> bool {
    file.is_some() || std::env::var_os(VARIABLE).is_some()
}

fn read_some(source: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    source.take(4 * Link::MAX_BYTES as u64).read_to_string(&mut text)?;
    Ok(text)
}
