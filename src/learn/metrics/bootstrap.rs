//! Intervals of metrics: how much they vary when other objects had been tested.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::{LearnError, Progress, Sampler};
use super::{Measure, same_length};

/// The share of the resamples below an interval of 95 %, and above it.
const TAIL: f64 = 0.025;

/// The share of the resamples in which a number must be defined to have an interval.
const DEFINED_MIN: f64 = 0.9;

/// A number, and the interval in which 95 % of the resamples lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What was measured.
    pub name: String,
    /// Its value on the test objects.
    pub value: f64,
    /// The lower end; absent without resamples, or where most of them do not define the number.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

/// How intervals are found: by measuring test objects drawn with replacement, as many as there are.
///
/// # Reference
/// Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile intervals); for groups Davison and
/// Hinkley 1997, Bootstrap Methods and their Application, section 3.8.
#[derive(Debug, Clone, Copy)]
pub struct Bootstrap<'a> {
    /// How often objects are drawn; 0 gives no intervals.
    pub resamples: u32,
    /// Seed of the draws. The intervals depend on it, and not on the number of threads.
    pub seed: u64,
    /// The group of each object, such as its cell on the sky. Whole groups are drawn, since objects that lie together are
    /// less independent than they are many.
    pub groups: Option<&'a [u64]>,
    /// Threads to measure on.
    pub threads: usize,
}

/// Measures, and finds the interval of each number. Numbers that the test objects do not define are left out.
///
/// # Errors
/// [`LearnError::Shape`] unless each object has a group; [`LearnError::Stopped`].
pub fn measure(
    measure: &dyn Measure,
    bootstrap: &Bootstrap<'_>,
    progress: Progress<'_>,
) -> Result<Vec<Measured>, LearnError> {
    let count = measure.count();
    let groups = bootstrap.groups.map(Groups::new);
    if let Some(groups) = &groups {
        same_length("groups of objects", groups.members.len(), count)?;
    }
    let values = measure.measure(&vec![1; count]);
    let units = groups.as_ref().map_or(count, |groups| groups.starts.len() - 1);
    let resamples = if units > 1 { bootstrap.resamples } else { 0 };
    let drawn = resample(measure, bootstrap, groups.as_ref(), resamples, progress)?;
    let named = measure.names().into_iter().zip(values).enumerate();
    let measured = named.filter_map(|(place, (name, value))| {
        let each = drawn.iter().filter_map(|values| values.get(place).copied().flatten());
        let interval = interval(each.collect(), resamples);
        let (low, high) = interval.unzip();
        value.map(|value| Measured { name, value, low, high })
    });
    Ok(measured.collect())
}

/// Objects sorted by their groups.
struct Groups {
    members: Vec<u32>,
    /// Where each group begins, and the end.
    starts: Vec<usize>,
}

impl Groups {
    fn new(groups: &[u64]) -> Self {
        let group = |object: &u32| groups.get(*object as usize);
        let mut members: Vec<u32> = (0..groups.len() as u32).collect();
        members.sort_by_key(group);
        let mut starts: Vec<usize> = (0..members.len())
            .filter(|place| *place == 0 || group(&members[*place]) != group(&members[place - 1]))
            .collect();
        starts.push(members.len());
        Self { members, starts }
    }

    fn draw(&self, sampler: &mut Sampler, sample: &mut [u32]) {
        let groups = self.starts.len() - 1;
        for _ in 0..groups {
            let group = sampler.below(groups);
            for member in &self.members[self.starts[group]..self.starts[group + 1]] {
                sample[*member as usize] += 1;
            }
        }
    }
}

/// The numbers of each resample, in any order of resamples.
fn resample(
    measure: &dyn Measure,
    bootstrap: &Bootstrap<'_>,
    groups: Option<&Groups>,
    resamples: u32,
    progress: Progress<'_>,
) -> Result<Vec<Vec<Option<f64>>>, LearnError> {
    let next = AtomicU32::new(0);
    let results = Mutex::new(Vec::with_capacity(resamples as usize));
    let count = measure.count();
    let work = || -> Result<(), LearnError> {
        let mut sample = vec![0_u32; count];
        let mut own = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= resamples {
                break;
            }
            progress.step("bootstrap", u64::from(number), u64::from(resamples))?;
            // Each resample has numbers of its own, so that it is the same on whatever thread.
            let mut sampler = Sampler::stream(bootstrap.seed, u64::from(number));
            sample.fill(0);
            match groups {
                Some(groups) => groups.draw(&mut sampler, &mut sample),
                None => (0..count).for_each(|_| sample[sampler.below(count)] += 1),
            }
            own.push(measure.measure(&sample));
        }
        // The lock is poisoned only when another thread died while it held it, which ends the scope with a panic anyway.
        if let Ok(mut results) = results.lock() {
            results.append(&mut own);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> =
            (1..bootstrap.threads.min(resamples as usize)).map(|_| scope.spawn(work)).collect();
        let mut outcome = work();
        for helper in helpers {
            let theirs = helper.join().unwrap_or_else(|_| {
                Err(LearnError::NoResult {
                    what: "a resample",
                    hint: "a thread died; report this as a fault".to_owned(),
                })
            });
            outcome = outcome.and(theirs);
        }
        outcome
    })?;
    Ok(results.into_inner().unwrap_or_default())
}

/// The interval in which the middle 95 % lie, ends interpolated between neighbours; `None` where too few are defined.
fn interval(mut values: Vec<f64>, resamples: u32) -> Option<(f64, f64)> {
    if resamples == 0 || (values.len() as f64) < DEFINED_MIN * f64::from(resamples) {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (values.len() - 1) as f64;
        let below = values.get(place.floor() as usize)?;
        let above = values.get(place.ceil() as usize)?;
        Some(below + (above - below) * place.fract())
    };
    Some((at(TAIL)?, at(1.0 - TAIL)?))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::Means;
    use super::*;

    fn means(values: Vec<f64>) -> Means {
        let values = values.into_iter().map(Some).collect();
        Means::new(vec!["mean".to_owned()], vec![values]).expect("numbers")
    }

    fn plain(resamples: u32, seed: u64, threads: usize) -> Bootstrap<'static> {
        Bootstrap { resamples, seed, groups: None, threads }
    }

    fn run(numbers: &Means, bootstrap: &Bootstrap<'_>) -> Measured {
        let mut all = measure(numbers, bootstrap, Progress::silent()).expect("measured");
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    /// Numbers of a Gaussian, by twelve uniform ones each.
    fn gaussian(sampler: &mut Sampler, count: usize) -> Vec<f64> {
        let mut unit = || (sampler.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        (0..count).map(|_| (0..12).map(|_| unit()).sum::<f64>() - 6.0).collect()
    }

    #[test]
    fn intervals_are_those_of_the_seed_on_any_number_of_threads() {
        let numbers = means(gaussian(&mut Sampler::new(1), 500));
        let one = run(&numbers, &plain(200, 7, 1));
        assert_eq!(one, run(&numbers, &plain(200, 7, 4)));
        assert_ne!(one, run(&numbers, &plain(200, 8, 1)));
        assert_eq!(run(&numbers, &plain(0, 7, 1)).low, None);
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_central_limit() {
        let values = gaussian(&mut Sampler::new(3), 1_000);
        let mean = values.iter().sum::<f64>() / 1_000.0;
        let spread = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 1_000.0;
        let half = 1.96 * (spread / 1_000.0).sqrt();
        let found = run(&means(values), &plain(4_000, 5, 2));
        assert!((found.low.expect("low") - (mean - half)).abs() < 0.08 * half);
        assert!((found.high.expect("high") - (mean + half)).abs() < 0.08 * half);
    }

    #[test]
    fn intervals_hold_the_truth_about_as_often_as_they_say() {
        let mut sampler = Sampler::new(9);
        let holds = (0..400).filter(|trial| {
            let found = run(&means(gaussian(&mut sampler, 100)), &plain(200, *trial, 1));
            found.low.is_some_and(|low| low <= 0.0) && found.high.is_some_and(|high| high >= 0.0)
        });
        let share = holds.count() as f64 / 400.0;
        assert!((0.90..=0.98).contains(&share), "{share}");
    }

    #[test]
    fn objects_that_stand_together_widen_the_interval() {
        // Ten copies of each number are worth no more than one.
        let few = gaussian(&mut Sampler::new(2), 100);
        let copies: Vec<f64> = few.iter().flat_map(|value| [*value; 10]).collect();
        let groups: Vec<u64> = (0..1_000).map(|object| 7_777 * (object / 10)).collect();
        let blocks = Bootstrap { groups: Some(&groups), ..plain(2_000, 1, 2) };
        let width = |found: Measured| found.high.expect("high") - found.low.expect("low");
        let wide = width(run(&means(copies.clone()), &blocks));
        let narrow = width(run(&means(copies.clone()), &plain(2_000, 1, 2)));
        let wanted = width(run(&means(few), &plain(2_000, 1, 2)));
        assert!((wide / wanted - 1.0).abs() < 0.15, "{wide} {wanted}");
        assert!(wide > 2.5 * narrow, "{wide} {narrow}");

        let lacking = Bootstrap { groups: Some(&groups[1..]), ..blocks };
        assert!(measure(&means(copies.clone()), &lacking, Progress::silent()).is_err());
        let one = vec![5; 1_000];
        let alone = Bootstrap { groups: Some(&one), ..blocks };
        assert_eq!(run(&means(copies), &alone).low, None, "one group says nothing");
    }

    #[test]
    fn a_bootstrap_that_nobody_waits_for_ends() {
        let stop = AtomicBool::new(true);
        let told = |_: &str, _: u64, _: u64| {};
        let outcome =
            measure(&means(vec![1.0, 2.0]), &plain(100, 0, 2), Progress::new(&told, &stop));
        assert_eq!(outcome, Err(LearnError::Stopped));
    }

    #[test]
    fn ends_are_interpolated_as_percentiles_are() {
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(interval(values, 101), Some((2.5, 97.5)));
        assert_eq!(interval(vec![1.0; 80], 100), None);
    }
}
