//! The real program under `strace`, and what its log says of files and connections.

use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Every call that takes the name of a file, and every way out. The others run at full speed.
const WATCHED: &str = "trace=%file,connect";

/// What the system tells of this machine and of the process, and where the time zone is.
const OF_THE_SYSTEM: [&str; 4] =
    ["/etc/localtime", "/proc/meminfo", "/proc/self/cgroup", "/proc/sys/vm/overcommit_memory"];

/// The same, with everything below: the limits of memory, and the blocks of the disk that the records are on.
const TREES_OF_THE_SYSTEM: [&str; 3] = ["/sys/fs/cgroup", "/sys/dev", "/sys/devices"];

/// Whether a file is one of those, by its name or, where it is of a process, by its real path.
fn is_of_the_system(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let mine = text.strip_prefix("/proc/").and_then(|rest| rest.split_once('/'));
    let known = match mine {
        Some((id, file)) if id.bytes().all(|byte| byte.is_ascii_digit()) => {
            OF_THE_SYSTEM.contains(&&*format!("/proc/self/{file}"))
        }
        _ => OF_THE_SYSTEM.contains(&&*text),
    };
    known || text == "/sys" || TREES_OF_THE_SYSTEM.iter().any(|tree| path.starts_with(tree))
}

/// A command under `strace`, with every file by its real path.
fn traced(log: &Path, program: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "--seccomp-bpf", "-qq", "-s", "4096", "-e", WATCHED, "-o"]);
    command.arg(log).arg(program);
    command
}

/// Whether `strace` is installed and may be used.
pub(super) fn can_trace(folder: &Path) -> bool {
    let mut command = traced(&folder.join("trial"), Path::new("true"));
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// What another program did that read these files.
pub(super) fn read_by_another(files: &[PathBuf], log: &Path) -> Vec<String> {
    let output = traced(log, Path::new("cat")).args(files).output().expect("cat runs");
    assert!(output.status.success(), "{output:?}");
    lines(&std::fs::read(log).expect("a log"))
}

fn lines(log: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(log).lines().map(str::to_owned).collect()
}

/// The real program, under `strace` where that can be.
pub(super) struct Program {
    child: Child,
    /// Of gRPC, with its scheme.
    pub(super) grpc: String,
    /// Of health and figures, host and port.
    pub(super) http: String,
    /// Where `strace` writes.
    pub(super) log: Option<PathBuf>,
    errors: PathBuf,
}

impl Program {
    pub(super) fn start(folder: &Path, program: &Path, words: &[&std::ffi::OsStr]) -> Self {
        let log = can_trace(folder).then(|| folder.join("strace"));
        let mut command = match &log {
            Some(log) => traced(log, program),
            None => Command::new(program),
        };
        let fixed = ["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "error"];
        let errors = folder.join("errors");
        let said = std::fs::File::create(&errors).expect("a file");
        let command = command.args(fixed).args(words).stdout(Stdio::piped()).stderr(said);
        let mut child = command.spawn().expect("the server starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let address = |scheme: &str| {
            let rest = line.split_once(scheme).expect("an address").1;
            rest.split_whitespace().next().expect("an address").to_owned()
        };
        let (grpc, http) = (format!("http://{}", address("grpc://")), address("http://"));
        Self { child, grpc, http, log, errors }
    }

    /// Where the last whole line of what it has done ends: the next one may be half written.
    pub(super) fn end_of_log(&self) -> u64 {
        let Some(log) = &self.log else { return 0 };
        let done = std::fs::read(log).expect("a log");
        done.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end as u64 + 1)
    }

    /// Gives every line of what it has done from there on, until one is enough.
    pub(super) fn since(&self, begin: u64, mut goes_on: impl FnMut(&str) -> bool) {
        let Some(log) = &self.log else { return };
        let mut file = std::fs::File::open(log).expect("a log");
        file.seek(SeekFrom::Start(begin)).expect("a place in it");
        for line in BufReader::new(file).split(b'\n') {
            let line = line.expect("it can be read");
            if !goes_on(&String::from_utf8_lossy(&line)) {
                break;
            }
        }
    }

    /// What it has said on standard error.
    pub(super) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.errors).expect("a file")).into_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Under strace the program is the process of its first line.
        let mut first = String::new();
        self.since(0, |line| {
            line.clone_into(&mut first);
            false
        });
        if let Some(id) = first.split(' ').next().filter(|id| !id.is_empty()) {
            let _ = Command::new("kill").args(["-KILL", id]).status();
        }
        if self.log.is_none() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// What a line of the log tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// No file: the end of a call or of a thread, whose beginning is another line.
    Nothing,
    /// A file in one of the folders.
    Inside,
    /// What the machine tells of itself.
    System,
    /// Anything else.
    Outside,
}

/// Judges a line: a file must be in one of the folders by the name that was used and, where it was opened, by its real path.
pub(super) fn judge(line: &str, folders: &[&Path]) -> Seen {
    let answer = line.split_once("resumed>").map_or(line, |(_, end)| end);
    let is_straight = |name: &str| {
        let mut parts = Path::new(name).components();
        name.starts_with('/') && parts.all(|part| part != Component::ParentDir)
    };
    let is_within = |name: &str| {
        is_straight(name) && folders.iter().any(|folder| Path::new(name).starts_with(folder))
    };
    let is_system = |name: &str| is_straight(name) && is_of_the_system(Path::new(name));
    // A descriptor that was given back is told with its file: `= 7</real/path>`.
    let opened = answer.rsplit_once("= ").and_then(|(_, end)| end.split_once('<'));
    let opened = opened.and_then(|(_, end)| end.strip_suffix('>'));
    if line.contains("resumed>") {
        let is_known = opened.is_none_or(|path| is_within(path) || is_system(path));
        return if is_known { Seen::Nothing } else { Seen::Outside };
    }
    let call = line.split_once(' ').map_or(line, |(_, call)| call).trim_start();
    if call.starts_with("+++") || call.starts_with("---") {
        return Seen::Nothing;
    }
    if !["connect(", "execve"].iter().any(|way_out| call.starts_with(way_out)) {
        let names = named(call);
        let all = |is: &dyn Fn(&str) -> bool| {
            !names.is_empty() && names.iter().map(String::as_str).chain(opened).all(is)
        };
        if all(&is_within) {
            return Seen::Inside;
        }
        if all(&is_system) {
            return Seen::System;
        }
    }
    Seen::Outside
}

/// The paths that a call names, those that are relative to an open folder in that folder.
fn named(call: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut rest, mut folder) = (call, None);
    // What a link says is an answer, not a name.
    let is_link = call.starts_with("readlink");
    while let Some(at) = rest.find(['"', '<']).filter(|_| found.is_empty() || !is_link) {
        let is_text = rest.as_bytes()[at] == b'"';
        let inner = &rest[at + 1..];
        let end = if is_text { end_of_text(inner) } else { inner.find('>') };
        let Some(end) = end else { break };
        // What comes behind is the answer.
        if rest[..at].contains(") = ") {
            break;
        }
        let word = &inner[..end];
        match (is_text, &folder) {
            (false, _) => folder = Some(word.to_owned()),
            (true, Some(folder)) if word.is_empty() => found.push(String::clone(folder)),
            (true, Some(folder)) if !word.starts_with('/') => {
                found.push(format!("{folder}/{word}"));
            }
            (true, _) => found.push(word.to_owned()),
        }
        rest = &inner[end + 1..];
    }
    found
}

/// Where a text in quotes ends; a quote in it is written with a backslash.
fn end_of_text(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// The judge must be able to say no.
pub(super) fn check_the_judge() {
    let folders = [Path::new("/d/data")];
    for (line, seen) in [
        (r#"7 openat(AT_FDCWD</home>, "/d/data/LOCK", O_RDONLY) = 9</d/data/LOCK>"#, Seen::Inside),
        (r#"7 newfstatat(9</d/data>, "LOCK", {st_mode=1}, 0) = 0"#, Seen::Inside),
        (r#"7 newfstatat(9</d/data/LOCK>, "", {st_mode=1}, AT_EMPTY_PATH) = 0"#, Seen::Inside),
        (r#"7 openat(AT_FDCWD</>, "/sys/fs/cgroup/x", O_RDONLY) = -1 ENOENT"#, Seen::System),
        (r"7 <... openat resumed>) = 9</d/data/LOCK>", Seen::Nothing),
        (r"7 +++ exited with 0 +++", Seen::Nothing),
        (r#"7 openat(AT_FDCWD</>, "/etc/passwd", O_RDONLY) = 9</etc/passwd>"#, Seen::Outside),
        (r#"7 openat(AT_FDCWD</>, "/etc/passwd", O_RDONLY <unfinished ...>"#, Seen::Outside),
        (r#"7 openat(AT_FDCWD</>, "/d/data/../x", O_RDONLY) = -1 ENOENT"#, Seen::Outside),
        (r#"7 openat(AT_FDCWD</>, "/d/database", O_RDONLY) = -1 ENOENT"#, Seen::Outside),
        (r#"7 openat(AT_FDCWD</>, "/d/data/a", O_RDONLY) = 9</etc/passwd>"#, Seen::Outside),
        (r"7 <... openat resumed>) = 9</etc/passwd>", Seen::Outside),
        (r#"7 openat(AT_FDCWD</>, "etc/passwd", O_RDONLY) = -1 ENOENT"#, Seen::Outside),
        (r#"7 newfstatat(9</etc>, "passwd", {st_mode=1}, 0) = 0"#, Seen::Outside),
        (r#"7 rename("/d/data/a", "/d/b") = 0"#, Seen::Outside),
        (r#"7 stat("/d/data/a\"/../../b", 0x7) = -1 ENOENT"#, Seen::Outside),
        (r"7 connect(9<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(9)}, 16) = 0", Seen::Outside),
        (r#"7 execve("/d/data/x", ["x"], 0x7 /* 9 vars */) = 0"#, Seen::Outside),
    ] {
        assert_eq!(judge(line, &folders), seen, "{line}");
    }
}
