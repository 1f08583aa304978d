//! Names that are paths, addresses or tricks, in every text of every request: none of them reaches a file or another machine.
//!
//! The server is the real program. Where `strace` is installed and may be used, every file that it opens and every connection
//! that it makes during the calls is looked at; and always, what lies beside the data directory must stay as it is.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use futures::StreamExt;
use tonic::Code;
use tonic::transport::Channel;

use super::raw::{call, field, nested};
use super::rules::{Method, Needs, Protocol, Scope, TEXT};
use super::{OURS, Tokens, make_collections, methods, protocol};

/// Of so many payloads one is tried in a text beside the name of the collection: what they leave behind, such as sessions and
/// tokens, is listed by other calls, which would take longer and longer.
const BESIDE_EVERY: usize = 8;

/// Requests that are under way at once.
const AT_ONCE: usize = 32;

/// Payloads: each target, written in each of the ways that have fooled somebody.
fn payloads(outside: &Path) -> Vec<Vec<u8>> {
    let outside = outside.to_string_lossy();
    let targets = [
        "etc/passwd",
        "etc/shadow",
        "proc/self/environ",
        "proc/self/mem",
        "proc/self/cmdline",
        "dev/zero",
        "dev/random",
        "root/.ssh/id_rsa",
        "var/run/docker.sock",
        "sys/kernel/profiling",
        "tmp/canary",
        "LOCK",
        "FORMAT",
        "records/CURRENT",
        "records/MANIFEST-000001",
        "segments",
        "staging",
        "cost.toml",
        "segment.toml",
        "canary.txt",
        "windows/win.ini",
        "boot.ini",
        "..",
        ".",
        "",
        "con",
        "nul",
        outside.trim_start_matches('/'),
    ];
    let urls = [
        "http://127.0.0.1:9/",
        "http://169.254.169.254/latest/meta-data/",
        "https://example.com/",
        "ftp://127.0.0.1/",
        "file:///",
        "gopher://127.0.0.1:9/",
        "dict://127.0.0.1:11211/",
        "ldap://127.0.0.1:389/",
        "s3://bucket/",
        "jar:file:///",
        "http://[::1]:9/",
        "http://2130706433:9/",
        "\\\\127.0.0.1\\share\\",
        "//127.0.0.1/share/",
        "unix:///",
    ];
    let climbs = [
        "../",
        "../../../../../../../../",
        "..\\",
        "..\\..\\..\\..\\",
        "..%2f..%2f..%2f",
        "%2e%2e%2f%2e%2e%2f",
        "%252e%252e%252f",
        "..%c0%af..%c0%af",
        "..%5c..%5c",
        "....//....//",
        "..;/..;/",
        "/",
        "//",
        "///",
        "\\",
        "C:\\",
        "C:/",
        "/./././",
        "/../../../",
        "./",
        "~/",
        "~root/",
        "$HOME/",
        "${HOME}/",
        "`pwd`/",
        "%00/",
        "\u{ff0e}\u{ff0e}\u{ff0f}",
        "\u{2025}\u{2215}",
        "\u{202e}../",
        "..\u{2044}..\u{2044}",
        "\u{0}../",
        "a\u{0}/../../",
        ".\u{200b}./",
        "..\u{fe68}..\u{fe68}",
        "@/",
        "a@dr1/../../",
    ];
    let ends =
        ["", "\u{0}", "\u{0}.toml", "%00", "#", "?", "/", "/.", "/..", " ", "\n", "\r\nHost: x"];
    let mut made = BTreeSet::new();
    for target in targets {
        for climb in climbs {
            made.insert(format!("{climb}{target}"));
            made.insert(format!("{OURS}/{climb}{target}"));
        }
        for url in urls {
            made.insert(format!("{url}{target}"));
        }
        for end in ends {
            made.insert(format!("/{target}{end}"));
            made.insert(format!("../../{target}{end}"));
        }
    }
    made.insert(outside.to_string());
    made.insert("../".repeat(2_000));
    made.insert("a".repeat(100_000));
    let mut made: Vec<Vec<u8>> = made.into_iter().map(String::into_bytes).collect();
    made.push(vec![0xff, 0xfe, b'/', b'.', b'.']);
    made.push(vec![0xc0, 0xae, 0xc0, 0xae, 0xc0, 0xaf]);
    made
}

/// Paths to every text of a message, through messages within it.
fn texts(protocol: &Protocol, message: &str, before: &[u32], deep: usize) -> Vec<Vec<u32>> {
    let mut paths = Vec::new();
    for field in protocol.messages.get(message).into_iter().flat_map(|fields| fields.values()) {
        let path = [before, &[field.number]].concat();
        if field.kind == TEXT {
            paths.push(path);
        } else if !field.message.is_empty() && deep > 0 {
            paths.extend(texts(protocol, &field.message, &path, deep - 1));
        }
    }
    paths
}

/// Requests of a method for one payload: as the name of the collection, and now and then in a text beside our own collection.
/// Each text takes its turn.
fn requests(
    protocol: &Protocol,
    method: &Method,
    needs: &Needs,
    number: usize,
    payload: &[u8],
) -> Vec<Vec<u8>> {
    let named = match &needs.scope {
        Scope::Collection(path, _) => Some(path),
        _ => None,
    };
    let mut requests: Vec<Vec<u8>> = named.iter().map(|path| nested(path, payload)).collect();
    let mut others = texts(protocol, &method.input, &[], 2);
    others.retain(|path| Some(path) != named);
    let (turn, is_due) = (number / BESIDE_EVERY, number.is_multiple_of(BESIDE_EVERY));
    if let Some(path) = others.get(turn % others.len().max(1)).filter(|_| is_due) {
        requests.push(beside(named, path, payload));
    }
    requests
}

/// A text beside the name of our collection, in the message around both where there is one.
fn beside(named: Option<&Vec<u32>>, path: &[u32], payload: &[u8]) -> Vec<u8> {
    let Some(named) = named else { return nested(path, payload) };
    match (&named[..], path) {
        ([outer, name @ ..], [same, text @ ..]) if outer == same => {
            field(*outer, &[nested(name, OURS.as_bytes()), nested(text, payload)].concat())
        }
        _ => [nested(named, OURS.as_bytes()), nested(path, payload)].concat(),
    }
}

/// Everything below a folder, with sizes.
fn contents(folder: &Path) -> BTreeSet<(PathBuf, u64)> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map_while(Result::ok) {
            let data = entry.metadata().expect("metadata");
            if data.is_dir() {
                folders.push(entry.path());
            }
            found.insert((entry.path(), if data.is_dir() { 0 } else { data.len() }));
        }
    }
    found
}

/// The real program, under `strace` where that can be.
struct Program {
    child: Child,
    address: String,
    log: Option<PathBuf>,
}

impl Program {
    fn start(data: &Path, config: &Path, log: &Path) -> Self {
        let traces = Command::new("strace")
            .args(["-f", "--seccomp-bpf", "-e", "trace=openat", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        let program = env!("CARGO_BIN_EXE_sidereus");
        let mut command = Command::new(if traces { "strace" } else { program });
        if traces {
            let watched = "trace=open,openat,openat2,creat,connect,execve";
            command.args(["-f", "--seccomp-bpf", "-qq", "-s", "4096", "-e", watched, "-o"]);
            command.arg(log).arg(program);
        }
        let words = ["serve", "--grpc", "127.0.0.1:0", "--log", "warn", "--data"];
        let mut child = command
            .args(words)
            .arg(data)
            .arg("--config")
            .arg(config)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let address = line.split_once("grpc://").expect("an address").1;
        let address = address.split_whitespace().next().expect("an address");
        let log = traces.then(|| log.to_owned());
        Self { child, address: format!("http://{address}"), log }
    }

    /// What it has opened and connected to since it was started.
    fn touched(&self) -> Vec<String> {
        let Some(log) = &self.log else { return Vec::new() };
        let text = std::fs::read(log).expect("a log");
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Under strace the program is the process of its first line.
        let first = self.touched().first().cloned().unwrap_or_default();
        if let Some(id) = first.split(' ').next().filter(|id| !id.is_empty()) {
            let _ = Command::new("kill").args(["-KILL", id]).status();
        }
        if self.log.is_none() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Whether a line of the log is the server's own business: its data, what the machine tells of itself, a socket of none.
fn is_harmless(line: &str, data: &Path) -> bool {
    // The end of a call that was interrupted, or of a thread: what it touched is told by another line.
    if line.contains("resumed>") || line.contains("+++") || line.contains("---") {
        return true;
    }
    let Some(name) = line.split('"').nth(1) else { return false };
    let own = data.to_string_lossy();
    let system =
        ["/proc/self/", "/proc/meminfo", "/sys/fs/cgroup", "/sys/devices/system", "/etc/localtime"];
    let climbs = name.split('/').any(|part| part == "..");
    !climbs && (name.starts_with(&*own) || system.iter().any(|known| name.starts_with(known)))
}

async fn try_all(channel: &Channel, admin: &str, payloads: &[Vec<u8>]) -> usize {
    let protocol = protocol();
    let methods = methods(&protocol);
    let all = payloads.iter().enumerate().flat_map(|(number, payload)| {
        let of_method = |(method, needs): &(Method, Needs)| {
            let made = requests(&protocol, method, needs, number, payload);
            made.into_iter().map(|message| (method.path.clone(), message)).collect::<Vec<_>>()
        };
        methods.iter().flat_map(of_method).collect::<Vec<_>>()
    });
    let calls = futures::stream::iter(all).map(|(path, message)| async move {
        let status = call(channel, &path, Some(admin), &message).await;
        let unheard = matches!(status.code(), Code::Unknown | Code::DataLoss | Code::Internal)
            // What tonic says of a text that is none.
            && !status.message().starts_with("failed to decode Protobuf message");
        assert!(!unheard, "{path} {:?}: {status}", String::from_utf8_lossy(&message));
    });
    calls.buffer_unordered(AT_ONCE).count().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_reaches_a_file_or_another_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, outside) = (folder.path().join("data"), folder.path().join("outside"));
    std::fs::create_dir_all(&outside).expect("a folder");
    std::fs::write(outside.join("canary.txt"), "not yours").expect("written");
    let config = folder.path().join("sidereus.toml");
    std::fs::write(&config, "version = 1\n[auth]\nmode = \"on\"\n").expect("written");
    let admin = Tokens::make(&data).admin;
    let server = Program::start(&data, &config, &folder.path().join("strace"));
    let channel = Channel::from_shared(server.address.clone()).expect("an address");
    let channel = channel.connect().await.expect("it listens");
    make_collections(channel.clone(), &admin).await;
    let payloads = payloads(&outside);
    assert!(payloads.len() >= 2_000, "{}", payloads.len());
    // What is opened once for all is opened before.
    try_all(&channel, &admin, &payloads[..20]).await;
    let (before, begun) = (contents(&outside), server.touched().len());
    let calls = try_all(&channel, &admin, &payloads).await;
    assert!(calls >= 100_000, "{calls}");
    let lines = server.touched();
    let strange: Vec<_> = lines[begun..].iter().filter(|line| !is_harmless(line, &data)).collect();
    assert!(strange.is_empty(), "{} of {}: {strange:#?}", strange.len(), lines.len());
    println!("{calls} calls; watched by strace: {}", server.log.is_some());
    assert_eq!(contents(&outside), before);
    let known = field(1, OURS.as_bytes());
    let path = "/sidereus.v1.CollectionService/GetCollection";
    assert_eq!(call(&channel, path, Some(&admin), &known).await.code(), Code::Ok);
}
