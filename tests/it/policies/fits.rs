//! Fits of somebody restricted are those of a collection of permitted objects alone.

use std::sync::LazyLock;

use sidereus::engine::CollectionView;
use sidereus::learn::Progress;
use sidereus::probes::bridge::Bridges;
use sidereus::probes::{self, Fitted, Tools};
use sidereus::query::StopFlag;
use sidereus::wire::v1::{
    Bridge, BridgeSpec, FitBridgeRequest, FitProbeRequest, Head, KnnHead, LogisticHead, Probe,
    ProbeSpec, RidgeBridge, RidgeHead, Target, bridge_spec, head,
};

use super::{CLAUSES, Clause, NAME, World, admits, restricted, today};

const POLICY: [Clause; 2] = [CLAUSES[0], CLAUSES[3]];

static WORLDS: LazyLock<[World; 2]> =
    LazyLock::new(|| [World::unbuilt(|_| true), World::unbuilt(|object| admits(&POLICY, object))]);

fn fit(world: &World, view: &CollectionView, target: &str, kind: head::Kind) -> Fitted {
    let spec = ProbeSpec {
        spaces: vec!["euclid".to_owned(), "angle".to_owned()],
        columns: vec!["z".to_owned()],
        target: Some(Target { column: target.to_owned(), ..Target::default() }),
        head: Some(Head { kind: Some(kind) }),
        split: "random:0.3:5".to_owned(),
        resamples: 20,
        train_limit: 400,
        ..ProbeSpec::default()
    };
    let request = FitProbeRequest {
        collection: NAME.to_owned(),
        spec: Some(spec),
        name: format!("p_{target}"),
        overwrite: true,
        with_predictions: true,
    };
    let tools = Tools::new(world.db.clone(), None);
    probes::fit(&tools, view, request, &StopFlag::default(), Progress::silent()).expect("fits")
}

fn timeless(probe: &Probe) -> Probe {
    Probe { elapsed_seconds: 0.0, fitted_at: 0, ..probe.clone() }
}

#[test]
fn a_probe_learns_from_permitted_rows_alone() {
    let [all, alone] = &*WORLDS;
    let heads = [
        ("n", head::Kind::Ridge(RidgeHead { alphas: vec![1.0], folds: 0 })),
        ("class", head::Kind::Logistic(LogisticHead { alphas: vec![1.0], folds: 0 })),
        ("n", head::Kind::Knn(KnnHead { k: 5, ..KnnHead::default() })),
    ];
    for (target, kind) in heads {
        let view = restricted(all.view(), &POLICY, today());
        let found = fit(all, &view, target, kind.clone());
        let truth = fit(alone, &alone.view(), target, kind.clone());
        assert_eq!(timeless(&found.probe), timeless(&truth.probe), "{kind:?}");
        assert!(found.probe.n_test > 100 && found.predictions == truth.predictions);
        // The kept head says the same of every object that both have.
        let column = format!("probe.p_{target}");
        let of = |world: &World, view: &CollectionView| -> Vec<String> {
            let query = sidereus::query::Query {
                k: Some(2_000),
                columns: Some(vec![match target {
                    "class" => format!("{column}.p_QSO"),
                    _ => column.clone(),
                }]),
                ..Default::default()
            };
            let derived = world.db.derived_columns(NAME).expect("derived");
            let known: Vec<&str> = derived.iter().map(|it| it.name.as_str()).collect();
            if !known.contains(&query.columns.as_ref().expect("one")[0].as_str()) {
                return known.into_iter().map(str::to_owned).collect();
            }
            let answer = sidereus::query::search(view, &query).expect("lists");
            answer.hits.iter().map(|hit| format!("{} {:?}", hit.id, hit.columns)).collect()
        };
        let shown = restricted(all.view(), &POLICY, today());
        let (found, truth) = (of(all, &shown), of(alone, &alone.view()));
        assert_eq!(found, truth, "{kind:?}");
    }
}

fn bridge(world: &World, view: &CollectionView) -> Bridge {
    let spec = BridgeSpec {
        from: "euclid".to_owned(),
        to: "angle".to_owned(),
        method: Some(bridge_spec::Method::Ridge(RidgeBridge::default())),
        resamples: 20,
        ..BridgeSpec::default()
    };
    let request = FitBridgeRequest {
        collection: NAME.to_owned(),
        spec: Some(spec),
        name: "b".to_owned(),
        overwrite: true,
    };
    let bridges = Bridges::new(Tools::new(world.db.clone(), None));
    let fitted = bridges.fit(view, request, &StopFlag::default(), Progress::silent());
    Bridge { elapsed_seconds: 0.0, fitted_at: 0, ..fitted.expect("fits") }
}

#[test]
fn a_bridge_learns_from_permitted_rows_alone() {
    let [all, alone] = &*WORLDS;
    let view = restricted(all.view(), &POLICY, today());
    let (found, truth) = (bridge(all, &view), bridge(alone, &alone.view()));
    assert_eq!(found, truth);
    assert!(found.n_test > 100 && bridge(all, &all.view()).n_test > found.n_test);
}
