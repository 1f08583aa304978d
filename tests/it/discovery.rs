//! Outliers against scikit-learn, and what examples, heads and sessions find of rare classes planted among others.

#[path = "../harness/classes.rs"]
mod classes;
mod outliers;
mod rare;

use sidereus::engine::{CollectionView, Db, DbOptions, Write, WriteMode};
use sidereus::schema::{ColumnType, Object, ObjectId, Value};
use sidereus::sky::{Degrees, Position, Radians};
use sidereus::vector::Metric;
use tempfile::TempDir;

use self::classes::Random;
use crate::support::made;

const NAME: &str = "galaxies";

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
        let spaces = vec![made::space("image", vectors[0].len(), metric)];
        let schema = made::schema(NAME, &[("class", ColumnType::Int64)], spaces);
        let space = db.create_collection(schema).expect("creates").schema.spaces[0].id;
        let mut random = Random(11);
        let mut object = |(number, vector): (usize, &Vec<f32>)| {
            let dec = Radians((2.0 * random.unit() - 1.0).asin());
            let position = Position::new(Degrees(360.0 * random.unit()), dec.into());
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
