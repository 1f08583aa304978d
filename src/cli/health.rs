//! `sidereus health`: whether the server of this machine should be sent calls, for those who watch it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use super::render::write_out;

/// Variable of the environment that moves the server's listener, and so moves what is asked.
const LISTEN_VARIABLE: &str = "SIDEREUS_HTTP__LISTEN";

/// Where a server listens when nobody says otherwise.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8080";

/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Words of `sidereus health`.
#[derive(Debug, Args)]
pub(super) struct HealthArguments {
    /// Address of the server's HTTP [default: $SIDEREUS_HTTP__LISTEN, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Only whether the process answers, not whether it is ready
    #[arg(long)]
    live: bool,
    /// Seconds to wait for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

/// Asks, prints the answer, and is a success when it is good.
pub(super) fn run(arguments: &HealthArguments) -> Result<ExitCode> {
    let address = match arguments.http {
        Some(address) => address,
        None => address_of(std::env::var(LISTEN_VARIABLE).ok().as_deref())?,
    };
    let path = if arguments.live { "/healthz" } else { "/readyz" };
    // Told as a text: a pipe that the server closes is not that of somebody who has read enough of our output.
    let answer = ask(address, path, Duration::from_secs(arguments.timeout))
        .map_err(|error| anyhow!("no answer from http://{address}{path}: {error}"))?;
    let (is_good, body) = read(&answer)?;
    write_out(body)?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The address that a server listens on is also where it is asked, but for one that means all of them.
fn address_of(variable: Option<&str>) -> Result<SocketAddr> {
    let text = variable.unwrap_or(DEFAULT_ADDRESS);
    let mut address: SocketAddr =
        text.parse().with_context(|| format!("{LISTEN_VARIABLE} is `{text}`, not an address"))?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address)
}

fn ask(address: SocketAddr, path: &str, timeout: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether an answer says yes, and its text.
fn read(answer: &str) -> Result<(bool, &str)> {
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
    let (Some(status), Some((_, body))) = (status, answer.split_once("\r\n\r\n")) else {
        bail!("what listens there is not a Sidereus server");
    };
    Ok((status == "200", body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let (is_good, body) = read("HTTP/1.1 200 OK\r\na: b\r\n\r\n{}\n").expect("an answer");
        assert!(is_good && body == "{}\n");
        assert!(!read("HTTP/1.1 503 Service Unavailable\r\n\r\n{}").expect("an answer").0);
        assert!(read("SSH-2.0-x").is_err() && read("").is_err());
    }

    #[test]
    fn all_addresses_of_a_machine_are_asked_on_its_own() {
        let of = |text| address_of(Some(text)).expect("an address").to_string();
        assert_eq!(of("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(of("[::]:1"), "[::1]:1");
        assert_eq!(of("10.1.2.3:9"), "10.1.2.3:9");
        assert!(address_of(Some("here")).is_err());
    }
}
