//! Names that are paths, links, addresses or tricks, in every text of every request: none reaches a file or another machine.
//!
//! - `requests.json`: a good request of every method, so that a hostile text is the only thing that is wrong with a call.
//! - [`payloads`]: what is put in the place of a text.
//! - [`plan`]: every text of every method, found by the compiled descriptors, with the request that it is put into.
//! - [`watched`]: the real program under `strace`, and the judge of what it opens.
//! - [`wire`], [`message`], [`foreign`]: calls and messages of any bytes.

mod foreign;
pub(crate) mod message;
mod payloads;
mod plan;
mod watched;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::StreamExt;
use sidereus::access::{AccessOptions, Registry, system_clock};
use sidereus::engine::{Db, DbOptions};
use tonic::Code;
use tonic::transport::Channel;

use super::progress::Progress;
use plan::{Asked, Plan, Target};
use watched::{Program, Seen, judge};

/// Requests that are under way at once, and the connections that they share.
const AT_ONCE: usize = 64;
const CONNECTIONS: usize = 4;

/// Strange lines of the log that a failure shows.
const SHOWN_MAX: usize = 20;

/// The collection of most requests.
const OURS: &str = "des";

/// Which of all pairs of a text and a payload are tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    /// One of so many.
    pub(crate) of: usize,
    /// Which one.
    pub(crate) turn: usize,
}

/// What was tried and seen.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Methods with a text.
    pub(crate) methods: usize,
    /// Texts of them, headers, and paths.
    pub(crate) fields: usize,
    pub(crate) payloads: usize,
    /// Calls with a payload.
    pub(crate) calls: u64,
    /// Pairs that HTTP cannot say, such as a header with a line break.
    pub(crate) unsayable: u64,
    /// Codes of the answers.
    pub(crate) answers: BTreeMap<String, u64>,
    /// Whether `strace` watched.
    pub(crate) watched: bool,
    /// Files of the data directory, of the system and elsewhere that were named to the system during the calls.
    pub(crate) inside: u64,
    pub(crate) system: u64,
    pub(crate) outside: u64,
    pub(crate) seconds: f64,
}

impl std::fmt::Display for Report {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { methods, fields, payloads, calls, unsayable, answers, .. } = self;
        let Self { watched, inside, system, outside, seconds, .. } = self;
        write!(
            out,
            "{methods} methods, {fields} fields, {payloads} payloads: {calls} calls in {seconds:.0} s, answered {answers:?}, \
             and {unsayable} that HTTP cannot say; {} watched: {inside} names of files in the folders of the server, \
             {system} of the system, {outside} elsewhere",
            if *watched { "strace has" } else { "nobody has" },
        )
    }
}

/// Folders of a run.
struct Places {
    folder: PathBuf,
    data: PathBuf,
    outside: PathBuf,
    backups: PathBuf,
    models: PathBuf,
}

impl Places {
    fn new(folder: &Path) -> Self {
        let folder = folder.canonicalize().expect("a folder");
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/models/photometry-mm");
        let places = Self {
            data: folder.join("data"),
            outside: folder.join("outside"),
            backups: folder.join("backups"),
            models: folder.join("models"),
            folder,
        };
        for made in [&places.outside, &places.backups, &places.models.join("photometry-mm")] {
            std::fs::create_dir_all(made).expect("a folder");
        }
        for file in ["model.toml", "weights.safetensors", "goldens.safetensors"] {
            let to = places.models.join("photometry-mm").join(file);
            std::fs::copy(models.join(file), to).expect("copied");
        }
        std::fs::write(places.outside.join("canary.txt"), "not yours").expect("written");
        places
    }

    /// What the operator has given to the server.
    fn known(&self) -> [&Path; 3] {
        [&self.data, &self.backups, &self.models]
    }

    fn settings(&self) -> PathBuf {
        let path = self.folder.join("sidereus.toml");
        let backups = self.backups.display();
        let text = format!(
            "version = 1\n[auth]\nmode = \"on\"\n[backup.disk]\nurl = \"{backups}\"\n[storage]\nscrub_mib_s = 0\n"
        );
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Name of the snapshot that there is.
    fn snapshot(&self) -> String {
        let mut found = std::fs::read_dir(self.backups.join("snapshots")).expect("snapshots");
        let first = found.next().expect("a snapshot").expect("a snapshot");
        first.file_name().to_string_lossy().into_owned()
    }

    /// Lays links into the data directory that lead out of it, and checks that they do, and that the judge sees it.
    fn plant(&self, is_watched: bool) {
        let mut files = Vec::new();
        for (link, is_file) in payloads::links() {
            let link = self.data.join(link);
            std::fs::create_dir_all(link.parent().expect("a folder")).expect("a folder");
            let file = if is_file { link.clone() } else { link.join("canary.txt") };
            let target =
                if is_file { self.outside.join("canary.txt") } else { self.outside.clone() };
            std::os::unix::fs::symlink(target, &link).expect("a link");
            let real = file.canonicalize().expect("it leads somewhere");
            assert!(
                file.starts_with(&self.data) && real.starts_with(&self.outside),
                "{}",
                real.display()
            );
            files.push(file);
        }
        watched::check_the_judge();
        if is_watched {
            let by_links = watched::read_by_another(&files, &self.folder.join("by-links"));
            let seen = |lines: &[String]| {
                let at = |line: &&String| line.contains("canary.txt") && line.contains("open");
                let strange = |line: &&String| judge(line, &self.known()) == Seen::Outside;
                lines.iter().filter(at).filter(strange).count()
            };
            assert_eq!(seen(&by_links), files.len(), "{by_links:#?}");
            let straight = [self.outside.join("canary.txt")];
            let straight = watched::read_by_another(&straight, &self.folder.join("straight"));
            assert_eq!(seen(&straight), 1, "{straight:#?}");
        }
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

/// Whoever may do everything, in a data directory that no server has open.
fn administrator(data: &Path) -> String {
    let db = std::sync::Arc::new(Db::open(DbOptions::new(data)).expect("opens"));
    let registry = Registry::open_with(db, system_clock(), AccessOptions::default());
    let (secret, _) = registry.expect("a registry").bootstrap("admin", None).expect("a token");
    secret.reveal().to_owned()
}

/// Runs a share of all calls against a program in a folder.
///
/// # Panics
/// At the first thing that is wrong.
pub(crate) async fn run(folder: &Path, program: &Path, share: Share) -> Report {
    let places = Places::new(folder);
    let admin = administrator(&places.data);
    let settings = places.settings();
    let words = [
        OsStr::new("--data"),
        places.data.as_os_str(),
        OsStr::new("--models"),
        places.models.as_os_str(),
        OsStr::new("--config"),
        settings.as_os_str(),
    ];
    let server = Program::start(&places.folder, program, &words);
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        let endpoint = Channel::from_shared(server.grpc.clone()).expect("an address");
        channels.push(endpoint.connect().await.expect("it listens"));
    }
    let mut plan = Plan::new(admin);
    for asked in &plan.setup {
        for own in 1..=asked.times {
            let wrong = answered(&plan, asked, own, &channels[0]).await;
            assert_eq!(wrong, None);
        }
    }
    plan.words.push(("$SNAPSHOT", places.snapshot().into_bytes()));
    places.plant(server.log.is_some());
    let mut wrong = Vec::new();
    for (own, asked) in plan.requests.iter().enumerate() {
        wrong.extend(answered(&plan, asked, own as u64 + 1_000, &channels[0]).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A connection on which nobody has shown who he is would be closed after a hundred calls that are refused.
    for (at, channel) in channels.iter().enumerate() {
        assert_eq!(answered(&plan, &plan.requests[0], 500 + at as u64, channel).await, None);
    }
    let payloads = payloads::payloads(OURS, &places.data, &places.outside);
    let (before, begun) = (contents(&places.outside), server.end_of_log());
    let began = Instant::now();
    let mut report = try_all(&plan, &payloads, share, &channels, &server.http).await;
    report.seconds = began.elapsed().as_secs_f64();
    report.watched = server.log.is_some();
    let known = &plan.requests[0];
    assert_eq!(answered(&plan, known, 0, &channels[1]).await, None);
    assert_eq!(contents(&places.outside), before);
    look(&server, begun, &places, &mut report);
    report
}

/// Judges everything that the server has done from a place in the log on.
fn look(server: &Program, begun: u64, places: &Places, report: &mut Report) {
    let mut strange = Vec::new();
    server.since(begun, |line| {
        match judge(line, &places.known()) {
            Seen::Nothing => {}
            Seen::Inside => report.inside += 1,
            Seen::System => report.system += 1,
            Seen::Outside => {
                report.outside += 1;
                strange.extend((strange.len() < SHOWN_MAX).then(|| line.to_owned()));
            }
        }
        true
    });
    assert!(strange.is_empty(), "{report}; the first of them: {strange:#?}");
    assert!(report.inside > 0 || !report.watched, "nothing was seen, not even its own files");
    let said = server.said();
    assert!(!said.contains("panicked"), "{said}");
}

/// What is wrong with the answer to a request as it should be.
async fn answered(plan: &Plan, asked: &Asked, own: u64, channel: &Channel) -> Option<String> {
    for step in &asked.first {
        plan.call(step, own).send(channel).await;
    }
    let status = plan.call(asked, own).send(channel).await;
    for step in &asked.then {
        plan.call(step, own).send(channel).await;
    }
    let is_right = status.code() == Code::from(asked.answer);
    (!is_right).then(|| {
        format!("{}: {:?} {}: {:?}", asked.path, status.code(), status.message(), asked.send)
    })
}

/// Whether an answer is one that a caller should not get: the server has come to an end with it, or does not know what it is.
fn is_unheard(code: Code, words: &str) -> bool {
    matches!(code, Code::Unknown | Code::DataLoss | Code::Internal | Code::Unavailable)
        // What tonic says of a text that is none.
        && !words.starts_with("failed to decode Protobuf message")
}

async fn try_all(
    plan: &Plan,
    payloads: &[Vec<u8>],
    share: Share,
    channels: &[Channel],
    http: &str,
) -> Report {
    let count = AtomicU64::new(10_000);
    let calls = (plan.targets.len() * payloads.len()) as u64 / share.of as u64;
    let mut progress = Progress::new("texts in fields", calls);
    let pairs = plan.targets.iter().enumerate().flat_map(|(field, target)| {
        let due = payloads.iter().enumerate();
        let due = due.filter(move |(at, _)| (at + field) % share.of == share.turn % share.of);
        due.map(move |(at, payload)| (target, at, payload))
    });
    let calls = futures::stream::iter(pairs).map(|(target, at, payload)| {
        let (own, channel) =
            (count.fetch_add(1, Ordering::Relaxed), &channels[at % channels.len()]);
        async move { (target, payload, try_one(plan, target, payload, own, channel, http).await) }
    });
    let mut calls = std::pin::pin!(calls.buffer_unordered(AT_ONCE));
    let mut report = Report {
        methods: plan.methods,
        fields: plan.targets.len(),
        payloads: payloads.len(),
        ..Report::default()
    };
    while let Some((target, payload, answer)) = calls.next().await {
        progress.step();
        let Some((code, words)) = answer else {
            report.unsayable += 1;
            continue;
        };
        let name = target.name();
        assert!(
            !is_unheard(code, &words),
            "{name} {:?}: {code:?} {words}",
            String::from_utf8_lossy(payload)
        );
        report.calls += 1;
        *report.answers.entry(format!("{code:?}")).or_default() += 1;
    }
    report
}

/// One payload in the place of one text; `None` where it cannot be said.
async fn try_one(
    plan: &Plan,
    target: &Target,
    payload: &[u8],
    own: u64,
    channel: &Channel,
    http: &str,
) -> Option<(Code, String)> {
    if let Target::Page = target {
        let line = wire::get(http, payload).await;
        let code = if line.contains(" 5") { Code::Internal } else { Code::NotFound };
        return Some((code, line));
    }
    let asked = target.asked(plan);
    let call = target.call(plan, payload, own)?;
    for step in &asked.first {
        plan.call(step, own).send(channel).await;
    }
    let status = call.send(channel).await;
    // What the first steps have made is undone whatever came after them, lest thousands of it slow the rest down.
    if status.code() == Code::Ok || !asked.first.is_empty() {
        for step in &asked.then {
            plan.call(step, own).send(channel).await;
        }
    }
    Some((status.code(), status.message().to_owned()))
}
