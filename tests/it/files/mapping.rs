//! Guesses and mappings on the columns of catalogues as they are in the wild.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use sidereus::class::Class;
use sidereus::files::{FileError, Inferred, Mapping, Plan, TableBatch, infer_schema};
use sidereus::schema::IdKind;

fn schema(names: &[&str]) -> Schema {
    let fields = names.iter().map(|name| Field::new(*name, DataType::Float64, true));
    let id = Field::new("objid", DataType::Int64, true);
    Schema::new([vec![id], fields.collect()].concat())
}

fn infer(file: &Schema, map: &str) -> Result<Inferred, FileError> {
    infer_schema("demo", file, None, &Mapping::parse(map).expect("sound"), &[])
}

/// Columns that are left when id and position are found.
fn rest(file: &Schema, map: &str) -> Vec<String> {
    let inferred = infer(file, map).expect("fits");
    inferred.schema.columns.into_iter().map(|column| column.name).collect()
}

#[test]
fn usual_names_are_found_without_regard_to_case() {
    for (ra, dec) in [
        ("RA", "Dec"),
        ("RAJ2000", "DEJ2000"),
        ("ra_deg", "dec_deg"),
        ("RA_ICRS", "DE_ICRS"),
        ("TARGET_RA", "TARGET_DEC"),
        ("ALPHA_J2000", "DELTA_J2000"),
    ] {
        assert_eq!(rest(&schema(&["z", ra, dec]), ""), ["z"], "{ra}");
    }
    // The plain names win over the others; a given coordinate keeps the other one guessed.
    let many = schema(&["ra", "dec", "RAJ2000", "DEJ2000"]);
    assert_eq!(rest(&many, ""), ["RAJ2000", "DEJ2000"]);
    assert_eq!(rest(&many, "ra=RAJ2000"), ["ra_column", "DEJ2000"]);
    assert_eq!(rest(&many, "ra=raj2000,dec=dej2000"), ["ra_column", "dec_column"]);
}

#[test]
fn what_cannot_be_guessed_is_asked_for() {
    let error = |names: &[&str]| infer(&schema(names), "").expect_err("refused");
    let ambiguous = error(&["RAJ2000", "DEJ2000", "_RAJ2000", "_DEJ2000"]);
    assert!(matches!(ambiguous, FileError::Ambiguous { .. }));
    assert!(ambiguous.to_string().contains("`RAJ2000`, `_RAJ2000`"), "{ambiguous}");
    let nothing = error(&["l", "b"]);
    assert!(nothing.to_string().contains("--map ra=COLUMN"), "{nothing}");
    assert!(nothing.to_string().contains("objid, l, b"), "{nothing}");
    assert_eq!(nothing.class(), Class::Invalid);
    let fields = ["ra", "dec"].map(|name| Field::new(name, DataType::Float64, true));
    let error = infer(&Schema::new(fields.to_vec()), "").expect_err("no id").to_string();
    assert!(error.contains("object_id=COLUMN (or =#row for the row number)"), "{error}");
    let inferred = infer(&Schema::new(fields.to_vec()), "object_id=#row").expect("fits");
    assert_eq!(inferred.schema.id_kind, IdKind::Number);
}

#[test]
fn descriptors_beat_names() {
    let field = |name: &str, ucd: &str| {
        let metadata = HashMap::from([("UCD".to_owned(), ucd.to_owned())]);
        Field::new(name, DataType::Float64, true).with_metadata(metadata)
    };
    let file = Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        field("x", "pos.eq.ra;meta.main"),
        field("y", "pos.eq.dec;meta.main"),
        field("ra", "pos.eq.ra"),
        field("dec", "pos.eq.dec"),
    ]);
    assert_eq!(rest(&file, ""), ["ra_column", "dec_column"]);
    assert_eq!(infer(&file, "").expect("fits").schema.id_kind, IdKind::Text);
}

#[test]
fn mappings_that_make_no_sense_are_refused() {
    for text in ["object_id", "a=", "=b", "ra=#row", "a=x,A=y"] {
        assert!(matches!(Mapping::parse(text), Err(FileError::BadMapping { .. })), "{text}");
    }
    assert_eq!(Mapping::parse(" , ").expect("empty"), Mapping::default());
    let replaced = Mapping::parse("ra=x").expect("sound").with("RA", "y");
    assert_eq!(replaced, Mapping::default().with("RA", "y"));
    let error = infer(&schema(&["ra", "dec"]), "2mass=ra").expect_err("no name");
    assert!(error.to_string().contains("2mass"), "{error}");
}

#[test]
fn units_of_positions_are_converted_or_refused() {
    let with_unit = |name: &str, unit: &str| {
        let metadata = HashMap::from([("unit".to_owned(), unit.to_owned())]);
        Field::new(name, DataType::Float64, true).with_metadata(metadata)
    };
    let degrees = |ra_unit: &str, dec_unit: &str| {
        let id = Field::new("id", DataType::Int64, true);
        let file = Schema::new(vec![id, with_unit("ra", ra_unit), with_unit("dec", dec_unit)]);
        let collection = infer(&file, "")?.schema;
        let plan = Plan::new(&file, None, &Mapping::default(), &[], &collection)?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1])),
            Arc::new(Float64Array::from(vec![0.5])),
            Arc::new(Float64Array::from(vec![0.5])),
        ];
        let rows = RecordBatch::try_new(Arc::new(file), columns).expect("sound");
        let table = TableBatch { rows, numbers: vec![0], refused: vec![] };
        let batch = plan.ingest_batch(&table, Vec::new())?.batch;
        let value = |place: usize| {
            let column = batch.column(place).as_any().downcast_ref::<Float64Array>();
            column.expect("a position").value(0)
        };
        Ok::<_, FileError>((value(1), value(2)))
    };
    assert_eq!(degrees("deg", "").expect("degrees"), (0.5, 0.5));
    assert_eq!(degrees("hourangle", "deg").expect("hours"), (7.5, 0.5));
    let (ra, dec) = degrees("rad", "radian").expect("radians");
    assert!((ra - 28.647_889_756_541_16).abs() < 1e-12 && ra == dec);
    for (ra, dec) in [("arcsec", "deg"), ("deg", "hourangle"), ("pix", "pix")] {
        assert!(matches!(degrees(ra, dec), Err(FileError::PositionUnit { .. })), "{ra} {dec}");
    }
}

#[test]
fn sexagesimal_text_and_numbers_in_text_are_positions() {
    let file = Schema::new(
        ["name", "ra", "dec"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec(),
    );
    let collection = infer(&file, "").expect("fits").schema;
    let plan = Plan::new(&file, None, &Mapping::default(), &[], &collection).expect("fits");
    let text = |values: [&str; 4]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let columns = vec![
        text(["a", "b", "c", "d"]),
        text(["12:00:00", "10.5", "x", "1:2:3"]),
        text(["-00:30:00", "+4", "1", "91:00:00"]),
    ];
    let rows = RecordBatch::try_new(Arc::new(file), columns).expect("sound");
    let table = TableBatch { rows, numbers: vec![0, 1, 2, 3], refused: vec![] };
    let rows = plan.ingest_batch(&table, Vec::new()).expect("fits");
    let ra = rows.batch.column(1).as_any().downcast_ref::<Float64Array>().expect("ra");
    assert_eq!(ra.values().to_vec(), [180.0, 10.5]);
    assert_eq!(rows.numbers, [0, 1]);
    let reasons: Vec<&str> = rows.refused.iter().map(|row| row.reason.as_str()).collect();
    assert!(reasons[0].contains("ra is `x`: give degrees"), "{reasons:?}");
    assert!(reasons[1].contains("dec is 91"), "{reasons:?}");
}
