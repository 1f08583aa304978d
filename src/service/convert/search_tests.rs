use super::*;
use crate::schema::{Column, ColumnType, IdKind, Modality, Provenance, SpaceForm, SpaceId};
use crate::service::convert::RerankTarget;
use crate::vector::Metric;

fn model(name: &str) -> Provenance {
    Provenance { encoder: name.to_owned(), ..Provenance::default() }
}

fn schema() -> CollectionSchema {
    let tokens = |id, name: &str, form, dimension, provenance| EmbeddingSpace {
        id: SpaceId(id),
        name: name.to_owned(),
        modality: Modality("image".to_owned()),
        form,
        dimension,
        metric: Metric::Cosine,
        provenance,
        shared: None,
        at_ingest: None,
    };
    let space = |id, name: &str, modality: &str, dimension, provenance| EmbeddingSpace {
        id: SpaceId(id),
        name: name.to_owned(),
        modality: Modality(modality.to_owned()),
        form: SpaceForm::default(),
        dimension,
        metric: Metric::Cosine,
        provenance,
        shared: None,
        at_ingest: None,
    };
    CollectionSchema {
        name: "galaxies".to_owned(),
        id_kind: IdKind::Number,
        columns: vec![Column::new("z", ColumnType::Float64)],
        spaces: vec![
            space(1, "looks", "image", 3, model("eyes")),
            space(2, "colours", "photometry", 2, model("fluxes")),
            space(3, "made", "image", 4, Provenance::external()),
            tokens(4, "states", SpaceForm::Tokens, 3, model("eyes")),
            tokens(5, "codes", SpaceForm::TokenIds, 0, model("eyes")),
            tokens(6, "strange", SpaceForm::TokenIds, 0, Provenance::external()),
        ],
        description: String::new(),
    }
}

fn vector(values: &[f32]) -> v1::Vector {
    v1::Vector { values: values.to_vec() }
}

fn image(modality: &str) -> v1::Payload {
    v1::Payload {
        modality: modality.to_owned(),
        content: Some(v1::payload::Content::Image(vec![1])),
    }
}

fn request(term: v1::VectorTerm) -> v1::SearchRequest {
    v1::SearchRequest { terms: vec![term], k: 5, ..v1::SearchRequest::default() }
}

fn read(request: v1::SearchRequest) -> Result<SearchPlan, RequestError> {
    search(&schema(), &[], &Limits::default(), request)
}

fn refusal(request: v1::SearchRequest) -> String {
    read(request).expect_err("refused").to_string()
}

#[test]
fn a_space_is_found_by_name_by_dimension_and_by_modality() {
    let named = v1::VectorTerm {
        space: "LOOKS".to_owned(),
        vectors: vec![vector(&[1.0, 0.0, 0.0])],
        ..v1::VectorTerm::default()
    };
    assert_eq!(read(request(named)).expect("found").query.terms[0].space, "looks");
    let by_dimension =
        v1::VectorTerm { vectors: vec![vector(&[1.0, 0.0])], ..v1::VectorTerm::default() };
    let plan = read(request(by_dimension)).expect("found");
    assert_eq!((plan.query.terms[0].space.as_str(), plan.query.terms[0].weight), ("colours", 1.0));
    let by_modality = v1::VectorTerm { examples: vec![image("image")], ..Default::default() };
    let plan = read(request(by_modality)).expect("found");
    assert_eq!(plan.examples[0].space.name, "looks");
    assert_eq!(plan.examples[0].term, 0);
    let like = v1::VectorTerm {
        like: vec![v1::ObjectId { id: Some(v1::object_id::Id::Number(1)) }],
        ..Default::default()
    };
    assert!(refusal(request(like)).contains("looks, colours, made fit"));
    let none = v1::VectorTerm { vectors: vec![vector(&[1.0; 9])], ..Default::default() };
    assert!(refusal(request(none)).contains("none of `looks`"));
    let unknown = v1::VectorTerm {
        space: "x".to_owned(),
        vectors: vec![vector(&[1.0; 9])],
        ..Default::default()
    };
    assert!(refusal(request(unknown)).contains("it has: looks, colours, made"));
}

#[test]
fn bad_terms_are_refused() {
    let term = |space: &str| v1::VectorTerm {
        space: space.to_owned(),
        vectors: vec![vector(&[1.0, 0.0, 0.0])],
        ..Default::default()
    };
    assert!(refusal(request(v1::VectorTerm::default())).contains("names no object"));
    assert!(refusal(request(term("colours"))).contains("dimension 2, the vector has 3"));
    let weighed = |weight| v1::VectorTerm { weight, ..term("looks") };
    assert!(refusal(request(weighed(-1.0))).contains("above 0"));
    assert!(refusal(request(weighed(f64::NAN))).contains("above 0"));
    let foreign = v1::Provenance { encoder: "other".to_owned(), ..Default::default() };
    let foreign = v1::VectorTerm { provenance: Some(foreign), ..term("looks") };
    assert!(refusal(request(foreign)).contains("they have no distance"));
    let own = v1::Provenance { encoder: "eyes".to_owned(), ..Default::default() };
    let own = v1::VectorTerm { provenance: Some(own), ..term("looks") };
    assert!(read(request(own)).is_ok());
    let example = |space: &str, payload| v1::VectorTerm {
        space: space.to_owned(),
        examples: vec![payload],
        ..Default::default()
    };
    assert!(refusal(request(example("made", image("image")))).contains("made elsewhere"));
    assert!(refusal(request(example("colours", image("image")))).contains("photometry"));
    assert!(read(request(example("looks", image("")))).is_ok());
    let empty = v1::Payload { modality: "image".to_owned(), content: None };
    assert!(refusal(request(example("looks", empty))).contains("neither an image"));
    let many = v1::VectorTerm { vectors: vec![vector(&[1.0]); 257], ..Default::default() };
    assert!(refusal(request(many)).contains("limit of 256"));
}

#[test]
fn hits_wanted_are_checked_at_the_limit_and_beyond() {
    let term = v1::VectorTerm {
        space: "looks".to_owned(),
        vectors: vec![vector(&[1.0, 0.0, 0.0])],
        ..Default::default()
    };
    let asked = |k, within| v1::SearchRequest { k, within, ..request(term.clone()) };
    assert_eq!(read(asked(10_000, None)).expect("allowed").query.k, Some(10_000));
    assert!(refusal(asked(10_001, None)).contains("limit of 10000"));
    assert!(refusal(asked(0, None)).contains("k is 0"));
    assert_eq!(read(asked(0, Some(0.5))).expect("allowed").query.k, None);
    assert_eq!(read(asked(3, Some(0.5))).expect("allowed").query.k, Some(3));
    assert!(refusal(asked(3, Some(f64::NAN))).contains("finite"));
    let bare = v1::SearchRequest { k: 0, within: Some(1.0), ..Default::default() };
    assert!(refusal(bare).contains("at least one vector term"));
    assert!(read(v1::SearchRequest { k: 1, ..Default::default() }).is_ok());
}

#[test]
fn columns_are_known_and_told_once() {
    let asked = |names: &[&str]| v1::SearchRequest {
        k: 1,
        columns: names.iter().map(|&name| name.to_owned()).collect(),
        ..Default::default()
    };
    assert_eq!(read(asked(&[])).expect("all").query.columns, None);
    let some = read(asked(&["Z", "ra", "z"])).expect("one").query.columns;
    assert_eq!(some, Some(vec!["z".to_owned()]));
    assert!(refusal(asked(&["redshift"])).contains("no column `redshift`"));
}

fn reranked(space: &str, candidates: u32, k: u32, term: v1::VectorTerm) -> v1::SearchRequest {
    let rerank = v1::Rerank { space: space.to_owned(), candidates, tokens: Vec::new() };
    v1::SearchRequest { rerank: Some(rerank), k, ..request(term) }
}

/// Examples of a term that crosses spaces are those of the space that it comes from.
#[test]
fn a_term_may_come_from_another_space() {
    let across = |from: &str, to: &str, values: &[f32]| v1::VectorTerm {
        space: to.to_owned(),
        from_space: from.to_owned(),
        vectors: vec![vector(values)],
        ..v1::VectorTerm::default()
    };
    let plan = read(request(across("LOOKS", "Colours", &[1.0, 0.0, 0.0]))).expect("two spaces");
    assert_eq!(plan.query.terms[0].space, "colours");
    let crossing = &plan.crossings[0];
    assert_eq!((crossing.term, crossing.bridge.as_str()), (0, ""));
    assert_eq!((crossing.from.name.as_str(), crossing.to.name.as_str()), ("looks", "colours"));
    assert!(refusal(request(across("looks", "colours", &[1.0, 0.0]))).contains("`looks`"));
    assert!(refusal(request(across("looks", "", &[1.0; 3]))).contains("--to-space"));
    assert!(refusal(request(across("states", "looks", &[1.0; 3]))).contains("tokens"));
    assert!(refusal(request(across("nosuch", "looks", &[1.0; 3]))).contains("nosuch"));
    let seen = v1::VectorTerm {
        vectors: Vec::new(),
        examples: vec![image("image")],
        ..across("looks", "colours", &[])
    };
    assert_eq!(read(request(seen)).expect("an example").examples[0].space.name, "looks");
    let bridge = v1::VectorTerm { bridge: "b".to_owned(), ..across("", "looks", &[1.0; 3]) };
    assert!(refusal(request(bridge)).contains("--from-space"));
}

fn liking(ids: &[i64]) -> v1::VectorTerm {
    let id = |id: &i64| v1::ObjectId { id: Some(v1::object_id::Id::Number(*id)) };
    v1::VectorTerm {
        space: "looks".to_owned(),
        like: ids.iter().map(id).collect(),
        ..v1::VectorTerm::default()
    }
}

#[test]
fn a_rerank_asks_for_candidates_and_knows_what_they_are_compared_with() {
    let plan = read(reranked("STATES", 0, 5, liking(&[1, 2, 1]))).expect("sound");
    assert_eq!(plan.query.k, Some(50));
    let rerank = plan.rerank.expect("is asked for");
    assert_eq!((rerank.k, rerank.candidates, rerank.space.id), (5, 50, SpaceId(4)));
    let ids = vec![ObjectId::Number(1), ObjectId::Number(2)];
    assert_eq!(rerank.target, RerankTarget::Like { ids, payloads: Vec::new() });
    let mut term = liking(&[]);
    term.examples = vec![image(""), image("image")];
    let rerank = read(reranked("codes", 7, 5, term)).expect("sound").rerank.expect("asked for");
    assert_eq!(rerank.candidates, 7);
    let payloads = vec![image("image")];
    assert_eq!(rerank.target, RerankTarget::Like { ids: Vec::new(), payloads });
    assert!(read(request(liking(&[1]))).expect("sound").rerank.is_none());
}

#[test]
fn what_a_rerank_cannot_do_is_told() {
    let told = |space: &str, candidates, k, term| refusal(reranked(space, candidates, k, term));
    let vectors = v1::VectorTerm { vectors: vec![vector(&[1.0, 0.0, 0.0])], ..liking(&[]) };
    for (told, words) in [
        (told("none", 0, 5, liking(&[1])), "no embedding space `none`"),
        (told("looks", 0, 5, liking(&[1])), "a re-rank compares tokens"),
        (told("states", 2_001, 5, liking(&[1])), "2001 candidates of a re-rank are more than"),
        (told("states", 0, 5, vectors.clone()), "a vector has none"),
        (told("strange", 0, 5, liking(&[1])), "made elsewhere"),
    ] {
        assert!(told.contains(words), "{told}");
    }
    let mut empty = reranked("states", 0, 5, liking(&[1]));
    empty.terms.clear();
    assert!(refusal(empty).contains("at least one vector term"));
    let mut endless = reranked("states", 0, 0, liking(&[1]));
    endless.within = Some(0.5);
    assert!(refusal(endless).contains("give k"));
    let mut given = reranked("states", 0, 5, vectors);
    let run = v1::TokenRun { count: 1, width: 4, states: vec![0; 8], ..v1::TokenRun::default() };
    let sequence = v1::TokenSequence { runs: vec![run] };
    given.rerank.as_mut().expect("set").tokens = vec![sequence];
    assert!(refusal(given).contains("4 components, the space 3"));
}

#[test]
fn a_space_of_tokens_is_not_searched_and_never_guessed() {
    let named = v1::VectorTerm { space: "states".to_owned(), ..liking(&[1]) };
    let told = refusal(request(named));
    assert!(told.contains("--rerank states") && told.contains("pooled space"), "{told}");
    let unnamed = v1::VectorTerm {
        space: String::new(),
        vectors: vec![vector(&[1.0, 0.0, 0.0])],
        ..v1::VectorTerm::default()
    };
    let plan = read(request(unnamed)).expect("only one space of vectors fits");
    assert_eq!(plan.query.terms[0].space, "looks");
}
