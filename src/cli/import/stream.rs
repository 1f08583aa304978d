//! The ingest stream: messages out through a window, answers in.

use std::collections::VecDeque;

use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt;
use futures::stream::BoxStream;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::batches::{self, Message};
use super::report::FileSummary;
use crate::cli::client::Client;
use crate::cli::failure::{of_status, say};
use crate::cli::progress;
use crate::cli::render::thousands;
use crate::files::{IngestBatches, Progress, RefusedReport, RefusedRow};
use crate::service::IngestInput;
use crate::wire::v1::ingest_request;
use crate::wire::v1::{IngestBatch, IngestMode, IngestOpen, IngestRequest, IngestResponse};

/// Messages that may be under way before the first is answered: as many as the server reads ahead, which writes what
/// has come while it wrote the last in one commit.
const WINDOW: usize = 32;

/// Messages that are made ahead.
const MADE_AHEAD: usize = 2;

/// Rows from which a file is written in bulk.
const BULK_ROWS: u64 = 20_000;

/// The same in bytes, since rows may be long and files need not tell them: at 100 bytes a row.
const BULK_BYTES: u64 = 2_000_000;

/// The answers of a stream, from wherever they come.
type Answers = BoxStream<'static, Result<IngestResponse, Status>>;

/// The state of one stream.
struct Session<'a> {
    outbound: Option<mpsc::Sender<IngestInput>>,
    answers: Answers,
    /// Numbers of the rows of each message that is not answered yet, in order.
    in_flight: VecDeque<(u64, Vec<u64>)>,
    merge: bool,
    sequence: u64,
    refused: &'a mut RefusedReport,
    summary: FileSummary,
    bar: ProgressBar,
    lines: progress::Lines,
    rows_total: Option<u64>,
}

/// Sends a table to its end; `opening` says where to, and who made its vectors.
pub(super) async fn send(
    client: &Client,
    opening: IngestOpen,
    merge: bool,
    table: IngestBatches,
    refused: &mut RefusedReport,
    stop: &CancellationToken,
) -> Result<FileSummary> {
    let Progress { rows_total, bytes_total, .. } = table.progress();
    let is_bulk = rows_total.is_some_and(|rows| rows > BULK_ROWS) || bytes_total > BULK_BYTES;
    let bar = progress::rows_bar(rows_total, "importing");
    let (outbound, answers) = open(client, opening, is_bulk).await?;
    let mut session = Session {
        outbound: Some(outbound),
        answers,
        in_flight: VecDeque::new(),
        merge,
        sequence: 0,
        refused,
        summary: FileSummary::default(),
        bar,
        lines: progress::Lines::new(),
        rows_total,
    };
    let (made, mut messages) = mpsc::channel(MADE_AHEAD);
    let is_here = client.here().is_some();
    let produce = move || batches::produce(table, is_bulk, is_here, &made);
    let producer = tokio::task::spawn_blocking(produce);
    let sent = session.run(&mut messages, stop).await;
    // Whoever still makes messages must hear that nobody takes them.
    drop(messages);
    session.bar.finish_and_clear();
    let produced = producer.await.context("the reader broke down")?;
    let written = session.summary.written();
    let with_count = |error: anyhow::Error| match written {
        0 => error,
        _ => anyhow!("{error:#} ({written} rows were written before that)"),
    };
    sent.map_err(with_count)?;
    if !session.summary.is_cut {
        produced.map_err(with_count)?;
    }
    Ok(session.summary)
}

async fn open(
    client: &Client,
    opening: IngestOpen,
    is_bulk: bool,
) -> Result<(mpsc::Sender<IngestInput>, Answers)> {
    let mode = if is_bulk { IngestMode::Bulk } else { IngestMode::Unspecified };
    let open = IngestOpen { mode: mode.into(), ..opening };
    // One more than the window, for the opening message.
    let (outbound, requests) = mpsc::channel(WINDOW + 1);
    let opening = IngestRequest { message: Some(ingest_request::Message::Open(open)) };
    outbound.send(opening.into()).await.context("the stream closed before it began")?;
    let requests = ReceiverStream::new(requests);
    let answers: Answers = match client.here() {
        Some(here) => here.services().ingest(requests),
        None => {
            let requests = requests.map(|input: IngestInput| input.request);
            let answers = client.objects().ingest(requests).await;
            answers.map_err(|status| of_status(&status))?.into_inner().boxed()
        }
    };
    Ok((outbound, answers))
}

impl Session<'_> {
    /// Sends what is made, and takes the answers; once stopped, only the answers to what was sent.
    async fn run(
        &mut self,
        messages: &mut mpsc::Receiver<Message>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let (mut is_open, mut is_told) = (true, false);
        loop {
            if !is_open {
                // The server answers what it has and ends the stream.
                self.outbound = None;
            }
            let may_send = is_open && self.in_flight.len() < WINDOW;
            tokio::select! {
                message = messages.recv(), if may_send => match message {
                    Some(message) => self.send(message).await?,
                    None => is_open = false,
                },
                () = stop.cancelled(), if !is_told => {
                    self.summary.is_cut = is_open;
                    (is_open, is_told) = (false, true);
                    let rows = self.in_flight.iter().map(|(_, rows)| rows.len() as u64).sum();
                    self.bar.suspend(|| {
                        say(&format!(
                            "stopping: {} rows that are under way are written first; control-C again ends at once",
                            thousands(rows)
                        ));
                    });
                }
                answer = self.answers.next() => {
                    match answer.transpose().map_err(|status| of_status(&status))? {
                        Some(answer) => self.take(&answer)?,
                        None if is_open || !self.in_flight.is_empty() => {
                            bail!("the server ended the stream early; start the import again, rows that are there are replaced");
                        }
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<()> {
        self.note_refused(&message.refused)?;
        if message.numbers.is_empty() {
            return Ok(());
        }
        let batch = IngestBatch {
            sequence: self.sequence,
            objects: Vec::new(),
            arrow_ipc: message.arrow_ipc,
            merge: self.merge,
        };
        self.in_flight.push_back((self.sequence, message.numbers));
        self.sequence += 1;
        let request = IngestRequest { message: Some(ingest_request::Message::Batch(batch)) };
        let request = IngestInput { request, batches: message.batches };
        if let Some(outbound) = &self.outbound {
            // A closed stream has its reason in the answers, which are read next.
            let _ = outbound.send(request).await;
        }
        Ok(())
    }

    fn take(&mut self, answer: &IngestResponse) -> Result<()> {
        let (sequence, numbers) =
            self.in_flight.pop_front().context("the server answered what was not asked")?;
        if sequence != answer.sequence {
            bail!("the server answered batch {} for batch {sequence}", answer.sequence);
        }
        self.summary.read += numbers.len() as u64;
        self.summary.inserted += answer.inserted;
        self.summary.replaced += answer.replaced;
        let refused: Vec<RefusedRow> = answer
            .refused
            .iter()
            .map(|row| RefusedRow {
                row: numbers.get(row.row as usize).copied().unwrap_or(row.row),
                object_id: row.object_id.clone(),
                reason: row.reason.clone(),
            })
            .collect();
        self.summary.read -= refused.len() as u64;
        self.note_refused(&refused)?;
        let read = self.summary.read;
        self.bar.set_position(read);
        self.lines.tell(|| match self.rows_total {
            Some(total) => progress::step_text("rows read", read, total),
            None => format!("rows read: {}", thousands(read)),
        });
        Ok(())
    }

    /// Counts and lists rows that were not taken, here or by the server.
    fn note_refused(&mut self, rows: &[RefusedRow]) -> Result<()> {
        self.summary.read += rows.len() as u64;
        self.summary.note_refused(rows);
        Ok(self.refused.extend(rows)?)
    }
}
