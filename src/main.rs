//! The `sidereus` program: the server, and every command that talks to it.

fn main() -> std::process::ExitCode {
    sidereus::cli::main()
}
