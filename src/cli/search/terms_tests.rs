use super::*;
use crate::wire::v1::{EmbeddingSpace, IdKind};

fn schema() -> CollectionSchema {
    let space = |name: &str, modality: &str| EmbeddingSpace {
        name: name.to_owned(),
        modality: modality.to_owned(),
        dimension: 2,
        ..EmbeddingSpace::default()
    };
    CollectionSchema {
        name: "galaxies".to_owned(),
        id_kind: IdKind::Number.into(),
        spaces: vec![space("photometry", "photometry"), space("Image", "image")],
        ..CollectionSchema::default()
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn example_file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("written");
    (folder, path)
}

#[test]
fn nothing_to_be_near_to_is_no_term() {
    assert!(TargetArguments::default().to_terms(&schema()).expect("none").is_empty());
    let lone_space = TargetArguments { space: strings(&["image"]), ..TargetArguments::default() };
    let error = lone_space.to_terms(&schema()).expect_err("no target").to_string();
    assert!(error.contains("--like"), "{error}");
}

#[test]
fn spaces_carry_weights_and_share_the_examples() {
    let target = TargetArguments {
        like: strings(&["1", "2"]),
        unlike: strings(&["3"]),
        space: strings(&["photometry=0.25", "image"]),
        ..TargetArguments::default()
    };
    let terms = target.to_terms(&schema()).expect("two terms");
    let named: Vec<(&str, f64, usize, usize)> = terms
        .iter()
        .map(|term| (term.space.as_str(), term.weight, term.like.len(), term.unlike.len()))
        .collect();
    assert_eq!(named, [("photometry", 0.25, 2, 1), ("Image", 1.0, 2, 1)]);
}

#[test]
fn without_a_space_the_server_chooses() {
    let target = TargetArguments { like: strings(&["1"]), ..TargetArguments::default() };
    let terms = target.to_terms(&schema()).expect("one term");
    assert_eq!(terms[0].space, "");
}

#[test]
fn an_example_finds_the_space_of_its_modality() {
    let (_folder, path) = example_file("row.json", b"{\"flux_g\": 1.0}");
    let target = TargetArguments { example: vec![path], ..TargetArguments::default() };
    let terms = target.to_terms(&schema()).expect("one term");
    assert_eq!(terms[0].space, "photometry");
    assert_eq!(terms[0].examples[0].modality, "photometry");
}

#[test]
fn an_example_that_fits_no_space_names_those_there_are() {
    let (_folder, path) = example_file("row.json", b"{\"flux_g\": 1.0}");
    let target = TargetArguments {
        example: vec![path],
        modality: Some("spectrum".to_owned()),
        ..TargetArguments::default()
    };
    let error = target.to_terms(&schema()).expect_err("no spectrum").to_string();
    assert!(error.contains("photometry, Image"), "{error}");
}

#[test]
fn a_wrong_space_weight_or_id_is_refused() {
    for (space, like, wanted) in [
        ("colour", "1", "photometry, Image"),
        ("image=much", "1", "SPACE=WEIGHT"),
        ("image", "one", "whole numbers"),
    ] {
        let target = TargetArguments {
            space: strings(&[space]),
            like: strings(&[like]),
            ..TargetArguments::default()
        };
        let error = format!("{:#}", target.to_terms(&schema()).expect_err(space));
        assert!(error.contains(wanted), "{error}");
    }
    let twice = TargetArguments {
        space: strings(&["image", "IMAGE=2"]),
        like: strings(&["1"]),
        ..TargetArguments::default()
    };
    assert!(twice.to_terms(&schema()).expect_err("twice").to_string().contains("twice"));
}
