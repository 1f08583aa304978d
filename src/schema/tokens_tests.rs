use super::*;
use crate::schema::{IdKind, Modality, Provenance};
use crate::vector::Metric;

fn space(form: SpaceForm, dimension: usize) -> EmbeddingSpace {
    EmbeddingSpace {
        id: SpaceId(1),
        name: "t".to_owned(),
        modality: Modality("image".to_owned()),
        form,
        dimension,
        metric: Metric::Cosine,
        provenance: Provenance::external(),
        shared: None,
        at_ingest: None,
    }
}

fn states(count: u32, width: u32) -> TokenRun {
    let states = vec![0x3c; count as usize * width as usize * 2];
    TokenRun { modality: "tok_image".to_owned(), count, width, states, ids: Vec::new() }
}

fn ids(count: u32) -> TokenRun {
    let ids = vec![7; count as usize * 2];
    TokenRun { modality: String::new(), count, width: 0, states: Vec::new(), ids }
}

fn told(space: &EmbeddingSpace, runs: Vec<TokenRun>) -> String {
    check_tokens(space, &TokenSequence { runs }).expect_err("is refused").to_string()
}

#[test]
fn sequences_that_fit_are_taken() {
    let states_of = |runs| check_tokens(&space(SpaceForm::Tokens, 3), &TokenSequence { runs });
    states_of(vec![states(1, 3)]).expect("one token");
    states_of(vec![states(2, 3), states(5, 3)]).expect("two runs");
    states_of(vec![states(65_536, 3)]).expect("as many as there may be");
    let ids_of = |runs| check_tokens(&space(SpaceForm::TokenIds, 0), &TokenSequence { runs });
    ids_of(vec![ids(1), ids(1_000)]).expect("ids");
}

#[test]
fn what_does_not_fit_is_told() {
    let of_states = space(SpaceForm::Tokens, 3);
    let of_ids = space(SpaceForm::TokenIds, 0);
    let mut infinite = states(4, 3);
    infinite.states[3 * 2 + 2..3 * 2 + 4].copy_from_slice(&0xfc00_u16.to_le_bytes());
    let mut nan = states(4, 3);
    nan.states[..2].copy_from_slice(&0x7e01_u16.to_le_bytes());
    let both = TokenRun { ids: vec![0; 4], ..states(2, 3) };
    let neither = TokenRun { states: Vec::new(), ..states(2, 3) };
    let short = TokenRun { count: 3, ..states(2, 3) };
    for (space, runs, words) in [
        (&of_states, vec![], "there is no token"),
        (&of_states, vec![TokenRun { count: 0, states: Vec::new(), ..states(1, 3) }], "no token"),
        (&of_states, vec![states(65_536, 3), states(1, 3)], "65537 tokens are more than 65536"),
        (&of_states, vec![states(1, 3), both], "run 2: it has states and ids"),
        (&of_states, vec![neither], "neither states nor ids"),
        (&of_states, vec![short], "12 bytes of states where 3 tokens have 18"),
        (&of_states, vec![states(2, 4)], "4 components, the space 3"),
        (&of_states, vec![ids(2)], "ids where the space holds states"),
        (&of_states, vec![infinite], "component 1 of token 1 is not a finite number"),
        (&of_states, vec![nan], "component 0 of token 0 is not a finite number"),
        (&of_ids, vec![states(2, 4)], "states, or a width, where the space holds ids"),
        (&of_ids, vec![TokenRun { count: 3, ..ids(2) }], "4 bytes of ids where 3 tokens have 6"),
        (&of_ids, vec![TokenRun { modality: "x".repeat(129), ..ids(2) }], "longer than 128 bytes"),
        (&of_ids, vec![ids(1); 1_025], "1025 runs are more than 1024"),
        (&space(SpaceForm::Vector, 3), vec![states(1, 3)], "holds vectors; tokens do not belong"),
    ] {
        let told = told(space, runs);
        assert!(told.contains(words), "{told}");
    }
    let long = told(&space(SpaceForm::Tokens, 16_384), vec![states(513, 16_384)]);
    assert!(long.contains("16809984 bytes of tokens are more than 16777216"), "{long}");
}

#[test]
fn only_ids_have_no_dimension() {
    let checked = |form, dimension| {
        let schema = CollectionSchema {
            name: "c".to_owned(),
            id_kind: IdKind::Number,
            columns: Vec::new(),
            spaces: vec![space(form, dimension)],
            description: String::new(),
        };
        schema.validate()
    };
    checked(SpaceForm::TokenIds, 0).expect("ids");
    checked(SpaceForm::Tokens, 768).expect("states");
    for (form, dimension) in [
        (SpaceForm::TokenIds, 1),
        (SpaceForm::Tokens, 0),
        (SpaceForm::Tokens, 16_385),
        (SpaceForm::Vector, 0),
    ] {
        checked(form, dimension).expect_err("a dimension that does not fit");
    }
}

#[test]
fn vectors_and_tokens_keep_to_their_spaces() {
    let schema = CollectionSchema {
        name: "c".to_owned(),
        id_kind: IdKind::Number,
        columns: Vec::new(),
        spaces: vec![space(SpaceForm::Tokens, 3)],
        description: String::new(),
    };
    let told = schema.check_vector(SpaceId(1), &[1.0, 2.0, 3.0]).expect_err("holds tokens");
    assert!(told.to_string().contains("holds tokens; vectors do not belong into it"), "{told}");
    let sequence = TokenSequence { runs: vec![states(1, 3)] };
    schema.check_all_tokens(&[(SpaceId(1), sequence.clone())]).expect("one");
    let twice = [(SpaceId(1), sequence.clone()), (SpaceId(1), sequence)];
    schema.check_all_tokens(&twice).expect_err("two for one space");
}
