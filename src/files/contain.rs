//! The one door between damaged input and a decoder that may panic on it.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a decoder of a foreign crate and turns a panic inside it into an error text.
///
/// The Arrow and Parquet decoders check nearly everything and return errors, but they index and slice by lengths
/// that they read, so a few damaged files end in a panic. Such a file must cost one error, not the program. Whatever
/// `decode` borrows may be half changed after a panic: callers never touch it again after an `Err`.
pub(crate) fn contain<T, E: std::fmt::Display>(
    decode: impl FnOnce() -> Result<T, E>,
) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(one_line(&error.to_string())),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("it contradicts itself");
            Err(one_line(text))
        }
    }
}

fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match joined.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &joined[..end]),
        None => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_one_line() {
        let result: Result<(), String> =
            contain(|| -> Result<(), String> { panic!("index {} out\n of range", 3) });
        assert_eq!(result, Err("index 3 out of range".to_owned()));
        assert_eq!(contain(|| Ok::<_, String>(7)), Ok(7));
        assert_eq!(contain(|| Err::<(), _>("a\nb")), Err("a b".to_owned()));
    }
}
