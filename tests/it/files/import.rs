//! From a file to objects: mapping, schema, refused rows, and the way back on the server's side.

use std::path::Path;

use sidereus::files::{
    DecodedBatch, FileError, Import, ImportOptions, IngestRows, IpcLimits, Mapping, RefusedReport,
    RefusedRow, VectorSpec, decode_ingest, decode_ipc, encode_ipc,
};
use sidereus::schema::{CollectionSchema, ColumnType, IdKind, Object, ObjectId, SpaceId, Value};
use sidereus::vector::Metric;

use super::support::fixture;

fn options(path: &Path, map: &str, vectors: &[&str]) -> ImportOptions {
    let vectors = vectors.iter().map(|text| VectorSpec::parse(text, Metric::L2).expect("sound"));
    ImportOptions {
        mapping: Mapping::parse(map).expect("sound"),
        vectors: vectors.collect(),
        batch_rows: 2,
        ..ImportOptions::new(path)
    }
}

/// A schema as the server keeps it.
fn numbered(mut schema: CollectionSchema) -> CollectionSchema {
    for (number, space) in (1..).zip(&mut schema.spaces) {
        space.id = SpaceId(number);
    }
    schema
}

/// Runs an import to its end as client and server together do.
fn import(options: &ImportOptions, schema: &CollectionSchema) -> (Vec<Object>, Vec<RefusedRow>) {
    let mut batches = Import::open(options).expect("opens").into_batches(schema).expect("matches");
    let (mut objects, mut refused) = (Vec::new(), Vec::new());
    while let Some(rows) = batches.next_batch().expect("readable") {
        let IngestRows { batch, numbers, refused: here } = rows;
        refused.extend(here);
        let bytes = encode_ipc(&batch).expect("encodes");
        for batch in decode_ipc(&bytes, &IpcLimits::default()).expect("decodes") {
            let decoded = decode_ingest(&batch, schema).expect("fits");
            assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
            assert_eq!(decoded.objects.len(), numbers.len());
            objects.extend(decoded.objects.into_iter().map(|(_, object)| object));
        }
    }
    (objects, refused)
}

fn column<'a>(schema: &CollectionSchema, object: &'a Object, name: &str) -> &'a Value {
    &object.columns[schema.column_place(name).expect("there")]
}

#[test]
fn a_parquet_file_becomes_a_collection() {
    let options =
        options(&fixture("types.parquet"), "r=mag_r,first=ragged[0]", &["image=embedding"]);
    let opened = Import::open(&options).expect("opens");
    assert_eq!(opened.row_count(), Some(5));
    let inferred = opened.infer_schema("demo").expect("fits");
    let schema = numbered(inferred.schema);
    assert_eq!(schema.id_kind, IdKind::Number);
    assert_eq!(schema.spaces[0].dimension, 4);
    let kind = |name: &str| schema.columns[schema.column_place(name).expect("there")].kind;
    assert_eq!(kind("r"), ColumnType::Float32);
    assert_eq!(kind("first"), ColumnType::Float32);
    assert_eq!(kind("kind"), ColumnType::Text);
    assert_eq!(kind("price"), ColumnType::Float64);
    assert_eq!(kind("big"), ColumnType::Int64);
    assert_eq!(kind("spectrum"), ColumnType::FloatList);
    assert_eq!(kind("blob"), ColumnType::Binary);
    let r = &schema.columns[schema.column_place("r").expect("there")];
    assert_eq!((r.unit.as_str(), r.ucd.as_str()), ("mag", "phot.mag"));
    assert!(schema.column_place("mag_r").is_none() && schema.column_place("embedding").is_none());
    let nested = inferred.warnings.iter().filter(|warning| warning.contains("`nested`"));
    assert_eq!(nested.count(), 1, "{:?}", inferred.warnings);

    let (objects, refused) = import(&options, &schema);
    let reasons: Vec<(u64, &str, &str)> =
        refused.iter().map(|row| (row.row, row.object_id.as_str(), row.reason.as_str())).collect();
    assert_eq!(reasons[0], (2, "3", "dec is missing"));
    assert_eq!((reasons[1].0, reasons[1].1), (4, "5"));
    assert!(reasons[1].2.contains("column `big` is int64"), "{}", reasons[1].2);
    assert_eq!(objects.len(), 3);
    assert_eq!(objects[0].id, ObjectId::Number(1));
    assert_eq!(objects[0].vectors, [(SpaceId(1), vec![1.0, 0.0, 0.0, 0.0])]);
    assert_eq!(objects[2].vectors, []);
    assert_eq!(column(&schema, &objects[1], "first"), &Value::Float32(4.0));
    assert_eq!(column(&schema, &objects[1], "r"), &Value::Null);
    assert_eq!(column(&schema, &objects[2], "name"), &Value::Text("δ Cep".to_owned()));
    assert_eq!(column(&schema, &objects[0], "seen"), &Value::Text("2026-01-02".to_owned()));
    let Value::FloatList(list) = column(&schema, &objects[2], "spectrum") else {
        panic!("a list");
    };
    assert!(list.len() == 2 && list.iter().all(|value| value.is_nan()));
}

#[test]
fn a_fits_table_in_radians_becomes_degrees() {
    let options = options(&fixture("types.fits[SECOND]"), "object_id=#row", &[]);
    let schema = Import::open(&options).expect("opens").infer_schema("demo").expect("fits").schema;
    assert!(schema.column_place("OBJID").is_some(), "an unused id is a column");
    let (objects, refused) = import(&options, &schema);
    assert!(refused.is_empty());
    let position = &objects[1].position;
    assert!((position.ra().0 - 57.295_779_513_082_32).abs() < 1e-12);
    assert_eq!(position.dec().0, 0.0);
    assert_eq!(objects[2].id, ObjectId::Number(2));
}

#[test]
fn elements_and_guesses_on_a_fits_table() {
    let options = options(&fixture("types.fits"), "u=fluxes[0],i=fluxes[2]", &["colour=matrix"]);
    let inferred = Import::open(&options).expect("opens").infer_schema("demo").expect("fits");
    let schema = numbered(inferred.schema);
    assert!(inferred.warnings.iter().any(|warning| warning.contains("`ragged`")));
    let u = &schema.columns[schema.column_place("u").expect("there")];
    assert_eq!((u.kind, u.unit.as_str()), (ColumnType::Float32, "nanomaggy"));
    let (objects, refused) = import(&options, &schema);
    assert_eq!(objects.len(), 3);
    // ulong 2^64-1 and 2^63 do not fit into int64; the last row has no declination.
    let rows: Vec<u64> = refused.iter().map(|row| row.row).collect();
    assert_eq!(rows, [1, 2, 5]);
    assert!(refused[2].reason.contains("dec is NaN"), "{}", refused[2].reason);
    assert_eq!(objects[1].id, ObjectId::Number(7));
    assert_eq!(column(&schema, &objects[1], "i"), &Value::Float32(11.0 / 7.0));
    assert_eq!(objects[1].vectors[0].1, [18.0, 19.0, 20.0, 21.0, 22.0, 23.0]);
}

#[test]
fn arrays_pair_with_rows_and_refuse_their_own() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("t.csv");
    let text = "name,ra,dec,mag\na,1,1,1\nb,2,2\nc,3,3,3\nd,4,4,4\ne,5,91,5\nf,6,6,6\n";
    std::fs::write(&path, text).expect("written");
    let array = format!("image={}", fixture("vectors_f4.npy").display());
    let options = options(&path, "", &[array.as_str()]);
    let schema = Import::open(&options).expect("opens").infer_schema("demo").expect("fits").schema;
    let schema = numbered(schema);
    let (objects, refused) = import(&options, &schema);
    let ids: Vec<String> = objects.iter().map(|object| object.id.to_string()).collect();
    assert_eq!(ids, ["a", "c"]);
    let reasons: Vec<(u64, &str)> =
        refused.iter().map(|row| (row.row, row.reason.as_str())).collect();
    assert_eq!(reasons[0].1, "it has 3 fields, the header has 4");
    assert!(reasons[1].1.contains("component 2 of the vector for space `image`"));
    assert_eq!(reasons[2], (4, "dec is 91: it must be between -90 and 90 degrees"));
    assert!(reasons[3].0 == 5 && reasons[3].1.contains("component 1"), "{reasons:?}");

    let mut report = RefusedReport::beside(&path);
    report.extend(&refused).expect("written");
    let (report, count) = report.finish().expect("written").expect("rows");
    assert_eq!((count, report), (4, folder.path().join("t.csv.refused.csv")));

    std::fs::write(&path, "name,ra,dec\na,1,1\n").expect("written");
    // Before a row is read, though nothing but its end tells how many a file of text has.
    let error = Import::open(&options).err().expect("6 vectors for 1 row");
    assert!(matches!(error, FileError::VectorCount { expected: 1, given: 6, .. }), "{error}");
}

#[test]
fn a_file_and_a_collection_that_do_not_go_together_are_refused() {
    let path = fixture("types.parquet");
    let plain = options(&path, "", &[]);
    let schema = Import::open(&plain).expect("opens").infer_schema("demo").expect("fits").schema;
    let refuse = |options: &ImportOptions, schema: &CollectionSchema| {
        let error = Import::open(options).and_then(|opened| opened.into_batches(schema));
        error.err().expect("refused").to_string()
    };
    let mut other = schema.clone();
    let place = other.column_place("mag_r").expect("there");
    other.columns[place].unit = "nanomaggy".to_owned();
    assert!(refuse(&plain, &other).contains("is in `mag`"));
    other.columns[place].unit = String::new();
    assert!(Import::open(&plain).expect("opens").into_batches(&other).is_ok());
    other.columns[place].kind = ColumnType::Binary;
    assert!(refuse(&plain, &other).contains("which is binary"));
    other.columns.retain(|column| column.name != "mag_r");
    let batches = Import::open(&plain).expect("opens").into_batches(&other).expect("matches");
    assert!(batches.warnings().iter().any(|warning| warning.contains("`mag_r` is left out")));

    let space = options(&path, "", &["image=embedding"]);
    assert!(refuse(&space, &schema).contains("no embedding space `image`"));
    let asked = options(&path, "shiny=mag_r", &[]);
    assert!(refuse(&asked, &schema).contains("`shiny`"));
    let text = options(&path, "object_id=name", &[]);
    let mut numbers = schema.clone();
    numbers.id_kind = IdKind::Number;
    // Strings may be numbers: row by row, not as a whole.
    assert!(Import::open(&text).expect("opens").into_batches(&numbers).is_ok());
    for (map, part) in [
        ("ra=nowhere", "no column `nowhere` (wanted for ra)"),
        ("ra=name[0]", "not a vector"),
        ("x=embedding[4]", "elements 0 to 3"),
        ("object_id=ra", "Float64"),
    ] {
        let error = Import::open(&options(&path, map, &[])).expect("opens").infer_schema("demo");
        let error = error.expect_err("refused").to_string();
        assert!(error.contains(part), "{map}: {error}");
    }
}

fn decode(text: &str, schema: &CollectionSchema) -> Result<DecodedBatch, FileError> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("t.csv");
    std::fs::write(&path, text).expect("written");
    let mut reader = sidereus::files::open(&path, None).expect("sound");
    let batch = reader.next_batch().expect("readable").expect("rows");
    decode_ingest(&batch.rows, schema)
}

#[test]
fn the_server_refuses_single_rows_and_wrong_layouts() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("t.csv");
    std::fs::write(&path, "object_id,ra,dec,z,n\n1,1,1,0.5,3\n").expect("written");
    let schema = Import::open(&options(&path, "", &[]))
        .expect("opens")
        .infer_schema("demo")
        .expect("fits")
        .schema;
    let decoded =
        decode("dec,Z,object_id,ra\n1,0.5,7,370\n99,1,8,1\n1,2,,1\n1,3,9,\n1,,10,-1\n", &schema)
            .expect("the layout is right");
    assert_eq!(decoded.columns_given, [true, false]);
    let ids: Vec<(u64, String)> =
        decoded.objects.iter().map(|(row, object)| (*row, object.id.to_string())).collect();
    assert_eq!(ids, [(0, "7".to_owned()), (4, "10".to_owned())]);
    assert_eq!(decoded.objects[0].1.position.ra().0, 10.0);
    assert_eq!(decoded.objects[0].1.columns, [Value::Float64(0.5), Value::Null]);
    let reasons: Vec<(u64, &str)> =
        decoded.refused.iter().map(|row| (row.row, row.reason.as_str())).collect();
    assert_eq!(reasons[0], (1, "dec is 99: it must be between -90 and 90 degrees"));
    assert!(reasons[1].1.contains("object id is missing"));
    assert_eq!(reasons[2], (3, "ra is missing"));

    for (text, part) in [
        ("object_id,ra\n1,1\n", "`dec` is missing"),
        ("ra,dec\n1,1\n", "`object_id` is missing"),
        ("object_id,ra,dec,colour\n1,1,1,1\n", "no place for `colour`"),
        ("object_id,ra,dec,vector.image\n1,1,1,1\n", "no place for `vector.image`"),
        ("object_id,ra,dec,n\n1,1,1,true\n", "must be int64"),
    ] {
        let error = decode(text, &schema).expect_err("refused").to_string();
        assert!(error.contains(part), "{error}");
    }
}
