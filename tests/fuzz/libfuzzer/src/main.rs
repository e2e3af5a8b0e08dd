//! One target, by the name in `LANYARD_FUZZ_TARGET`, under libFuzzer.

#![no_main]

use std::sync::OnceLock;

use lanyard_fuzz::{Target, target};
use libfuzzer_sys::fuzz_target;

fn chosen() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("LANYARD_FUZZ_TARGET").expect("LANYARD_FUZZ_TARGET names a target");
        target(&name).unwrap_or_else(|| panic!("no target is called {name}"))
    })
}

fuzz_target!(|data: &[u8]| chosen()(data));
