//! Bridges between spaces: fitted, measured, kept and used.

mod oracle;
