//! The `sidereus` program: the server, and every command that talks to it.

fn main() -> ! {
    // Not by returning: threads may still be at work in libraries that would be taken apart.
    sidereus::leave::with(sidereus::cli::main())
}
