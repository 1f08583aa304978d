//! Ranking a column: its distinct values in order, and the rank of each row among them.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};

use super::keys::{self, Kind};

/// Distinct texts beyond which a column is names rather than categories, and not ranked.
const TEXTS_MAX: usize = 1 << 16;

/// The distinct values of a column, ascending.
#[derive(Debug)]
pub(super) enum Values<'a> {
    Keys(Vec<u64>),
    Texts(Vec<&'a str>),
}

/// A column whose rows are ranked.
#[derive(Debug)]
pub(super) struct Ranked<'a> {
    pub(super) values: Values<'a>,
    /// Rank of each row. That of NaN is the number of distinct values, that of null one more.
    pub(super) ranks: Vec<u32>,
    /// Rows of lesser rank, for each rank and for the end.
    pub(super) starts: Vec<u32>,
    /// The rows by (rank, row).
    pub(super) order: Vec<u32>,
}

/// Ranks a column of consecutive arrays; `None` when it is text with too many values, or longer than ranks can count.
pub(super) fn rank(kind: Kind, arrays: &[ArrayRef]) -> Option<Ranked<'_>> {
    let rows: usize = arrays.iter().map(Array::len).sum();
    if rows as u64 > u64::from(u32::MAX) - 2 {
        return None;
    }
    if kind == Kind::Text {
        return rank_texts(arrays, rows);
    }
    let mut numbers = Numbers::with_capacity(rows);
    for array in arrays {
        match kind {
            Kind::Text => return None,
            Kind::Boolean => {
                let keys = array.as_boolean_opt()?.iter();
                keys.map(|value| value.map(|truth| keys::of_integer(truth.into())))
                    .for_each(|key| numbers.push(key));
            }
            Kind::Integer => {
                let values = array.as_primitive_opt::<Int64Type>()?.iter();
                values.for_each(|value| numbers.push(value.map(keys::of_integer)));
            }
            Kind::Single => {
                let values = array.as_primitive_opt::<Float32Type>()?.iter();
                values.for_each(|value| numbers.push_real(value.map(f64::from)));
            }
            Kind::Double => {
                let values = array.as_primitive_opt::<Float64Type>()?.iter();
                values.for_each(|value| numbers.push_real(value));
            }
        }
    }
    Some(numbers.rank(rows))
}

/// The keys of a column of numbers beside their rows.
struct Numbers {
    pairs: Vec<(u64, u32)>,
    nan: Vec<u32>,
    null: Vec<u32>,
    row: u32,
}

impl Numbers {
    fn with_capacity(rows: usize) -> Self {
        Self { pairs: Vec::with_capacity(rows), nan: Vec::new(), null: Vec::new(), row: 0 }
    }

    fn push(&mut self, key: Option<u64>) {
        match key {
            Some(key) => self.pairs.push((key, self.row)),
            None => self.null.push(self.row),
        }
        self.row += 1;
    }

    fn push_real(&mut self, value: Option<f64>) {
        match value {
            Some(value) if value.is_nan() => {
                self.nan.push(self.row);
                self.row += 1;
            }
            value => self.push(value.map(keys::of_real)),
        }
    }

    fn rank<'a>(mut self, rows: usize) -> Ranked<'a> {
        self.pairs.sort_unstable();
        let mut values: Vec<u64> = Vec::new();
        let mut starts = Vec::new();
        let mut ranks = vec![0u32; rows];
        let mut order = Vec::with_capacity(rows);
        for &(key, row) in &self.pairs {
            if values.last() != Some(&key) {
                values.push(key);
                starts.push(order.len() as u32);
            }
            ranks[row as usize] = values.len() as u32 - 1;
            order.push(row);
        }
        for (above, rows) in [self.nan, self.null].iter().enumerate() {
            starts.push(order.len() as u32);
            rows.iter().for_each(|&row| ranks[row as usize] = (values.len() + above) as u32);
            order.extend_from_slice(rows);
        }
        starts.push(order.len() as u32);
        Ranked { values: Values::Keys(values), ranks, starts, order }
    }
}

fn rank_texts(arrays: &[ArrayRef], rows: usize) -> Option<Ranked<'_>> {
    const NULL: u32 = u32::MAX;
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    // First the number of each row's text by first appearance, then its rank.
    let mut ranks = Vec::with_capacity(rows);
    for array in arrays {
        for text in array.as_string_opt::<i32>()? {
            let next = numbers.len() as u32;
            ranks.push(text.map_or(NULL, |text| *numbers.entry(text).or_insert(next)));
        }
        if numbers.len() > TEXTS_MAX {
            return None;
        }
    }
    let mut texts: Vec<(&str, u32)> = numbers.into_iter().collect();
    texts.sort_unstable();
    let mut rank_of = vec![0u32; texts.len()];
    for (rank, &(_, number)) in texts.iter().enumerate() {
        rank_of[number as usize] = rank as u32;
    }
    let null = texts.len() as u32 + 1;
    for rank in &mut ranks {
        *rank = rank_of.get(*rank as usize).copied().unwrap_or(null);
    }
    let (starts, order) = by_rank(&ranks, null as usize + 1);
    let texts = texts.into_iter().map(|(text, _)| text).collect();
    Some(Ranked { values: Values::Texts(texts), ranks, starts, order })
}

/// Counts the rows of each rank and puts them in order, each once.
fn by_rank(ranks: &[u32], rank_count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; rank_count + 1];
    for &rank in ranks {
        starts[rank as usize + 1] += 1;
    }
    for place in 1..starts.len() {
        starts[place] += starts[place - 1];
    }
    let mut next = starts.clone();
    let mut order = vec![0u32; ranks.len()];
    for (row, &rank) in ranks.iter().enumerate() {
        let place = &mut next[rank as usize];
        order[*place as usize] = row as u32;
        *place += 1;
    }
    (starts, order)
}
