//! The file of remembered devices: read by every command, changed by one at a time, replaced whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lanyard_pairing::PublicKey;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::warn;
use zeroize::Zeroizing;

use super::entry::{Entry, Remembered};
use crate::config::AcceptPolicy;

/// Devices remembered at once: each takes three mailboxes of the 256 that one socket holds. One more is refused.
pub const MAX_DEVICES: usize = 64;

/// Version of the file.
const VERSION: u32 = 1;

/// Bytes of the file at most: 64 devices with eight addresses each.
const MAX_BYTES: u64 = 1 << 20;

/// Why remembered devices cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// Others on this machine could read it, so its secrets may be known.
    #[error("{} can be read by others; run `chmod 600` on it, or delete it and pair again", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// Not a file of this version.
    #[error("{} holds no remembered devices of this version; delete it and pair again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// As many as there may be.
    #[error("{MAX_DEVICES} devices are remembered already; forget one with `lanyard forget NAME`")]
    Full,
    /// What the system says.
    #[error("cannot keep remembered devices in {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

/// The remembered devices of this person. Other processes may change them at any time.
pub struct DeviceBook {
    path: PathBuf,
    read: Mutex<Known>,
    changed: watch::Sender<u64>,
}

/// What was read last, and of which file.
#[derive(Default)]
struct Known {
    devices: Vec<Remembered>,
    stamp: Option<Stamp>,
}

/// Another file, or another content of it, has another one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    modified: (i64, i64),
    len: u64,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    devices: Vec<Entry>,
}

impl DeviceBook {
    /// The book in `directory`, which is made when the first device is kept.
    ///
    /// # Errors
    /// There is one that cannot be used.
    pub fn open(directory: &Path) -> Result<Self, BookError> {
        let book =
            Self { path: directory.join("devices.json"), read: Mutex::default(), changed: watch::Sender::new(0) };
        book.read_again()?;
        Ok(book)
    }

    /// Everyone, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Remembered> {
        self.refresh();
        let mut all = self.lock().devices.clone();
        all.sort_by_key(|device| device.name.to_lowercase());
        all
    }

    /// The device with this key.
    #[must_use]
    pub fn with_key(&self, key: &PublicKey) -> Option<Remembered> {
        self.refresh();
        self.lock().devices.iter().find(|device| device.key() == *key).cloned()
    }

    /// The devices that call themselves so, whatever the case.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<Remembered> {
        self.all().into_iter().filter(|device| device.name.to_lowercase() == name.to_lowercase()).collect()
    }

    /// Ticks when something changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Looks whether another process changed the file. What cannot be read now leaves what was read before.
    pub fn refresh(&self) {
        if let Err(error) = self.read_again() {
            warn!(%error, "cannot read the remembered devices");
        }
    }

    /// Keeps a device, in place of what was kept of its key; a policy set before holds on.
    ///
    /// # Errors
    /// Full, or the file cannot be written.
    pub fn keep(&self, device: Remembered) -> Result<(), BookError> {
        self.change(|devices| {
            let old = devices.iter().position(|known| known.key() == device.key()).map(|at| devices.remove(at));
            if devices.len() >= MAX_DEVICES {
                return Err(BookError::Full);
            }
            let policy = device.policy.or(old.and_then(|old| old.policy));
            devices.push(Remembered { policy, ..device });
            Ok(())
        })
    }

    /// Sets what happens to a device's offers.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_policy(&self, key: &PublicKey, policy: Option<AcceptPolicy>) -> Result<(), BookError> {
        self.edit(key, |device| device.policy = policy)
    }

    /// Notes where a device was seen.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note_server(&self, key: &PublicKey, server: &str) -> Result<(), BookError> {
        if self.with_key(key).is_none_or(|device| device.servers.first().is_some_and(|first| first == server)) {
            return Ok(());
        }
        self.edit(key, |device| device.add_server(server.to_owned()))
    }

    /// Forgets a device; says whether it was there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn forget(&self, key: &PublicKey) -> Result<bool, BookError> {
        let mut was_there = false;
        self.change(|devices| {
            let before = devices.len();
            devices.retain(|device| device.key() != *key);
            was_there = devices.len() != before;
            Ok(())
        })?;
        Ok(was_there)
    }

    fn edit(&self, key: &PublicKey, edit: impl FnOnce(&mut Remembered)) -> Result<(), BookError> {
        self.change(|devices| {
            devices.iter_mut().find(|device| device.key() == *key).map(edit);
            Ok(())
        })
    }

    /// Reads what is there now, changes it, and replaces the file, while no other process does.
    fn change(&self, change: impl FnOnce(&mut Vec<Remembered>) -> Result<(), BookError>) -> Result<(), BookError> {
        let fail = |source| BookError::Io { path: self.path.clone(), source };
        let directory = self.path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
        let lock = directory.join("devices.lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock).map_err(fail)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| fail(error.into()))?;
        self.read_again()?;
        let mut devices = self.lock().devices.clone();
        change(&mut devices)?;
        write(directory, &self.path, &devices).map_err(fail)?;
        self.read_again()
    }

    fn read_again(&self) -> Result<(), BookError> {
        let fail = |source| BookError::Io { path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.replace(Known::default());
                return Ok(());
            }
            Err(error) => return Err(fail(error)),
        };
        let metadata = file.metadata().map_err(fail)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(BookError::Exposed { path: self.path.clone() });
        }
        let stamp =
            Stamp { inode: metadata.ino(), modified: (metadata.mtime(), metadata.mtime_nsec()), len: metadata.len() };
        if self.lock().stamp == Some(stamp) {
            return Ok(());
        }
        let damaged = || BookError::Damaged { path: self.path.clone() };
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(fail)?;
        let content: Content = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        if content.version != VERSION || content.devices.len() > MAX_DEVICES {
            return Err(damaged());
        }
        let devices: Option<Vec<Remembered>> = content.devices.into_iter().map(Entry::read).collect();
        self.replace(Known { devices: devices.ok_or_else(damaged)?, stamp: Some(stamp) });
        Ok(())
    }

    fn replace(&self, known: Known) {
        let mut held = self.lock();
        let is_new = held.stamp != known.stamp;
        *held = known;
        drop(held);
        if is_new {
            self.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Replaced in one step, so it is whole whoever panicked while holding it.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole under another name first, then in place of the old one: never half a file.
fn write(directory: &Path, path: &Path, devices: &[Remembered]) -> io::Result<()> {
    let content = Content { version: VERSION, devices: devices.iter().map(Entry::from).collect() };
    let bytes = Zeroizing::new(serde_json::to_vec_pretty(&content)?);
    let draft = directory.join(format!("devices.{}.new", std::process::id()));
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use lanyard_pairing::RememberedDevice;

    use super::*;

    fn device(number: u8, name: &str) -> Remembered {
        Remembered {
            name: name.to_owned(),
            bond: RememberedDevice::new(PublicKey([number; 32]), Zeroizing::new([number; 32])),
            policy: None,
            native: true,
            servers: vec!["http://192.168.1.5:53380/".to_owned()],
        }
    }

    #[test]
    fn what_one_process_keeps_another_one_knows() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("lanyard");
        let (one, other) = (DeviceBook::open(&directory).unwrap(), DeviceBook::open(&directory).unwrap());
        let mut changes = other.changes();
        changes.mark_unchanged();
        one.keep(device(1, "Attic")).unwrap();
        one.set_policy(&PublicKey([1; 32]), Some(AcceptPolicy::AcceptUnder(5))).unwrap();
        let found = other.named("ATTIC");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bond.pair_secret(), &[1; 32]);
        assert_eq!(found[0].policy, Some(AcceptPolicy::AcceptUnder(5)));
        assert!(changes.has_changed().unwrap());
        other.keep(device(1, "Attic NAS")).unwrap();
        assert_eq!(one.all().len(), 1, "a device is there once");
        assert_eq!(one.all()[0].policy, Some(AcceptPolicy::AcceptUnder(5)), "its policy holds on");
        assert!(one.forget(&PublicKey([1; 32])).unwrap());
        assert!(!other.forget(&PublicKey([1; 32])).unwrap());
    }

    #[test]
    fn the_file_is_for_its_owner_only_and_nothing_is_left_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("lanyard");
        let book = DeviceBook::open(&directory).unwrap();
        assert!(!directory.exists(), "nothing is made before there is something to keep");
        book.keep(device(1, "Attic")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join("devices.json"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "the file and its lock");
        fs::set_permissions(directory.join("devices.json"), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(DeviceBook::open(&directory), Err(BookError::Exposed { .. })));
    }

    #[test]
    fn damaged_and_newer_files_are_not_used() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("devices.json");
        for text in ["", "{", "{\"version\":2,\"devices\":[]}", "{\"version\":1,\"devices\":[{\"name\":\"a\"}]}"] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(DeviceBook::open(home.path()), Err(BookError::Damaged { .. })), "{text}");
        }
    }

    #[test]
    fn one_device_too_many_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let book = DeviceBook::open(home.path()).unwrap();
        for number in 0..MAX_DEVICES {
            book.keep(device(u8::try_from(number).unwrap(), "x")).unwrap();
        }
        assert!(matches!(book.keep(device(200, "one more")), Err(BookError::Full)));
        book.keep(device(3, "known already")).unwrap();
    }

    #[test]
    fn the_latest_servers_are_kept() {
        let mut attic = device(1, "Attic");
        for number in 0..12 {
            attic.add_server(format!("http://192.168.1.{number}/"));
        }
        attic.add_server("http://192.168.1.8/".to_owned());
        assert_eq!(attic.servers.len(), MAX_SERVERS_OF_A_DEVICE);
        assert_eq!(attic.servers[..2], ["http://192.168.1.8/", "http://192.168.1.11/"]);
    }

    const MAX_SERVERS_OF_A_DEVICE: usize = 8;
}
