//! The one door between damaged input and a decoder that may panic on it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

/// The log has at most one line for panics of decoders in so long: who sends damaged input could fill it.
const LINE_EVERY: Duration = Duration::from_secs(10);

thread_local! {
    /// Whether a panic of this thread is one that [`contain`] waits for.
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder of a foreign crate and turns a panic inside it into an error text.
///
/// The Arrow and Parquet decoders check nearly everything and return errors, but they index and slice by lengths
/// that they read, so a few damaged files end in a panic. Such a file must cost one error, not the program, and no page of the
/// log. Whatever `decode` borrows may be half changed after a panic: callers never touch it again after an `Err`.
pub(crate) fn contain<T, E: std::fmt::Display>(
    decode: impl FnOnce() -> Result<T, E>,
) -> Result<T, String> {
    hush();
    let before = IS_CONTAINED.replace(true);
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    IS_CONTAINED.set(before);
    match decoded {
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

/// Has panics that are contained told in a line now and then. All others are told as before.
fn hush() {
    static ONCE: Once = Once::new();
    // The hook cannot be changed by a thread that unwinds.
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match IS_CONTAINED.get() {
            true => note(panic.location()),
            false => before(panic),
        }));
    });
}

/// Writes a line to the log, if there has been none lately.
fn note(place: Option<&Location<'_>>) {
    static NOTED: Mutex<(Option<Instant>, u64)> = Mutex::new((None, 0));
    // Nobody waits for the log while he unwinds.
    let Ok(mut noted) = NOTED.try_lock() else { return };
    noted.1 += 1;
    if noted.0.is_some_and(|last| last.elapsed() < LINE_EVERY) {
        return;
    }
    let times = noted.1;
    *noted = (Some(Instant::now()), 0);
    drop(noted);
    let place = place.map(ToString::to_string);
    tracing::warn!(times, place, "a decoder gave up on damaged input");
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
    use std::io::{self, Write};
    use std::sync::{Arc, PoisonError};

    use super::*;

    /// What is written to the log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn damaged_input_fills_no_log() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let began = Instant::now();
        tracing::subscriber::with_default(log, || {
            for _ in 0..50 {
                let _ = contain(|| -> Result<(), String> { panic!("a bad length") });
            }
        });
        let told = lines.0.lock().expect("whole").split(|byte| *byte == b'\n').count() - 1;
        // One of another test may have been told lately.
        assert!(told <= 1 + began.elapsed().as_secs() as usize / 10, "{told} lines");
    }

    #[test]
    fn a_panic_becomes_one_line() {
        let result: Result<(), String> =
            contain(|| -> Result<(), String> { panic!("index {} out\n of range", 3) });
        assert_eq!(result, Err("index 3 out of range".to_owned()));
        assert!(!IS_CONTAINED.get(), "others are told as ever");
        assert_eq!(contain(|| Ok::<_, String>(7)), Ok(7));
        assert_eq!(contain(|| Err::<(), _>("a\nb")), Err("a b".to_owned()));
    }
}
