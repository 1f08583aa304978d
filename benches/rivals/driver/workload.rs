//! What is asked, and what is true: the files of a workload.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sidereus::query::{Query, Term};
use sidereus::sky::{Cone, Degrees, Position, Region};

/// Hits asked for.
pub(crate) const K: usize = 10;

/// Two distances that differ by less are the same: single precision cannot tell them apart.
const TIE: f64 = 1e-6;

/// Where and which, for one query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filter {
    /// Right ascension, declination and radius, degrees.
    pub(crate) cone: Option<[f64; 3]>,
    /// SQL on the columns.
    pub(crate) predicate: Option<String>,
}

/// A filter shape: queries, a filter for each, and the true answers.
pub(crate) struct Shape {
    /// What it is called in the tables.
    pub(crate) name: String,
    /// One vector for each query.
    pub(crate) vectors: Vec<Vec<f32>>,
    /// One filter for each query.
    pub(crate) filters: Vec<Filter>,
    true_ids: Vec<i64>,
    true_distances: Vec<f64>,
}

impl Shape {
    fn read(folder: &Path, value: &Value) -> Result<Self> {
        let text = |name: &str| {
            value[name].as_str().with_context(|| format!("shapes.json: a shape without `{name}`"))
        };
        let slug = text("slug")?;
        let (values, dimension) = array::<f32>(&folder.join(text("queries")?))?;
        let filters =
            value["filters"].as_array().context("shapes.json: a shape without filters")?;
        let (true_ids, width) = array::<i64>(&folder.join(format!("truth-{slug}-ids.npy")))?;
        let (true_distances, _) =
            array::<f64>(&folder.join(format!("truth-{slug}-distances.npy")))?;
        ensure!(width == K && true_ids.len() == filters.len() * K, "the truth has another shape");
        Ok(Self {
            name: text("name")?.to_owned(),
            vectors: values.chunks_exact(dimension).map(<[f32]>::to_vec).collect(),
            filters: filters.iter().map(filter).collect::<Result<_>>()?,
            true_ids,
            true_distances,
        })
    }

    /// recall@10 of answers, each ids with distances; hits as near as the last true one count.
    pub(crate) fn recall(&self, answers: &[Vec<(i64, f64)>]) -> f64 {
        let truth = self.true_ids.chunks_exact(K).zip(self.true_distances.chunks_exact(K));
        let shares = truth.zip(answers).map(|((ids, distances), answer)| {
            let near: Vec<(i64, f64)> = ids
                .iter()
                .copied()
                .zip(distances.iter().copied())
                .filter(|(id, _)| *id >= 0)
                .collect();
            share(&near, answer)
        });
        shares.sum::<f64>() / answers.len().max(1) as f64
    }
}

/// The share of the true nearest (nearest first) that an answer holds.
pub(crate) fn share(truth: &[(i64, f64)], answer: &[(i64, f64)]) -> f64 {
    let Some((_, last)) = truth.last() else { return 1.0 };
    let wanted: HashSet<i64> = truth.iter().map(|(id, _)| *id).collect();
    let good = |(id, distance): &&(i64, f64)| wanted.contains(id) || *distance <= last + TIE;
    let hits = answer.iter().filter(good).count().min(truth.len());
    hits as f64 / truth.len() as f64
}

fn filter(value: &Value) -> Result<Filter> {
    let cone = match value.get("cone") {
        None => None,
        Some(numbers) => {
            let number = |place: usize| numbers[place].as_f64().context("a cone is three numbers");
            Some([number(0)?, number(1)?, number(2)?])
        }
    };
    let predicate = value.get("where").and_then(Value::as_str).map(str::to_owned);
    Ok(Filter { cone, predicate })
}

/// Numbers of an array, and the length of its rows.
pub(crate) fn array<T: npyz::Deserialize>(path: &Path) -> Result<(Vec<T>, usize)> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let array = npyz::NpyFile::new(BufReader::with_capacity(1 << 16, file))?;
    let width = array.shape().last().copied().unwrap_or(1);
    let values = array.into_vec().with_context(|| format!("cannot read {}", path.display()))?;
    Ok((values, usize::try_from(width)?))
}

/// The shapes of a workload; `only` keeps those with these names, separated by commas.
pub(crate) fn shapes(folder: &Path, only: Option<&str>) -> Result<Vec<Shape>> {
    let path: PathBuf = folder.join("shapes.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let values: Vec<Value> = serde_json::from_str(&text)?;
    let is_wanted = |value: &&Value| {
        let name = value["name"].as_str();
        only.is_none_or(|only| only.split(',').any(|wanted| Some(wanted) == name))
    };
    let found: Vec<Shape> = values
        .iter()
        .filter(is_wanted)
        .map(|value| Shape::read(folder, value))
        .collect::<Result<_>>()?;
    ensure!(!found.is_empty(), "no such shape");
    Ok(found)
}

/// A query for the ten nearest, without columns.
pub(crate) fn query(vector: &[f32], filter: &Filter) -> Result<Query> {
    let term = Term {
        space: String::new(),
        weight: 1.0,
        like: Vec::new(),
        unlike: Vec::new(),
        vectors: vec![vector.to_vec()],
        ..Term::default()
    };
    let region = match filter.cone {
        None => None,
        Some([ra, dec, radius]) => {
            let centre = Position::new(Degrees(ra), Degrees(dec))?;
            Some(Region::Cone(Cone::new(centre, Degrees(radius))?))
        }
    };
    Ok(Query {
        terms: vec![term],
        region,
        predicate: filter.predicate.clone(),
        k: Some(K),
        columns: Some(Vec::new()),
        ..Query::default()
    })
}
