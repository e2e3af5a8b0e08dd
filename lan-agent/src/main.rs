//! Find devices on the network and move files and text between them.

fn main() {}
