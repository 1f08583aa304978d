//! The index file: a described header under one checksum, then sections under one each.
//!
//! ```text
//! offset  bytes
//!      0      8  "SIDR-IVF"
//!      8      4  format version
//!     12      4  length of the description
//!     16     32  BLAKE3 of the 16 bytes before and of the description
//!     48         description: JSON, see `Description`
//!                sections, each at a multiple of 64 bytes: mean, axes, low, step, sky codes, centroids, radii, starts, rows,
//!                codes, odd rows
//! ```
//!
//! Numbers are little-endian. The description is verified before it is interpreted, so opening reads a few kilobytes. The
//! sections are mapped; [`verify`] reads them against their checksums.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::super::section::{self, SECTION_ALIGN, Section};
use super::certain::Extremes;
use super::coder::{Coder, SKY_STEP};
use super::curve::ProbeCurve;
use super::reach::Reach;
use super::strangers::Far;
use super::tune::Setting;
use super::{IvfIndex, Lists};
use crate::index::IndexError;
use crate::index::recall::Recall;
use crate::pieces::Pieces;
use crate::vector::{CODE_BYTES_MAX, CODE_STEP, CONSTANT_BYTES, Metric};

const MAGIC: [u8; 8] = *b"SIDR-IVF";

/// Raised with every change of the layout.
const VERSION: u32 = 5;

/// The oldest version that is read: it has no extremes. Nothing was measured on queries like no row before version 4, and an
/// oddness under the inner product is worth nothing there. Before version 5 the codes of lists were as long as those along
/// the sky.
const VERSION_MIN: u32 = 2;

/// Bytes before the checksum of the description.
const PREFIX_LEN: usize = 16;

/// Bytes before the description.
const HEADER_LEN: usize = PREFIX_LEN + blake3::OUT_LEN;

/// Longest description that is read.
const DESCRIPTION_BYTES_MAX: usize = 1 << 20;

/// Sections that every file has.
const SECTIONS: usize = 10;

/// What the file says of itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    metric: String,
    dimension: usize,
    kept: usize,
    code_bytes: usize,
    /// That of lists and centroids; in files of earlier versions the same as along the sky.
    #[serde(default)]
    list_bytes: Option<usize>,
    lists: usize,
    rows: usize,
    seed: u64,
    left_out: f64,
    usual_oddness: f64,
    settings: Vec<SettingRecord>,
    sections: Vec<SectionRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extremes: Option<ExtremesRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtremesRecord {
    coding: f64,
    left_out: f64,
    length: f64,
    skew: f64,
    /// Rows in the last section.
    odd: usize,
    compared_share: f64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingRecord {
    wish: f64,
    curves: Vec<CurveRecord>,
    slack: f64,
    slack_thinned: f64,
    margin: f64,
    reranked: f64,
    recall: f64,
    recall_lower: f64,
    recall_upper: f64,
    queries: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    far: Option<FarRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FarRecord {
    slack: f64,
    margin: f64,
    recall: f64,
    recall_lower: f64,
    recall_upper: f64,
    queries: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CurveRecord {
    /// For queries whose nearest centroid is at most so far away.
    farthest: f64,
    /// `(depth, probes)`.
    points: Vec<(f64, f64)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SectionRecord {
    /// From the first section's beginning.
    offset: usize,
    bytes: usize,
    blake3: String,
}

pub(super) fn save(index: &IvfIndex, path: &Path) -> Result<(), IndexError> {
    let sections = sections_of(index);
    let mut records = Vec::with_capacity(sections.len());
    let mut offset = 0;
    for bytes in &sections {
        let blake3 = blake3::hash(bytes).to_hex().to_string();
        records.push(SectionRecord { offset, bytes: bytes.len(), blake3 });
        offset = (offset + bytes.len()).next_multiple_of(SECTION_ALIGN);
    }
    let failed = |source| IndexError::Io { path: path.to_owned(), source };
    let description = serde_json::to_vec(&describe(index, records))
        .map_err(|error| failed(io::Error::other(error)))?;
    let mut prefix = Vec::with_capacity(PREFIX_LEN);
    prefix.extend(MAGIC);
    prefix.extend(VERSION.to_le_bytes());
    prefix.extend((description.len() as u32).to_le_bytes());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&prefix).update(&description);
    let digest = hasher.finalize();
    let mut parts: Vec<&[u8]> = vec![&prefix, digest.as_bytes(), &description];
    parts.extend(sections);
    write_whole(path, &parts).map_err(failed)
}

/// The sections in the order of the file.
fn sections_of(index: &IvfIndex) -> Vec<&[u8]> {
    let (coder, lists) = (&index.coder, &index.lists);
    let always: [&[u8]; SECTIONS] = [
        coder.mean.as_bytes(),
        coder.axes.as_bytes(),
        coder.low.as_bytes(),
        coder.step.as_bytes(),
        index.sky_codes.as_bytes(),
        lists.centroids.as_bytes(),
        lists.radii.as_bytes(),
        lists.starts.as_bytes(),
        lists.rows.as_bytes(),
        lists.codes.as_bytes(),
    ];
    let odd = index.extremes.iter().map(|extremes| extremes.odd.as_bytes());
    always.into_iter().chain(odd).collect()
}

fn describe(index: &IvfIndex, sections: Vec<SectionRecord>) -> Description {
    let setting = |setting: &Setting| SettingRecord {
        wish: setting.wish,
        curves: setting
            .curves
            .iter()
            .map(|(farthest, curve)| CurveRecord {
                farthest: *farthest,
                points: curve.points().to_vec(),
            })
            .collect(),
        slack: setting.reach.slack(),
        slack_thinned: setting.reach_thinned.slack(),
        margin: setting.margin,
        reranked: setting.reranked,
        recall: setting.recall.mean,
        recall_lower: setting.recall.lower,
        recall_upper: setting.recall.upper,
        queries: setting.recall.queries,
        far: Some(FarRecord {
            slack: setting.far.reach.slack(),
            margin: setting.far.margin,
            recall: setting.far.recall.mean,
            recall_lower: setting.far.recall.lower,
            recall_upper: setting.far.recall.upper,
            queries: setting.far.recall.queries,
        }),
    };
    Description {
        metric: index.coder.metric.to_string(),
        dimension: index.coder.dimension,
        kept: index.coder.kept,
        code_bytes: index.coder.code_bytes,
        list_bytes: Some(index.coder.list_bytes),
        lists: index.list_count(),
        rows: index.row_count(),
        seed: index.seed,
        left_out: index.coder.left_out,
        usual_oddness: index.lists.usual_oddness,
        settings: index.settings.iter().map(setting).collect(),
        sections,
        extremes: index.extremes.as_ref().map(|extremes| ExtremesRecord {
            coding: extremes.coding,
            left_out: extremes.left_out,
            length: extremes.length,
            skew: extremes.skew,
            odd: extremes.odd.as_slice().len(),
            compared_share: extremes.compared_share,
        }),
    }
}

/// Writes a file beside the wanted one, and puts it in its place once it has reached the disk. Parts behind the first three
/// begin at multiples of [`SECTION_ALIGN`].
fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let partial = {
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        PathBuf::from(name)
    };
    let written = File::create(&partial).and_then(|file| {
        let mut file = Pieces::scanned(file);
        let mut offset = 0usize;
        for (place, part) in parts.iter().enumerate() {
            let padding =
                if place < 3 { 0 } else { offset.next_multiple_of(SECTION_ALIGN) - offset };
            file.write_all(&[0; SECTION_ALIGN][..padding])?;
            file.write_all(part)?;
            offset += padding + part.len();
        }
        file.finish()
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

/// A mapped file whose description is intact.
struct Opened {
    map: Arc<Mmap>,
    description: Description,
    /// Where the first section begins.
    sections_start: usize,
}

fn open(path: &Path) -> Result<Opened, IndexError> {
    let map =
        section::map(path).map_err(|source| IndexError::Io { path: path.to_owned(), source })?;
    let damaged = |what| IndexError::Damaged { path: path.to_owned(), what };
    let bytes: &[u8] = &map;
    if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
        return Err(IndexError::NotAnIndex { path: path.to_owned() });
    }
    let number = |from: usize| {
        let bytes = bytes.get(from..).and_then(|bytes| bytes.first_chunk());
        bytes.map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(|| damaged("it is cut off"))
    };
    let version = number(8)?;
    if version > VERSION {
        let path = path.to_owned();
        return Err(IndexError::NewerFormat { path, version, version_max: VERSION });
    }
    if version < VERSION_MIN {
        return Err(damaged("its format is not used any more"));
    }
    let length = number(12)? as usize;
    let end = HEADER_LEN + length.min(DESCRIPTION_BYTES_MAX);
    let (Some(digest), Some(text)) =
        (bytes.get(PREFIX_LEN..HEADER_LEN), bytes.get(HEADER_LEN..end))
    else {
        return Err(damaged("it is cut off"));
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..PREFIX_LEN]).update(text);
    if hasher.finalize().as_bytes()[..] != *digest {
        return Err(damaged("its checksum differs"));
    }
    let description =
        serde_json::from_slice(text).map_err(|_| damaged("its description makes no sense"))?;
    Ok(Opened { map, description, sections_start: end.next_multiple_of(SECTION_ALIGN) })
}

impl Opened {
    /// Bytes of a section in the file.
    fn range(&self, place: usize) -> Option<Range<usize>> {
        let record = self.description.sections.get(place)?;
        let start = self.sections_start.checked_add(record.offset)?;
        let end = start.checked_add(record.bytes)?;
        (end <= self.map.len()).then_some(start..end)
    }

    /// A section that has to hold `count` numbers.
    fn section<T: bytemuck::Pod>(&self, place: usize, count: usize) -> Option<Section<T>> {
        let range = self.range(place)?;
        let section = Section::mapped(&self.map, range)?;
        (section.as_slice().len() == count).then_some(section)
    }
}

pub(super) fn load(path: &Path, dimension: usize, metric: Metric) -> Result<IvfIndex, IndexError> {
    let opened = open(path)?;
    let said = &opened.description;
    if said.dimension != dimension {
        let (expected, given) = (dimension, said.dimension);
        return Err(IndexError::OtherDimension { path: path.to_owned(), expected, given });
    }
    let given: Metric = said.metric.parse().map_err(|_| IndexError::Damaged {
        path: path.to_owned(),
        what: "its metric is unknown",
    })?;
    if given != metric {
        return Err(IndexError::OtherMetric { path: path.to_owned(), expected: metric, given });
    }
    assemble(&opened, metric).ok_or_else(|| IndexError::Damaged {
        path: path.to_owned(),
        what: "its description and its sections differ",
    })
}

fn assemble(opened: &Opened, metric: Metric) -> Option<IvfIndex> {
    let said = &opened.description;
    let list_bytes = said.list_bytes.unwrap_or(said.code_bytes);
    let fits = said.kept >= 1
        && said.kept <= said.dimension
        && said.code_bytes.is_multiple_of(SKY_STEP)
        && said.code_bytes <= CODE_BYTES_MAX
        && list_bytes.is_multiple_of(CODE_STEP)
        && list_bytes <= said.code_bytes
        && CONSTANT_BYTES + said.kept <= list_bytes
        && said.left_out.is_finite()
        && u32::try_from(said.rows).is_ok();
    if !fits {
        return None;
    }
    let settings: Vec<Setting> = said.settings.iter().map(setting).collect::<Option<_>>()?;
    if settings.is_empty() || !settings.is_sorted_by(|left, right| left.wish < right.wish) {
        return None;
    }
    let sky_codes = said.rows.checked_mul(said.code_bytes)?;
    let list_codes = said.rows.checked_mul(list_bytes)?;
    Some(IvfIndex {
        coder: Coder {
            metric,
            dimension: said.dimension,
            kept: said.kept,
            code_bytes: said.code_bytes,
            list_bytes,
            mean: opened.section(0, said.dimension)?,
            axes: opened.section(1, said.kept.checked_mul(said.dimension)?)?,
            low: opened.section(2, said.kept)?,
            step: opened.section(3, said.kept)?,
            left_out: said.left_out,
        },
        sky_codes: opened.section(4, sky_codes)?,
        lists: Lists {
            centroids: opened.section(5, said.lists.checked_mul(list_bytes)?)?,
            radii: opened.section(6, said.lists)?,
            starts: opened.section(7, said.lists.checked_add(1)?)?,
            rows: opened.section(8, said.rows)?,
            codes: opened.section(9, list_codes)?,
            usual_oddness: usual_oddness(said, metric)?,
            lengths: OnceLock::new(),
        },
        extremes: match &said.extremes {
            Some(record) => Some(extremes(opened, record)?),
            None => None,
        },
        settings,
        seed: said.seed,
    })
}

/// What nearly all rows keep below; in files of earlier versions nothing of the kind under the inner product, so that every query is
/// taken for one that is unlike the rows.
fn usual_oddness(said: &Description, metric: Metric) -> Option<f64> {
    let is_measured = said.settings.iter().all(|setting| setting.far.is_some());
    match metric {
        Metric::Ip if !is_measured => Some(f64::NEG_INFINITY),
        _ => Some(said.usual_oddness).filter(|oddness| oddness.is_finite()),
    }
}

fn extremes(opened: &Opened, record: &ExtremesRecord) -> Option<Extremes> {
    let ExtremesRecord { coding, left_out, length, skew, odd, compared_share } = *record;
    let numbers = [coding, left_out, length, skew, compared_share];
    let are_sound = numbers.iter().all(|number| number.is_finite() && *number >= 0.0);
    let odd = opened.section(SECTIONS, odd)?;
    let marks = OnceLock::new();
    are_sound.then_some(Extremes { coding, left_out, length, skew, odd, marks, compared_share })
}

fn setting(record: &SettingRecord) -> Option<Setting> {
    let numbers = [record.wish, record.margin, record.reranked, record.recall];
    let are_sound = numbers.iter().all(|number| number.is_finite() && *number >= 0.0);
    let curve =
        |record: &CurveRecord| Some((record.farthest, ProbeCurve::new(record.points.clone())?));
    let curves: Vec<_> = record.curves.iter().map(curve).collect::<Option<_>>()?;
    if curves.is_empty() {
        return None;
    }
    let reach_thinned = Reach::new(record.slack_thinned)?;
    let far = match &record.far {
        Some(record) => far(record)?,
        None => Far::unmeasured(reach_thinned, record.margin),
    };
    Some(Setting {
        wish: record.wish,
        curves,
        reach: Reach::new(record.slack)?,
        reach_thinned,
        far,
        margin: record.margin,
        reranked: record.reranked,
        recall: Recall {
            mean: record.recall,
            lower: record.recall_lower,
            upper: record.recall_upper,
            queries: record.queries,
        },
    })
    .filter(|_| are_sound)
}

fn far(record: &FarRecord) -> Option<Far> {
    let FarRecord { slack, margin, recall, recall_lower, recall_upper, queries } = *record;
    let are_sound = [margin, recall].iter().all(|number| number.is_finite() && *number >= 0.0);
    let recall = Recall { mean: recall, lower: recall_lower, upper: recall_upper, queries };
    Some(Far { reach: Reach::new(slack)?, margin, recall }).filter(|_| are_sound)
}

pub(super) fn verify(path: &Path) -> Result<(), IndexError> {
    let opened = open(path)?;
    let damaged = |what| IndexError::Damaged { path: path.to_owned(), what };
    for (place, record) in opened.description.sections.iter().enumerate() {
        let range = opened.range(place).ok_or_else(|| damaged("it is cut off"))?;
        let bytes = opened.map.get(range).unwrap_or_default();
        if blake3::hash(bytes).to_hex().as_str() != record.blake3 {
            return Err(damaged("the checksum of a section differs"));
        }
    }
    Ok(())
}
