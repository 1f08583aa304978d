//! Starts the encoder process, watches it, and starts it again when it has died.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::{EncoderOptions, PAYLOADS_MAX, client};

/// Begins the line of its standard output in which the encoder process tells its address.
pub const ADDRESS_LINE: &str = "listening on ";

/// A process that served this long was healthy: its death is answered by a quick restart.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// How often a serving process is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(5);

/// How long it may take to say so.
const PING_WITHIN: Duration = Duration::from_secs(10);

/// Pings without an answer, one after the other, after which the process is killed.
const PINGS_MISSED_MAX: u32 = 3;

/// How long a process may take to finish what it computes when it is stopped.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Whether there is a process to ask.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// The first start is under way.
    Starting,
    /// It serves.
    Ready {
        /// The connection to it.
        channel: Channel,
        /// Process number; absent for one that somebody else runs.
        pid: Option<u32>,
    },
    /// There is none for the moment.
    Down {
        /// Why, and what will be done.
        reason: String,
        /// Whether it has served and will be back in a moment, as far as one can know.
        soon: bool,
    },
}

/// Opens a connection when it is first used.
pub(super) fn open(address: &str) -> Result<Channel, tonic::transport::Error> {
    let address =
        if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    Ok(Endpoint::from_shared(address)?
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .connect_lazy())
}

/// Keeps one process running until `stop`; tells `states` how it goes.
pub(super) async fn supervise(
    options: EncoderOptions,
    states: watch::Sender<State>,
    stop: CancellationToken,
) {
    let mut backoff = options.backoff_min;
    loop {
        let started = Instant::now();
        let (reason, served) = match run(&options, &states, &stop).await {
            Ok(reason) => (reason, true),
            Err(reason) => (reason, false),
        };
        if stop.is_cancelled() {
            let reason = "it has been stopped".to_owned();
            states.send_replace(State::Down { reason, soon: false });
            return;
        }
        if started.elapsed() >= HEALTHY_AFTER {
            backoff = options.backoff_min;
        }
        tracing::warn!(%reason, ?backoff, "the encoder process is down and will be started again");
        let reason = format!("{reason}; it is being started again");
        let soon = served && backoff < options.restart_wait;
        states.send_replace(State::Down { reason, soon });
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = stop.cancelled() => {}
        }
        backoff = (2 * backoff).min(options.backoff_max);
    }
}

/// One life of the process; says how it ended, or why it did not begin.
async fn run(
    options: &EncoderOptions,
    states: &watch::Sender<State>,
    stop: &CancellationToken,
) -> Result<String, String> {
    let program = options.program.display();
    let mut child =
        command(options).spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
    let pid = child.id();
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(format!("cannot talk to {program}"));
    };
    let mut lines = BufReader::new(stdout);
    let address = tokio::select! {
        address = tokio::time::timeout(options.start_timeout, address_line(&mut lines)) => address,
        () = stop.cancelled() => return Ok(end(&mut child, stdin).await),
    };
    let address = match address {
        Ok(Ok(Some(address))) => address,
        Ok(Ok(None)) => {
            return Err(format!("it ended before it served ({})", exit(child.wait().await)));
        }
        Ok(Err(error)) => return Err(format!("cannot read its address: {error}")),
        Err(_) => {
            return Err(format!(
                "it did not start within {} s",
                options.start_timeout.as_secs_f64()
            ));
        }
    };
    let channel =
        open(&address).map_err(|error| format!("`{address}` is not an address: {error}"))?;
    tracing::info!(%address, pid, "the encoder process serves");
    states.send_replace(State::Ready { channel: channel.clone(), pid });
    tokio::select! {
        status = child.wait() => Ok(format!("its process ended ({})", exit(status))),
        missed = pings_missed(channel) => {
            let _already_dead = child.kill().await;
            Ok(format!("its process missed {missed} pings and was killed"))
        }
        () = stop.cancelled() => Ok(end(&mut child, stdin).await),
    }
}

fn command(options: &EncoderOptions) -> Command {
    let mut command = Command::new(&options.program);
    command
        .arg("serve")
        .arg("--models")
        .arg(&options.models_dir)
        .args(["--listen", "127.0.0.1:0", "--exit-with-parent"])
        .args(["--device", &options.device])
        .args(["--precision", &options.precision])
        .args(["--sandbox", options.sandbox.name()])
        .args(["--process-mib", &options.process_mib.unwrap_or(0).to_string()])
        .args(["--threads", &options.threads.to_string()])
        .args(["--batch-rows-max", &options.batch.rows_max.to_string()])
        .args(["--batch-wait-ms", &options.batch.wait.as_millis().to_string()])
        .args(["--queue-rows-max", &options.batch.queue_rows_max.max(PAYLOADS_MAX).to_string()])
        .args(options.gives_way.then_some("--give-way"))
        .args(options.batch.deterministic.then_some("--deterministic"))
        .args(memory_arguments(options.batch.memory_max))
        .env("OMP_NUM_THREADS", options.threads.to_string())
        // Its life hangs on this pipe: however the parent dies, the pipe closes and the process ends.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A Ctrl-C in the terminal is for the server, which still needs the encoder while it drains.
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Words for a limit of memory; none where there is no limit.
fn memory_arguments(bytes: u64) -> Vec<String> {
    match bytes {
        u64::MAX => Vec::new(),
        bytes => vec!["--memory-mib".to_owned(), (bytes >> 20).max(1).to_string()],
    }
}

async fn address_line(lines: &mut BufReader<ChildStdout>) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    while lines.read_line(&mut line).await? > 0 {
        if let Some(address) = line.trim_end().strip_prefix(ADDRESS_LINE) {
            return Ok(Some(address.to_owned()));
        }
        line.clear();
    }
    Ok(None)
}

/// Returns when the process has not answered for a while.
async fn pings_missed(channel: Channel) -> u32 {
    let mut missed = 0;
    while missed < PINGS_MISSED_MAX {
        tokio::time::sleep(PING_EVERY).await;
        match client::list_models(channel.clone(), PING_WITHIN).await {
            Ok(_) => missed = 0,
            Err(_) => missed += 1,
        }
    }
    missed
}

/// Stops the process: asks by closing its input, then kills.
async fn end(child: &mut Child, stdin: ChildStdin) -> String {
    drop(stdin);
    if tokio::time::timeout(STOP_WITHIN, child.wait()).await.is_err() {
        let _already_dead = child.kill().await;
    }
    "it was stopped".to_owned()
}

fn exit(status: std::io::Result<std::process::ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}
