//! Telling systemd where the server is between its start and its end.
//!
//! # Reference
//! sd_notify(3): datagrams of `NAME=VALUE` lines to the socket that `NOTIFY_SOCKET` names.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Who is told.
#[derive(Debug, Clone)]
pub(super) struct Supervisor {
    socket: Option<OsString>,
}

impl Supervisor {
    /// The one of the environment; without one nothing is told.
    pub(super) fn of_environment() -> Self {
        Self { socket: env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) }
    }

    /// The server answers.
    pub(super) fn ready(&self) {
        self.tell("READY=1\n");
    }

    /// The server ends.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\n");
    }

    fn tell(&self, what: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = send(socket, what) {
            tracing::warn!(%error, "the supervisor could not be told");
        }
    }
}

fn send(socket: &OsStr, what: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        // A name that is on no disk.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(what.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 64];
        let count = socket.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn a_supervisor_hears_of_the_beginning_and_of_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let supervisor = Supervisor { socket: Some(path.into_os_string()) };
        supervisor.ready();
        assert_eq!(heard(&socket), "READY=1\n");
        supervisor.stopping();
        assert_eq!(heard(&socket), "STOPPING=1\n");
    }

    #[test]
    fn names_that_are_on_no_disk_are_understood_and_nobody_is_no_error() {
        let name = format!("sidereus-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        send(OsStr::new(&format!("@{name}")), "READY=1\n").expect("sent");
        assert_eq!(heard(&socket), "READY=1\n");
        assert!(send(OsStr::new("/nowhere/socket"), "x").is_err());
        Supervisor { socket: None }.ready();
    }
}
