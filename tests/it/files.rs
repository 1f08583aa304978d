//! Files of tables and vectors against the libraries that wrote them, damaged files, and imports end to end.

mod damage;
mod import;
mod mapping;
mod readers;
mod support;
mod wire;
