//! Sound files, read as astropy, pyarrow and numpy read them.

use std::path::Path;

use serde_json::Value;
use sidereus::class::Class;
use sidereus::files::{
    FileError, Format, META_DESCRIPTION, META_UCD, META_UNIT, NpyReader, ReadOptions, open,
    open_with,
};

use super::support::{assert_same, expected, fixture, read_all, real, values};

fn assert_reads_as(path: &Path, oracle: &str) {
    let oracle = expected(oracle);
    for batch_rows in [1, 2, 8_192] {
        let options = ReadOptions { batch_rows, ..ReadOptions::default() };
        let mut reader = open_with(path, None, &options).expect("sound");
        let schema = reader.schema();
        let batches = read_all(reader.as_mut());
        assert!(batches.iter().all(|batch| batch.rows.num_rows() <= batch_rows));
        let numbers: Vec<u64> = batches.iter().flat_map(|batch| batch.numbers.clone()).collect();
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "rows are numbered");
        assert!(reader.row_count().is_none_or(|count| count == numbers.len() as u64));
        assert_eq!(reader.progress().rows_done, numbers.len() as u64);
        for column in oracle["columns"].as_array().expect("columns") {
            let name = column["name"].as_str().expect("name");
            let place = schema.index_of(name).expect("there");
            assert_same(&values(&batches, place), &column["values"], name);
            for key in [META_UNIT, META_UCD, META_DESCRIPTION] {
                let found = schema.field(place).metadata().get(key).map_or("", String::as_str);
                assert_eq!(Some(found), column[key].as_str(), "{name}: {key}");
            }
        }
        let skipped: Vec<&str> =
            reader.skipped().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(Value::from(skipped), oracle["skipped"]);
    }
}

#[test]
fn fits_tables_read_as_astropy_reads_them() {
    assert_reads_as(&fixture("types.fits"), "types.fits");
    assert_reads_as(&fixture("types.fits[2]"), "types.fits");
    assert_reads_as(&fixture("types.fits[objects]"), "types.fits");
    assert_reads_as(&fixture("types.fits[3]"), "types.fits.second");
    assert_reads_as(&fixture("types.fits[SECOND,1]"), "types.fits.second");
}

#[test]
fn parquet_and_arrow_read_as_pyarrow_reads_them() {
    assert_reads_as(&fixture("types.parquet"), "types.arrow");
    assert_reads_as(&fixture("types.arrow"), "types.arrow");
    assert_reads_as(&fixture("types.arrows"), "types.arrow");
}

#[test]
fn extensions_that_are_no_tables_are_refused_with_what_there_is() {
    let error = |name: &str| open(&fixture(name), None).err().expect("refused");
    let missing = error("types.fits[NOWHERE]");
    assert_eq!(missing.class(), Class::NotFound);
    assert!(missing.to_string().contains("2 OBJECTS (BINTABLE)"), "{missing}");
    assert!(error("types.fits[1]").to_string().contains("an image"));
    assert!(matches!(error("types.fits[0]"), FileError::Unsupported { .. }));
    assert!(matches!(error("types.parquet[1]"), FileError::Unsupported { .. }));
    assert_eq!(error("nothing.fits").class(), Class::NotFound);
}

#[test]
fn formats_are_told_by_content_before_the_name() {
    let folder = tempfile::tempdir().expect("folder");
    let misnamed = folder.path().join("table.csv");
    std::fs::copy(fixture("types.parquet"), &misnamed).expect("copied");
    assert_eq!(Format::detect(&misnamed).expect("known"), Format::Parquet);
    let zipped = folder.path().join("table.csv.gz");
    std::fs::write(&zipped, [0x1f, 0x8b, 8, 0]).expect("written");
    assert!(Format::detect(&zipped).expect_err("refused").to_string().contains("gunzip"));
    let unknown = folder.path().join("table.xyz");
    std::fs::write(&unknown, "a,b\n1,2\n").expect("written");
    assert!(matches!(Format::detect(&unknown), Err(FileError::UnknownFormat { .. })));
    assert_eq!(read_all(open(&unknown, Some(Format::Csv)).expect("told").as_mut()).len(), 1);
    assert!("orc".parse::<Format>().is_err());
}

#[test]
fn arrays_read_as_numpy_reads_them() {
    let oracle = expected("vectors");
    for name in ["f2", "f4", "f8", "f4_big", "f8_big", "f2_big"] {
        let mut reader = NpyReader::open(&fixture(&format!("vectors_{name}.npy"))).expect("sound");
        assert_eq!((reader.row_count(), reader.dimension()), (6, 5));
        let mut found = reader.next_rows(4).expect("rows");
        found.extend(reader.next_rows(4).expect("rows"));
        assert!(reader.next_rows(4).expect("the end").is_empty());
        let found: Vec<Value> = found
            .chunks(5)
            .map(|row| row.iter().map(|value| real(f64::from(*value))).collect())
            .collect();
        assert_same(&found, &oracle[name], name);
    }
}

#[test]
fn arrays_that_are_no_vectors_are_refused_with_what_to_do() {
    for (name, hint) in [
        ("fortran.npy", "ascontiguousarray"),
        ("cube.npy", "(rows, dimension)"),
        ("integers.npy", "astype('float32')"),
    ] {
        let error = NpyReader::open(&fixture(name)).err().expect(name);
        assert!(error.to_string().contains(hint), "{error}");
        assert_eq!(error.class(), Class::Invalid);
    }
    let one = NpyReader::open(&fixture("flat.npy")).expect("one vector");
    assert_eq!((one.row_count(), one.dimension()), (1, 5));
    let folder = tempfile::tempdir().expect("folder");
    let bytes = std::fs::read(fixture("vectors_f4.npy")).expect("fixture");
    let cut = folder.path().join("cut.npy");
    std::fs::write(&cut, &bytes[..bytes.len() - 30]).expect("written");
    let error = NpyReader::open(&cut).err().expect("refused").to_string();
    assert!(error.contains("declares 6 vectors, 4 are there"), "{error}");
    std::fs::write(&cut, &bytes[..20]).expect("written");
    assert!(NpyReader::open(&cut).is_err());
}

#[test]
fn text_tables_keep_their_good_rows() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("t.csv");
    let text = "id; ra ;dec;code;flag;z\n1;10.5;-3;007;true;0.1\n2;11;4;012;false;\n\
                3;12;5\n4;13;6;1;TRUE;1e3;extra\n5;14;7;\"a;b\";;nan\n";
    std::fs::write(&path, text).expect("written");
    let mut reader = open(&path, None).expect("sound");
    let kinds: Vec<String> = reader
        .schema()
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect();
    let wanted = ["id Int64", "ra Float64", "dec Int64", "code Utf8", "flag Boolean", "z Float64"];
    assert_eq!(kinds, wanted);
    let batches = read_all(reader.as_mut());
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].numbers, [0, 1, 4]);
    let refused: Vec<(u64, &str)> =
        batches[0].refused.iter().map(|row| (row.row, row.reason.as_str())).collect();
    assert_eq!(
        refused,
        [(2, "it has 3 fields, the header has 6"), (3, "it has 7 fields, the header has 6")]
    );
    assert_eq!(values(&batches, 3), ["007", "012", "a;b"]);
    assert_eq!(values(&batches, 4), [Value::Bool(true), Value::Bool(false), Value::Null]);
    let progress = reader.progress();
    assert_eq!((progress.rows_done, progress.bytes_done), (5, text.len() as u64));
}

#[test]
fn a_value_behind_the_sample_that_does_not_fit_costs_one_row() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("t.csv");
    let mut text = "id,ra,dec,n\n".to_owned();
    for row in 0..60_000 {
        text.push_str(&format!("{row},{},0,{row}\n", f64::from(row) / 200.0));
    }
    text.push_str("60000,1,1,1.5\n60001,1,1,2\n\"60002,1,1,3\n60003,1,1,4\n");
    std::fs::write(&path, text).expect("written");
    let batches = read_all(open(&path, None).expect("sound").as_mut());
    let rows: usize = batches.iter().map(|batch| batch.numbers.len()).sum();
    let refused: Vec<_> = batches.iter().flat_map(|batch| &batch.refused).collect();
    assert_eq!(rows, 60_001);
    assert_eq!(refused[0].row, 60_000);
    assert!(refused[0].reason.contains("`n` is int64") && refused[0].reason.contains("`1.5`"));
    assert!(refused[1].reason.contains("quotation mark"), "{}", refused[1].reason);
}

#[test]
fn a_text_table_without_names_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("t.csv");
    std::fs::write(&path, "1,2,3\n4,5,6\n").expect("written");
    let error = open(&path, None).err().expect("refused");
    assert!(matches!(error, FileError::NoHeader { .. }) && error.class() == Class::Invalid);
    std::fs::write(&path, "").expect("written");
    assert!(open(&path, None).is_err());
}
