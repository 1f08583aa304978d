//! Arrow IPC bytes from anybody.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int32Type};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use proptest::prelude::*;
use sidereus::class::Class;
use sidereus::files::{FileError, IpcLimits, decode_ingest, decode_ipc, encode_ipc};
use sidereus::schema::{
    CollectionSchema, Column, ColumnType, EmbeddingSpace, IdKind, Modality, Provenance, SpaceForm,
    SpaceId,
};
use sidereus::vector::Metric;

fn batch(rows: i64) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let numbers = Float32Array::from_iter_values((0..rows * 3).map(|each| each as f32 + 1.0));
    let vectors = FixedSizeListArray::try_new(item, 3, Arc::new(numbers), None).expect("sound");
    let names = (0..rows).map(|row| (row % 3 > 0).then(|| format!("n{row}")));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("object_id", Arc::new(Int64Array::from_iter_values(0..rows))),
        ("ra", Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64)))),
        ("dec", Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64 / 9.0)))),
        ("name", Arc::new(names.collect::<StringArray>())),
        ("vector.image", Arc::new(vectors)),
    ];
    RecordBatch::try_from_iter(columns).expect("sound")
}

fn schema() -> CollectionSchema {
    CollectionSchema {
        name: "demo".to_owned(),
        id_kind: IdKind::Number,
        columns: vec![Column::new("name", ColumnType::Text)],
        spaces: vec![EmbeddingSpace {
            id: SpaceId(4),
            name: "image".to_owned(),
            modality: Modality("image".to_owned()),
            form: SpaceForm::default(),
            dimension: 3,
            metric: Metric::Cosine,
            provenance: Provenance::external(),
            shared: None,
            at_ingest: None,
        }],
        description: String::new(),
    }
}

/// What the server does with bytes.
fn receive(bytes: &[u8]) -> Result<usize, FileError> {
    let mut objects = 0;
    for batch in decode_ipc(bytes, &IpcLimits::default())? {
        objects += decode_ingest(&batch, &schema())?.objects.len();
    }
    Ok(objects)
}

#[test]
fn a_batch_comes_back_as_it_was_sent() {
    for rows in [0, 1, 7, 300] {
        let sent = batch(rows);
        let bytes = encode_ipc(&sent).expect("encodes");
        let received = decode_ipc(&bytes, &IpcLimits::default()).expect("decodes");
        assert_eq!(received, [sent]);
        assert_eq!(receive(&bytes).expect("fits"), rows as usize);
    }
}

#[test]
fn limits_hold_at_their_edge() {
    let bytes = encode_ipc(&batch(10)).expect("encodes");
    let limits = IpcLimits { bytes_max: bytes.len(), rows_max: 10, messages_max: 2 };
    assert!(decode_ipc(&bytes, &limits).is_ok());
    for (limits, what) in [
        (IpcLimits { bytes_max: bytes.len() - 1, ..limits }, "bytes"),
        (IpcLimits { rows_max: 9, ..limits }, "rows"),
        (IpcLimits { messages_max: 1, ..limits }, "messages"),
    ] {
        let error = decode_ipc(&bytes, &limits).expect_err("refused");
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(error.class(), Class::Exhausted);
    }
}

#[test]
fn what_the_bytes_do_not_bound_is_refused() {
    let compressed = IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::LZ4_FRAME))
        .expect("known");
    let sent = batch(2_000);
    let mut writer =
        StreamWriter::try_new_with_options(Vec::new(), sent.schema_ref(), compressed).expect("new");
    writer.write(&sent).expect("written");
    let bytes = writer.into_inner().expect("ended");
    assert!(receive(&bytes).expect_err("refused").to_string().contains("uncompressed"));

    let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    let words: ArrayRef = Arc::new(words);
    let sent = RecordBatch::try_from_iter([("name", words)]).expect("sound");
    let bytes = encode_ipc(&sent).expect("encodes");
    assert!(receive(&bytes).expect_err("refused").to_string().contains("dictionary"));

    assert!(receive(b"").is_err());
    assert!(receive(b"ARROW1\0\0").is_err());
    assert!(receive(&[0xff; 64]).is_err());
}

#[test]
fn every_truncation_is_an_error_or_a_shorter_stream() {
    let bytes = encode_ipc(&batch(5)).expect("encodes");
    for length in 0..bytes.len() {
        match receive(&bytes[..length]) {
            // The end mark may be missing: 8 bytes. Before the batch there is a stream without rows.
            Ok(objects) => assert!(objects == 0 || length == bytes.len() - 8, "{length}"),
            Err(error) => assert_eq!(error.class(), Class::Invalid, "{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(
        rows in 1..40_i64,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = encode_ipc(&batch(rows)).expect("encodes");
        for (place, value) in flips {
            *place.get_mut(&mut bytes) = value;
        }
        let length = cut.map_or(bytes.len(), |cut| cut.index(bytes.len()));
        if let Ok(objects) = receive(&bytes[..length]) {
            prop_assert!(objects as i64 <= rows * 2);
        }
    }

    #[test]
    fn any_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode_ipc(&bytes, &IpcLimits::default()).is_err());
    }
}
