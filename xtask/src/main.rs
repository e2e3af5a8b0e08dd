//! The commands that build, run, check and measure Lanyard.

fn main() {}
