//! How good an order is: what a search returned against the best that it could have returned.

use super::super::LearnError;
use super::{Measure, all_finite, ratio, same_length, some};

/// What an object of a relevance adds to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gain {
    /// The relevance itself (Järvelin and Kekäläinen 2002, doi:10.1145/582415.582418).
    Linear,
    /// 2^relevance - 1 (Burges et al. 2005, doi:10.1145/1102351.1102363).
    Exponential,
}

impl Gain {
    /// What this relevance adds.
    pub fn of(self, relevance: f64) -> f64 {
        match self {
            Self::Linear => relevance,
            Self::Exponential => relevance.exp2() - 1.0,
        }
    }
}

/// What a place in the order, from 0, is worth: 1 / log2(place + 2).
fn discount(place: usize) -> f64 {
    1.0 / ((place + 2) as f64).log2()
}

/// The discounted cumulative gain of relevances in their order, of the first `k`.
pub fn discounted_gain(relevances: impl Iterator<Item = f64>, k: usize, gain: Gain) -> f64 {
    relevances.take(k).enumerate().map(|(place, each)| gain.of(each) * discount(place)).sum()
}

/// The relevances of everything that a search can return: what the best order is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Relevances {
    falling: Vec<f64>,
}

impl Relevances {
    /// Takes the relevance of each object, from 0 up, in any order.
    ///
    /// # Errors
    /// [`LearnError::NotFinite`]; [`LearnError::BadSetting`] for a negative one.
    pub fn new(mut relevances: Vec<f64>) -> Result<Self, LearnError> {
        all_finite("the relevance", &relevances, 1)?;
        relevances.sort_by(|first, second| second.total_cmp(first));
        match relevances.last() {
            Some(last) if *last < 0.0 => Err(LearnError::BadSetting {
                what: "a relevance",
                value: last.to_string(),
                hint: "relevances are numbers from 0 up",
            }),
            _ => Ok(Self { falling: relevances }),
        }
    }

    /// The best discounted gain of `k` objects, one of relevance `own`, the query itself, left out.
    pub fn best(&self, own: Option<f64>, k: usize, gain: Gain) -> f64 {
        let left_out = own.and_then(|own| self.falling.iter().position(|each| *each <= own));
        let others = self.falling.iter().enumerate();
        let others = others.filter(|(place, _)| Some(*place) != left_out);
        discounted_gain(others.map(|(_, each)| *each), k, gain)
    }

    /// How many objects have at least this relevance, the query itself left out.
    pub fn relevant(&self, own: Option<f64>, from: f64) -> usize {
        let all = self.falling.partition_point(|each| *each >= from);
        all.saturating_sub(usize::from(own.is_some_and(|own| own >= from)))
    }

    /// How many objects there are, the query itself left out.
    pub fn others(&self, own: Option<f64>) -> usize {
        self.falling.len().saturating_sub(usize::from(own.is_some()))
    }

    /// The discounted gain that an order by chance has in the mean.
    fn by_chance(&self, own: Option<f64>, k: usize, gain: Gain) -> f64 {
        let gains: f64 = self.falling.iter().map(|each| gain.of(*each)).sum();
        let others = self.others(own);
        let mean = (gains - own.map_or(0.0, |own| gain.of(own))) / others.max(1) as f64;
        discounted_gain(std::iter::repeat_n(1.0, k.min(others)), k, Gain::Linear) * mean
    }
}

/// What one query returned.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The relevances of what it returned, in order, the query itself left out.
    pub found: Vec<f64>,
    /// The query's own relevance where it is one of the objects that can be returned.
    pub own: Option<f64>,
}

/// The mean of numbers that each test object has.
#[derive(Debug, Clone, PartialEq)]
pub struct Means {
    names: Vec<String>,
    /// For each name a number of each object, or none.
    values: Vec<Vec<Option<f64>>>,
    count: usize,
}

impl Means {
    /// Takes names, and for each a number of each object; objects without a number are left out of its mean.
    ///
    /// # Errors
    /// [`LearnError::Shape`], [`LearnError::TooFew`].
    pub fn new(names: Vec<String>, values: Vec<Vec<Option<f64>>>) -> Result<Self, LearnError> {
        same_length("lists of numbers", values.len(), names.len())?;
        let count = values.first().map_or(0, Vec::len);
        some(count)?;
        for each in &values {
            same_length("numbers", each.len(), count)?;
        }
        Ok(Self { names, values, count })
    }
}

impl Measure for Means {
    fn count(&self) -> usize {
        self.count
    }

    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn measure(&self, sample: &[u32]) -> Vec<Option<f64>> {
        let mean = |values: &Vec<Option<f64>>| {
            let (mut sum, mut count) = (0.0, 0.0);
            for (value, times) in values.iter().zip(sample) {
                sum += f64::from(*times) * value.unwrap_or(0.0);
                count += if value.is_some() { f64::from(*times) } else { 0.0 };
            }
            ratio(sum, count)
        };
        self.values.iter().map(mean).collect()
    }
}

/// The orders that queries got, and what an order by chance would have in the mean.
///
/// Its numbers are means over the queries: `ndcg_linear` and `ndcg_exponential`, the discounted gain of the first k over
/// the best there could be; `recall`, the share of all relevant objects that are among the first k, and `precision`, the
/// share of the k that are relevant. A query without any other relevant object has no nDCG and no recall.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// What the queries got.
    pub got: Means,
    /// What they would get by chance.
    pub by_chance: Means,
}

impl Ranking {
    /// Measures the first `k` of each order; objects are relevant from relevance `relevant_from` up.
    ///
    /// # Errors
    /// [`LearnError::TooFew`] without queries, [`LearnError::BadSetting`] for k = 0, [`LearnError::NotFinite`].
    pub fn new(
        all: &Relevances,
        queries: &[Ranked],
        k: usize,
        relevant_from: f64,
    ) -> Result<Self, LearnError> {
        if k == 0 {
            return Err(LearnError::BadSetting {
                what: "k",
                value: "0".to_owned(),
                hint: "at least one place of the order is measured",
            });
        }
        for query in queries {
            all_finite("the relevance of a result", &query.found, query.found.len())?;
        }
        let names = ["ndcg_linear", "ndcg_exponential", "recall", "precision"];
        let names = || names.map(|name| format!("{name}@{k}")).to_vec();
        let mut got = vec![Vec::new(); 4];
        let mut by_chance = got.clone();
        for query in queries {
            let relevant = all.relevant(query.own, relevant_from) as f64;
            let others = all.others(query.own) as f64;
            let hits = query.found.iter().take(k).filter(|each| **each >= relevant_from).count();
            for (place, gain) in [Gain::Linear, Gain::Exponential].into_iter().enumerate() {
                let best = all.best(query.own, k, gain);
                let found = discounted_gain(query.found.iter().copied(), k, gain);
                got[place].push(ratio(found, best));
                by_chance[place].push(ratio(all.by_chance(query.own, k, gain), best));
            }
            let expected = relevant * (k as f64).min(others) / others.max(1.0);
            got[2].push(ratio(hits as f64, relevant));
            by_chance[2].push(ratio(expected, relevant));
            got[3].push(Some(hits as f64 / k as f64));
            by_chance[3].push(Some(expected / k as f64));
        }
        Ok(Self { got: Means::new(names(), got)?, by_chance: Means::new(names(), by_chance)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &[f64]) -> Relevances {
        Relevances::new(list.to_vec()).expect("relevances")
    }

    #[test]
    fn the_query_is_no_part_of_the_best_order() {
        let all = all(&[1.0, 0.0, 0.5, 1.0]);
        let expected = 1.0 + 0.5 / 3.0_f64.log2();
        assert!((all.best(Some(1.0), 2, Gain::Linear) - expected).abs() < 1e-12);
        assert!((all.best(None, 2, Gain::Linear) - 1.0 - 1.0 / 3.0_f64.log2()).abs() < 1e-12);
        assert_eq!(all.relevant(Some(1.0), 1.0), 1);
        assert_eq!(all.relevant(Some(0.5), 1.0), 2);
        assert_eq!(all.others(Some(0.5)), 3);
    }

    #[test]
    fn the_best_order_has_one_and_the_worst_less() {
        let all = all(&[1.0, 1.0, 1.0, 0.0, 0.0]);
        let query = |found: &[f64]| Ranked { found: found.to_vec(), own: Some(1.0) };
        let orders = [query(&[1.0, 1.0]), query(&[0.0, 0.0])];
        let ranking = Ranking::new(&all, &orders, 2, 1.0).expect("queries");
        assert_eq!(ranking.got.measure(&[1, 0]), [Some(1.0); 4]);
        assert_eq!(ranking.got.measure(&[0, 1]), [Some(0.0); 4]);
        assert_eq!(ranking.got.measure(&[1, 1]), [Some(0.5); 4]);
        // Two of four others are relevant: by chance one of two places.
        let chance = ranking.by_chance.measure(&[1, 0]);
        assert!(chance.iter().all(|each| each.is_some_and(|each| (each - 0.5).abs() < 1e-12)));
    }

    #[test]
    fn a_query_without_relevant_others_has_no_recall() {
        let alone = Ranked { found: vec![0.0], own: Some(1.0) };
        let ranking = Ranking::new(&all(&[1.0, 0.0]), &[alone], 1, 1.0).expect("a query");
        assert_eq!(ranking.got.measure(&[1]), [None, None, None, Some(0.0)]);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        assert!(Relevances::new(vec![-1.0]).is_err());
        assert!(Relevances::new(vec![f64::NAN]).is_err());
        assert!(Ranking::new(&all(&[1.0]), &[], 5, 1.0).is_err());
        let query = Ranked { found: vec![1.0], own: None };
        assert!(Ranking::new(&all(&[1.0]), &[query], 0, 1.0).is_err());
    }
}
