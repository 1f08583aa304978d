//! Files that the tests write, and what must be read from them.

use super::*;
