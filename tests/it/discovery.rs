//! Outliers against scikit-learn, and what examples, heads and sessions find of rare classes planted among others.

mod outliers;
mod rare;

use sidereus::engine::{CollectionView, Db, DbOptions, Write, WriteMode};
use sidereus::schema::{
    CollectionSchema, Column, ColumnType, EmbeddingSpace, IdKind, Modality, Object, ObjectId,
    Provenance, SpaceForm, SpaceId, Value,
};
use sidereus::sky::{Degrees, Position};
use sidereus::vector::Metric;
use tempfile::TempDir;

const NAME: &str = "galaxies";

/// A small generator of random numbers (xorshift), so that data are the same everywhere.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// A collection of one space, with a column that tells which vectors are special.
struct Catalogue {
    db: Db,
    _folder: TempDir,
}

impl Catalogue {
    fn new(metric: Metric, vectors: &[Vec<f32>], class: impl Fn(usize) -> i64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) };
        let db = Db::open(options).expect("opens");
        let space = EmbeddingSpace {
            id: SpaceId(0),
            name: "image".to_owned(),
            modality: Modality("image".to_owned()),
            form: SpaceForm::default(),
            dimension: vectors[0].len(),
            metric,
            provenance: Provenance::external(),
            at_ingest: None,
            shared: None,
        };
        let schema = CollectionSchema {
            name: NAME.to_owned(),
            id_kind: IdKind::Number,
            columns: vec![Column::new("class", ColumnType::Int64)],
            spaces: vec![space],
            description: String::new(),
        };
        let space = db.create_collection(schema).expect("creates").schema.spaces[0].id;
        let mut random = Random(11);
        let mut object = |(number, vector): (usize, &Vec<f32>)| {
            let dec = (2.0 * random.unit() - 1.0).asin().to_degrees();
            let position = Position::new(Degrees(360.0 * random.unit()), Degrees(dec));
            Write::Put(Object {
                id: ObjectId::Number(number as i64),
                position: position.expect("on the sphere"),
                columns: vec![Value::Int64(class(number))],
                vectors: vec![(space, vector.clone())],
            })
        };
        let writes = vectors.iter().enumerate().map(&mut object).collect();
        db.write(NAME, WriteMode::Bulk, writes).expect("writes");
        Self { db, _folder: folder }
    }

    fn indexed(self) -> Self {
        self.db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
        self
    }

    fn view(&self) -> CollectionView {
        self.db.view(NAME).expect("a view")
    }
}

fn number(id: &ObjectId) -> usize {
    let ObjectId::Number(number) = id else { panic!("ids are numbers") };
    *number as usize
}
