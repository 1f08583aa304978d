//! The report on retrieval: how many of the nearest are what was looked for.

use super::examples::Example;
use super::page::{Block, Item, Page, Provenance, Section, Table};
use super::words::{better, title};
use crate::cli::render::thousands;
use crate::learn::metrics::Measured;

/// What queries found in one space.
#[derive(Debug, Clone)]
pub(crate) struct Ranks {
    pub(crate) space: String,
    pub(crate) queries: u64,
    /// Objects that could be found: those with a vector in the space.
    pub(crate) objects: u64,
    /// Relevant ones among them.
    pub(crate) relevant: u64,
    pub(crate) got: Vec<Measured>,
    pub(crate) by_chance: Vec<Measured>,
}

impl Ranks {
    /// How many times better than chance a number is.
    pub(crate) fn lift(&self, name: &str) -> Option<f64> {
        let of =
            |list: &[Measured]| list.iter().find(|each| each.name == name).map(|each| each.value);
        let chance = of(&self.by_chance)?;
        (chance > 0.0).then_some(of(&self.got)? / chance)
    }
}

/// What chance reaches, with words for it: one for all spaces where the same objects can be found in each, and one for each
/// space otherwise.
pub(crate) fn chances(spaces: &[Ranks]) -> Vec<(String, &[Measured])> {
    let gallery = |ranks: &Ranks| (ranks.objects, ranks.relevant);
    let is_one = spaces.windows(2).all(|two| gallery(&two[0]) == gallery(&two[1]));
    let shown = if is_one { spaces.len().min(1) } else { spaces.len() };
    let words = |ranks: &Ranks| {
        if is_one { "by chance".to_owned() } else { format!("by chance in {}", ranks.space) }
    };
    spaces[..shown].iter().map(|ranks| (words(ranks), ranks.by_chance.as_slice())).collect()
}

/// Writes the report on retrieval as HTML.
pub(crate) fn ranks(
    collection: &str,
    wanted: &str,
    spaces: &[Ranks],
    examples: Vec<Example>,
    provenance: Provenance,
) -> String {
    let names: Vec<String> = spaces
        .first()
        .map_or(Vec::new(), |first| first.got.iter().map(|each| each.name.clone()).collect());
    let value =
        |ranks: &Ranks, name: &str| ranks.got.iter().find(|each| each.name == name).cloned();
    let best = |name: &str| {
        let values = spaces.iter().filter_map(|ranks| value(ranks, name)).map(|each| each.value);
        values.reduce(|best, value| {
            if better(name, value, best).is_some_and(|by| by > 0.0) { value } else { best }
        })
    };
    let mut headings: Vec<String> =
        ["space", "queries", "objects", "relevant"].map(str::to_owned).to_vec();
    headings.extend(names.iter().map(|name| title(name)));
    let mut rows = Vec::new();
    for ranks in spaces {
        let counts = [ranks.queries, ranks.objects, ranks.relevant];
        let mut row = vec![Item::Words(ranks.space.clone())];
        row.extend(counts.map(|count| Item::Number(thousands(count))));
        row.extend(names.iter().map(|name| {
            let measured = value(ranks, name);
            let is_best = measured.as_ref().is_some_and(|each| Some(each.value) == best(name));
            Item::Measured(measured, is_best && spaces.len() > 1)
        }));
        rows.push(row);
    }
    for (words, by_chance) in chances(spaces) {
        let mut row = vec![Item::Words(words)];
        row.extend([(); 3].map(|()| Item::Number(String::new())));
        row.extend(names.iter().map(|name| {
            let chance = by_chance.iter().find(|each| each.name == *name).cloned();
            Item::Measured(chance.map(|chance| Measured { low: None, high: None, ..chance }), false)
        }));
        rows.push(row);
    }
    let words = format!(
        "Every query is an object with {wanted}; it searches all objects that have a vector in the space for what is most like it, \
         and is left out of its own answer and of the best answer that there could be."
    );
    let mut sections = vec![Section {
        heading: "How good the order is".to_owned(),
        blocks: vec![Block::Words(words), Block::Table(Table { headings, rows })],
    }];
    if !examples.is_empty() {
        let words = "The query is framed in black, relevant objects in green, others in orange.";
        let blocks = vec![Block::Words(words.to_owned()), Block::Examples(examples)];
        sections.push(Section { heading: "Examples".to_owned(), blocks });
    }
    let lead = format!(
        "Looking for {wanted}. Intervals hold 95 % of the bootstrap's resamples of the queries."
    );
    Page { title: format!("Retrieval from {collection}"), lead, sections, provenance }.to_html()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_chance_beside_what_was_found() {
        let measured = |value: f64| Measured {
            name: "precision@10".to_owned(),
            value,
            low: Some(value - 0.1),
            high: Some(value + 0.1),
        };
        let space = Ranks {
            space: "images".to_owned(),
            queries: 50,
            objects: 12_345,
            relevant: 99,
            got: vec![measured(0.7)],
            by_chance: vec![measured(0.01)],
        };
        assert!((space.lift("precision@10").expect("both") - 70.0).abs() < 1e-9);
        let html = ranks("galaxies", "class = ring", &[space], Vec::new(), Vec::new());
        for wanted in ["images", "12,345", ">0.7<", "0.6 to 0.8", "by chance", ">0.01<"] {
            assert!(html.contains(wanted), "{wanted}: {html}");
        }
        let space = |objects| Ranks {
            space: format!("of {objects}"),
            queries: 1,
            objects,
            relevant: 1,
            got: Vec::new(),
            by_chance: Vec::new(),
        };
        let words = |objects: &[u64]| -> Vec<String> {
            let spaces: Vec<Ranks> = objects.iter().map(|objects| space(*objects)).collect();
            chances(&spaces).into_iter().map(|(words, _)| words).collect()
        };
        assert_eq!(words(&[5, 5]), ["by chance"]);
        assert_eq!(words(&[5, 7]), ["by chance in of 5", "by chance in of 7"]);
    }
}
