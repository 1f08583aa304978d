//! Reports on made-up probes: what is in them, and that they stand alone.

use super::*;
use crate::learn::metrics::{
    Bootstrap, CALIBRATION_BINS, Classification, Fractions, Measure, Measured, Regression, measure,
};
use crate::learn::{Progress, Sampler};
use crate::sky::{Degrees, Radians};

/// Numbers of a seed.
struct Chance(Sampler);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(Sampler::new(seed))
    }

    fn unit(&mut self) -> f64 {
        (self.0.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn gaussian(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// A position of a survey: a band across the beginning of right ascension, or the whole sky.
    fn position(&mut self, whole: bool) -> (f64, f64) {
        if whole {
            let dec = Degrees::from(Radians((2.0 * self.unit() - 1.0).asin())).0;
            return (360.0 * self.unit(), dec);
        }
        ((350.0 + 30.0 * self.unit()).rem_euclid(360.0), -10.0 + 14.0 * self.unit())
    }
}

fn measured(all: &dyn Measure) -> Vec<Measured> {
    let bootstrap = Bootstrap { resamples: 100, seed: 1, groups: None, threads: 1 };
    measure(all, &bootstrap, Progress::silent()).expect("measured")
}

fn fit(space: &str, head: &str, shots: Option<u64>, kind: Kind) -> Fit {
    Fit {
        space: space.to_owned(),
        target: String::new(),
        unit: String::new(),
        head: head.to_owned(),
        shots,
        kind,
        n_train: shots.unwrap_or(12_000),
        n_test: 0,
        n_missing: 0,
        metrics: Vec::new(),
        classes: Vec::new(),
        confusion: Vec::new(),
        calibration: Vec::new(),
        predictions: Vec::new(),
        alpha: None,
        warnings: Vec::new(),
    }
}

fn predicted(position: (f64, f64), truth: Vec<f64>, predicted: Vec<f64>) -> Tested {
    Tested { position: Some(position), truth, predicted }
}

/// Redshifts with errors of this size, and a part of the sky where they are too high.
fn redshifts(space: &str, head: &str, shots: Option<u64>, sigma: f64, count: usize) -> Fit {
    let mut chance = Chance::new(1);
    let mut fit = fit(space, head, shots, Kind::Number);
    fit.target = "z".to_owned();
    for _ in 0..count {
        let truth = 0.05 + 0.25 * (chance.unit() + chance.unit() + chance.unit());
        let position = chance.position(count > 2_000);
        let east = if position.0 < 10.0 { 0.4 * sigma } else { 0.0 };
        let error = (sigma * chance.gaussian() + east) * (1.0 + truth);
        let wild = if chance.unit() < 0.03 { 0.6 * (chance.unit() - 0.3) } else { 0.0 };
        fit.predictions.push(predicted(position, vec![truth], vec![truth + error + wild]));
    }
    let (truth, guess): (Vec<f64>, Vec<f64>) = fit.pairs(0).into_iter().unzip();
    let all = Regression::new(&truth, &guess).and_then(Regression::redshift);
    fit.metrics = measured(&all.expect("redshifts"));
    fit.n_test = count as u64;
    fit.alpha = Some(3.7);
    fit
}

/// Classes of which a head knows this much.
fn classes(space: &str, head: &str, knows: f64, names: &[&str]) -> Fit {
    const COUNT: usize = 900;
    let mut chance = Chance::new(7);
    let mut fit = fit(space, head, None, Kind::Class);
    fit.target = "morphology".to_owned();
    fit.classes = names.iter().map(|name| (*name).to_owned()).collect();
    let (mut truths, mut rows) = (Vec::new(), Vec::new());
    for _ in 0..COUNT {
        let truth = ((chance.unit().powf(1.5)) * names.len() as f64) as usize;
        let score = |class: usize, chance: &mut Chance| {
            (chance.gaussian() + if class == truth { knows } else { 0.0 }).exp()
        };
        let scores: Vec<f64> = (0..names.len()).map(|class| score(class, &mut chance)).collect();
        let sum: f64 = scores.iter().sum();
        let row: Vec<f64> = scores.iter().map(|score| score / sum).collect();
        let position = chance.position(true);
        fit.predictions.push(predicted(position, vec![truth as f64], row.clone()));
        truths.push(truth as u32);
        rows.extend(row);
    }
    let all = Classification::new(names.len(), &truths, &rows).expect("classes");
    fit.metrics = measured(&all);
    fit.confusion = all.confusion();
    fit.calibration = all.calibration(CALIBRATION_BINS);
    fit.n_test = COUNT as u64;
    fit.warnings.push("12 test objects lie within 1 arcsec of a training object".to_owned());
    fit
}

/// Fractions of votes.
fn fractions(space: &str) -> Fit {
    const COUNT: usize = 600;
    let mut chance = Chance::new(3);
    let mut fit = fit(space, "mlp", None, Kind::Fractions);
    fit.target = "smooth, featured".to_owned();
    fit.classes = vec!["smooth".to_owned(), "featured".to_owned()];
    let (mut truths, mut guesses) = (Vec::new(), Vec::new());
    for _ in 0..COUNT {
        let truth = chance.unit();
        let guess = (truth + 0.12 * chance.gaussian()).clamp(0.01, 0.99);
        let (truth, guess) = (vec![truth, 1.0 - truth], vec![guess, 1.0 - guess]);
        truths.extend(&truth);
        guesses.extend(&guess);
        fit.predictions.push(predicted(chance.position(true), truth, guess));
    }
    fit.metrics = measured(&Fractions::new(2, &truths, &guesses).expect("fractions"));
    fit.n_test = COUNT as u64;
    fit
}

/// A query and what it found.
fn example() -> Example {
    // Half a black pixel, so to say: a PNG of one pixel.
    const DOT: &[u8] = &[
        137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 1, 0, 0, 0, 1, 8, 0,
        0, 0, 0, 58, 126, 155, 85, 0, 0, 0, 10, 73, 68, 65, 84, 120, 156, 99, 104, 0, 0, 0, 130, 0,
        129, 119, 205, 114, 182, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
    ];
    let source = ImageSource::Column("cutout".to_owned());
    let tile = |id: usize, bytes: Option<&[u8]>, is_relevant| Tile {
        id: format!("J0{id}+12"),
        image: source.image("x", None, bytes),
        lines: vec![format!("z = 0.{id}"), format!("0.0{id} away")],
        is_relevant,
    };
    let found = (1..6).map(|id| tile(id, (id % 2 == 0).then_some(DOT), Some(id < 4))).collect();
    let heading = "J00+12 in images".to_owned();
    Example { heading, query: tile(0, Some(DOT), None), found }
}

fn provenance() -> Provenance {
    let facts = [("collection", "galaxies at version 41"), ("split", "healpix:4:0.2:42")];
    let named = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    facts.into_iter().map(named).collect()
}

/// Everything that a report can show.
fn whole_page() -> String {
    let mut fits = Vec::new();
    for (space, factor) in [("images", 1.0), ("photometry", 1.7)] {
        for (shots, sigma) in
            [(Some(30), 0.16), (Some(100), 0.09), (Some(1_000), 0.05), (None, 0.035)]
        {
            fits.push(redshifts(space, "ridge", shots, factor * sigma, 1_000));
            fits.push(redshifts(space, "knn", shots, factor * (0.01 + sigma), 1_000));
        }
    }
    fits.push(redshifts("images", "mlp", None, 0.03, 30_000));
    fits.push(classes(
        "images",
        "logistic",
        2.0,
        &["smooth", "disk", "edge-on", "merger", "artifact"],
    ));
    let mut two = classes("images", "logistic", 1.6, &["no bar", "bar"]);
    two.target = "has_bar".to_owned();
    fits.push(two);
    fits.push(fractions("images"));
    probes("galaxies", &fits, vec![example()], provenance()).expect("a report")
}

#[test]
fn a_report_shows_everything_and_stands_alone() {
    let html = whole_page();
    for wanted in [
        "Probes of galaxies",
        "R²",
        "σ NMAD",
        "training examples",
        "true positive rate",
        "fraction observed",
        "predicted class",
        "right ascension",
        "data:image/png;base64,",
        "healpix:4:0.2:42",
        "12 test objects lie within",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
    // Nothing is loaded, and nothing runs.
    for unwanted in ["<script", "src=\"http", "href=", "@import", "NaN", "inf"] {
        let found = html.find(unwanted).map(|at| &html[at.saturating_sub(80)..at + 40]);
        assert_eq!(found, None, "{unwanted}");
    }
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    assert!(html.len() < 4_000_000, "{}", html.len());
}

#[test]
fn a_report_without_predictions_has_its_tables() {
    let mut fit = redshifts("images", "ridge", None, 0.05, 50);
    fit.predictions.clear();
    let html = probes("galaxies", &[fit], Vec::new(), provenance()).expect("a report");
    assert!(html.contains("σ NMAD") && !html.contains("<svg"));
}
