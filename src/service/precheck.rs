//! What can refuse a start, looked at before there is anything to undo.

use std::io::ErrorKind;
use std::net::TcpListener;

use super::ServiceOptions;
use super::server::{Server, ServerError, check_exposure};
use super::tls::Certificates;

impl Server {
    /// Whether a server of these options could start: exposure, certificates and the address. Nothing is kept or written.
    ///
    /// # Errors
    /// Those of [`Server::bind`].
    pub fn check(options: &ServiceOptions) -> Result<(), ServerError> {
        let address = options.listen;
        check_exposure(options)?;
        if let Some(tls) = options.tls.clone() {
            Certificates::open(tls)?;
        }
        match TcpListener::bind(address) {
            Ok(_) => Ok(()),
            Err(source) if source.kind() == ErrorKind::AddrInUse => {
                Err(ServerError::PortInUse { address })
            }
            Err(source) => Err(ServerError::Bind { address, source }),
        }
    }
}
