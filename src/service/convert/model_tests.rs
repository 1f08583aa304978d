use super::*;
use crate::schema::{Column, IdKind, Modality, ObjectId, Provenance};
use crate::sky::{Degrees, Position};
use crate::vector::Metric;

fn schema() -> CollectionSchema {
    CollectionSchema {
        name: "galaxies".to_owned(),
        id_kind: IdKind::Number,
        columns: vec![
            Column::new("flux_g", ColumnType::Float64),
            Column::new("maggies", ColumnType::FloatList),
            Column::new("image", ColumnType::Binary),
            Column::new("name", ColumnType::Text),
        ],
        spaces: Vec::new(),
        description: String::new(),
    }
}

fn model(inputs: &[&str]) -> ModelInfo {
    ModelInfo {
        id: "m".to_owned(),
        modality: Modality(if inputs == ["image"] { "image" } else { "photometry" }.to_owned()),
        dimension: 4,
        provenance: Provenance::default(),
        outputs: Vec::new(),
        inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
        optional_inputs: vec!["spare".to_owned()],
        metric: Metric::Cosine,
        description: String::new(),
    }
}

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|&(input, column)| (input.to_owned(), column.to_owned())).collect()
}

fn object(flux: Value, maggies: Vec<f64>, image: Value) -> Object {
    Object {
        id: ObjectId::Number(1),
        position: Position::new(Degrees(0.0), Degrees(0.0)).expect("on the sphere"),
        columns: vec![flux, Value::FloatList(maggies), image, Value::Text("n".to_owned())],
        vectors: Vec::new(),
    }
}

fn row(payload: Option<v1::Payload>) -> Option<HashMap<String, f64>> {
    match payload?.content? {
        v1::payload::Content::Row(row) => Some(row.values),
        v1::payload::Content::Image(_) | v1::payload::Content::Arrays(_) => None,
    }
}

#[test]
fn inputs_come_from_columns_and_list_elements() {
    let inputs = InputMap::new(
        &schema(),
        &model(&["flux_g", "flux_r", "flux_z", "spare"]),
        map(&[("flux_r", "maggies[1]"), ("flux_z", "")]),
    )
    .expect("all mapped");
    let mut full = object(Value::Float64(2.0), vec![5.0, 6.0], Value::Null);
    let expected = HashMap::from([("flux_g".to_owned(), 2.0), ("flux_r".to_owned(), 6.0)]);
    assert_eq!(row(inputs.payload(&mut full)), Some(expected));
    let mut part = object(Value::Float64(f64::NAN), vec![5.0, 6.0], Value::Null);
    assert_eq!(row(inputs.payload(&mut part)).map(|row| row.len()), Some(1));
    let mut none = object(Value::Null, vec![5.0], Value::Null);
    assert_eq!(inputs.payload(&mut none), None);
}

#[test]
fn images_come_from_a_binary_column() {
    let inputs = InputMap::new(&schema(), &model(&["image"]), map(&[])).expect("has `image`");
    let mut with = object(Value::Null, vec![], Value::Binary(vec![1, 2]));
    let payload = inputs.payload(&mut with).expect("an image");
    assert_eq!(payload.content, Some(v1::payload::Content::Image(vec![1, 2])));
    assert_eq!(payload.modality, "image");
    for without in [Value::Null, Value::Binary(Vec::new())] {
        assert_eq!(inputs.payload(&mut object(Value::Null, vec![], without)), None);
    }
}

#[test]
fn inputs_that_cannot_be_had_are_refused() {
    let refusal = |inputs: &[&str], pairs: &[(&str, &str)]| {
        InputMap::new(&schema(), &model(inputs), map(pairs)).expect_err("refused").to_string()
    };
    assert!(refusal(&["flux_u"], &[]).contains("map it as flux_u=COLUMN"));
    assert!(refusal(&["flux_u"], &[("flux_u", "")]).contains("map at least one"));
    assert!(refusal(&["flux_u"], &[("flux_u", "nope")]).contains("no column `nope`"));
    assert!(refusal(&["flux_u"], &[("flux_x", "flux_g")]).contains("no input `flux_x`"));
    assert!(refusal(&["flux_u"], &[("flux_u", "name")]).contains("`name` is text"));
    assert!(refusal(&["flux_u"], &[("flux_u", "maggies")]).contains("COLUMN[0]"));
    assert!(refusal(&["flux_u"], &[("flux_u", "flux_g[0]")]).contains("float_list"));
    assert!(refusal(&["image"], &[("image", "name")]).contains("binary"));
}

#[test]
fn lists_become_arrays_of_models_that_take_them() {
    let spectra = ModelInfo {
        modality: Modality(Modality::SPECTRUM.to_owned()),
        optional_inputs: vec!["ivar".to_owned()],
        ..model(&["flux", "ivar"])
    };
    let inputs = InputMap::new(&schema(), &spectra, map(&[("flux", "maggies")])).expect("mapped");
    let payload = |list: Vec<f64>| inputs.payload(&mut object(Value::Null, list, Value::Null));
    let Some(v1::payload::Content::Arrays(arrays)) =
        payload(vec![1.0, 2.5]).and_then(|payload| payload.content)
    else {
        panic!("arrays");
    };
    assert_eq!(arrays.arrays["flux"].shape, [2]);
    assert_eq!(
        arrays.arrays["flux"].float32,
        [1.0f32.to_le_bytes(), 2.5f32.to_le_bytes()].concat()
    );
    assert_eq!(payload(Vec::new()), None);
    let cutouts = InputMap::new(&schema(), &model(&["image"]), map(&[("image", "maggies")]));
    let cutout = cutouts.expect("mapped").payload(&mut object(Value::Null, vec![0.0], Value::Null));
    assert!(matches!(cutout.and_then(|it| it.content), Some(v1::payload::Content::Arrays(_))));
}

#[test]
fn a_print_tells_whether_the_inputs_are_the_same() {
    let fluxes = InputMap::new(&schema(), &model(&["flux_g", "spare"]), HashMap::new());
    let fluxes = fluxes.expect("a map");
    assert_eq!(fluxes.columns()["flux_g"], "flux_g");
    assert_eq!(fluxes.columns()["spare"], "", "an optional input without a column is left out");
    let of = |flux: f64, image: &[u8]| {
        fluxes.print(&object(Value::Float64(flux), Vec::new(), Value::Binary(image.to_vec())))
    };
    assert_eq!(of(1.0, b"a"), of(1.0, b"b"), "other columns do not count");
    assert_ne!(of(1.0, b"a"), of(2.0, b"a"));
    assert_eq!(of(f64::NAN, b"a"), None);

    let pictures = InputMap::new(&schema(), &model(&["image"]), HashMap::new()).expect("a map");
    let of = |image: Value| pictures.print(&object(Value::Null, Vec::new(), image));
    assert_ne!(of(Value::Binary(vec![1])), of(Value::Binary(vec![1, 2])));
    assert_eq!((of(Value::Binary(Vec::new())), of(Value::Null)), (None, None));

    let given = map(&[("a", "maggies[0]"), ("b", "maggies[1]")]);
    let elements = InputMap::new(&schema(), &model(&["a", "b"]), given).expect("a map");
    let of = |list: Vec<f64>| elements.print(&object(Value::Null, list, Value::Null));
    assert_ne!(of(vec![1.0]), of(vec![f64::NAN, 1.0]), "it counts which input is there");
    assert_eq!(of(vec![1.0, f64::NAN]), of(vec![1.0]), "neither has the second");
}

proptest::proptest! {
    /// A print is there exactly when a payload is, and is the same exactly when the payload is.
    #[test]
    fn prints_agree_with_payloads(
        left in proptest::collection::vec(proptest::option::of(0..3_u8), 2),
        right in proptest::collection::vec(proptest::option::of(0..3_u8), 2),
    ) {
        let given = map(&[("a", "maggies[0]"), ("b", "maggies[1]")]);
        let elements = InputMap::new(&schema(), &model(&["a", "b"]), given).expect("a map");
        let of = |given: &[Option<u8>]| {
            let list = given.iter().map(|each| each.map_or(f64::NAN, f64::from)).collect();
            let mut object = object(Value::Null, list, Value::Null);
            (elements.print(&object), elements.payload(&mut object))
        };
        let ((left, from), (right, to)) = (of(&left), of(&right));
        proptest::prop_assert_eq!(left.is_some(), from.is_some());
        proptest::prop_assert_eq!(left == right, from == to);
    }
}
