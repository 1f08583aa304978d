//! Outliers, sessions and combined searches, in words of the command line.

use super::*;

#[test]
fn examples_outliers_and_sessions_are_asked_for_in_words() {
    let running = Running::start();
    running.import_catalogue();
    let like = ["search", "galaxies", "--like", "10", "--like", "14", "-k", "4"];

    let nearest = running.json(&[&like[..], &["--method", "max-sim"]].concat());
    assert_eq!(nearest["stats"]["method"], "max-sim");
    assert!(ids(&nearest).iter().all(|id| ["9", "11", "13", "15"].contains(id)), "{nearest}");
    let probe = running.json(&[&like[..], &["--unlike", "300", "--method", "probe"]].concat());
    assert_eq!((probe["stats"]["method"].as_str(), ids(&probe).len()), (Some("probe"), 4));
    let line = running.says(&[&like[..], &["--unlike", "300"]].concat());
    assert!(line.contains("by rocchio"), "{line}");
    let diverse = running.json(&[&like[..], &["--diversity", "0.2=100"]].concat());
    assert_ne!(ids(&diverse), ids(&running.json(&like)));
    // Neighbours in number are 25 arcseconds apart on the sky.
    let grouped = running.json(&[&like[..], &["--group-within", "0.02deg"]].concat());
    assert!(
        grouped["hits"][0]["beside"][0]["separation_arcsec"].as_f64().is_some_and(|far| far < 72.0)
    );
    let around = running.json(&[&like[..], &["--exclude-within", "0.02deg"]].concat());
    assert!(!ids(&around).contains(&"11"), "{around}");
    let refused =
        running.complains(&[&like[..], &["--unlike", "3", "--method", "centroid"]].concat());
    assert!(refused.contains("rocchio"), "{refused}");

    let words =
        ["outliers", "galaxies", "-k", "5", "-n", "3", "--method", "knn", "--column", "lonely"];
    let outliers = running.json(&words);
    assert_eq!(outliers["outliers"].as_array().map(Vec::len), Some(3));
    assert_eq!(outliers["stats"]["written"], OBJECTS);
    let most = outliers["outliers"][0]["score"].as_f64().expect("a score");
    let count = running.json(&["count", "galaxies", "--where", &format!("lonely >= {most}")]);
    assert!(count["count"].as_u64().is_some_and(|count| (1..=3).contains(&count)), "{count}");
    assert!(running.says(&words).contains("written to column lonely"));
    let refused = running.complains(&["outliers", "galaxies", "--column", "class"]);
    assert!(refused.contains("float64"), "{refused}");

    let started =
        running.json(&["session", "start", "galaxies", "--name", "arcs", "--space", "phase"]);
    assert_eq!(
        (started["session"].as_str(), started["space"].as_str()),
        (Some("arcs"), Some("phase"))
    );
    assert!(
        running.complains(&["session", "start", "galaxies", "--name", "ARCS"]).contains("already")
    );
    running.says(&["session", "label", "arcs", "100=1", "102=1", "7=0"]);
    let next = running.json(&["session", "next", "arcs", "-n", "4", "--strategy", "likely"]);
    let objects = next["objects"].as_array().expect("objects");
    assert_eq!((objects.len(), next["strategy"].as_str()), (4, Some("likely")));
    assert!(
        objects
            .iter()
            .all(|object| object["probability"].as_f64().is_some_and(|share| share > 0.5))
    );
    assert!(objects.iter().all(|object| {
        !["100", "102", "7"].contains(&object["object_id"].as_str().expect("an id"))
    }));
    running.says(&["session", "label", "arcs", "7=", "102=0"]);
    let shown = running.json(&["session", "show", "arcs"]);
    assert_eq!((shown["positives"].as_u64(), shown["negatives"].as_u64()), (Some(1), Some(1)));
    assert_eq!(shown["history"][0]["strategy"], "likely");
    assert!(running.says(&["session", "list"]).contains("arcs"));
    assert!(running.complains(&["session", "label", "arcs", "100"]).contains("ID=1"));
    assert!(running.complains(&["session", "label", "arcs", "4000=1"]).contains("no object"));
    running.says(&["session", "drop", "arcs"]);
    assert!(running.complains(&["session", "show", "arcs"]).contains("no session"));
}
