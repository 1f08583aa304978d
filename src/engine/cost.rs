//! What the steps of a search cost on this machine, measured once and kept beside the data.
//!
//! Plans are weighed by these numbers. They are of one machine: its memory bus, its caches, its processor; so they are measured
//! by short runs of the real loops and stored in `DATA/cost.toml` under the name of the processor. Another machine, or a later
//! program, measures again. The loops go over a file in the data directory, written and mapped as indices and vectors are:
//! going to a place of it may take a third of what it takes in ordinary memory, whose pages are smaller.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::attributes::test_rows;
use super::mapped::MappedSections;
use crate::pieces::Pieces;
use crate::vector::{CONSTANT_BYTES, CodeWeights, dot};

/// Raised when what is measured changes.
const VERSION: u32 = 6;

/// Bytes that the measurements go over, at least and at most: more than the last cache holds, where it is not larger than that.
const MEASURED_BYTES: [usize; 2] = [48 << 20, 192 << 20];

/// Runs of each measurement; the quickest counts, since whatever else the machine does only slows one down.
const RUNS: usize = 3;

/// Bytes of the last cache (L3) where the system does not tell it: what any server of today has.
const CACHE_BYTES: usize = 8 << 20;

/// Bytes of the columns over which tests are measured; of the largest, all that is measured.
const TESTED_BYTES: [usize; 2] = [2 << 20, 8 << 20];

/// Bytes of the codes that the loops are measured with: short ones, usual ones, and long ones.
const CODE_BYTES: [usize; 3] = [32, 64, 256];

/// Codes of the lists that are measured.
const LIST_CODES: usize = 160;

/// Nanoseconds of the steps of a search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostModel {
    /// Each byte of a full vector in a run of vectors.
    pub vector_byte_ns: f64,
    /// Going to a full vector somewhere else.
    pub vector_fetch_ns: f64,
    /// One test of one row in a run of rows.
    pub test_ns: f64,
    /// One test of a row of a list, whose rows ascend, some way apart: by a column of 2 MiB, of 8 MiB, and of more than the last cache. How
    /// much of a cache is ours depends on whom this machine shares it with.
    pub tests_ns: [f64; 3],
    /// What every search through codes takes: turning the query, ranking what is found.
    pub search_ns: f64,
    /// Codes that the last cache (L3) could hold, as large as it is, were it ours alone.
    pub near_codes: CodeCost,
    /// Codes that it could not.
    pub far_codes: CodeCost,
}

/// Nanoseconds of the steps through codes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeCost {
    /// A code in a run of codes.
    pub code_ns: f64,
    /// Each byte of it.
    pub byte_ns: f64,
    /// What it takes longer to fetch a code by its row number, with those before it already under way.
    pub fetch_ns: f64,
    /// The same where the row numbers ascend, some way apart.
    pub step_ns: f64,
    /// Going to a list.
    pub list_ns: f64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    processor: String,
    cost: CostModel,
}

impl Default for CostModel {
    /// A server of the years around 2020.
    fn default() -> Self {
        Self {
            vector_byte_ns: 0.1,
            vector_fetch_ns: 90.0,
            test_ns: 1.0,
            tests_ns: [1.2, 1.2, 9.0],
            search_ns: 6_000.0,
            near_codes: CodeCost { fetch_ns: 4.0, step_ns: 1.0, ..CodeCost::default() },
            far_codes: CodeCost::default(),
        }
    }
}

impl Default for CodeCost {
    /// A server of the years around 2020, whose caches do not hold the codes.
    fn default() -> Self {
        Self { code_ns: 1.2, byte_ns: 0.06, fetch_ns: 8.0, step_ns: 3.0, list_ns: 300.0 }
    }
}

impl CostModel {
    /// The costs of this machine: those stored in a data directory, or measured now (a fraction of a second) and stored.
    ///
    /// One process measures at most once. A file that cannot be read or written is no reason to fail: it is measured again.
    pub fn of_machine(data: &Path) -> Self {
        static MEASURED: OnceLock<CostModel> = OnceLock::new();
        *MEASURED.get_or_init(|| {
            let path = data.join("cost.toml");
            let processor = processor();
            let stored = fs::read_to_string(&path).ok();
            let stored: Option<Stored> = stored.and_then(|text| toml::from_str(&text).ok());
            if let Some(stored) = stored
                && stored.version == VERSION
                && stored.processor == processor
                && stored.cost.is_sound()
            {
                return stored.cost;
            }
            let cost = Self::measured(data);
            let text = toml::to_string(&Stored { version: VERSION, processor, cost });
            if let Some(error) = text.ok().and_then(|text| fs::write(&path, text).err()) {
                tracing::warn!(path = %path.display(), %error, "measured costs not kept");
            }
            cost
        })
    }

    fn is_sound(&self) -> bool {
        [self.vector_byte_ns, self.vector_fetch_ns, self.test_ns, self.search_ns]
            .into_iter()
            .chain(self.tests_ns)
            .chain([self.near_codes, self.far_codes].into_iter().flat_map(CodeCost::all))
            .all(|cost| cost.is_finite() && cost >= 0.0)
    }

    /// Prices of the steps through codes that take so many bytes in all.
    pub fn codes(&self, bytes: u64) -> CodeCost {
        if bytes <= near_bytes() as u64 { self.near_codes } else { self.far_codes }
    }

    /// Testing one row of a list by a column of so many bytes.
    pub fn test_of_list(&self, bytes: u64) -> f64 {
        let [small, large] = TESTED_BYTES.map(|bytes| (bytes as f64).log2());
        let all = (measured_bytes() as f64).log2();
        let at = (bytes.max(1) as f64).log2();
        let [near, middle, far] = self.tests_ns;
        if at <= large {
            near + (middle - near) * ((at - small) / (large - small)).clamp(0.0, 1.0)
        } else {
            middle + (far - middle) * ((at - large) / (all - large)).clamp(0.0, 1.0)
        }
    }

    /// Measures the loops that dominate, those over codes, vectors, and the tests of rows here and there. Tests of rows in a run,
    /// and what every search takes, keep the figures of [`CostModel::default`].
    fn measured(data: &Path) -> Self {
        let numbers = numbers(measured_bytes() / size_of::<f32>());
        match mapped(data, &numbers) {
            Ok(file) => {
                let bytes = file.numbers(0, size_of_val(numbers.as_slice()));
                let floats = bytes.and_then(|bytes: &[u8]| bytemuck::try_cast_slice(bytes).ok());
                Self::measured_over(floats.unwrap_or(&numbers))
            }
            Err(error) => {
                tracing::debug!(%error, "costs are measured in ordinary memory");
                Self::measured_over(&numbers)
            }
        }
    }

    fn measured_over(floats: &[f32]) -> Self {
        let bytes: &[u8] = bytemuck::cast_slice(floats);
        // Everything is mapped before a clock runs.
        black_box(bytes.iter().step_by(4096).fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
        let query = vec![0.25f32; 256];
        let per_vector = quickest(floats.len() / query.len(), |_| {
            let products = floats.chunks_exact(query.len()).map(|vector| dot(&query, vector));
            products.fold(0.0, f32::max)
        });
        let places = [0, 1, 2].map(|run| scattered(floats.len() / query.len(), run));
        let per_fetch = quickest(places[0].len(), |run| {
            let vectors = places[run].iter().map(|&place| {
                let start = place as usize * query.len();
                dot(&query, floats.get(start..start + query.len()).unwrap_or(&query))
            });
            vectors.fold(0.0, f32::max)
        });
        let column: &[u32] = bytemuck::cast_slice(floats);
        let [small, large] = TESTED_BYTES.map(|bytes| &column[..bytes / size_of::<u32>()]);
        Self {
            vector_byte_ns: per_vector / (query.len() * 4) as f64,
            vector_fetch_ns: (per_fetch - per_vector).max(10.0),
            near_codes: CodeCost::measured(&bytes[..near_bytes()]),
            far_codes: CodeCost::measured(bytes),
            tests_ns: [small, large, column].map(per_test),
            ..Self::default()
        }
    }
}

impl CodeCost {
    fn all(self) -> [f64; 5] {
        [self.code_ns, self.byte_ns, self.fetch_ns, self.step_ns, self.list_ns]
    }

    /// Measures the loops over some bytes as codes.
    fn measured(bytes: &[u8]) -> Self {
        let [short_bytes, usual_bytes, long_bytes] = CODE_BYTES;
        let short = per_code(bytes, short_bytes);
        let longer = per_code(bytes, long_bytes) - short;
        let byte_ns = (longer / (long_bytes - short_bytes) as f64).max(0.01);
        let usual = short + (usual_bytes - short_bytes) as f64 * byte_ns;
        let weights = weights(usual_bytes);
        let count = bytes.len() / usual_bytes;
        let gathered = |rows: [Vec<u32>; RUNS]| {
            quickest(rows[0].len(), |run| {
                let mut least = f32::INFINITY;
                weights.gather(bytes, &rows[run], |_, estimate| least = least.min(estimate));
                least
            })
        };
        let ascending = [0, 1, 2].map(|run| {
            let one_in_eight = |row: &u32| row.wrapping_mul(0x9E37_79B9) >> 29 == run;
            (0..count as u32).filter(one_in_eight).collect()
        });
        let list_bytes = LIST_CODES * usual_bytes;
        let lists = [0, 1, 2].map(|run| scattered(bytes.len() / list_bytes, run));
        let codes = |list: Option<&u32>| {
            let start = list.map_or(bytes.len(), |&list| list as usize * list_bytes);
            bytes.get(start..start + list_bytes).unwrap_or_default()
        };
        let per_list = quickest(lists[0].len(), |run| {
            let mut least = f32::INFINITY;
            for (place, list) in lists[run].iter().enumerate() {
                let next = codes(lists[run].get(place + 1));
                weights.scan_below(codes(Some(list)), next, f32::INFINITY, |_, estimate| {
                    least = least.min(estimate);
                    least
                });
            }
            least
        });
        let far = [0, 1, 2].map(|run| scattered(count, run));
        Self {
            code_ns: (short - byte_ns * short_bytes as f64).max(0.3),
            byte_ns,
            fetch_ns: (gathered(far) - usual).max(0.3),
            step_ns: (gathered(ascending) - usual).max(0.3),
            list_ns: (per_list - LIST_CODES as f64 * usual).max(50.0),
        }
    }
}

fn weights(code_bytes: usize) -> CodeWeights {
    CodeWeights::new(&vec![0.5; code_bytes - CONSTANT_BYTES], 0.0, code_bytes)
}

/// Nanoseconds of a code in a run of codes of so many bytes.
fn per_code(bytes: &[u8], code_bytes: usize) -> f64 {
    let weights = weights(code_bytes);
    quickest(bytes.len() / code_bytes, |_| {
        let mut least = f32::INFINITY;
        weights.scan(bytes, |_, estimate| least = least.min(estimate));
        least
    })
}

/// Nanoseconds of the test of a row of a list.
fn per_test(column: &[u32]) -> f64 {
    let lists = [0, 1, 2].map(|run| lists(column.len(), run));
    // What a cache can hold of it is there before a clock runs.
    black_box(column.iter().fold(0u32, |sum, rank| sum.wrapping_add(*rank)));
    let mut keep = Vec::new();
    quickest(lists[0].len(), |run| {
        let mut kept = 0;
        for rows in lists[run].chunks(LIST_CODES) {
            keep.clear();
            test_rows(column, rows, &mut keep);
            kept += keep.len();
        }
        kept as f32
    })
}

/// One in sixteen rows, as lists have them: ascending, and everywhere; others in each run.
fn lists(rows: usize, run: u64) -> Vec<u32> {
    let step = (rows / LIST_CODES).max(1) as u64;
    let count = (rows / 16 / LIST_CODES).max(1) as u64;
    let row = |list: u64, place: u64| {
        let scattered =
            (list * LIST_CODES as u64 + place).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        (place * step + scattered % step) as u32
    };
    let lists = run * count..(run + 1) * count;
    lists.flat_map(|list| (0..LIST_CODES as u64).map(move |place| row(list, place))).collect()
}

/// Nanoseconds for each of `count` items of the quickest run. A run is told its number: what is fetched from memory has to be
/// elsewhere in each, for the run before has left its own in the caches.
fn quickest(count: usize, mut run: impl FnMut(usize) -> f32) -> f64 {
    let one = |number: usize| {
        let started = Instant::now();
        black_box(run(number));
        started.elapsed().as_secs_f64() * 1e9
    };
    let best = (0..RUNS).map(one).fold(f64::INFINITY, f64::min);
    best / count.max(1) as f64
}

/// One in sixteen rows, in an order that no prefetcher follows; others in each run.
fn scattered(rows: usize, run: u64) -> Vec<u32> {
    let count = (rows / 16).max(1) as u64;
    let place = |place: u64| place.wrapping_mul(0x9E37_79B9_7F4A_7C15) % rows.max(1) as u64;
    (run * count..(run + 1) * count).map(|number| place(number) as u32).collect()
}

/// Numbers without a pattern, all of them ordinary.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(|| f32::from(next())).take(count).collect()
}

/// Numbers in a mapped file that goes with the mapping. Nobody else knows of the file, and what a crash leaves of it is written
/// anew by the next measurement.
fn mapped(data: &Path, numbers: &[f32]) -> io::Result<MappedSections> {
    let path = data.join("cost.tmp");
    let write = || {
        let mut file = Pieces::scanned(File::create(&path)?);
        file.write_all(bytemuck::cast_slice(numbers))?;
        file.finish_in_memory()?;
        MappedSections::open(&path)
    };
    let mapped = write();
    let removed = fs::remove_file(&path);
    let mapped = mapped?;
    removed?;
    Ok(mapped)
}

/// Bytes that the measurements go over.
fn measured_bytes() -> usize {
    let [least, most] = MEASURED_BYTES;
    (cache_bytes() / 2 * 3).clamp(least, most)
}

/// Most bytes of codes that are near: what the last cache holds, but no more than was measured apart from it.
fn near_bytes() -> usize {
    cache_bytes().min(measured_bytes() / 3 * 2)
}

/// Bytes of the last cache, as the system tells it; few where it does not.
fn cache_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let told = fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size").ok();
        let kibibytes = told.and_then(|text| text.trim().strip_suffix('K')?.parse::<usize>().ok());
        kibibytes.map_or(CACHE_BYTES, |kibibytes| kibibytes << 10)
    })
}

/// The processor's name as the system tells it, how many there are, their last cache, and whether they have the wider instructions.
fn processor() -> String {
    let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wide = if CodeWeights::is_wide() { ", AVX-512" } else { "" };
    let (name, cache) = (name.map_or("unknown", |(_, name)| name.trim()), cache_bytes() >> 20);
    format!("{name} x {cores}, {cache} MiB{wide}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_costs_what_columns_of_its_size_cost() {
        let cost = CostModel { tests_ns: [1.0, 3.0, 10.0], ..CostModel::default() };
        let told = |mebibytes: u64| cost.test_of_list(mebibytes << 20);
        assert_eq!(cost.test_of_list(0), 1.0);
        assert_eq!([told(1), told(2), told(4), told(8)], [1.0, 1.0, 2.0, 3.0]);
        assert!(told(16) > 3.0 && told(16) < 10.0);
        assert_eq!(told(1 << 20), 10.0);
    }

    #[test]
    fn the_lists_of_a_measurement_ascend_and_name_rows() {
        for rows in [1, 159, 100_000] {
            let lists: Vec<_> = (0..3).map(|run| lists(rows, run)).collect();
            assert!(lists.iter().flatten().all(|row| (*row as usize) < rows.max(LIST_CODES)));
            for list in lists.iter().flat_map(|lists| lists.chunks(LIST_CODES)) {
                assert!(list.len() == LIST_CODES && list.is_sorted(), "{rows}: {list:?}");
            }
        }
        assert_ne!(lists(100_000, 0), lists(100_000, 1), "others in each run");
    }

    #[test]
    fn measured_costs_are_sound_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        for data in [folder.path().to_owned(), folder.path().join("missing")] {
            let cost = CostModel::measured(&data);
            assert!(cost.is_sound() && cost.vector_byte_ns > 0.0, "{cost:?}");
            assert!(cost.tests_ns.iter().all(|test| *test > 0.0), "{cost:?}");
        }
        let left = fs::read_dir(folder.path()).expect("lists").count();
        assert_eq!(left, 0, "the file that was measured has gone");
        let told = CostModel::of_machine(folder.path());
        assert_eq!(CostModel::of_machine(folder.path()), told);
    }
}
