//! The log that is written: entries come from any thread, and one thread of its own writes them, many at a time.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

use super::chain::Head;
use super::entry::Content;
use super::folder::{self, End, HEAD, file_name};
use super::{AuditError, Disk, Entry, SystemDisk};

/// Entries that wait for the disk; more are counted and lost.
const PENDING_MAX: usize = 65_536;

/// Waiting entries from which calls are refused, so that those under way still find room.
const PENDING_REFUSES: usize = PENDING_MAX / 2;

/// Waiting entries that are written without waiting for more.
const PENDING_URGENT: usize = 4_096;

/// Entries of one write.
const BATCH: usize = 8_192;

/// How a log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The folder; made when it does not exist.
    pub folder: PathBuf,
    /// Longest time from an entry that nobody waits for to the disk.
    pub delay: Duration,
    /// Size from which a new file is begun.
    pub file_bytes: u64,
    /// How often a log that cannot be written is tried again.
    pub retry: Duration,
}

impl Options {
    /// The defaults of the reference configuration.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            delay: Duration::from_secs(1),
            file_bytes: 64 << 20,
            retry: Duration::from_millis(250),
        }
    }
}

/// A log that is open. Clones are the same log; with the last of them it is written out and closed.
#[derive(Debug, Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Whether the last attempt to write failed.
    failing: AtomicBool,
    /// Why.
    reason: Mutex<String>,
    pending: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Pending>,
    /// When the oldest came.
    since: Option<Instant>,
    urgent: bool,
    closed: bool,
    /// Entries for which there was no room.
    lost: u64,
}

#[derive(Debug)]
struct Pending {
    /// `None` for somebody who waits for what came before.
    content: Option<Content>,
    waits: Option<oneshot::Sender<Result<(), AuditError>>>,
}

/// The promise that an entry is on the disk.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<(), AuditError>>);

impl Receipt {
    /// Waits until the entry is on the disk.
    ///
    /// # Errors
    /// [`AuditError::Unwritable`] where it is not; it is still written when that is possible again.
    pub async fn durable(self) -> Result<(), AuditError> {
        self.0.await.unwrap_or(Err(AuditError::Closed))
    }

    /// The same on a thread that may block.
    ///
    /// # Errors
    /// Those of [`Receipt::durable`].
    pub fn wait(self) -> Result<(), AuditError> {
        self.0.blocking_recv().unwrap_or(Err(AuditError::Closed))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic elsewhere left is a queue as good as any other.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn unwritable(&self) -> AuditError {
        AuditError::Unwritable { reason: locked(&self.reason).clone() }
    }
}

impl Log {
    /// Opens a log, and begins one where there is none. What a crash left of a line is put aside, and a note in the log tells so.
    ///
    /// # Errors
    /// [`AuditError::Damaged`] where the log ends before what was written; [`AuditError::Unreadable`].
    pub fn open(options: Options) -> Result<Self, AuditError> {
        Self::open_on(options, SystemDisk)
    }

    /// [`Log::open`] on another disk.
    ///
    /// # Errors
    /// Those of [`Log::open`].
    pub fn open_on(options: Options, mut disk: impl Disk) -> Result<Self, AuditError> {
        let path = &options.folder;
        let unreadable = |error| AuditError::unreadable(path, error);
        fs::create_dir_all(path).map_err(unreadable)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(unreadable)?;
        let End { file: number, length, head, torn, remark } = folder::end(path)?;
        let kept =
            (!torn.is_empty()).then(|| folder::keep_torn(path, &torn, head.n + 1)).transpose()?;
        let file = disk.open(&path.join(file_name(number))).map_err(unreadable)?;
        let mut notes = Vec::new();
        let note = |text: String, kept| Pending {
            content: Some(Content::Note { at: SystemTime::now(), text, kept }),
            waits: None,
        };
        if let Some(kept) = kept {
            disk.cut(&file, length).and_then(|()| disk.sync(&file)).map_err(unreadable)?;
            let text =
                format!("{} bytes of a line that was not finished were put aside", torn.len());
            notes.push(note(text, Some(kept)));
        }
        notes.extend(remark.map(|remark| note(remark, None)));
        let shared = Arc::new(Shared::default());
        {
            let mut queue = locked(&shared.queue);
            queue.urgent = !notes.is_empty();
            queue.since = Some(Instant::now());
            shared.pending.store(notes.len(), Ordering::Release);
            queue.entries.extend(notes);
        }
        disk.put(&path.join(HEAD), head.text().as_bytes()).map_err(unreadable)?;
        let writer = Writer {
            shared: Arc::clone(&shared),
            options,
            disk,
            file,
            number,
            length,
            head,
            failed: None,
            head_owed: false,
        };
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let writer = thread.spawn(move || writer.run()).map_err(|error| {
            AuditError::Unwritable { reason: format!("its thread does not start: {error}") }
        })?;
        Ok(Self { inner: Arc::new(Inner { shared, writer: Mutex::new(Some(writer)) }) })
    }

    /// Whether calls may be served: what they do can be written down.
    ///
    /// # Errors
    /// [`AuditError::Unwritable`] while it cannot.
    pub fn check(&self) -> Result<(), AuditError> {
        let shared = &self.inner.shared;
        if shared.failing.load(Ordering::Acquire) {
            return Err(shared.unwritable());
        }
        if shared.pending.load(Ordering::Acquire) > PENDING_REFUSES {
            let reason = "the disk does not keep up with the calls".to_owned();
            return Err(AuditError::Unwritable { reason });
        }
        Ok(())
    }

    /// Appends an entry, to be on the disk within [`Options::delay`].
    pub fn append(&self, entry: Entry) {
        self.push(Some(entry), None);
    }

    /// Appends an entry that goes to the disk at once, and can be waited for.
    pub fn append_now(&self, entry: Entry) -> Receipt {
        let (sender, receiver) = oneshot::channel();
        self.push(Some(entry), Some(sender));
        Receipt(receiver)
    }

    /// Waits until everything that was appended so far is on the disk.
    ///
    /// # Errors
    /// [`AuditError::Unwritable`] where it is not.
    pub async fn flush(&self) -> Result<(), AuditError> {
        let (sender, receiver) = oneshot::channel();
        self.push(None, Some(sender));
        Receipt(receiver).durable().await
    }

    fn push(&self, entry: Option<Entry>, waits: Option<oneshot::Sender<Result<(), AuditError>>>) {
        let shared = &self.inner.shared;
        // While the disk fails the entry is kept, and its caller learns at once that it is not safe.
        let (waits, refused) = match waits {
            Some(waits) if shared.failing.load(Ordering::Acquire) => (None, Some(waits)),
            waits => (waits, None),
        };
        let mut queue = locked(&shared.queue);
        if queue.closed || queue.entries.len() >= PENDING_MAX {
            queue.lost += u64::from(entry.is_some());
            drop(queue);
            let failed = [waits, refused];
            for waits in failed.into_iter().flatten() {
                let _ = waits.send(Err(self.check().err().unwrap_or(AuditError::Closed)));
            }
            return;
        }
        if entry.is_none() && waits.is_none() {
            // Nobody waits any more.
            drop(queue);
            if let Some(refused) = refused {
                let _ = refused.send(Err(shared.unwritable()));
            }
            return;
        }
        queue.since.get_or_insert_with(Instant::now);
        let was_idle = queue.entries.is_empty();
        let urgent = waits.is_some() || queue.entries.len() >= PENDING_URGENT;
        let wakes = was_idle || (urgent && !queue.urgent);
        queue.urgent |= urgent;
        let content = entry.map(|entry| Content::Call(Box::new(entry)));
        queue.entries.push_back(Pending { content, waits });
        shared.pending.store(queue.entries.len(), Ordering::Release);
        drop(queue);
        if wakes {
            shared.wake.notify_one();
        }
        if let Some(refused) = refused {
            let _ = refused.send(Err(shared.unwritable()));
        }
    }

    /// Writes what waits and ends; entries that come later are not taken. Blocks until the disk has answered.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        locked(&self.shared.queue).closed = true;
        self.shared.wake.notify_one();
        if let Some(writer) = locked(&self.writer).take()
            && writer.join().is_err()
        {
            tracing::error!("the thread of the audit log panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// The thread that writes.
struct Writer<D> {
    shared: Arc<Shared>,
    options: Options,
    disk: D,
    file: File,
    number: u64,
    /// Bytes of the file that are on the disk.
    length: u64,
    /// The last line that is on the disk.
    head: Head,
    /// Since when it cannot be written.
    failed: Option<(SystemTime, Instant)>,
    /// Whether `head` lags behind the lines.
    head_owed: bool,
}

impl<D: Disk> Writer<D> {
    fn run(mut self) {
        loop {
            let closed = self.wait();
            let done = self.write_some();
            let mut queue = locked(&self.shared.queue);
            if closed && (queue.entries.is_empty() || !done) {
                let left = queue.entries.len();
                if left > 0 {
                    tracing::error!(
                        left,
                        "entries of the audit log could not be written before the end"
                    );
                }
                for pending in queue.entries.drain(..) {
                    if let Some(waits) = pending.waits {
                        let _ = waits.send(Err(AuditError::Closed));
                    }
                }
                return;
            }
        }
    }

    /// Waits until there is something to write, and says whether the log is being closed.
    fn wait(&self) -> bool {
        let mut queue = locked(&self.shared.queue);
        if self.failed.is_some() && !queue.closed {
            let timed = self.shared.wake.wait_timeout(queue, self.options.retry);
            queue = timed.unwrap_or_else(PoisonError::into_inner).0;
            return queue.closed;
        }
        while !queue.closed && !queue.urgent {
            let left = match queue.since.filter(|_| !queue.entries.is_empty()) {
                Some(since) => self.options.delay.saturating_sub(since.elapsed()),
                None => Duration::from_hours(1),
            };
            if left.is_zero() {
                break;
            }
            let timed = self.shared.wake.wait_timeout(queue, left);
            queue = timed.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.closed
    }

    /// Writes the oldest waiting entries; `false` where the disk fails.
    fn write_some(&mut self) -> bool {
        let (batch, lost) = {
            let mut queue = locked(&self.shared.queue);
            let count = queue.entries.len().min(BATCH);
            let batch: VecDeque<Pending> = queue.entries.drain(..count).collect();
            (batch, std::mem::take(&mut queue.lost))
        };
        match self.write(&batch, lost) {
            Ok(()) => {
                self.recovered();
                let mut queue = locked(&self.shared.queue);
                queue.since = (!queue.entries.is_empty()).then(Instant::now);
                queue.urgent = queue.entries.iter().any(|pending| pending.waits.is_some());
                self.shared.pending.store(queue.entries.len(), Ordering::Release);
                drop(queue);
                for waits in batch.into_iter().filter_map(|pending| pending.waits) {
                    let _ = waits.send(Ok(()));
                }
                true
            }
            Err(error) => {
                self.failed(&error, batch, lost);
                false
            }
        }
    }

    /// Writes lines behind what is on the disk, and waits until they are there, too.
    fn write(&mut self, batch: &VecDeque<Pending>, lost: u64) -> std::io::Result<()> {
        if self.failed.is_some() {
            // What a failed write left is not trusted: the file is opened anew and ends where it is known to be good.
            self.file = self.disk.open(&self.path())?;
            self.disk.cut(&self.file, self.length)?;
        }
        let mut head = self.head.clone();
        let mut text = String::new();
        for content in self
            .note(lost)
            .iter()
            .chain(batch.iter().filter_map(|pending| pending.content.as_ref()))
        {
            text.push_str(&head.follow(content)?);
        }
        if !text.is_empty() {
            if self.length >= self.options.file_bytes {
                let next = self.options.folder.join(file_name(self.number + 1));
                self.file = self.disk.open(&next)?;
                self.number += 1;
                self.length = 0;
                // A file that a failed attempt began has nothing in it that anybody was promised.
                self.disk.cut(&self.file, 0)?;
            }
            self.disk.append(&mut self.file, text.as_bytes())?;
            self.disk.sync(&self.file)?;
            self.length += text.len() as u64;
            self.head = head;
            self.head_owed = true;
        }
        if self.head_owed {
            // Lines that are there already are not written twice: the head alone is tried again later.
            let put = self.disk.put(&self.options.folder.join(HEAD), self.head.text().as_bytes());
            match put {
                Ok(()) => self.head_owed = false,
                Err(error) => {
                    tracing::error!(%error, "the head of the audit log could not be written");
                }
            }
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.options.folder.join(file_name(self.number))
    }

    /// What is told of a time in which nothing could be written.
    fn note(&self, lost: u64) -> Option<Content> {
        let (at, since) = match self.failed {
            Some(failed) => failed,
            None if lost > 0 => (SystemTime::now(), Instant::now()),
            None => return None,
        };
        let text = format!(
            "the log could not be written from {} on, for {:.1} s; entries lost: {lost}",
            super::time::readable(at),
            since.elapsed().as_secs_f64()
        );
        Some(Content::Note { at: SystemTime::now(), text, kept: None })
    }

    fn recovered(&mut self) {
        if self.failed.take().is_some() {
            self.shared.failing.store(false, Ordering::Release);
            tracing::warn!("the audit log can be written again; calls are served");
        }
    }

    fn failed(&mut self, error: &std::io::Error, mut batch: VecDeque<Pending>, lost: u64) {
        if self.failed.is_none() {
            tracing::error!(%error, "the audit log cannot be written; calls are refused until it can");
            self.failed = Some((SystemTime::now(), Instant::now()));
        }
        *locked(&self.shared.reason) = error.to_string();
        self.shared.failing.store(true, Ordering::Release);
        let unwritable = self.shared.unwritable();
        let mut queue = locked(&self.shared.queue);
        queue.lost += lost;
        let mut told = Vec::new();
        for pending in batch.iter_mut().chain(queue.entries.iter_mut()) {
            told.extend(pending.waits.take());
        }
        // In the order in which they came, before those that came meanwhile.
        batch.append(&mut queue.entries);
        queue.entries = batch;
        self.shared.pending.store(queue.entries.len(), Ordering::Release);
        drop(queue);
        for waits in told {
            let _ = waits.send(Err(unwritable.clone()));
        }
    }
}
