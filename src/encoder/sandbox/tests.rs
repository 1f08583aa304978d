#![expect(unsafe_code, reason = "calls that no safe function makes")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// Tells the program of the tests, started by itself, to play the process behind the walls.
const ROLE: &str = "SIDEREUS_TEST_SANDBOX_MODE";
/// A folder with what the player works on.
const FOLDER: &str = "SIDEREUS_TEST_SANDBOX_FOLDER";
/// Where it may connect to, unless it is hindered.
const ADDRESS: &str = "SIDEREUS_TEST_SANDBOX_ADDRESS";

const MEMORY: u64 = 512 << 20;

/// What Landlock alone keeps; everything else is behind the wall around calls.
const FILE_DEEDS: [&str; 4] =
    ["read another file", "write a model", "list a folder", "write a device"];

/// What the player's mode begins with where it has a GPU.
const GPU: &str = "gpu-";

/// What a process behind the walls must be able to do.
const NEEDED: [&str; 6] =
    ["read a model", "read a linked model", "read cpuinfo", "thread", "stream pair", "accept"];

fn tell(what: &str, done: Result<impl Debug, std::io::Error>) {
    match done {
        Ok(_) => println!("deed {what}: done"),
        Err(error) => println!("deed {what}: {}", error.raw_os_error().unwrap_or(-1)),
    }
}

/// A call with arguments that make it fail, or do nothing, where it is allowed.
fn call(number: i64, arguments: [i64; 5]) -> std::io::Result<i64> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the tests below pass no address of memory but null.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}

/// Goes behind the walls and tells what can still be done.
fn play(mode: &str) {
    // The line begins with the name of the test.
    println!();
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("a folder"));
    let address = std::env::var(ADDRESS).expect("an address");
    let models = folder.join("models");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (mode, gpu) = match mode.strip_prefix(GPU) {
        Some(mode) => (mode, vec![folder.join("device")]),
        None => (mode, Vec::new()),
    };
    let options = SandboxOptions {
        mode: mode.parse().expect("a mode"),
        models: models.clone(),
        gpu,
        memory_bytes: Some(MEMORY),
    };
    match enter_sandbox(&options) {
        Ok(missing) => missing.iter().for_each(|each| println!("missing {each}")),
        Err(error) => {
            println!("refused {error}");
            return;
        }
    }
    files(&folder, &models);
    connections(&address, &listener);
    processes();
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    for line in status.lines().filter(|line| line.contains(":\t")) {
        println!("status {line}");
    }
    let limits = std::fs::read_to_string("/proc/self/limits").expect("readable");
    limits.lines().for_each(|line| println!("limit {line}"));
    // The last deed: where it succeeds, there is nobody left to tell.
    println!("deed exec: done");
    let error = Command::new("/bin/true").exec();
    tell("exec", Err::<(), _>(error));
}

fn files(folder: &Path, models: &Path) {
    let model = models.join("a/weights");
    tell("read a model", std::fs::read(&model));
    tell("read a linked model", std::fs::read(models.join("linked/weights")));
    tell("read cpuinfo", std::fs::read("/proc/cpuinfo"));
    tell("read another file", std::fs::read(folder.join("secret")));
    tell("list a folder", std::fs::read_dir(folder).map(Iterator::count));
    let mut options = std::fs::OpenOptions::new();
    tell("write a model", options.append(true).open(&model));
    let mut options = std::fs::OpenOptions::new();
    tell("write a device", options.read(true).write(true).open(folder.join("device")));
    let thread = call(libc::SYS_gettid, [0; 5]).expect("a number");
    // As the driver of a GPU opens it.
    tell("name a thread", std::fs::write(format!("/proc/self/task/{thread}/comm"), "named"));
    tell("make a file", std::fs::write(models.join("a/new"), "new"));
    tell("make a folder", std::fs::create_dir(folder.join("new")));
    tell("link", std::os::unix::fs::symlink(&model, folder.join("link")));
    tell("rename", std::fs::rename(folder.join("moved"), folder.join("moved-2")));
    tell("remove", std::fs::remove_file(folder.join("gone")));
    tell("mode", std::fs::set_permissions(&model, std::fs::Permissions::from_mode(0o777)));
    let file = std::fs::File::open(&model).expect("readable");
    tell("times", file.set_modified(std::time::SystemTime::UNIX_EPOCH));
}

fn connections(address: &str, listener: &TcpListener) {
    tell("connect", TcpStream::connect(address));
    tell("listen", TcpListener::bind("127.0.0.1:0"));
    tell("datagram", UdpSocket::bind("127.0.0.1:0"));
    tell("datagram pair", UnixDatagram::pair());
    tell("stream pair", UnixStream::pair());
    println!("accepts {}", listener.local_addr().expect("bound"));
    tell("accept", listener.accept().and_then(|(mut stream, _)| stream.write_all(b"hello")));
}

fn processes() {
    tell("thread", std::thread::Builder::new().spawn(|| ()).map(std::thread::JoinHandle::join));
    tell("child", Command::new("/bin/true").spawn().and_then(|mut child| child.wait()));
    let parent = i64::from(std::os::unix::process::parent_id());
    let nothing = [0; 5];
    for (what, number, arguments) in [
        // Signal 0 is none: only whether it may be sent is asked.
        ("signal to the parent", libc::SYS_kill, [parent, 0, 0, 0, 0]),
        ("limits of the parent", libc::SYS_prlimit64, [parent, 7, 0, 0, 0]),
        ("ring", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
        ("trace", libc::SYS_ptrace, [1, parent, 0, 0, 0]),
        ("memory of the parent", libc::SYS_process_vm_readv, [parent, 0, 0, 0, 0]),
        ("handle of the parent", libc::SYS_pidfd_open, [parent, 0, 0, 0, 0]),
        ("namespace", libc::SYS_unshare, nothing),
        ("mounted tree", libc::SYS_open_tree, [-1, 0, 0, 0, 0]),
        ("perf", libc::SYS_perf_event_open, nothing),
        ("key", libc::SYS_keyctl, nothing),
        ("netlink", libc::SYS_socket, [16, 3, 0, 0, 0]),
        ("local stream", libc::SYS_socket, [1, 1, 0, 0, 0]),
        ("local datagram", libc::SYS_socket, [1, 2, 0, 0, 0]),
        ("local packets in sequence", libc::SYS_socket, [1, 5 | 0o2_000_000, 0, 0, 0]),
        ("socket by another number", libc::SYS_socket | 0x4000_0000, [16, 3, 0, 0, 0]),
        ("pushed input", libc::SYS_ioctl, [0, 0x5412, 0, 0, 0]),
    ] {
        tell(what, call(number, arguments));
    }
    tell("clone3 is unknown", call(libc::SYS_clone3, nothing));
    let much: Result<(), _> = Vec::<u8>::new().try_reserve_exact(2 * MEMORY as usize);
    tell("much memory", much.map_err(|_| std::io::Error::from_raw_os_error(libc::ENOMEM)));
}

/// What a player told.
#[derive(Debug)]
struct Told {
    deeds: BTreeMap<String, String>,
    lines: Vec<String>,
}

impl Told {
    fn says(&self, beginning: &str) -> bool {
        self.lines.iter().any(|line| line.starts_with(beginning))
    }
}

/// Starts the player and connects to it when it says where.
fn watch(mode: &str) -> Told {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for name in ["models/a", "elsewhere"] {
        std::fs::create_dir_all(at(name)).expect("a folder");
        std::fs::write(at(name).join("weights"), "weights").expect("a file");
    }
    std::os::unix::fs::symlink(at("elsewhere"), at("models/linked")).expect("a link");
    for name in ["secret", "moved", "gone", "device"] {
        std::fs::write(at(name), name).expect("a file");
    }
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "encoder::sandbox::tests::the_walls_stand_and_have_their_gates"])
        .args(["--nocapture", "--test-threads=1"])
        .env(ROLE, mode)
        .env(FOLDER, folder.path())
        .env(ADDRESS, other.local_addr().expect("bound").to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    let mut told = Told { deeds: BTreeMap::new(), lines: Vec::new() };
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        let line = line.expect("text");
        if let Some(address) = line.strip_prefix("accepts ") {
            let mut greeting = String::new();
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.read_to_string(&mut greeting).expect("it answers");
            assert_eq!(greeting, "hello");
        }
        let deed = line.strip_prefix("deed ").and_then(|deed| deed.split_once(": "));
        if let Some((what, outcome)) = deed {
            told.deeds.insert(what.to_owned(), outcome.to_owned());
        }
        told.lines.push(line);
    }
    child.wait().expect("it ends");
    told
}

#[test]
fn the_walls_stand_and_have_their_gates() {
    if let Ok(mode) = std::env::var(ROLE) {
        play(&mode);
        return;
    }
    let free = watch("off");
    let behind = watch("auto");
    assert!(free.deeds.len() > 30 && free.deeds.len() == behind.deeds.len(), "{free:?} {behind:?}");
    let landlock = !behind.lines.iter().any(|line| line.contains("does not have it"));
    let (permission, no_access) = (libc::EPERM.to_string(), libc::EACCES.to_string());
    for (what, outcome) in &behind.deeds {
        let what = what.as_str();
        if NEEDED.contains(&what) {
            assert_eq!((outcome.as_str(), free.deeds[what].as_str()), ("done", "done"), "{what}");
        } else if FILE_DEEDS.contains(&what) {
            assert_eq!(free.deeds[what], "done", "{what}");
            assert!(!landlock || *outcome == no_access, "{what}: {outcome}");
        } else if what == "clone3 is unknown" {
            assert_eq!(*outcome, libc::ENOSYS.to_string());
            assert_ne!(free.deeds[what], *outcome);
        } else if what == "much memory" {
            // A limit that was asked for holds without walls too.
            assert_eq!((outcome, &free.deeds[what]), (&libc::ENOMEM.to_string(), outcome));
        } else {
            assert_eq!(*outcome, permission, "{what}");
        }
    }
    // Without walls nearly all of it succeeds, or fails for another reason; a container may forbid some of it itself.
    let differ = behind.deeds.iter().filter(|(what, outcome)| free.deeds[*what] != **outcome);
    assert!(differ.count() >= 20, "{free:?} {behind:?}");
    assert!(
        behind.says("status Seccomp:\t2") && behind.says("status NoNewPrivs:\t1"),
        "{behind:?}"
    );
    assert!(free.says("status Seccomp:\t0"), "{free:?}");
    let core = |told: &Told| {
        let line = told.lines.iter().find(|line| line.starts_with("limit Max core file size"));
        line.expect("a limit").split_whitespace().rev().nth(1).map(str::to_owned)
    };
    assert_eq!(core(&behind).as_deref(), Some("0"));
}

#[test]
fn for_a_gpu_there_are_the_gates_of_its_driver_and_no_other() {
    let (behind, with_gpu) = (watch("auto"), watch("gpu-auto"));
    assert_eq!(behind.deeds.len(), with_gpu.deeds.len());
    let landlock = !behind.lines.iter().any(|line| line.contains("does not have it"));
    for (what, outcome) in &with_gpu.deeds {
        match what.as_str() {
            "write a device" | "name a thread" | "local packets in sequence" => {
                assert_eq!(outcome, "done", "{what}");
            }
            // It must hear that there is no such file, and goes by another name.
            "remove" => assert_eq!(*outcome, libc::ENOENT.to_string()),
            // Seccomp lets it pass, for it cannot see which file is meant.
            "make a file" if landlock => assert_eq!(*outcome, libc::EACCES.to_string()),
            "make a file" => {}
            _ => assert_eq!(*outcome, behind.deeds[what], "{what}"),
        }
    }
}

#[test]
fn walls_that_are_required_and_not_whole_are_refused() {
    // The player's thread is not the only one, and threads that are older than the wall around files stay outside.
    let required = watch("required");
    let auto = watch("auto");
    let missing = auto.says("missing ");
    let refused = required.says("refused the sandbox is not whole");
    assert_eq!(missing, refused, "{auto:?} {required:?}");
    assert_eq!(refused, required.deeds.is_empty(), "{required:?}");
}

#[test]
fn modes_are_read_by_name() {
    for mode in [SandboxMode::Required, SandboxMode::Auto, SandboxMode::Off] {
        assert_eq!(mode.name().parse(), Ok(mode));
    }
    "on".parse::<SandboxMode>().expect_err("no mode");
}
