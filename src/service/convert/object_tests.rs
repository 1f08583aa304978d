use super::*;
use crate::schema::{
    Column, ColumnType, EmbeddingSpace, IdKind, Modality, Provenance, SpaceForm, SpaceId,
};
use crate::vector::Metric;

fn schema() -> CollectionSchema {
    let space = |id, name: &str, dimension, metric| EmbeddingSpace {
        id: SpaceId(id),
        name: name.to_owned(),
        modality: Modality("image".to_owned()),
        form: SpaceForm::default(),
        dimension,
        metric,
        provenance: Provenance::external(),
        shared: None,
        at_ingest: None,
    };
    CollectionSchema {
        name: "galaxies".to_owned(),
        id_kind: IdKind::Number,
        columns: vec![
            Column::new("z", ColumnType::Float64),
            Column::new("mag", ColumnType::Float32),
            Column::new("class", ColumnType::Text),
            Column::new("spectrum", ColumnType::FloatList),
        ],
        spaces: vec![space(1, "a", 2, Metric::Cosine), space(2, "b", 3, Metric::L2)],
        description: String::new(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as a message has it")]
fn number(number: i64) -> Option<v1::ObjectId> {
    Some(v1::ObjectId { id: Some(v1::object_id::Id::Number(number)) })
}

fn value(kind: v1::value::Kind) -> v1::Value {
    v1::Value { kind: Some(kind) }
}

fn wire_object() -> v1::Object {
    v1::Object {
        tokens: HashMap::new(),
        id: number(7),
        position: Some(v1::Position { ra: 10.0, dec: -5.0 }),
        columns: HashMap::from([
            ("z".to_owned(), value(v1::value::Kind::Real(0.25))),
            ("mag".to_owned(), value(v1::value::Kind::Real(17.5))),
            (
                "spectrum".to_owned(),
                value(v1::value::Kind::Floats(v1::FloatList { values: vec![1.0, 2.0] })),
            ),
        ]),
        vectors: HashMap::from([
            ("b".to_owned(), v1::Vector { values: vec![1.0, 2.0, 3.0] }),
            ("a".to_owned(), v1::Vector { values: vec![0.0, 1.0] }),
        ]),
    }
}

fn refusal(change: impl FnOnce(&mut v1::Object)) -> String {
    let mut object = wire_object();
    change(&mut object);
    given_row(&schema(), object).expect_err("refused").to_string()
}

#[test]
fn an_object_survives_the_way_there_and_back() {
    let row = given_row(&schema(), wire_object()).expect("a good row");
    assert_eq!(row.columns_given, [true, true, false, true]);
    assert_eq!(row.object.vectors[0], (SpaceId(1), vec![0.0, 1.0]));
    assert_eq!(object_of(&schema(), row.object.clone(), true), wire_object());
    assert!(object_of(&schema(), row.object, false).vectors.is_empty());
}

#[test]
fn a_named_null_is_given_and_an_integer_fits_a_real_column() {
    let mut object = wire_object();
    object.columns.insert("z".to_owned(), v1::Value { kind: None });
    object.columns.insert("MAG".to_owned(), value(v1::value::Kind::Integer(17)));
    object.columns.remove("mag");
    let row = given_row(&schema(), object).expect("a good row");
    assert_eq!(row.columns_given, [true, true, false, true]);
    assert_eq!(row.object.columns[0], Value::Null);
    assert_eq!(row.object.columns[1], Value::Float32(17.0));
}

#[test]
fn every_bad_row_is_refused_with_its_reason() {
    assert!(refusal(|object| object.id = None).contains("`id` is missing"));
    assert!(refusal(|object| object.position = None).contains("`position` is missing"));
    let text = v1::ObjectId { id: Some(v1::object_id::Id::Text("x".to_owned())) };
    assert!(refusal(|object| object.id = Some(text)).contains("64-bit integers"));
    let position = |ra, dec| Some(v1::Position { ra, dec });
    assert!(refusal(|object| object.position = position(f64::NAN, 0.0)).contains("ra is NaN"));
    assert!(refusal(|object| object.position = position(0.0, 90.5)).contains("dec is 90.5"));
    assert!(refusal(|object| object.position = position(0.0, f64::NAN)).contains("dec is NaN"));
    let typed = refusal(|object| {
        object.columns.insert("class".to_owned(), value(v1::value::Kind::Real(1.0)));
    });
    assert!(typed.contains("column `class` is text, the value is float64"), "{typed}");
    let unknown = refusal(|object| {
        object.columns.insert("magg".to_owned(), value(v1::value::Kind::Real(1.0)));
    });
    assert!(unknown.contains("no column `magg`"), "{unknown}");
    let twice = refusal(|object| {
        object.columns.insert("Z".to_owned(), value(v1::value::Kind::Real(1.0)));
    });
    assert!(twice.contains("twice"), "{twice}");
    let vector = |name: &str, values: Vec<f32>| {
        let name = name.to_owned();
        refusal(move |object| {
            object.vectors.insert(name, v1::Vector { values });
        })
    };
    assert!(vector("a", vec![1.0]).contains("dimension 2, the vector has 1"));
    assert!(vector("a", vec![1.0, f32::NAN]).contains("not a finite number"));
    assert!(vector("b", vec![1.0, f32::INFINITY, 0.0]).contains("not a finite number"));
    assert!(vector("a", vec![0.0, 0.0]).contains("zero"));
    assert!(vector("c", vec![0.0]).contains("it has: a, b"));
    assert!(vector("A", vec![0.0, 1.0]).contains("two vectors"));
}
