//! Find devices on the network and move files and text between them.

fn main() -> std::process::ExitCode {
    lanyard_agent::cli::main()
}
