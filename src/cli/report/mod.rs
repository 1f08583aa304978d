//! Reports to read, print and pass on: one HTML file, figures inside, nothing loaded from elsewhere.
//!
//! What is measured comes as plain values ([`Fit`], [`Ranks`]); how it came about is not known here.

mod examples;
mod figure;
mod fit;
mod page;
mod probes;
mod ranks;
#[cfg(test)]
mod tests;
mod words;

pub(super) use examples::{Example, ImageSource, Tile};
pub(super) use fit::{Fit, Kind, Tested};
pub(super) use page::Provenance;
pub(super) use probes::probes;
pub(super) use ranks::{Ranks, chances, ranks};
pub(super) use words::{headlines, interval_text};
