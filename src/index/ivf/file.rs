//! The index file: a header of our own, then FAISS' bytes, all under one checksum.
//!
//! ```text
//! offset  bytes
//!      0      8  "SIDR-IVF"
//!      8      4  format version
//!     12      8  length of the body
//!     20     32  BLAKE3 of the 20 bytes before and of the body
//!     52      4  dimension           ┐
//!     56      1  metric              │
//!     57      1  codes               │
//!     58      2  re-rank factor      │
//!     60      4  lists               │
//!     64      4  rows                │ body
//!     68      8  seed                │
//!     76     32  measured recall     │
//!    108      4  points of the curve │
//!    112   16 p  the points          │
//!             8  slack               │
//!           4 l  radii of the lists  │
//!            …   FAISS               ┘
//! ```
//!
//! Integers and doubles are little-endian. FAISS 1.12 trusts lengths in what it reads, so nothing of the body is
//! interpreted before the checksum has been verified.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::curve::ProbeCurve;
use super::reach::Reach;
use super::{Codes, IvfIndex, ProbedLists, comparison_of};
use crate::index::IndexError;
use crate::index::faiss::RawIvf;
use crate::index::recall::Recall;
use crate::vector::Metric;

const MAGIC: [u8; 8] = *b"SIDR-IVF";

/// Raised with every change of the layout.
const VERSION: u32 = 1;

/// Bytes before the checksum.
const PREFIX_LEN: usize = 20;

/// Bytes before the body.
const HEADER_LEN: usize = PREFIX_LEN + blake3::OUT_LEN;

pub(super) fn save(index: &IvfIndex, path: &Path) -> Result<(), IndexError> {
    let lists = &index.lists;
    let faiss = lists.raw.to_bytes()?;
    let fields = encode(index);
    let mut prefix = Vec::with_capacity(PREFIX_LEN);
    prefix.extend(MAGIC);
    prefix.extend(VERSION.to_le_bytes());
    prefix.extend(((fields.len() + faiss.len()) as u64).to_le_bytes());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&prefix).update(&fields).update(&faiss);
    let digest = hasher.finalize();
    let parts = [&prefix[..], digest.as_bytes(), &fields, &faiss];
    write_whole(path, &parts).map_err(|source| IndexError::Io { path: path.to_owned(), source })
}

/// Writes a file beside the wanted one, and puts it in its place once it has reached the disk.
fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let partial = {
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        PathBuf::from(name)
    };
    let written = File::create(&partial).and_then(|mut file| {
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&partial, path)) {
        // The first failure is the one to tell; a left-over partial file is overwritten next time.
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

fn encode(index: &IvfIndex) -> Vec<u8> {
    let lists = &index.lists;
    let recall = index.measured_recall;
    let metric = match lists.metric {
        Metric::Cosine => 0u8,
        Metric::L2 => 1,
        Metric::Ip => 2,
    };
    let codes = match Codes::from(lists.raw.storage()) {
        Codes::Flat => 0u8,
        Codes::Sq8 => 1,
    };
    let points = lists.curve.points();
    let mut fields = Vec::new();
    fields.extend((lists.raw.dimension() as u32).to_le_bytes());
    fields.extend([metric, codes]);
    fields.extend((lists.refine_factor as u16).to_le_bytes());
    fields.extend((lists.raw.lists() as u32).to_le_bytes());
    fields.extend((lists.raw.rows() as u32).to_le_bytes());
    fields.extend(index.seed.to_le_bytes());
    for number in [recall.mean, recall.lower, recall.upper] {
        fields.extend(number.to_le_bytes());
    }
    fields.extend(recall.queries.to_le_bytes());
    fields.extend((points.len() as u32).to_le_bytes());
    for (depth, probes) in points {
        fields.extend(depth.to_le_bytes());
        fields.extend(probes.to_le_bytes());
    }
    fields.extend(lists.reach.slack().to_le_bytes());
    for radius in lists.reach.radii() {
        fields.extend(radius.to_le_bytes());
    }
    fields
}

pub(super) fn load(path: &Path, dimension: usize, metric: Metric) -> Result<IvfIndex, IndexError> {
    let bytes =
        fs::read(path).map_err(|source| IndexError::Io { path: path.to_owned(), source })?;
    let body = verified_body(path, &bytes)?;
    let mut reader = Reader { rest: body };
    let fields = read_fields(&mut reader).ok_or_else(|| IndexError::Damaged {
        path: path.to_owned(),
        what: "its fields make no sense",
    })?;
    if fields.dimension != dimension {
        let (expected, given) = (dimension, fields.dimension);
        return Err(IndexError::OtherDimension { path: path.to_owned(), expected, given });
    }
    if fields.metric != metric {
        let (expected, given) = (metric, fields.metric);
        return Err(IndexError::OtherMetric { path: path.to_owned(), expected, given });
    }
    let raw = RawIvf::from_verified_bytes(reader.rest)?;
    let agrees = raw.dimension() == dimension
        && raw.comparison() == comparison_of(metric)
        && Codes::from(raw.storage()) == fields.codes
        && raw.lists() == fields.lists
        && raw.rows() == fields.rows;
    if !agrees {
        return Err(IndexError::Damaged {
            path: path.to_owned(),
            what: "its header and its lists differ",
        });
    }
    let lists = ProbedLists {
        raw,
        metric,
        curve: fields.curve,
        reach: fields.reach,
        refine_factor: fields.refine_factor,
    };
    Ok(IvfIndex { lists, measured_recall: fields.recall, seed: fields.seed })
}

/// The body, after version, length and checksum were found right.
fn verified_body<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8], IndexError> {
    let damaged = |what| IndexError::Damaged { path: path.to_owned(), what };
    let mut reader = Reader { rest: bytes };
    if reader.take() != Some(MAGIC) {
        return Err(IndexError::NotAnIndex { path: path.to_owned() });
    }
    let version = reader.take().map(u32::from_le_bytes).ok_or_else(|| damaged("it is cut off"))?;
    if version > VERSION {
        return Err(IndexError::NewerFormat {
            path: path.to_owned(),
            version,
            version_max: VERSION,
        });
    }
    let body_len = reader.take().map(u64::from_le_bytes).ok_or_else(|| damaged("it is cut off"))?;
    let digest: [u8; blake3::OUT_LEN] = reader.take().ok_or_else(|| damaged("it is cut off"))?;
    if reader.rest.len() as u64 != body_len {
        return Err(damaged("its length differs"));
    }
    let prefix = bytes.get(..PREFIX_LEN).unwrap_or_default();
    let body = bytes.get(HEADER_LEN..).unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(prefix).update(body);
    if hasher.finalize() != blake3::Hash::from_bytes(digest) {
        return Err(damaged("its checksum differs"));
    }
    if version == VERSION { Ok(body) } else { Err(damaged("its format number was never used")) }
}

struct Fields {
    dimension: usize,
    metric: Metric,
    codes: Codes,
    refine_factor: usize,
    lists: usize,
    rows: usize,
    seed: u64,
    recall: Recall,
    curve: ProbeCurve,
    reach: Reach,
}

fn read_fields(reader: &mut Reader<'_>) -> Option<Fields> {
    let dimension = reader.u32()? as usize;
    let [metric, codes] = reader.take()?;
    let metric = match metric {
        0 => Metric::Cosine,
        1 => Metric::L2,
        2 => Metric::Ip,
        _ => return None,
    };
    let codes = match codes {
        0 => Codes::Flat,
        1 => Codes::Sq8,
        _ => return None,
    };
    let refine_factor = usize::from(u16::from_le_bytes(reader.take()?)).max(1);
    let (lists, rows) = (reader.u32()? as usize, reader.u32()? as usize);
    let seed = reader.u64()?;
    let (mean, lower, upper) = (reader.f64()?, reader.f64()?, reader.f64()?);
    let recall = Recall { mean, lower, upper, queries: reader.u64()? };
    let point_count = reader.u32()?;
    let mut points = Vec::new();
    for _ in 0..point_count {
        points.push((reader.f64()?, reader.f64()?));
    }
    let curve = ProbeCurve::new(points)?;
    let slack = reader.f64()?;
    let mut radii = Vec::new();
    for _ in 0..lists {
        radii.push(f32::from_le_bytes(reader.take()?));
    }
    let reach = Reach::new(slack, radii)?;
    Some(Fields {
        dimension,
        metric,
        codes,
        refine_factor,
        lists,
        rows,
        seed,
        recall,
        curve,
        reach,
    })
}

/// Takes numbers off the front of a slice.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn f64(&mut self) -> Option<f64> {
        self.take().map(f64::from_le_bytes)
    }
}
