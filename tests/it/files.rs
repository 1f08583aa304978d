//! Files of tables and vectors against the libraries that wrote them, damaged files, and imports end to end.

mod damage;
mod import;
mod mapping;
mod observations;
mod observed_damage;
mod readers;
mod support;
mod wire;
