//! The QR code that a person sees is the link that is printed.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::{Device, Running};

/// Pixels of one module, as a terminal's cell would be half as wide as high.
const SCALE: usize = 6;

#[test]
fn the_drawn_code_reads_as_the_printed_link() {
    for style in [&[][..], &["--ascii"]] {
        let device = Device::new();
        device.folder("in");
        let mut command = device.command(&["up", "in"]);
        command.args(style).env("COLUMNS", "120");
        let mut up = Running::start(command);
        let link = up.line_with("#1.");
        up.signal("TERM");
        up.exits_with(0);
        let drawn: Vec<&String> = up.complained.iter().filter(|line| line.contains("\x1b[")).collect();
        assert!(drawn.len() > 20, "a code was drawn: {:?}", up.complained);
        let modules: Vec<Vec<bool>> = drawn.iter().flat_map(|line| pixels(line)).collect();
        assert_eq!(decode(&modules), link, "{style:?}");
    }
}

/// What a terminal shows for one line: one row of modules, or two for half blocks. `true` is black.
fn pixels(line: &str) -> Vec<Vec<bool>> {
    let (mut upper, mut lower) = (Vec::new(), Vec::new());
    let (mut ink_dark, mut paper_dark) = (false, false);
    let mut half_blocks = false;
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character == '\x1b' {
            let code: String = rest.by_ref().skip(1).take_while(|c| *c != 'm').collect();
            match code.as_str() {
                "38;5;16;48;5;231" => (ink_dark, paper_dark, half_blocks) = (true, false, true),
                "48;5;231" => paper_dark = false,
                "48;5;16" => paper_dark = true,
                "0" => {}
                other => panic!("unexpected colour {other}"),
            }
            continue;
        }
        let (top, bottom) = match character {
            '█' => (ink_dark, ink_dark),
            '▀' => (ink_dark, paper_dark),
            '▄' => (paper_dark, ink_dark),
            ' ' => (paper_dark, paper_dark),
            other => panic!("unexpected character {other:?}"),
        };
        upper.push(top);
        lower.push(bottom);
    }
    if half_blocks {
        return vec![upper, lower];
    }
    // Two characters a module.
    vec![upper.into_iter().step_by(2).collect()]
}

/// Reads the picture with `zbarimg`, as a phone's camera would.
fn decode(modules: &[Vec<bool>]) -> String {
    let (width, height) = (modules[0].len() * SCALE, modules.len() * SCALE);
    let mut picture = format!("P5 {width} {height} 255\n").into_bytes();
    for row in modules {
        assert_eq!(row.len() * SCALE, width, "every line is as wide as the first");
        for _ in 0..SCALE {
            picture.extend(row.iter().flat_map(|dark| [if *dark { 0 } else { 255 }; SCALE]));
        }
    }
    let mut file = tempfile::Builder::new().suffix(".pgm").tempfile().unwrap();
    file.write_all(&picture).unwrap();
    let read = Command::new("zbarimg").args(["--quiet", "--raw"]).arg(file.path()).stderr(Stdio::inherit()).output();
    let read = read.expect("zbarimg runs; Debian has it in zbar-tools");
    String::from_utf8(read.stdout).unwrap().trim_end().to_owned()
}
