//! This device's key, kept between runs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lanyard_pairing::Identity;
use zeroize::Zeroizing;

use crate::fail_point::{self, Step};

/// Why the key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Others on this machine could read it, so it may be known.
    #[error("{} can be read by others; run `chmod 600` on it, or delete it to become a new device", path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
    },
    /// Not 32 bytes.
    #[error("{} holds no key; delete it to become a new device", path.display())]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
    /// What the system says.
    #[error("cannot keep this device's key in {}: {source}", path.display())]
    Io {
        /// The key file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

/// Reads the key of this device from `directory`, or draws one and keeps it there, readable by its owner only.
///
/// # Errors
/// See [`IdentityError`].
pub fn load_or_create(directory: &Path) -> Result<Identity, IdentityError> {
    let path = directory.join("identity.key");
    let fail = |source| IdentityError::Io { path: path.clone(), source };
    match File::open(&path) {
        Ok(file) => read(file, &path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
            match create(directory, &path) {
                // Another process was first: its key is the device's.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    read(File::open(&path).map_err(fail)?, &path)
                }
                result => result.map_err(fail),
            }
        }
        Err(error) => Err(fail(error)),
    }
}

fn read(file: File, path: &Path) -> Result<Identity, IdentityError> {
    let fail = |source| IdentityError::Io { path: path.to_owned(), source };
    if file.metadata().map_err(fail)?.permissions().mode() & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned() });
    }
    let mut secret = Zeroizing::new([0; 32]);
    let mut file = file.take(33);
    let damaged = || IdentityError::Damaged { path: path.to_owned() };
    file.read_exact(&mut *secret).map_err(|_| damaged())?;
    if file.read(&mut [0; 1]).map_err(fail)? != 0 {
        return Err(damaged());
    }
    Ok(Identity::from_secret_bytes(secret))
}

/// Written whole under another name first: a key file is there with all its bytes, or not at all.
fn create(directory: &Path, path: &Path) -> io::Result<Identity> {
    let identity = Identity::generate(&mut rand::rng());
    let draft = directory.join(format!("identity.{}.new", std::process::id()));
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&*identity.secret_bytes())?;
    file.sync_all()?;
    fail_point::before(Step::KeyWrite);
    let linked = fs::hard_link(&draft, path);
    fail_point::after(Step::KeyWrite);
    let _ = fs::remove_file(&draft);
    linked.map(|()| identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("lanyard");
        let first = load_or_create(&directory).unwrap();
        let second = load_or_create(&directory).unwrap();
        assert!(first.public_key() == second.public_key());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("identity.key")), 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_cut_off_is_not_used() {
        let home = tempfile::tempdir().unwrap();
        load_or_create(home.path()).unwrap();
        let path = home.path().join("identity.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_create(home.path()), Err(IdentityError::Exposed { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for damaged in [&[1_u8; 31][..], &[1; 33], &[]] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(load_or_create(home.path()), Err(IdentityError::Damaged { .. })));
        }
    }
}
