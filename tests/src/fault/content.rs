//! What is sent in these tests, and whether it arrived.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::Chance;

/// Files with content that differs in every place.
#[derive(Debug)]
pub struct Content {
    /// As given to `lanyard send`, and as it lies in the receive folder.
    pub name: &'static str,
    /// Beneath `name`; one empty path for a single file.
    files: Vec<(String, Vec<u8>)>,
}

impl Content {
    /// One file of `len` bytes.
    #[must_use]
    pub fn large(len: usize, seed: u64) -> Self {
        Self { name: "large.bin", files: vec![(String::new(), bytes(len, seed))] }
    }

    /// A folder of `count` files, none of them larger than 16 KiB.
    #[must_use]
    pub fn many(count: u32, seed: u64) -> Self {
        let mut chance = Chance::of(seed);
        let file = |number: u32| {
            let len = chance.below(16 << 10) as usize;
            (format!("{}/{number}.dat", number % 20), bytes(len, seed ^ u64::from(number)))
        };
        Self { name: "many", files: (0..count).map(file).collect() }
    }

    /// How long all files are together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|(_, content)| content.len() as u64).sum()
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, folder: &Path) -> Result<()> {
        for (path, content) in &self.files {
            let path = self.place(folder, path);
            fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
            fs::write(path, content)?;
        }
        Ok(())
    }

    /// Looks at a receive folder at any moment: what has a final name is whole and right.
    ///
    /// # Errors
    /// A file is not.
    pub fn check_nothing_wrong(&self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            ensure!(name == self.name || name == ".lanyard-part", "a stray {}", name.display());
        }
        for (path, content) in &self.files {
            match fs::read(self.place(folder, path)) {
                Ok(found) => ensure!(found == *content, "{}{path} is not what was sent", self.name),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Looks at a receive folder afterwards: everything is there, and nothing else.
    ///
    /// # Errors
    /// It is not so.
    pub fn check_whole(&self, folder: &Path) -> Result<()> {
        self.check_nothing_wrong(folder)?;
        let mut found = 0;
        count_files(&folder.join(self.name), &mut found)?;
        if found != self.files.len() {
            bail!("{found} files instead of {} in {}", self.files.len(), folder.display());
        }
        Ok(())
    }

    /// Looks for what is left of unfinished transfers, taking away journals.
    ///
    /// A receiver that ends between its acknowledgement and the sender's last word keeps the journal of a transfer that
    /// is complete: should the sender ask again, it must know.
    ///
    /// # Errors
    /// There are part files.
    pub fn check_no_parts(folder: &Path) -> Result<()> {
        let parts = folder.join(".lanyard-part");
        let Ok(transfers) = fs::read_dir(&parts) else { return Ok(()) };
        for transfer in transfers {
            for file in fs::read_dir(transfer?.path())? {
                let file = file?;
                ensure!(file.file_name() == "journal", "a stray part {}", file.path().display());
            }
        }
        fs::remove_dir_all(parts)?;
        Ok(())
    }

    /// Takes it away again.
    ///
    /// # Errors
    /// It is not there.
    pub fn remove(&self, folder: &Path) -> Result<()> {
        let path = folder.join(self.name);
        if path.is_dir() {
            fs::remove_dir_all(path)?
        } else {
            fs::remove_file(path)?
        }
        Ok(())
    }

    fn place(&self, folder: &Path, path: &str) -> std::path::PathBuf {
        let top = folder.join(self.name);
        if path.is_empty() { top } else { top.join(path) }
    }
}

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut chance = Chance::of(seed);
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| chance.number().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

fn count_files(folder: &Path, found: &mut usize) -> Result<()> {
    if folder.is_file() {
        *found += 1;
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { count_files(&entry.path(), found)? } else { *found += 1 }
    }
    Ok(())
}
