//! The `sidereus` program.
fn main() {}
