//! Rare classes in a sky of others: what more examples, a head on the fly, and labels that are asked for find.
//!
//! Run with `cargo bench --bench rare`. Vectors are made up: classes of 26 %, 2 % and 0.1 % of the objects, moved a little along
//! directions of their own, under noise that has nothing to do with them and is larger. Prints tables of means over draws
//! with their standard errors, and draws a figure. `-- --rows N` takes another number of objects, `-- --figure FILE.svg` another
//! file.

#![allow(missing_docs, reason = "a program")]

#[path = "../../tests/harness/classes.rs"]
mod classes;
#[path = "../../tests/harness/made.rs"]
mod made;

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use plotters::prelude::*;
use sidereus::engine::{CollectionView, Db, DbOptions, Write, WriteMode};
use sidereus::query::{self, BatchQuery, Method, Query, StopFlag, Strategy, Term};
use sidereus::schema::{ColumnType, Object, ObjectId, Value};
use sidereus::sky::{Degrees, Position, Radians};
use sidereus::vector::Metric;

use classes::{Classes, DIMENSION, Random};

const NAME: &str = "sky";
const ROWS: usize = 50_000;

const CLASSES: [(i64, &str); 3] = [(1, "26 %"), (2, "2 %"), (3, "0.1 %")];
const COUNTS: [usize; 5] = [1, 2, 5, 10, 15];
const DRAWS: usize = 30;

/// Active learning: labels in a batch, batches, sessions.
const BATCH: usize = 10;
const BATCHES: usize = 15;
const SESSIONS: usize = 6;

struct Sky {
    view: CollectionView,
    classes: Vec<i64>,
    _db: Db,
    _folder: tempfile::TempDir,
}

impl Sky {
    fn new(rows: usize) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let db = Db::open(DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) })?;
        let spaces = vec![made::space("image", DIMENSION, Metric::Cosine)];
        let schema = made::schema(NAME, &[("class", ColumnType::Int64)], spaces);
        let space = db.create_collection(schema)?.schema.spaces[0].id;
        let mut drawn = Classes::new();
        let (mut classes, mut writes) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for number in 0..rows {
            let (class, vector) = drawn.draw();
            let random = &mut drawn.random;
            let dec = Radians((2.0 * random.unit() - 1.0).asin());
            writes.push(Write::Put(Object {
                id: ObjectId::Number(number as i64),
                position: Position::new(Degrees(360.0 * random.unit()), dec.into())?,
                columns: vec![Value::Int64(class)],
                vectors: vec![(space, vector)],
            }));
            classes.push(class);
        }
        db.write(NAME, WriteMode::Bulk, writes)?;
        db.build_index(NAME, &mut |_, _, _| {})?;
        Ok(Self { view: db.view(NAME)?, classes, _db: db, _folder: folder })
    }

    fn members(&self, class: i64) -> Vec<usize> {
        (0..self.classes.len()).filter(|id| self.classes[*id] == class).collect()
    }

    /// nDCG@10 where so many of the class can be found; 1 where none is left.
    fn ndcg(&self, found: &[usize], class: i64, left: usize) -> f64 {
        if left == 0 {
            return 1.0;
        }
        let discount = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
        let gains = found.iter().take(10).enumerate().filter(|(_, id)| self.classes[**id] == class);
        let ideal: f64 = (0..left.min(10)).map(discount).sum();
        gains.map(|(rank, _)| discount(rank)).sum::<f64>().max(0.0) / ideal
    }

    fn nearest(
        &self,
        like: &[usize],
        unlike: &[usize],
        method: Method,
    ) -> Result<Vec<usize>, Box<dyn Error>> {
        let term = Term { like: ids(like), unlike: ids(unlike), method, ..Term::default() };
        let query = Query { terms: vec![term], k: Some(10), exact: true, ..Query::default() };
        let answer = query::search(&self.view, &query)?;
        Ok(answer.hits.iter().filter_map(|hit| number(&hit.id)).collect())
    }
}

fn ids(numbers: &[usize]) -> Vec<ObjectId> {
    numbers.iter().map(|number| ObjectId::Number(*number as i64)).collect()
}

fn number(id: &ObjectId) -> Option<usize> {
    match id {
        ObjectId::Number(number) => usize::try_from(*number).ok(),
        ObjectId::Text(_) => None,
    }
}

/// Mean and standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
}

/// One line of a figure: a name, the class that gives the colour, whether it is of a head, and its points.
type Line = (String, i64, bool, Vec<(f64, f64)>);

/// nDCG@10 by the number of positives and what is made of them.
fn by_examples(sky: &Sky) -> Result<Vec<Line>, Box<dyn Error>> {
    let methods = [
        ("centroid", Method::Centroid, false),
        ("max-sim", Method::MaxSim, false),
        ("rocchio, as many negatives", Method::Rocchio, true),
        ("probe", Method::Probe, false),
        ("probe, as many negatives", Method::Probe, true),
    ];
    println!("nDCG@10 by the number of positives, {DRAWS} draws\n");
    println!("| class | method | {} |", COUNTS.map(|count| count.to_string()).join(" | "));
    println!("| :-- | :-- |{}", " --: |".repeat(COUNTS.len()));
    let mut lines = Vec::new();
    for (class, share) in CLASSES {
        let members = sky.members(class);
        for (name, method, with_negatives) in methods {
            let (mut row, mut points) = (Vec::new(), Vec::new());
            for count in COUNTS {
                let mut random = Random(1 + class as u64);
                let mut values = Vec::with_capacity(DRAWS);
                for _ in 0..DRAWS {
                    let mut left = members.clone();
                    let like: Vec<usize> =
                        (0..15).map(|_| left.swap_remove(random.below(left.len()))).collect();
                    let mut unlike: Vec<usize> = Vec::new();
                    while unlike.len() < 15 {
                        let drawn = random.below(sky.classes.len());
                        if sky.classes[drawn] != class && !unlike.contains(&drawn) {
                            unlike.push(drawn);
                        }
                    }
                    let unlike = if with_negatives { &unlike[..count] } else { &[] };
                    let found = sky.nearest(&like[..count], unlike, method)?;
                    values.push(sky.ndcg(&found, class, members.len() - count));
                }
                let (mean, error) = mean(&values);
                row.push(format!("{mean:.3} ± {error:.3}"));
                points.push((count as f64, mean));
            }
            println!("| {share} ({}) | {name} | {} |", members.len(), row.join(" | "));
            if matches!(name, "centroid" | "probe") {
                lines.push((format!("{share}, {name}"), class, name == "probe", points));
            }
        }
    }
    Ok(lines)
}

/// Positives found, and nDCG@10 of a head on all labels, after each batch.
fn session(
    sky: &Sky,
    first: usize,
    members: usize,
    strategy: Option<Strategy>,
) -> Result<Vec<(usize, f64)>, Box<dyn Error>> {
    let class = sky.classes[first];
    let mut random = Random(first as u64 + 9);
    let (mut positives, mut negatives) = (vec![first], Vec::new());
    let mut course = Vec::with_capacity(BATCHES);
    for round in 0..BATCHES {
        let batch: Vec<usize> = match strategy {
            None => (0..BATCH).map(|_| random.below(sky.classes.len())).collect(),
            Some(strategy) => {
                let query = BatchQuery {
                    space: "image".to_owned(),
                    positives: ids(&positives),
                    negatives: ids(&negatives),
                    region: None,
                    predicate: None,
                    count: BATCH,
                    strategy,
                    seed: round as u64,
                    stop: StopFlag::default(),
                };
                let batch = query::next_batch(&sky.view, &query)?;
                batch.proposals.iter().filter_map(|proposal| number(&proposal.id)).collect()
            }
        };
        for id in batch {
            let of = if sky.classes[id] == class { &mut positives } else { &mut negatives };
            if !of.contains(&id) {
                of.push(id);
            }
        }
        let found = sky.nearest(&positives, &negatives, Method::Probe)?;
        let left = members - positives.len();
        course.push((positives.len(), sky.ndcg(&found, class, left)));
    }
    Ok(course)
}

fn by_sessions(sky: &Sky) -> Result<Vec<Line>, Box<dyn Error>> {
    println!(
        "\nActive learning from one positive, batches of {BATCH} labels, {SESSIONS} sessions\n"
    );
    println!(
        "| class | strategy | positives after 50 | 100 | 150 labels | nDCG@10 of the rest after 50 | 100 | 150 labels |"
    );
    println!("| :-- | :-- | --: | --: | --: | --: | --: | --: |");
    let strategies = [
        ("random", None),
        ("diverse", Some(Strategy::Diverse)),
        ("uncertain", Some(Strategy::Uncertain)),
        ("likely", Some(Strategy::Likely)),
    ];
    let mut lines = Vec::new();
    for (class, share) in CLASSES.into_iter().skip(1) {
        let members = sky.members(class);
        for (name, strategy) in strategies {
            let firsts = members.iter().step_by(members.len() / SESSIONS).take(SESSIONS);
            let courses: Vec<Vec<(usize, f64)>> = firsts
                .map(|first| session(sky, *first, members.len(), strategy))
                .collect::<Result<_, _>>()?;
            let at = |batch: usize, of: fn(&(usize, f64)) -> f64| {
                mean(&courses.iter().map(|course| of(&course[batch])).collect::<Vec<_>>()).0
            };
            let positives = |batch| at(batch, |point| point.0 as f64);
            let found = [4, 9, 14].map(|batch| format!("{:.1}", positives(batch))).join(" | ");
            let ndcg =
                [4, 9, 14].map(|batch| format!("{:.3}", at(batch, |point| point.1))).join(" | ");
            println!("| {share} ({}) | {name} | {found} | {ndcg} |", members.len());
            let points = (0..BATCHES).map(|batch| (((batch + 1) * BATCH) as f64, positives(batch)));
            let is_head = matches!(name, "uncertain" | "likely");
            lines.push((format!("{share}, {name}"), class, is_head, points.collect()));
        }
    }
    Ok(lines)
}

fn draw(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    [title, across, up]: [&str; 3],
    x: f64,
    y: f64,
    lines: &[Line],
) -> Result<(), Box<dyn Error>> {
    const COLOURS: [RGBColor; 8] = [
        RGBColor(0x1f, 0x77, 0xb4),
        RGBColor(0xff, 0x7f, 0x0e),
        RGBColor(0x2c, 0xa0, 0x2c),
        RGBColor(0xd6, 0x27, 0x28),
        RGBColor(0x94, 0x67, 0xbd),
        RGBColor(0x8c, 0x56, 0x4b),
        RGBColor(0xe3, 0x77, 0xc2),
        RGBColor(0x7f, 0x7f, 0x7f),
    ];
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..x, 0.0..y)?;
    chart.configure_mesh().x_desc(across).y_desc(up).draw()?;
    for (place, (name, _, is_head, points)) in lines.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let style = ShapeStyle::from(&colour).stroke_width(if *is_head { 3 } else { 1 });
        let series = LineSeries::new(points.iter().copied(), style);
        chart
            .draw_series(series)?
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().collect();
    let value = |word: &str| {
        let place = words.iter().position(|each| each == word);
        place.and_then(|place| words.get(place + 1)).cloned()
    };
    let rows = value("--rows").map_or(Ok(ROWS), |text| text.parse())?;
    let figure = value("--figure").map(PathBuf::from);
    let figure =
        figure.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("rare.svg"));
    let began = Instant::now();
    let sky = Sky::new(rows)?;
    println!(
        "{rows} objects, {DIMENSION} components, cosine; made and indexed in {:.1?}\n",
        began.elapsed()
    );
    let examples = by_examples(&sky)?;
    let sessions = by_sessions(&sky)?;
    let root = SVGBackend::new(&figure, (1_200, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(600);
    draw(&left, ["Examples", "positives", "nDCG@10"], 16.0, 1.02, &examples)?;
    let labels = ((BATCHES + 1) * BATCH) as f64;
    let most = sessions.iter().flat_map(|line| &line.3).map(|point| point.1).fold(1.0, f64::max);
    draw(
        &right,
        ["Labels asked for", "labels", "positives found"],
        labels,
        1.05 * most,
        &sessions,
    )?;
    root.present()?;
    println!("\nfigure: {}; everything in {:.1?}", figure.display(), began.elapsed());
    Ok(())
}
