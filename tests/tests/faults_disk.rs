//! Receive folders that fill up, go away or rot (F16, F18, F21), and sources that change (F22).

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lanyard_tests::fault::{Chance, Content, Person, Report, rounds};

const PATIENCE: Duration = Duration::from_secs(90);

/// A file system in memory; gone when dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// Receiving leaves 1 GiB free, so it must be larger. Memory is taken only for what is written.
    fn new(options: &str) -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        disk.mount(&["-t", "tmpfs", "-o", options, "tmpfs"]);
        disk
    }

    fn mount(&self, arguments: &[&str]) {
        let status = Command::new("mount").args(arguments).arg(self.folder.path()).status().unwrap();
        assert!(status.success(), "mount {arguments:?} needs root");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

#[test]
fn f16_a_disk_without_inodes_pauses_and_goes_on_when_there_are_some() {
    let report = Report::begin("F16", "no inodes left in the middle of 2000 files");
    let disk = Disk::new("size=1500m,nr_inodes=700");
    let content = Content::many(2_000, 1);
    let (attic, bee) = (Person::new().unwrap().receiving_into(disk.path()), Person::new().unwrap());
    content.write(bee.home()).unwrap();
    let up = attic.up(&["--accept", "accept"]).unwrap();
    let mut sending = bee.send(&up.link().unwrap(), content.name).unwrap();
    up.program
        .wait_for("that the disk is full", PATIENCE, |line| line.contains("the disk is full").then_some(()))
        .unwrap();
    content.check_nothing_wrong(disk.path()).unwrap();
    disk.mount(&["-o", "remount,nr_inodes=100000"]);
    let freed = Instant::now();
    sending.wait_until_done().unwrap();
    let waited = freed.elapsed();
    wait_for("the parts to go", || !disk.path().join(".lanyard-part").exists());
    content.check_whole(disk.path()).unwrap();
    report.held(&format!("paused, told, went on {:.0} s after there were some; equal", waited.as_secs_f64()));
}

#[test]
fn f16_a_full_disk_pauses_with_the_figure_and_goes_on_when_there_is_room() {
    let report = Report::begin("F16", "disk full in the middle of 6000 files");
    let disk = Disk::new("size=1400m");
    let content = Content::many(6_000, 2);
    let (attic, bee) = (Person::new().unwrap().receiving_into(disk.path()), Person::new().unwrap());
    content.write(bee.home()).unwrap();
    let up = attic.up(&["--accept", "accept"]).unwrap();
    let mut sending = bee.send(&up.link().unwrap(), content.name).unwrap();
    sending.wait_until_accepted().unwrap();
    // Filling takes longer than the rest of the transfer may.
    up.program.signal("STOP").unwrap();
    let filler = disk.path().join("filler");
    fill(&filler);
    up.program.signal("CONT").unwrap();
    let told = up
        .program
        .wait_for("that the disk is full", PATIENCE, |line| line.contains("the disk is full").then(|| line.to_owned()));
    let told = told.unwrap();
    assert!(told.contains("free") && told.contains("still to come"), "{told}");
    sending.program.wait_for("word of it", PATIENCE, |line| line.contains("disk is full").then_some(())).unwrap();
    fs::remove_file(&filler).unwrap();
    sending.wait_until_done().unwrap();
    wait_for("the parts to go", || !disk.path().join(".lanyard-part").exists());
    content.check_whole(disk.path()).unwrap();
    report.held("paused with the figures on both devices, went on by itself; equal");
}

/// Takes every byte that is free, in ever smaller steps.
fn fill(path: &Path) {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap();
    let mut offset = file.metadata().unwrap().len();
    let mut step = 64 << 20;
    let zeros = vec![0_u8; 4 << 20];
    while step >= 4096 {
        let wanted = step.min(zeros.len());
        match file.write_at(&zeros[..wanted], offset) {
            Ok(written) if written > 0 => offset += written as u64,
            Ok(_) | Err(_) => step /= 4,
        }
    }
}

#[test]
fn f18_a_receive_folder_that_goes_away_in_the_middle_is_told_and_carried_on_with_when_it_is_back() {
    let report = Report::begin("F18", "receive folder moved away in the middle, another in its place, then back");
    let content = Content::large(64 << 20, 3);
    let (attic, bee) = (Person::new().unwrap(), Person::new().unwrap());
    content.write(bee.home()).unwrap();
    let up = attic.up(&["--accept", "accept"]).unwrap();
    let mut sending = bee.send(&up.link().unwrap(), content.name).unwrap();
    sending.wait_until_accepted().unwrap();
    let (inbox, moved) = (attic.inbox(), attic.home().join("moved"));
    fs::rename(&inbox, &moved).unwrap();
    fs::create_dir(&inbox).unwrap();
    up.program.wait_for("that it was replaced", PATIENCE, |line| line.contains("was replaced").then_some(())).unwrap();
    assert_eq!(fs::read_dir(&inbox).unwrap().count(), 0, "nothing is put into another folder");
    assert!(!moved.join(content.name).exists());
    fs::remove_dir(&inbox).unwrap();
    fs::rename(&moved, &inbox).unwrap();
    sending.wait_until_done().unwrap();
    wait_for("the parts to go", || !inbox.join(".lanyard-part").exists());
    content.check_whole(&inbox).unwrap();
    report.held("told, nothing in the other folder, went on when it was back; equal");
}

#[test]
fn f18_a_folder_that_cannot_be_written_is_named_at_the_start() {
    let report = Report::begin("F18", "receive folder read-only at the start");
    let disk = Disk::new("size=10m,ro");
    let attic = Person::new().unwrap().receiving_into(disk.path());
    let error = attic.up(&[]).err().expect("it does not start");
    assert!(format!("{error:#}").contains("cannot be written to"), "{error:#}");
    report.held("said which folder, exit 8");
}

#[test]
fn f21_parts_and_journals_that_rot_are_noticed_and_fetched_again() {
    let flips = rounds() / 3;
    let report = Report::begin("F21", &format!("bits flipped and tails cut in part and journal, {flips} rounds"));
    let mut chance = Chance::announced("rotten parts");
    let content = Content::large(24 << 20, chance.number());
    let (attic, bee) = (Person::new().unwrap(), Person::new().unwrap());
    content.write(bee.home()).unwrap();
    for round in 0..flips {
        let mut up = attic.up(&["--accept", "accept"]).unwrap();
        let mut first = bee.send(&up.link().unwrap(), content.name).unwrap();
        first.wait_until_accepted().unwrap();
        wait_for("part of it", || part_files(&attic.inbox()).iter().any(|part| blocks(part) > 8 << 20));
        up.program.signal("KILL").unwrap();
        up.program.wait(PATIENCE).unwrap();
        first.program.signal("INT").unwrap();
        first.program.wait(PATIENCE).unwrap();
        for path in part_files(&attic.inbox()) {
            rot(&path, &mut chance);
        }
        let up = attic.up(&["--accept", "accept"]).unwrap();
        let mut again = bee.send(&up.link().unwrap(), content.name).unwrap();
        again.wait_until_done().unwrap_or_else(|error| panic!("round {round}: {error}"));
        drop(up);
        // What a journal without a head leaves behind is swept after seven days.
        let _ = fs::remove_dir_all(attic.inbox().join(".lanyard-part"));
        content.check_whole(&attic.inbox()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        content.remove(&attic.inbox()).unwrap();
    }
    report.held("never a wrong file; equal");
}

/// Flips some bits, or cuts off the end.
fn rot(path: &Path, chance: &mut Chance) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    if len == 0 {
        return;
    }
    if chance.below(3) == 0 {
        file.set_len(chance.below(len)).unwrap();
        return;
    }
    for _ in 0..=chance.below(4) {
        let at = chance.below(len);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        byte[0] ^= 1 << chance.below(8);
        file.write_all_at(&byte, at).unwrap();
    }
}

fn part_files(inbox: &Path) -> Vec<PathBuf> {
    let Ok(transfers) = fs::read_dir(inbox.join(".lanyard-part")) else { return Vec::new() };
    let files = transfers.flatten().filter_map(|transfer| fs::read_dir(transfer.path()).ok());
    files.flatten().flatten().map(|file| file.path()).collect()
}

/// Bytes that are really there.
fn blocks(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len().min(std::os::unix::fs::MetadataExt::blocks(&found) * 512))
}

#[test]
fn f22_a_source_that_changes_is_told_and_versions_never_mix() {
    for change in ["grown", "written over", "cut off", "deleted"] {
        let report = Report::begin("F22", &format!("source {change} while it is sent"));
        let content = Content::large(64 << 20, 5);
        let (attic, bee) = (Person::new().unwrap(), Person::new().unwrap());
        content.write(bee.home()).unwrap();
        let source = bee.home().join(content.name);
        let up = attic.up(&["--accept", "accept"]).unwrap();
        let mut sending = bee.send(&up.link().unwrap(), content.name).unwrap();
        sending.wait_until_accepted().unwrap();
        wait_for("part of it", || part_files(&attic.inbox()).iter().any(|part| blocks(part) > 0));
        let file = OpenOptions::new().write(true).open(&source).unwrap();
        match change {
            "grown" => file.set_len((64 << 20) + 5).unwrap(),
            "written over" => file.write_all_at(&[0; 1000], 0).unwrap(),
            "cut off" => file.set_len(5).unwrap(),
            _ => fs::remove_file(&source).unwrap(),
        }
        let status = sending.program.wait(PATIENCE).unwrap();
        let arrived = fs::read(attic.inbox().join(content.name)).ok();
        let found = match arrived {
            None => {
                assert!(!status.success(), "{change}: nothing arrived, and nobody was told");
                "told; no file"
            }
            Some(arrived) if fs::read(&source).is_ok_and(|now| now == arrived) => "the present content arrived",
            Some(_) => {
                content.check_nothing_wrong(&attic.inbox()).unwrap();
                "all was read before; the old content arrived"
            }
        };
        report.held(found);
    }
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
