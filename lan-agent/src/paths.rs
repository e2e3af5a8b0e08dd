//! Where the agent keeps its things, by the XDG base directory specification.

use std::env;
use std::path::PathBuf;

/// The named XDG directory's `lanyard/`; `fallback` is below the home directory. `None` without a home.
fn xdg(variable: &str, fallback: &str) -> Option<PathBuf> {
    // The specification has relative values ignored.
    let named = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| home().map(|home| home.join(fallback))).map(|base| base.join("lanyard"))
}

fn home() -> Option<PathBuf> {
    env::home_dir().filter(|path| path.is_absolute())
}

/// `config.toml`.
#[must_use]
pub fn config_file() -> Option<PathBuf> {
    xdg("XDG_CONFIG_HOME", ".config").map(|directory| directory.join("config.toml"))
}

/// Keys and remembered devices, in a directory that only its owner may enter.
#[must_use]
pub fn data_directory() -> Option<PathBuf> {
    xdg("XDG_DATA_HOME", ".local/share")
}

/// What was accepted by others and is not sent to the end.
#[must_use]
pub fn sent_records() -> Option<PathBuf> {
    xdg("XDG_STATE_HOME", ".local/state").map(|directory| directory.join("sending"))
}

/// How transfers of the last days ended.
#[must_use]
pub fn history_file() -> Option<PathBuf> {
    xdg("XDG_STATE_HOME", ".local/state").map(|directory| directory.join("history.jsonl"))
}

/// The control socket of the running agent.
#[must_use]
pub fn control_socket() -> Option<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = runtime.map(|base| base.join("lanyard")).or_else(|| xdg("XDG_STATE_HOME", ".local/state"));
    directory.map(|directory| directory.join("control.sock"))
}

/// Where received files go unless a folder is named: the person's downloads, or their home.
#[must_use]
pub fn default_receive_folder() -> Option<PathBuf> {
    let downloads = home()?.join("Downloads");
    if downloads.is_dir() { Some(downloads) } else { home() }
}
