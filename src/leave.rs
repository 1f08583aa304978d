//! The end of the program.

#![expect(unsafe_code, reason = "calls of the system")]

use std::io::Write;
use std::process::ExitCode;

/// Ends the process with an exit status, now.
///
/// An ordinary end destroys what C++ libraries keep for the whole program, and a thread that is still inside of one of them
/// then reads what is gone. Threads that nobody can stop at once are usual here: a build that goes on at the next start, a copy
/// that is removed by it. Nothing is lost: what was acknowledged is synced, logs of databases that were closed are sealed by
/// then, and what is buffered for standard output and error is written here.
pub fn now(status: u8) -> ! {
    // Who read them may have gone.
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    // SAFETY: the call takes a number, returns never, and runs no code of this process.
    unsafe { libc::_exit(i32::from(status)) }
}

/// Has SIGINT and SIGTERM end the process from here on, as they do where nobody listens: those who listened have stopped, and what
/// is still waited for can be left at once.
pub fn at_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the default action runs no code of this process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The same with the status of a command.
pub fn with(code: ExitCode) -> ! {
    // A code cannot be asked for its number, only be compared.
    now((0..=u8::MAX).find(|status| ExitCode::from(*status) == code).unwrap_or(1))
}
