use proptest::prelude::*;

use super::*;

fn object_key() -> impl Strategy<Value = ObjectKey> {
    (any::<u32>(), any::<u64>(), any::<u32>()).prop_map(|(collection, cell, ordinal)| ObjectKey {
        collection: CollectionId(collection),
        cell: Cell29(cell),
        ordinal,
    })
}

fn vector_key() -> impl Strategy<Value = VectorKey> {
    (object_key(), any::<u32>()).prop_map(|(key, space)| VectorKey::new(&key, SpaceId(space)))
}

fn id_key() -> impl Strategy<Value = IdKey> {
    let id = prop_oneof![
        any::<i64>().prop_map(ObjectId::Number),
        any::<Vec<char>>().prop_map(|text| ObjectId::Text(text.into_iter().collect())),
    ];
    (0..3_u32, id).prop_map(|(collection, id)| IdKey { collection: CollectionId(collection), id })
}

fn change_key() -> impl Strategy<Value = ChangeKey> {
    (any::<u32>(), any::<u64>(), any::<u32>()).prop_map(|(collection, version, part)| ChangeKey {
        collection: CollectionId(collection),
        version,
        part,
    })
}

fn meta_key() -> impl Strategy<Value = MetaKey> {
    prop_oneof![
        Just(MetaKey::Format),
        Just(MetaKey::NextCollection),
        any::<u32>().prop_map(|id| MetaKey::Collection(CollectionId(id))),
        any::<u32>().prop_map(|id| MetaKey::Head(CollectionId(id))),
        any::<u64>().prop_map(MetaKey::Intent),
    ]
}

fn server_key() -> impl Strategy<Value = ServerKey> {
    (0..9_u8, any::<Vec<char>>())
        .prop_map(|(kind, name)| ServerKey { kind, name: name.into_iter().collect() })
}

fn same_order<K: Key + Ord + std::fmt::Debug>(a: &K, b: &K) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.encode().cmp(&b.encode()), a.cmp(b));
    let back = K::decode(&a.encode()).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&back, a);
    Ok(())
}

proptest! {
    #[test]
    fn object_keys_sort_as_values(a in object_key(), b in object_key()) { same_order(&a, &b)?; }

    #[test]
    fn vector_keys_sort_as_values(a in vector_key(), b in vector_key()) { same_order(&a, &b)?; }

    #[test]
    fn id_keys_sort_as_values(a in id_key(), b in id_key()) { same_order(&a, &b)?; }

    #[test]
    fn change_keys_sort_as_values(a in change_key(), b in change_key()) { same_order(&a, &b)?; }

    #[test]
    fn server_keys_sort_as_values(a in server_key(), b in server_key()) { same_order(&a, &b)?; }

    #[test]
    fn meta_keys_sort_as_values(a in meta_key(), b in meta_key()) { same_order(&a, &b)?; }

    #[test]
    fn names_sort_as_their_folded_text(a in "[A-Za-z][a-z.-]{0,6}", b in "[A-Za-z][a-z.-]{0,6}") {
        let key = |name: &str| NameKey::new(CollectionId(7), name);
        let folded = a.to_lowercase().cmp(&b.to_lowercase());
        prop_assert_eq!(key(&a).encode().cmp(&key(&b).encode()), folded);
        prop_assert!(key(&a).encode() < NameKey::new(CollectionId(8), "a").encode());
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = ObjectKey::decode(&bytes);
        let _ = VectorKey::decode(&bytes);
        let _ = IdKey::decode(&bytes);
        let _ = ChangeKey::decode(&bytes);
        let _ = ServerKey::decode(&bytes);
        let _ = MetaKey::decode(&bytes);
    }

    #[test]
    fn a_range_of_cells_holds_its_objects(key in object_key(), start in any::<u64>(), end in any::<u64>()) {
        let range = KeyRange::objects(key.collection, &(start..end));
        let bytes = key.encode();
        prop_assert_eq!(bytes >= range.start && bytes < range.end, (start..end).contains(&key.cell.0));
    }
}

#[test]
fn an_object_key_is_sixteen_big_endian_bytes() {
    let key = ObjectKey { collection: CollectionId(1), cell: Cell29(0x0203), ordinal: 0x0405_0607 };
    assert_eq!(key.encode(), [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn meta_ranges_hold_what_they_say() {
    let inside = |range: &KeyRange, key: MetaKey| {
        let bytes = key.encode();
        bytes >= range.start && bytes < range.end
    };
    let collections = KeyRange::all_collections();
    assert!(inside(&collections, MetaKey::Collection(CollectionId(0))));
    assert!(inside(&collections, MetaKey::Collection(CollectionId(u32::MAX))));
    assert!(!inside(&collections, MetaKey::Head(CollectionId(0))));
    let intents = KeyRange::all_intents();
    assert!(inside(&intents, MetaKey::Intent(u64::MAX)));
    assert!(!inside(&intents, MetaKey::Head(CollectionId(u32::MAX))));
}
