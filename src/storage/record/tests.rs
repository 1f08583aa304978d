use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::schema::{
    CollectionId, CollectionSchema, Column, ColumnType, EmbeddingSpace, IdKind, Modality, Object,
    ObjectId, Provenance, SpaceForm, SpaceId, Value,
};
use crate::sky::{Cell29, Degrees, Position};
use crate::storage::key::ObjectKey;
use crate::storage::operation::{Change, ChangeKind};
use crate::storage::table::Table;
use crate::vector::Metric;
use crate::wire::v1::{TokenRun, TokenSequence};

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..20).prop_map(|characters| characters.into_iter().collect())
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Int64),
        any::<f32>().prop_map(Value::Float32),
        any::<f64>().prop_map(Value::Float64),
        text().prop_map(Value::Text),
        vec(any::<u8>(), 0..40).prop_map(Value::Binary),
        vec(any::<f64>(), 0..10).prop_map(Value::FloatList),
    ]
}

fn object() -> impl Strategy<Value = Object> {
    let id = prop_oneof![any::<i64>().prop_map(ObjectId::Number), text().prop_map(ObjectId::Text)];
    (id, 0.0..360.0_f64, -90.0..=90.0_f64, vec(value(), 0..12)).prop_map(
        |(id, ra, dec, columns)| Object {
            id,
            position: Position::new(Degrees(ra), Degrees(dec)).expect("in range"),
            columns,
            vectors: Vec::new(),
        },
    )
}

fn head() -> impl Strategy<Value = Head> {
    (any::<u64>(), any::<u64>(), any::<u64>(), vec((any::<u32>(), any::<u64>()), 0..5)).prop_map(
        |(version, trimmed_to, object_count, counts)| Head {
            version,
            trimmed_to,
            object_count,
            vector_counts: counts.into_iter().map(|(id, n)| (SpaceId(id), n)).collect(),
        },
    )
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    proptest::collection::btree_map((any::<u64>(), any::<u32>()), 0..3_u8, 0..50).prop_map(|map| {
        map.into_iter()
            .map(|((cell, ordinal), kind)| Change {
                key: ObjectKey { collection: CollectionId(7), cell: Cell29(cell), ordinal },
                kind: match kind {
                    0 => ChangeKind::Put,
                    1 => ChangeKind::Tokens,
                    _ => ChangeKind::Delete,
                },
            })
            .collect()
    })
}

fn token_space(form: SpaceForm, dimension: usize) -> EmbeddingSpace {
    EmbeddingSpace {
        id: SpaceId(5),
        name: "tokens".to_owned(),
        modality: Modality(Modality::IMAGE.to_owned()),
        form,
        dimension,
        metric: Metric::Cosine,
        provenance: Provenance::external(),
        shared: None,
        at_ingest: None,
    }
}

/// A space of states, or of ids, and a sequence that it takes.
fn tokens() -> impl Strategy<Value = (EmbeddingSpace, TokenSequence)> {
    let runs = vec((text(), 1..5_usize), 1..4);
    (any::<bool>(), 1..6_usize, runs, any::<u64>()).prop_map(|(ids, dimension, runs, seed)| {
        let mut state = seed;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // The exponent of a half never becomes that of an infinity.
            (state >> 40) as u8 & 0x3f
        };
        let run = |(modality, count): (String, usize)| {
            let mut bytes =
                |each: usize| (0..count * each * 2).map(|_| byte()).collect::<Vec<u8>>();
            let (states, ids) =
                if ids { (Vec::new(), bytes(1)) } else { (bytes(dimension), Vec::new()) };
            let width = if ids.is_empty() { dimension as u32 } else { 0 };
            TokenRun { modality, count: count as u32, width, states, ids }
        };
        let sequence = TokenSequence { runs: runs.into_iter().map(run).collect() };
        let (form, dimension) =
            if ids { (SpaceForm::TokenIds, 0) } else { (SpaceForm::Tokens, dimension) };
        (token_space(form, dimension), sequence)
    })
}

fn meta() -> CollectionMeta {
    CollectionMeta {
        id: CollectionId(3),
        next_space: 9,
        schema: Arc::new(CollectionSchema {
            name: "galaxies".to_owned(),
            id_kind: IdKind::Text,
            columns: vec![
                Column {
                    unit: "mag".to_owned(),
                    ucd: "phot.mag".to_owned(),
                    description: "a \"quoted\" name".to_owned(),
                    ..Column::new("r", ColumnType::Float32)
                },
                Column::new("spectrum", ColumnType::FloatList),
            ],
            spaces: vec![
                EmbeddingSpace {
                    id: SpaceId(8),
                    name: "image".to_owned(),
                    shared: Some("both".to_owned()),
                    ..token_space(SpaceForm::Vector, 64)
                },
                token_space(SpaceForm::Tokens, 768),
                EmbeddingSpace { name: "codes".to_owned(), ..token_space(SpaceForm::TokenIds, 0) },
            ],
            description: "München".to_owned(),
        }),
    }
}

/// Bit patterns, so that a NaN equals itself.
fn bits(object: &Object) -> Vec<String> {
    object
        .columns
        .iter()
        .map(|value| match value {
            Value::Float32(number) => format!("f32 {:x}", number.to_bits()),
            Value::Float64(number) => format!("f64 {:x}", number.to_bits()),
            Value::FloatList(list) => {
                format!("{:x?}", list.iter().map(|number| number.to_bits()).collect::<Vec<_>>())
            }
            other => format!("{other:?}"),
        })
        .collect()
}

proptest! {
    #[test]
    fn rows_come_back(object in object()) {
        let bytes = encode_row(&object);
        let back = decode_row(&bytes, 0).expect("what was written is readable");
        prop_assert_eq!(&back.id, &object.id);
        prop_assert_eq!(back.position, object.position);
        prop_assert_eq!(bits(&back), bits(&object));
        prop_assert_eq!(decode_row_id(&bytes).expect("readable"), object.id);
    }

    #[test]
    fn a_row_of_fewer_columns_has_nulls_in_the_others(object in object(), more in 0..4_usize) {
        let width = object.columns.len() + more;
        let back = decode_row(&encode_row(&object), width).expect("readable");
        prop_assert_eq!(back.columns.len(), width);
        prop_assert!(back.columns[object.columns.len()..].iter().all(|value| *value == Value::Null));
    }

    #[test]
    fn named_records_come_back(name in "[a-z]{1,9}", bytes in vec(any::<u8>(), 0..90), at in any::<usize>(), bit in 0..8_u32) {
        let encoded = encode_named(&name, &bytes);
        prop_assert_eq!(decode_named(&encoded).expect("readable"), (name, bytes.clone()));
        for end in 0..encoded.len() {
            prop_assert!(decode_named(&encoded[..end]).is_err());
        }
        let mut flipped = encoded.clone();
        let place = at % flipped.len();
        flipped[place] ^= 1 << bit;
        if let Ok((_, contents)) = decode_named(&flipped) {
            prop_assert_eq!(contents, bytes, "only a letter of the name may have changed");
        }
    }

    #[test]
    fn heads_come_back(head in head()) {
        prop_assert_eq!(Head::decode(&head.encode()).expect("readable"), head);
    }

    #[test]
    fn changes_come_back(changes in changes()) {
        let back = decode_changes(CollectionId(7), &encode_changes(&changes)).expect("readable");
        prop_assert_eq!(back, changes);
    }

    #[test]
    fn intents_come_back(head in head(), base_version in any::<u64>(), tables in vec(0..Table::ALL.len(), 0..6)) {
        let files = tables.into_iter().enumerate().map(|(place, table)| StagedFile {
            table: Table::ALL[table],
            name: format!("{}-{place}.sst", Table::ALL[table].name()),
        }).collect();
        let intent = Intent { collection: CollectionId(5), base_version, head, files };
        prop_assert_eq!(Intent::decode(&intent.encode()).expect("readable"), intent);
    }

    #[test]
    fn vectors_come_back(vector in vec(any::<f32>(), 1..50)) {
        let back = decode_vector(&encode_vector(&vector), vector.len()).expect("readable");
        let bits = |vector: &[f32]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&back), bits(&vector));
        prop_assert!(decode_vector(&encode_vector(&vector), vector.len() + 1).is_err());
    }

    #[test]
    fn tokens_come_back(tokens in tokens(), cut in any::<usize>(), bit in any::<usize>()) {
        let (space, sequence) = tokens;
        let bytes = encode_tokens(&sequence);
        prop_assert_eq!(decode_tokens(&space, &bytes).expect("readable"), sequence);
        let cut = &bytes[..cut % bytes.len()];
        prop_assert!(decode_tokens(&space, cut).is_err(), "a cut is told");
        let mut longer = bytes.clone();
        longer.push(0);
        prop_assert!(decode_tokens(&space, &longer).is_err(), "so is what is too long");
        let mut flipped = bytes;
        let bit = bit % (8 * flipped.len());
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = decode_tokens(&space, &flipped);
    }

    #[test]
    fn tokens_of_one_space_are_not_those_of_another(tokens in tokens()) {
        let (space, sequence) = tokens;
        let bytes = encode_tokens(&sequence);
        let wider = EmbeddingSpace { dimension: space.dimension + 1, ..space.clone() };
        prop_assert!(space.form == SpaceForm::TokenIds || decode_tokens(&wider, &bytes).is_err());
        let form = match space.form {
            SpaceForm::TokenIds => SpaceForm::Tokens,
            SpaceForm::Tokens | SpaceForm::Vector => SpaceForm::TokenIds,
        };
        let other = EmbeddingSpace { form, ..space };
        prop_assert!(decode_tokens(&other, &bytes).is_err());
    }

    #[test]
    fn ids_come_back(cell in any::<u64>(), ordinal in any::<u32>(), spaces in proptest::collection::btree_set(any::<u32>(), 0..6)) {
        let located = Located {
            key: ObjectKey { collection: CollectionId(1), cell: Cell29(cell), ordinal },
            spaces: spaces.into_iter().map(SpaceId).collect(),
        };
        prop_assert_eq!(Located::decode(CollectionId(1), &located.encode()).expect("readable"), located);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200), versioned in any::<bool>()) {
        if versioned && let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        let _ = decode_row(&bytes, 0);
        let _ = decode_row_id(&bytes);
        let _ = Head::decode(&bytes);
        let _ = Intent::decode(&bytes);
        let _ = decode_changes(CollectionId(1), &bytes);
        let _ = Located::decode(CollectionId(1), &bytes);
        let _ = CollectionMeta::decode(&bytes);
        let _ = decode_vector(&bytes, 7);
        let _ = decode_tokens(&token_space(SpaceForm::Tokens, 3), &bytes);
        let _ = decode_tokens(&token_space(SpaceForm::TokenIds, 0), &bytes);
        let _ = decode_number("number", &bytes);
        let _ = decode_named(&bytes);
    }

    #[test]
    fn flipped_bits_and_cuts_never_panic(object in object(), head in head(), changes in changes(), at in any::<usize>(), bit in 0..8_u32, cut in any::<usize>()) {
        let intent = Intent { collection: CollectionId(5), base_version: 3, head: head.clone(), files: vec![StagedFile { table: Table::Ids, name: "ids-0.sst".to_owned() }] };
        let schema = meta().encode().expect("encodes");
        for bytes in [encode_row(&object), head.encode(), encode_changes(&changes), intent.encode(), schema] {
            let mut flipped = bytes.clone();
            let place = at % flipped.len();
            flipped[place] ^= 1 << bit;
            for damaged in [&flipped[..], &bytes[..cut % bytes.len()]] {
                let _ = decode_row(damaged, 0);
                let _ = Head::decode(damaged);
                let _ = Intent::decode(damaged);
                let _ = decode_changes(CollectionId(1), damaged);
                let _ = CollectionMeta::decode(damaged);
            }
        }
    }

    #[test]
    fn every_cut_of_a_row_is_refused(object in object()) {
        let bytes = encode_row(&object);
        for end in 0..bytes.len() {
            prop_assert!(decode_row(&bytes[..end], 0).is_err());
        }
    }
}

#[test]
fn schemas_come_back() {
    let meta = meta();
    let bytes = meta.encode().expect("encodes");
    assert_eq!(CollectionMeta::decode(&bytes).expect("readable"), meta);
}

#[test]
fn a_record_of_an_unknown_version_is_refused() {
    let mut bytes = Head { vector_counts: BTreeMap::new(), ..Head::default() }.encode();
    bytes[0] = 9;
    let error = Head::decode(&bytes).expect_err("version 9 is unknown");
    assert!(error.to_string().contains("unknown record version 9"), "{error}");
}

#[test]
fn a_staged_name_cannot_leave_its_folder() {
    for name in ["../x.sst", "a/b.sst", ".hidden", "/etc/passwd"] {
        let intent = Intent {
            collection: CollectionId(1),
            base_version: 0,
            head: Head::default(),
            files: vec![StagedFile { table: Table::Ids, name: name.to_owned() }],
        };
        assert!(Intent::decode(&intent.encode()).is_err(), "{name}");
    }
}
