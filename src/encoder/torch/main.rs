//! `sidereus-encoder`: the program that runs the networks. It alone links libtorch.

mod bench;
mod device;
mod efficientnet_lite0;
mod load;
mod photometry_mm;
mod published;
mod serve;
mod staging;
mod train;
mod weights;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use sidereus::encoder::{
    BatchOptions, PAYLOADS_MAX, RegisteredModel, Registry, SandboxMode, SandboxOptions,
    check_model, enter_sandbox, gpu_devices,
};

use device::{Computing, DeviceName, Precision};
use published::goldens;

/// Turns images and rows of fluxes into vectors, for a Sidereus server.
#[derive(Debug, Parser)]
#[command(name = "sidereus-encoder", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the models of a directory to a Sidereus server.
    Serve(ServeArguments),
    /// Runs a model's folder on its own golden inputs and prints the largest relative error of every tensor.
    Check(CheckArguments),
    /// Measures how many objects a model encodes in a second at full batches.
    Bench(bench::BenchArguments),
    /// Lists the models of a directory and what is wrong with the broken ones.
    List {
        /// The directory with one folder for each model.
        models: PathBuf,
        #[command(flatten)]
        walls: WallArguments,
    },
    /// Prints the BLAKE3 digest of a file, as `model.toml` pins it.
    Digest {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// The model's folder.
    folder: PathBuf,
    #[command(flatten)]
    computing: ComputingArguments,
    #[command(flatten)]
    walls: WallArguments,
}

#[derive(Debug, Args)]
struct WallArguments {
    /// Walls around the process before it reads a model: required, auto (as far as the kernel has them), or off.
    #[arg(long, value_name = "MODE", default_value = "auto")]
    sandbox: SandboxMode,
    /// Most MiB of memory for data; 0 for no limit.
    #[arg(long, default_value_t = 0)]
    process_mib: u64,
}

#[derive(Debug, Args)]
struct ComputingArguments {
    /// Where networks compute: auto, cpu, cuda, or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceName,
    /// Threads that a network computes with on the CPU [default: one for each processor].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Precision of published networks: f32, bf16 or f16. Codecs and the project's own networks stay in f32.
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "words of a command line")]
struct ServeArguments {
    /// The directory with one folder for each model.
    #[arg(long)]
    models: PathBuf,
    /// Address to listen on; port 0 takes a free one. The address is printed when all models are loaded.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Allow an address that other hosts can reach. There is neither encryption nor authentication: the network must be trusted.
    #[arg(long)]
    trust_network: bool,
    /// Most rows of one batch.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch_rows_max: u32,
    /// Milliseconds that the first row of a batch waits for company.
    #[arg(long, default_value_t = 2)]
    batch_wait_ms: u64,
    /// Most rows that are decoded, waiting or being computed; at least one full call.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(PAYLOADS_MAX as i64..))]
    queue_rows_max: u32,
    /// Mebibytes of weights that are kept in memory; the model that was not asked for longest makes room [default: no limit].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    memory_mib: Option<u32>,
    /// Compute every row on its own, so that its vector never depends on what is computed beside it; slower.
    #[arg(long)]
    deterministic: bool,
    /// Seconds after which a batch is taken for one that will never end: the program then says that it is not there.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..))]
    stuck_after_s: u64,
    /// Run only when nothing else on the machine wants the processor.
    #[arg(long)]
    give_way: bool,
    /// End when standard input ends, that is, when the parent process has gone.
    #[arg(long)]
    exit_with_parent: bool,
    #[command(flatten)]
    computing: ComputingArguments,
    #[command(flatten)]
    walls: WallArguments,
}

fn main() -> ExitCode {
    device::forbid_tf32();
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve(&arguments),
        Command::Check(arguments) => check(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::List { models, walls } => list(&models, &walls),
        Command::Digest { file } => digest(&file),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl WallArguments {
    /// Goes behind the walls, for ever. To be called before anything is read of a model, and before there are threads.
    fn enter(&self, models: &Path, device: DeviceName) -> anyhow::Result<()> {
        let options = SandboxOptions {
            mode: self.sandbox,
            models: models.to_owned(),
            gpu: if device == DeviceName::Cpu { Vec::new() } else { gpu_devices() },
            memory_bytes: (self.process_mib > 0).then(|| self.process_mib.saturating_mul(1 << 20)),
        };
        for missing in enter_sandbox(&options)? {
            tracing::warn!(%missing, "the sandbox is not whole: serve only models that you trust");
        }
        Ok(())
    }
}

impl ComputingArguments {
    /// Chooses the device and sets libtorch's threads, once for the process.
    fn settle(&self) -> anyhow::Result<(Computing, usize)> {
        let threads = self.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, usize::from),
            usize::from,
        );
        let device = self.device.choose()?;
        tch::set_num_threads(i32::try_from(threads)?);
        tch::set_num_interop_threads(1);
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.min(staging::THREADS_MAX))
            .build_global()?;
        Ok((Computing { device, kind: self.precision.kind() }, threads))
    }
}

fn serve(arguments: &ServeArguments) -> anyhow::Result<()> {
    if !arguments.listen.ip().is_loopback() && !arguments.trust_network {
        bail!(
            "{} can be reached by other hosts and there is no encryption or authentication; listen on 127.0.0.1, or say --trust-network",
            arguments.listen
        );
    }
    if arguments.give_way {
        sidereus::idle::give_way();
    }
    // Bound, walled in, then loaded: what comes with a model can no longer open a connection.
    let listener = serve::bind(arguments.listen)?;
    arguments.walls.enter(&arguments.models, arguments.computing.device)?;
    let (computing, threads) = arguments.computing.settle()?;
    let registry = Registry::scan(&arguments.models)?;
    let memory_max = arguments.memory_mib.map_or(u64::MAX, |mebibytes| u64::from(mebibytes) << 20);
    let models = load::load_all(registry, computing, memory_max);
    let options = serve::ServeOptions {
        exit_with_parent: arguments.exit_with_parent,
        threads,
        batch: BatchOptions {
            rows_max: arguments.batch_rows_max as usize,
            wait: Duration::from_millis(arguments.batch_wait_ms),
            queue_rows_max: arguments.queue_rows_max as usize,
            memory_max,
            deterministic: arguments.deterministic,
        },
        stuck_after: Duration::from_secs(arguments.stuck_after_s),
        precision: arguments.computing.precision.told(),
        device: computing.device,
    };
    tracing::info!(?computing, threads, "loaded {} models", models.served.len());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(serve::serve(listener, models, options));
    // A decoder or a thread that waits for the parent's end must not hold up the exit.
    runtime.shutdown_background();
    served
}

fn check(arguments: &CheckArguments) -> anyhow::Result<()> {
    // Golden outputs of a chain name the folders beside their own, of which the networks are.
    let folder = std::path::absolute(&arguments.folder)?;
    let is_model = folder.join("model.toml").exists();
    let readable = if is_model { &folder } else { folder.parent().unwrap_or(&folder) };
    arguments.walls.enter(readable, arguments.computing.device)?;
    let (computing, _) = arguments.computing.settle()?;
    let device = computing.device;
    if !is_model && goldens::is_golden(&arguments.folder) {
        return check_published(&arguments.folder, computing);
    }
    let model = RegisteredModel::read(&arguments.folder)?;
    let loaded = load::load(&model, computing)?;
    if model.spec.goldens.is_none() {
        println!("{}: every file is the pinned one and every tensor fits", model.spec.provenance());
        if goldens::is_golden(&arguments.folder) {
            return check_published(&arguments.folder, computing);
        }
        println!("there are no golden inputs and outputs to compare with");
        return Ok(());
    }
    let checks = check_model(&model, &loaded.preprocessor, loaded.network.as_ref())?;
    println!("{} on {device:?}", model.spec.provenance());
    for check in &checks {
        let shape = check.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let verdict = if check.passes() { "ok" } else { "FAILED" };
        println!("{:<20} {shape:<14} {:.2e}  {verdict}", check.name, check.relative_error);
    }
    let failed: Vec<_> =
        checks.iter().filter(|check| !check.passes()).map(|check| check.name.as_str()).collect();
    if !failed.is_empty() {
        bail!(
            "model `{}` does not reproduce its golden outputs: {}",
            model.spec.id,
            failed.join(", ")
        );
    }
    Ok(())
}

/// Compares a network with golden outputs of the module that its authors published.
fn check_published(folder: &Path, computing: Computing) -> anyhow::Result<()> {
    let compared = goldens::check(folder, computing)?;
    let Computing { device, kind } = computing;
    println!("{} on {device:?} in {kind:?}", folder.display());
    let width = compared.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
    println!("{:<width$}  {:<14}  {:>8}  {:>8}", "output", "shape", "error", "relative");
    for tensor in &compared {
        let shape = tensor.shape.iter().map(i64::to_string).collect::<Vec<_>>().join("x");
        let verdict = if tensor.passes() { "ok" } else { "FAILED" };
        let (name, error) = (&tensor.name, tensor.error);
        if tensor.largest == 0.0 && tensor.cosine.is_none() {
            println!("{name:<width$}  {shape:<14}  {error:>8} differ      {verdict}");
            continue;
        }
        let relative = error / tensor.largest;
        let cosine = tensor.cosine.map(|cosine| format!("cosine {cosine:.5}  "));
        let cosine = cosine.unwrap_or_default();
        println!("{name:<width$}  {shape:<14}  {error:>8.1e}  {relative:>8.1e}  {cosine}{verdict}");
    }
    let failed: Vec<_> =
        compared.iter().filter(|tensor| !tensor.passes()).map(|tensor| &*tensor.name).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{} does not reproduce its golden outputs: {}", folder.display(), failed.join(", "))
}

fn list(models: &Path, walls: &WallArguments) -> anyhow::Result<()> {
    walls.enter(models, DeviceName::Cpu)?;
    let computing = Computing { device: tch::Device::Cpu, kind: tch::Kind::Float };
    let models = load::load_all(Registry::scan(models)?, computing, 0);
    for load::Served { model, .. } in &models.served {
        let spec = &model.spec;
        println!(
            "{}  {} {}-d  {}",
            spec.provenance(),
            spec.modality,
            spec.dimension,
            spec.description
        );
    }
    for (id, reason) in &models.broken {
        println!("{id}  BROKEN: {reason}");
    }
    if models.broken.is_empty() {
        Ok(())
    } else {
        bail!("{} models are broken", models.broken.len())
    }
}

fn digest(file: &Path) -> anyhow::Result<()> {
    println!("{}  {}", sidereus::encoder::digest(file)?, file.display());
    Ok(())
}
