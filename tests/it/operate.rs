//! The server as its operator meets it: a process with settings, signals, figures, health, logs and traces.

mod collector;
mod drain;
mod figures;
mod process;
mod settings;
mod telling;

pub(crate) use process::{Process, samples};
