//! Every input that was kept, through its target.

use std::path::{Path, PathBuf};

use lanyard_fuzz::{TARGETS, target};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn every_kept_input_passes_its_target() {
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for entry in std::fs::read_dir(corpus().join(name)).unwrap() {
            let path = entry.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            let passed = std::panic::catch_unwind(|| target(&data));
            assert!(passed.is_ok(), "{} fails", path.display());
            inputs += 1;
        }
        assert!(inputs > 0, "{name} has no corpus");
    }
}

#[test]
fn every_corpus_belongs_to_a_target_and_all_are_small() {
    let mut bytes = 0;
    for folder in std::fs::read_dir(corpus()).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        assert!(target(&name).is_some(), "no target is called {name}");
        bytes +=
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
    }
    assert!(bytes < 2_000_000, "{bytes} bytes");
}

#[test]
fn empty_and_uniform_inputs_pass_every_target() {
    for (_, target) in TARGETS {
        for byte in [0, 1, 0x40, 0x7f, 0xff] {
            for length in [0, 1, 19, 20, 64, 300] {
                target(&vec![byte; length]);
            }
        }
    }
}
