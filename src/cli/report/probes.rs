//! The report on probes: what each head learnt from each space.

use anyhow::Result;

use super::examples::Example;
use super::figure::{Curve, Scatter, Shown, calibration, confusion, few_shot, roc, scatter, sky};
use super::fit::{Fit, Kind};
use super::page::{Block, Figure, Item, Page, Provenance, Section, Table};
use super::words::{better, headlines, title};
use crate::cli::render::{significant, thousands};
use crate::learn::metrics::{Measured, roc_curve};

/// Columns of the table of all numbers; more go into another one.
const COLUMNS_MAX: usize = 5;

/// Classes with a curve or a panel of their own.
const CLASSES_SHOWN: usize = 8;

/// Panels of vote fractions.
const PANELS_MAX: usize = 4;

/// Writes the report on probes as HTML.
pub(crate) fn probes(
    collection: &str,
    fits: &[Fit],
    examples: Vec<Example>,
    provenance: Provenance,
) -> Result<String> {
    let mut sections = Vec::new();
    let mut targets: Vec<&str> = Vec::new();
    for fit in fits {
        if !targets.contains(&fit.target.as_str()) {
            targets.push(&fit.target);
        }
    }
    for target in &targets {
        let mut fits: Vec<&Fit> = fits.iter().filter(|fit| fit.target == *target).collect();
        put_in_order(&mut fits);
        sections.push(overview(target, &fits)?);
        for fit in best_of_spaces(&fits) {
            sections.push(details(fit, &fits)?);
        }
        sections.push(all_numbers(target, &fits));
    }
    if !examples.is_empty() {
        let mut words =
            "Test objects, framed in black, and the objects most like them in each space."
                .to_owned();
        let mut found = examples.iter().flat_map(|example| &example.found);
        if found.any(|tile| tile.is_relevant.is_some()) {
            words += " A green frame: the same class; an orange one: another.";
        }
        let blocks = vec![Block::Words(words), Block::Examples(examples)];
        sections.push(Section { heading: "Retrieved examples".to_owned(), blocks });
    }
    let mut spaces: Vec<&str> = fits.iter().map(|fit| fit.space.as_str()).collect();
    spaces.sort_unstable();
    spaces.dedup();
    let lead = format!(
        "What {} {} about {}. Intervals hold 95 % of the bootstrap's resamples of the test set.",
        spaces.join(", "),
        if spaces.len() == 1 { "knows" } else { "know" },
        targets.join(", "),
    );
    let title = format!("Probes of {collection}");
    Ok(Page { title, lead, sections, provenance }.to_html())
}

/// Puts fits in the order of space and head as they first occur, then of the number of examples.
fn put_in_order(fits: &mut [&Fit]) {
    let as_given = fits.to_vec();
    let first = |fit: &Fit, of: fn(&Fit) -> String| {
        as_given.iter().position(|other| of(other) == of(fit)).unwrap_or(as_given.len())
    };
    fits.sort_by_key(|fit| {
        let (space, head) = (first(fit, |fit| fit.space.clone()), first(fit, Fit::name));
        (space, head, fit.n_train, fit.shots.is_none())
    });
}

/// The numbers that count, and how they grow with the number of examples.
fn overview(target: &str, fits: &[&Fit]) -> Result<Section> {
    let mut blocks = Vec::new();
    if let Some(fit) = fits.first() {
        let words = match fit.kind {
            Kind::Number if fit.is_redshift() => {
                "A redshift, predicted as a number. σ NMAD is 1.4826 times the median of |Δ − median Δ|, \
                 Δ = (predicted − true) / (1 + true); outliers are objects with |Δ| above a limit."
            }
            Kind::Number => "Predicted as a number.",
            Kind::Class => "Predicted as a class.",
            Kind::Fractions => "Fractions of votes, one for each class.",
        };
        blocks.push(Block::Words(words.to_owned()));
    }
    blocks.push(Block::Table(headline_table(fits)));
    let mut warnings: Vec<String> = Vec::new();
    for warning in fits.iter().filter(|fit| fit.shots.is_none()).flat_map(|fit| &fit.warnings) {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    blocks.extend(warnings.into_iter().map(Block::Warning));
    if let Some(figure) = few_shot_figure(fits)? {
        blocks.push(Block::Figures(vec![figure]));
    }
    Ok(Section { heading: target.to_owned(), blocks })
}

fn headline_table(fits: &[&Fit]) -> Table {
    let names: Vec<&str> = fits.first().map_or(Vec::new(), |fit| {
        let present = |name: &&&str| fits.iter().any(|fit| fit.metric(name).is_some());
        headlines(fit.kind).iter().filter(present).copied().collect()
    });
    let mut headings: Vec<String> =
        ["space", "head", "training", "test"].map(str::to_owned).to_vec();
    headings.extend(names.iter().map(|name| title(name)));
    let best: Vec<Option<f64>> = names.iter().map(|name| best_value(fits, name)).collect();
    let row = |fit: &&Fit| {
        let mut row = vec![
            Item::Words(fit.space.clone()),
            Item::Words(fit.head.clone()),
            Item::Number(thousands(fit.n_train)),
            Item::Number(thousands(fit.n_test)),
        ];
        row.extend(names.iter().zip(&best).map(|(name, best)| {
            let measured = fit.metric(name).cloned();
            let is_best = measured.as_ref().is_some_and(|each| Some(each.value) == *best);
            Item::Measured(measured, is_best && fits.len() > 1)
        }));
        row
    };
    Table { headings, rows: fits.iter().map(row).collect() }
}

fn best_value(fits: &[&Fit], name: &str) -> Option<f64> {
    let values = fits.iter().filter_map(|fit| fit.metric(name)).map(|each| each.value);
    values.reduce(
        |best, value| {
            if better(name, value, best).is_some_and(|by| by > 0.0) { value } else { best }
        },
    )
}

/// The number that fits of one target are compared by, the first of the telling ones that they have.
fn main_metric(fits: &[&Fit]) -> Option<&'static str> {
    let kind = fits.first()?.kind;
    headlines(kind).iter().find(|name| fits.iter().any(|fit| fit.metric(name).is_some())).copied()
}

fn few_shot_figure(fits: &[&Fit]) -> Result<Option<Figure>> {
    let Some(metric) = main_metric(fits) else { return Ok(None) };
    if fits.iter().all(|fit| fit.shots.is_none()) {
        return Ok(None);
    }
    let mut curves: Vec<Curve> = Vec::new();
    for fit in fits {
        let name = fit.name();
        let Some(measured) = fit.metric(metric) else { continue };
        let place = curves.iter().position(|curve| curve.name == name).unwrap_or_else(|| {
            curves.push(Curve { name, points: Vec::new(), band: Vec::new() });
            curves.len() - 1
        });
        curves[place].points.push((fit.n_train.max(1) as f64, measured.value));
        curves[place].band.push(measured.low.zip(measured.high));
    }
    for curve in &mut curves {
        curve.sort();
    }
    let caption = format!(
        "{} of the same test set against the number of training examples; smaller training sets are \
         contained in larger ones.",
        title(metric)
    );
    Ok(Some(Figure { svg: few_shot(&curves, &title(metric))?, caption }))
}

/// Of each space the fit to all examples with the best main number.
fn best_of_spaces<'a>(fits: &[&'a Fit]) -> Vec<&'a Fit> {
    let metric = main_metric(fits).unwrap_or_default();
    let mut best: Vec<&Fit> = Vec::new();
    for fit in most_examples(fits) {
        let value = |fit: &Fit| fit.metric(metric).map_or(f64::NAN, |each| each.value);
        match best.iter_mut().find(|each| each.space == fit.space) {
            Some(each) if better(metric, value(fit), value(each)).is_some_and(|by| by > 0.0) => {
                *each = fit;
            }
            Some(_) => {}
            None => best.push(fit),
        }
    }
    best
}

/// Of each space and head the fit to most examples.
fn most_examples<'a>(fits: &[&'a Fit]) -> Vec<&'a Fit> {
    let mut most: Vec<&Fit> = Vec::new();
    for fit in fits {
        match most.iter_mut().find(|each| each.name() == fit.name()) {
            Some(each) if each.n_train < fit.n_train || fit.shots.is_none() => *each = fit,
            Some(_) => {}
            None => most.push(fit),
        }
    }
    most
}

/// The figures of one fit.
fn details(fit: &Fit, all: &[&Fit]) -> Result<Section> {
    let heads = most_examples(all).iter().filter(|each| each.space == fit.space).count();
    let best = match heads {
        0 | 1 => String::new(),
        heads => format!("The best of the {heads} heads on {}. ", fit.space),
    };
    let missing = match fit.n_missing {
        0 => String::new(),
        missing => format!("; {} left out for want of a value", thousands(missing)),
    };
    let alpha = fit
        .alpha
        .map_or_else(String::new, |alpha| format!("; regularisation {}", significant(alpha, 3)));
    let (train, test) = (thousands(fit.n_train), thousands(fit.n_test));
    let words = format!("{best}{train} training and {test} test objects{missing}{alpha}.");
    let mut figures = Vec::new();
    match fit.kind {
        Kind::Number => figures.extend(number_figures(fit)?),
        Kind::Class => figures.extend(class_figures(fit)?),
        Kind::Fractions => {
            for class in 0..fit.classes.len().min(PANELS_MAX) {
                let target = format!("fraction of {}", fit.classes[class]);
                let points = fit.pairs(class);
                let svg =
                    scatter(&Scatter { points: &points, target: &target, is_redshift: false })?;
                let caption = format!("Votes for {}: predicted and true.", fit.classes[class]);
                figures.push(Figure { svg, caption });
            }
        }
    }
    let heading = format!("{}: {}", fit.target, fit.name());
    Ok(Section { heading, blocks: vec![Block::Words(words), Block::Figures(figures)] })
}

fn number_figures(fit: &Fit) -> Result<Vec<Figure>> {
    let points = fit.pairs(0);
    if points.is_empty() {
        return Ok(Vec::new());
    }
    let is_redshift = fit.is_redshift();
    let target = fit.target_with_unit();
    let drawn = Scatter { points: &points, target: &target, is_redshift };
    let svg = scatter(&drawn)?;
    let caption = format!(
        "Predicted against true, with the line on which they are equal, and what is left; the dark line is the running \
         median.{}",
        beyond_text(drawn.beyond(), points.len())
    );
    let mut figures = vec![Figure { svg, caption }];
    let residual = |truth: f64, predicted: f64| {
        (predicted - truth) / if is_redshift { 1.0 + truth } else { 1.0 }
    };
    let placed: Vec<(f64, f64, f64)> = fit
        .predictions
        .iter()
        .filter_map(|each| {
            let (ra, dec) = each.position?;
            Some((ra, dec, residual(*each.truth.first()?, *each.predicted.first()?)))
        })
        .collect();
    if !placed.is_empty() {
        let label = if is_redshift { "Δz / (1 + z)" } else { "predicted − true" };
        let svg = sky(&placed, Shown::Signed, label)?;
        let caption =
            "Residuals on the sky; where many objects lie together, their mean.".to_owned();
        figures.push(Figure { svg, caption });
    }
    Ok(figures)
}

/// How many objects the panels do not show.
fn beyond_text((above, below): (usize, usize), all: usize) -> String {
    let share = |count: usize| {
        let percent = significant(100.0 * count as f64 / all.max(1) as f64, 2);
        format!("{} of {} objects ({percent} %)", thousands(count as u64), thousands(all as u64))
    };
    match (above, below) {
        (0, 0) => String::new(),
        (0, below) => format!(" Beyond the panel of what is left: {}.", share(below)),
        (above, below) => {
            format!(
                " Beyond the upper panel: {}; beyond the lower one: {}.",
                share(above),
                share(below)
            )
        }
    }
}

fn class_figures(fit: &Fit) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    if !fit.confusion.is_empty() {
        let svg = confusion(&fit.classes, &fit.confusion)?;
        let caption = "Confusion: shares of the true class, and numbers of objects.".to_owned();
        figures.push(Figure { svg, caption });
    }
    let curves = roc_curves(fit);
    if !curves.is_empty() {
        let caption =
            "Receiver operating characteristic of each class against all others, with the area \
                       below it."
                .to_owned();
        figures.push(Figure { svg: roc(&curves)?, caption });
    }
    if !fit.calibration.is_empty() {
        let label = match fit.classes.as_slice() {
            [_, second] => format!("probability of {second}"),
            _ => "probability of the predicted class".to_owned(),
        };
        let svg = calibration(&fit.calibration, &label)?;
        let caption =
            "Calibration: how often it was true, against how probable it was said to be; bars are \
                       two standard errors."
                .to_owned();
        figures.push(Figure { svg, caption });
    }
    let placed: Vec<(f64, f64, f64)> = fit
        .predictions
        .iter()
        .filter_map(|each| {
            let (ra, dec) = each.position?;
            let right = each.predicted.get(*each.truth.first()? as usize)?;
            Some((ra, dec, 1.0 - right))
        })
        .collect();
    if !placed.is_empty() {
        let svg = sky(&placed, Shown::Share, "1 − p(true)")?;
        let caption = "Probability that was not given to the true class, on the sky.".to_owned();
        figures.push(Figure { svg, caption });
    }
    Ok(figures)
}

fn roc_curves(fit: &Fit) -> Vec<Curve> {
    let classes = if fit.classes.len() == 2 { 1..2 } else { 0..fit.classes.len() };
    classes
        .take(CLASSES_SHOWN)
        .filter_map(|class| {
            let (scores, members) = fit.scores(class);
            let points = roc_curve(&scores, &members);
            let area = crate::learn::metrics::auc(&scores, &members)?;
            let name = format!("{} ({})", fit.classes[class], significant(area, 3));
            (!points.is_empty()).then(|| Curve { name, points, band: Vec::new() })
        })
        .collect()
}

/// Every number of every fit to all examples, fits side by side.
fn all_numbers(target: &str, fits: &[&Fit]) -> Section {
    let full = most_examples(fits);
    let mut names: Vec<&str> = Vec::new();
    for measured in full.iter().flat_map(|fit| &fit.metrics) {
        if !names.contains(&measured.name.as_str()) {
            names.push(&measured.name);
        }
    }
    let best: Vec<Option<f64>> = names.iter().map(|name| best_value(&full, name)).collect();
    let blocks = full.chunks(COLUMNS_MAX).map(|columns| {
        let mut headings = vec![String::new()];
        headings.extend(columns.iter().map(|fit| fit.name()));
        let row = |(name, best): (&&str, &Option<f64>)| {
            let mut row = vec![Item::Words(title(name))];
            row.extend(columns.iter().map(|fit| {
                let measured: Option<Measured> = fit.metric(name).cloned();
                let is_best = measured.as_ref().is_some_and(|each| Some(each.value) == *best);
                Item::Measured(measured, is_best && full.len() > 1)
            }));
            row
        };
        Block::Table(Table { headings, rows: names.iter().zip(&best).map(row).collect() })
    });
    Section { heading: format!("{target}: all numbers"), blocks: blocks.collect() }
}
