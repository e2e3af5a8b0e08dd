//! What was sent and received within the last seven days, and what was broken off and can carry on.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::event::{Direction, Outcome};

/// How long an ending is listed; unfinished files are kept as long.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Endings kept. The oldest make room.
const MAX_ENTRIES: usize = 1_000;

/// Bytes read of the file; more than a thousand entries of ordinary paths.
const MAX_BYTES: u64 = 16 << 20;

/// How one transfer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Names it for `lanyard resume`: four random letters.
    pub id: String,
    /// When it ended, milliseconds since 1970.
    pub at_ms: u64,
    /// Which way.
    pub direction: Direction,
    /// The other device's name: hostile text.
    pub name: String,
    /// The only file's name, or how many files.
    pub label: String,
    /// All together.
    pub total_bytes: u64,
    /// What was sent, to send it again; empty where it was received.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
    /// How.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Past {
    /// An ending of this moment.
    #[must_use]
    pub fn now(direction: Direction, name: String, label: String, total_bytes: u64, outcome: Outcome) -> Self {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let id = rand::random::<[u8; 4]>().iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        Self { id, at_ms, direction, name, label, total_bytes, paths: Vec::new(), outcome }
    }

    /// Whether sending the same again carries on.
    #[must_use]
    pub fn can_resume(&self) -> bool {
        !self.paths.is_empty()
            && matches!(self.outcome, Outcome::Interrupted { .. } | Outcome::Cancelled { here: true })
    }
}

/// Adds an ending. One line is one write, so that several processes may do so.
///
/// # Errors
/// What the system says; nothing else is lost by it.
pub fn add(file: &Path, past: &Past) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut line = serde_json::to_vec(past)?;
    line.push(b'\n');
    OpenOptions::new().append(true).create(true).mode(0o600).open(file)?.write_all(&line)
}

/// Everything of the last seven days, the latest first. Lines that cannot be read are left out.
#[must_use]
pub fn read(file: &Path) -> Vec<Past> {
    let Ok(opened) = File::open(file) else { return Vec::new() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let oldest = u64::try_from(now.saturating_sub(KEPT).as_millis()).unwrap_or(0);
    let lines = BufReader::new(opened.take(MAX_BYTES)).lines().map_while(Result::ok);
    let mut all: Vec<Past> = lines.filter_map(|line| serde_json::from_str(&line).ok()).collect();
    all.retain(|past| past.at_ms >= oldest);
    all.reverse();
    all.truncate(MAX_ENTRIES);
    all
}

/// Leaves out what is too old.
///
/// # Errors
/// What the system says; the file is as it was.
pub fn shorten(file: &Path) -> io::Result<()> {
    let all = read(file);
    if all.is_empty() {
        return clear(file);
    }
    let draft = file.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    for past in all.iter().rev() {
        let mut line = serde_json::to_vec(past)?;
        line.push(b'\n');
        written.write_all(&line)?;
    }
    fs::rename(&draft, file)
}

/// Forgets everything.
///
/// # Errors
/// What the system says.
pub fn clear(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(label: &str, outcome: Outcome) -> Past {
        Past::now(Direction::Sending, "Attic".to_owned(), label.to_owned(), 7, outcome)
    }

    #[test]
    fn endings_are_listed_latest_first_for_seven_days() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lanyard/history.jsonl");
        assert_eq!(read(&file), []);
        let mut old = past("old", Outcome::Done);
        old.at_ms -= 8 * 24 * 3_600_000;
        let (first, second) = (past("first", Outcome::Done), past("second", Outcome::Interrupted { kept_bytes: 5 }));
        for entry in [&old, &first, &second] {
            add(&file, entry).unwrap();
        }
        assert_eq!(read(&file), [second.clone(), first.clone()]);
        shorten(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
        assert_eq!(read(&file), [second, first]);
        clear(&file).unwrap();
        clear(&file).unwrap();
    }

    #[test]
    fn damaged_lines_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("history.jsonl");
        fs::write(&file, "{\n\n{\"id\":1}\n").unwrap();
        let good = past("good", Outcome::Done);
        add(&file, &good).unwrap();
        assert_eq!(read(&file), [good]);
    }
}
