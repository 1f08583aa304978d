//! Every limit of the configuration is named by the error that it causes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::service::admission::{Admission, AdmissionOptions, Cost, Quota, QuotaOptions, Quotas};
use crate::service::{RequestError, ServiceError};

/// Keys that bound what the server does and refuse nobody, and why.
const REFUSE_NOBODY: [(&str, &str); 12] = [
    ("limits.ingest_window", "a stream that sends more is read later"),
    ("limits.batches_in_flight", "batches wait for one another"),
    ("limits.chunk_kib", "answers are cut into parts"),
    ("limits.encode_retries", "a job that gives up says why"),
    ("quotas.requests_burst", "told as quotas.requests_per_s"),
    ("quotas.weight", "a share"),
    ("admission.running", "the others wait"),
    ("admission.running_long", "the others wait"),
    ("admission.long_ms", "where a query waits"),
    ("audit.mode", "a switch"),
    ("audit.delay_ms", "a delay"),
    ("audit.file_mib", "a size of files"),
];

fn at_most_texts() -> Vec<String> {
    // As the checks of messages call them; the integration tests meet each of them through a server.
    let named = [
        ("terms", "vector terms"),
        ("examples", "examples"),
        ("ids", "ids"),
        ("batch_rows", "rows"),
        ("predicate_bytes", "bytes"),
        ("polygon_vertices", "vertices"),
        ("cells", "cells"),
        ("moc_bytes", "bytes"),
        ("encode_batch", "inputs"),
    ];
    let sources = [
        include_str!("convert/search.rs"),
        include_str!("convert/region.rs"),
        include_str!("objects.rs"),
        include_str!("ingest.rs"),
        include_str!("encoding/inputs.rs"),
    ]
    .concat();
    let texts = named.into_iter().map(|(key, what)| {
        let limit: &'static str = format!("limits.{key}").leak();
        assert!(sources.contains(&format!("\"{limit}\"")), "{limit} is checked nowhere");
        at_most(what, limit, 2, 1).expect_err("one too many").to_string()
    });
    texts.collect()
}

fn quota_texts() -> Vec<String> {
    let refused = |change: &dyn Fn(&mut Quota)| {
        let mut options = QuotaOptions::default();
        change(&mut options.default);
        let quotas = Quotas::new(options);
        let first = quotas.check("adam", &[]).expect("the first");
        first.bytes_in(2 << 20);
        first.bytes_out(2 << 20);
        first.rows(2);
        quotas.check("adam", &[]).expect_err("beyond the quota").to_string()
    };
    vec![
        refused(&|quota| (quota.requests_per_s, quota.requests_burst) = (1, 1)),
        refused(&|quota| quota.bytes_in_per_min = 1 << 20),
        refused(&|quota| quota.bytes_out_per_min = 1 << 20),
        refused(&|quota| quota.calls_at_once = 1),
        refused(&|quota| quota.rows_per_day = 1),
    ]
}

async fn admission_texts() -> Vec<String> {
    let wait_max = Duration::from_millis(20);
    let options = AdmissionOptions {
        running: Some(1),
        queue: 1,
        wait_max,
        memory_bytes: Some(1 << 20),
        ..AdmissionOptions::default()
    };
    let admission = Admission::new(options);
    let cost = |ns, bytes| Cost {
        work: crate::service::admission::Work::Planned,
        ns,
        bytes,
        is_at_hand: true,
    };
    let large = admission.enter(None, cost(1e4, 2 << 20)).await.expect_err("too large");
    let held = admission.enter(None, cost(1e4, 0)).await.expect("free");
    let waiting = admission.enter(None, cost(1e4, 0));
    let full = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        admission.enter(None, cost(1e4, 0)).await.expect_err("full")
    };
    let (waited, full) = tokio::join!(waiting, full);
    drop(held);
    vec![large.to_string(), full.to_string(), waited.expect_err("waited").to_string()]
}

#[tokio::test]
async fn every_limit_of_the_configuration_is_named_where_it_refuses() {
    let reference: toml::Table =
        include_str!("../../deploy/sidereus.toml").parse().expect("the reference file");
    let mut texts = at_most_texts();
    texts.extend(quota_texts());
    texts.extend(admission_texts().await);
    texts.push(RequestError::TooManyHits { k: 2, max: 1 }.to_string());
    texts.push(ServiceError::ReplyTooLarge { bytes: 2, max: 1 }.to_string());
    texts.push(ServiceError::DeadlineExceeded { seconds: 1.0 }.to_string());
    // These three are met in the bodies of messages; their names stand there.
    texts.push(include_str!("admission/layer.rs").to_owned());
    texts.push(include_str!("admission/body.rs").to_owned());
    let refuse_nobody: BTreeMap<_, _> = REFUSE_NOBODY.into_iter().collect();
    for section in ["limits", "quotas", "admission", "audit"] {
        for key in reference[section].as_table().expect("a table").keys() {
            let name = format!("{section}.{key}");
            let is_named = texts.iter().any(|text| {
                text.contains(&format!("`{name}`")) || text.contains(&format!("\"{name}\""))
            });
            assert_ne!(is_named, refuse_nobody.contains_key(&*name), "{name}");
        }
    }
    assert!(texts.iter().any(|text| text.contains("`admission.memory_mib`")));
}
