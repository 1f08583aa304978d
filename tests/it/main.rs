//! The `sidereus` program.
fn main() {}

mod encoder;
