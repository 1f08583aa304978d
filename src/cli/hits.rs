//! Objects and hits as rows: which columns, in which order, in which form.

use std::collections::HashMap;

use super::ids::id_text;
use super::render::{Cell, Json, Table};
use crate::schema::{is_always_returned, is_built_in};
use crate::sky::{Degrees, Position as SkyPosition};
use crate::wire::v1::{
    Beside, CollectionSchema, ColumnType, EmbeddingSpace, Hit, Object, Position, SpaceForm,
    TokenRun, TokenSequence, Value, Vector,
};

/// What programs find the separation from a place under.
const SEPARATION_ARCSEC: &str = "separation_arcsec";

/// Columns that are printed beside the built-in ones, in order.
#[derive(Debug, Clone)]
pub(super) struct Columns(Vec<String>);

impl Columns {
    /// Those that were asked for, in that order; else all of the schema but binary ones, as the server sends them.
    pub(super) fn new(schema: &CollectionSchema, wanted: &[String]) -> Self {
        if wanted.is_empty() {
            let plain =
                schema.columns.iter().filter(|column| column.r#type() != ColumnType::Binary);
            return Self(plain.map(|column| column.name.clone()).collect());
        }
        let in_schema = |name: &String| {
            let found = schema.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
            found.map_or_else(|| name.clone(), |column| column.name.clone())
        };
        // Every hit has the others.
        Self(wanted.iter().filter(|name| !is_always_returned(name)).map(in_schema).collect())
    }

    /// The same with one more, where it is none of them and no built-in one: a column that hits are ordered by.
    pub(super) fn with(mut self, name: Option<&str>) -> Self {
        let Some(name) = name.filter(|name| !is_built_in(name)) else { return self };
        // First, so that it is seen in a narrow terminal.
        let place = self.0.iter().position(|known| known.eq_ignore_ascii_case(name));
        let name = place.map_or_else(|| name.to_owned(), |place| self.0.remove(place));
        self.0.insert(0, name);
        self
    }

    /// All of the schema.
    pub(super) fn all(schema: &CollectionSchema) -> Self {
        Self(schema.columns.iter().map(|column| column.name.clone()).collect())
    }

    /// The names, for people with the units that the schema has.
    fn headings(&self, schema: &CollectionSchema, for_people: bool) -> Vec<String> {
        let unit = |name: &String| {
            let column = schema.columns.iter().find(|column| &column.name == name);
            column.map_or("", |column| column.unit.as_str())
        };
        let heading = |name: &String| match (for_people, unit(name)) {
            (false, _) | (true, "") => name.clone(),
            (true, unit) => format!("{name} [{unit}]"),
        };
        self.0.iter().map(heading).collect()
    }

    fn cells(&self, values: &HashMap<String, Value>) -> impl Iterator<Item = Cell> {
        self.0.iter().map(|name| {
            // Of a derived column only the server knows how it is written.
            let alike = || values.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            let value = values.get(name).or_else(|| alike().map(|(_, value)| value));
            Cell::of_wire(value)
        })
    }

    fn json(&self, values: &HashMap<String, Value>) -> Json {
        Json::object(self.0.iter().cloned().zip(self.cells(values).map(|cell| cell.to_json())))
    }
}

fn degrees(position: Option<&Position>) -> [Cell; 2] {
    let coordinate =
        |of: fn(&Position) -> f64| position.map_or(Cell::Null, |at| Cell::Degrees(of(at)));
    [coordinate(|at| at.ra), coordinate(|at| at.dec)]
}

fn vector_cell(vector: Option<&Vector>) -> Cell {
    let reals = |vector: &Vector| vector.values.iter().copied().map(f64::from).collect();
    vector.map_or(Cell::Null, |vector| Cell::Reals(reals(vector)))
}

/// The spaces that hits have vectors of.
fn vector_spaces(schema: &CollectionSchema) -> impl Iterator<Item = &EmbeddingSpace> {
    schema.spaces.iter().filter(|space| space.form() == SpaceForm::Unspecified)
}

/// What an object has in a space of tokens, in a few words: `tok_image 576 x 768`.
fn tokens_text(sequence: &TokenSequence) -> String {
    let run = |run: &TokenRun| {
        let count = match run.width {
            0 => format!("{} ids", run.count),
            width => format!("{} x {width}", run.count),
        };
        if run.modality.is_empty() { count } else { format!("{} {count}", run.modality) }
    };
    sequence.runs.iter().map(run).collect::<Vec<_>>().join(", ")
}

fn tokens_json(schema: &CollectionSchema, tokens: &HashMap<String, TokenSequence>) -> Json {
    let present = schema.spaces.iter().filter_map(|space| {
        let sequence = tokens.get(&space.name)?;
        Some((space.name.clone(), Cell::text(tokens_text(sequence)).to_json()))
    });
    Json::object(present)
}

fn vectors_json(schema: &CollectionSchema, vectors: &HashMap<String, Vector>) -> Json {
    let present = schema.spaces.iter().filter_map(|space| {
        let vector = vectors.get(&space.name)?;
        Some((space.name.clone(), vector_cell(Some(vector)).to_json()))
    });
    Json::object(present)
}

/// How a list of hits is printed.
#[derive(Debug)]
pub(super) struct HitLayout<'a> {
    pub(super) schema: &'a CollectionSchema,
    pub(super) columns: Columns,
    /// What their distance is called; `None` where they have none.
    pub(super) distance: Option<&'static str>,
    /// Whether people read it: headings have units then, and the similarity is not printed beside the distance.
    pub(super) for_people: bool,
    /// Whether vectors are printed.
    pub(super) with_vectors: bool,
    /// Centre of the cone that was searched.
    pub(super) centre: Option<SkyPosition>,
}

impl HitLayout<'_> {
    /// Hits as rows.
    pub(super) fn table(&self, hits: &[Hit]) -> Table {
        let mut headings: Vec<String> = ["object_id", "ra", "dec"].map(str::to_owned).to_vec();
        let separated = self.separation_unit(hits);
        headings.extend(separated.as_ref().map(|(heading, _)| (*heading).to_owned()));
        headings.extend(self.distance.map(str::to_owned));
        if !self.for_people {
            headings.push("score".to_owned());
        }
        let is_grouped = hits.iter().any(|hit| !hit.beside.is_empty());
        if is_grouped {
            headings.push("beside".to_owned());
        }
        headings.extend(self.columns.headings(self.schema, self.for_people));
        if self.with_vectors {
            let spaces = vector_spaces(self.schema);
            headings.extend(spaces.map(|space| format!("vector.{}", space.name)));
        }
        let mut table = Table::new(headings);
        for hit in hits {
            table.push(self.row(hit, is_grouped, separated.map(|(_, per_degree)| per_degree)));
        }
        table
    }

    /// Separation of a hit from the centre of the cone, in degrees.
    fn separation(&self, hit: &Hit) -> Option<f64> {
        let (centre, at) = (self.centre.as_ref()?, hit.position.as_ref()?);
        let at = SkyPosition::new(Degrees(at.ra), Degrees(at.dec)).ok()?;
        Some(centre.separation(&at).0)
    }

    /// How separations are headed, and how many of their units make a degree: arcseconds for programs, for people degrees
    /// where they are large. `None` where no cone was searched.
    fn separation_unit(&self, hits: &[Hit]) -> Option<(&'static str, f64)> {
        const ARCSEC: f64 = 3_600.0;
        // Beyond, arcseconds have more digits than anybody reads.
        const LARGE_DEGREES: f64 = 0.1;
        self.centre?;
        let is_large =
            hits.iter().filter_map(|hit| self.separation(hit)).any(|far| far > LARGE_DEGREES);
        Some(match (self.for_people, is_large) {
            (false, _) => (SEPARATION_ARCSEC, ARCSEC),
            (true, false) => ("separation [arcsec]", ARCSEC),
            (true, true) => ("separation [deg]", 1.0),
        })
    }

    fn row(&self, hit: &Hit, is_grouped: bool, separated: Option<f64>) -> Vec<Cell> {
        let mut row = vec![Cell::Id(id_text(hit.id.as_ref()))];
        row.extend(degrees(hit.position.as_ref()));
        if let Some(per_degree) = separated {
            row.push(Cell::optional_real(self.separation(hit).map(|far| far * per_degree)));
        }
        if self.distance.is_some() {
            row.push(Cell::optional_real(hit.distance));
        }
        if !self.for_people {
            row.push(Cell::optional_real(hit.score));
        }
        if is_grouped {
            let ids = hit.beside.iter().map(|beside| id_text(beside.id.as_ref()));
            row.push(Cell::text(ids.collect::<Vec<_>>().join(" ")));
        }
        row.extend(self.columns.cells(&hit.columns));
        if self.with_vectors {
            let spaces = vector_spaces(self.schema);
            row.extend(spaces.map(|space| vector_cell(hit.vectors.get(&space.name))));
        }
        row
    }

    /// Hits as JSON objects.
    pub(super) fn json(&self, hits: &[Hit]) -> Json {
        Json::List(hits.iter().map(|hit| self.hit_json(hit)).collect())
    }

    fn hit_json(&self, hit: &Hit) -> Json {
        let [ra, dec] = degrees(hit.position.as_ref());
        let mut members = vec![
            ("object_id", Cell::Id(id_text(hit.id.as_ref())).to_json()),
            ("ra", ra.to_json()),
            ("dec", dec.to_json()),
            ("distance", Cell::optional_real(hit.distance).to_json()),
            ("score", Cell::optional_real(hit.score).to_json()),
            ("columns", self.columns.json(&hit.columns)),
        ];
        if let Some((_, per_degree)) = self.separation_unit(&[]) {
            let far = self.separation(hit).map(|far| far * per_degree);
            members.push((SEPARATION_ARCSEC, Cell::optional_real(far).to_json()));
        }
        if self.with_vectors {
            members.push(("vectors", vectors_json(self.schema, &hit.vectors)));
        }
        if !hit.beside.is_empty() {
            members.push(("beside", Json::List(hit.beside.iter().map(beside_json).collect())));
        }
        Json::object(members)
    }
}

/// An object that is one with a hit, as JSON.
fn beside_json(beside: &Beside) -> Json {
    let [ra, dec] = degrees(beside.position.as_ref());
    Json::object([
        ("object_id", Cell::Id(id_text(beside.id.as_ref())).to_json()),
        ("ra", ra.to_json()),
        ("dec", dec.to_json()),
        ("distance", Cell::Real(beside.distance).to_json()),
        (SEPARATION_ARCSEC, Cell::Real(beside.separation_arcsec).to_json()),
    ])
}

/// Objects as rows.
pub(super) fn object_table(
    schema: &CollectionSchema,
    columns: &Columns,
    objects: &[Object],
    for_people: bool,
) -> Table {
    let built_in = ["object_id", "ra", "dec"].map(str::to_owned);
    let mut table = Table::new(built_in.into_iter().chain(columns.headings(schema, for_people)));
    for object in objects {
        let mut row = vec![Cell::Id(id_text(object.id.as_ref()))];
        row.extend(degrees(object.position.as_ref()));
        row.extend(columns.cells(&object.columns));
        table.push(row);
    }
    table
}

/// One object as named facts, which reads better than one very wide row.
pub(super) fn object_facts(
    schema: &CollectionSchema,
    columns: &Columns,
    object: &Object,
) -> Vec<(String, Cell)> {
    let [ra, dec] = degrees(object.position.as_ref());
    let mut facts = vec![
        ("object_id".to_owned(), Cell::Id(id_text(object.id.as_ref()))),
        ("ra".to_owned(), ra),
        ("dec".to_owned(), dec),
    ];
    facts.extend(columns.headings(schema, true).into_iter().zip(columns.cells(&object.columns)));
    for space in &schema.spaces {
        if let Some(vector) = object.vectors.get(&space.name) {
            facts.push((format!("vector.{}", space.name), vector_cell(Some(vector))));
        }
        if let Some(sequence) = object.tokens.get(&space.name) {
            facts.push((format!("tokens.{}", space.name), Cell::text(tokens_text(sequence))));
        }
    }
    facts
}

/// One object as JSON.
pub(super) fn object_json(
    schema: &CollectionSchema,
    columns: &Columns,
    object: &Object,
    with_vectors: bool,
) -> Json {
    let [ra, dec] = degrees(object.position.as_ref());
    let mut members = vec![
        ("object_id", Cell::Id(id_text(object.id.as_ref())).to_json()),
        ("ra", ra.to_json()),
        ("dec", dec.to_json()),
        ("columns", columns.json(&object.columns)),
    ];
    if with_vectors {
        members.push(("vectors", vectors_json(schema, &object.vectors)));
        members.push(("tokens", tokens_json(schema, &object.tokens)));
    }
    Json::object(members)
}
