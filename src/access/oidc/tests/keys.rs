//! When the issuer's keys are read, and from where.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn an_unknown_key_has_the_keys_read_again_once_a_minute() {
    let (old, new) = (Pair::new("old", Algorithm::ES256), Pair::new("new", Algorithm::ES256));
    let bench = Bench::new(&key_set(&[&old]));
    let oidc = bench.oidc(|_| {});
    let claims = with(&[("exp", json!(NOW + 1_000_000))]);
    let (of_old, of_new) = (old.sign(&claims), new.sign(&claims));
    assert!(oidc.verify(&of_old).await.is_ok());
    bench.write(&key_set(&[&new]));
    assert_eq!(oidc.verify(&of_new).await.expect_err("too soon").public(), unknown());
    bench.now.store(NOW + 59, Ordering::Relaxed);
    assert!(oidc.verify(&of_new).await.is_err());
    bench.now.store(NOW + 60, Ordering::Relaxed);
    assert!(oidc.verify(&of_new).await.is_ok());
    assert!(oidc.verify(&of_old).await.is_err(), "the issuer has withdrawn it");
    // Keys that can no longer be read go on for a day, and no longer.
    std::fs::remove_file(bench.keys()).expect("removes");
    bench.now.store(NOW + 60 + 23 * 3_600, Ordering::Relaxed);
    assert!(oidc.verify(&of_new).await.is_ok());
    bench.now.store(NOW + 60 + 24 * 3_600, Ordering::Relaxed);
    let denied = oidc.verify(&of_new).await.expect_err("nobody knows the keys");
    assert_eq!(denied.kind(), DeniedKind::Unavailable);
    assert!(!denied.public().contains("keys.json"), "{denied}");
}

#[tokio::test]
async fn a_withdrawn_key_ends_within_the_hour() {
    let (old, new) = (Pair::new("old", Algorithm::ES256), Pair::new("new", Algorithm::ES256));
    let bench = Bench::new(&key_set(&[&old]));
    let oidc = bench.oidc(|_| {});
    let token = old.sign(&with(&[("exp", json!(NOW + 1_000_000))]));
    assert!(oidc.verify(&token).await.is_ok());
    bench.write(&key_set(&[&new]));
    bench.now.store(NOW + 3_599, Ordering::Relaxed);
    assert!(oidc.verify(&token).await.is_ok());
    bench.now.store(NOW + 3_600, Ordering::Relaxed);
    assert!(oidc.verify(&token).await.is_err());
}

/// Answers every request with what `answer` makes of its path, and counts the requests.
async fn issuer(
    answer: impl Fn(&str, &str) -> String + Send + 'static,
) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (counted, own) = (Arc::new(AtomicU64::new(0)), url.clone());
    let counter = Arc::clone(&counted);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut request = vec![0; 4_096];
            let bytes = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..bytes]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let _ = stream.write_all(answer(&own, path).as_bytes()).await;
        }
    });
    (url, counted)
}

fn http(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn discovery(url: &str, keys: &str) -> String {
    http(&json!({"issuer": url, "jwks_uri": keys}).to_string())
}

async fn verify_at(url: &str, pair: &Pair, times: usize) -> Vec<Result<Verified, Denied>> {
    let oidc = Oidc::new(OidcOptions::new(url, "sidereus"), Arc::new(|| NOW)).expect("loopback");
    let mut all = Vec::new();
    for _ in 0..times {
        all.push(oidc.verify(&pair.sign(&with(&[("iss", json!(url))]))).await);
    }
    all
}

#[tokio::test]
async fn keys_are_fetched_from_where_the_issuer_says() {
    let pair = Pair::new("k", Algorithm::ES256);
    let set = key_set(&[&pair]).to_string();
    let (url, count) = issuer(move |own, path| match path {
        "/.well-known/openid-configuration" => discovery(own, &format!("{own}/keys")),
        "/keys" => http(&set),
        _ => http("{}"),
    })
    .await;
    let verified = verify_at(&url, &pair, 3).await;
    assert!(verified.iter().all(Result::is_ok), "{verified:?}");
    assert_eq!(count.load(Ordering::Relaxed), 2, "asked once for each document");
    // Somebody who makes up keys cannot have the issuer asked again and again.
    let other = Pair::new("made up", Algorithm::ES256);
    let verified = verify_at(&url, &other, 5).await;
    assert!(verified.iter().all(Result::is_err));
    assert_eq!(count.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn an_issuer_that_answers_badly_lets_nobody_in() {
    type Answer = fn(&str, &str) -> String;
    let cases: [(Answer, &str); 7] = [
        (|_, _| http("not JSON"), "no discovery document"),
        (|own, _| discovery(&format!("{own}/other"), own), "another issuer"),
        (|own, _| discovery(own, "http://192.0.2.1/keys"), "not https"),
        (|own, _| discovery(own, "file:///etc/passwd"), "not https"),
        (
            |_, _| "HTTP/1.1 302 Found\r\nlocation: /keys\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "302",
        ),
        (|_, _| http(&" ".repeat(600_000)), "more than"),
        (
            |_, _| format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", " ".repeat(600_000)),
            "more than",
        ),
    ];
    let pair = Pair::new("k", Algorithm::ES256);
    for (answer, told) in cases {
        let (url, count) = issuer(answer).await;
        for verified in verify_at(&url, &pair, 2).await {
            let denied = verified.expect_err(told);
            assert_eq!(denied.kind(), DeniedKind::Unavailable, "{denied}");
            assert!(denied.reason().contains(told), "{told}: {}", denied.reason());
            assert!(!denied.public().contains("http"), "{denied}");
        }
        assert_eq!(count.load(Ordering::Relaxed), 1, "{told}");
    }
}

#[tokio::test]
async fn keys_of_a_wrong_form_are_passed_over() {
    let good = Pair::new("k", Algorithm::ES256);
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        let pair = Pair::new("bad", algorithm);
        for (field, value) in [
            ("x", json!("")),
            ("x", json!("AAAA")),
            ("x", json!("A".repeat(200))),
            ("x", json!("!".repeat(43))),
            ("x", json!(7)),
            ("use", json!("enc")),
            ("alg", json!("HS256")),
            ("crv", json!("P-521")),
            ("kty", json!("oct")),
        ] {
            let mut bad = pair.jwk();
            bad[field] = value;
            let bench = Bench::new(&json!({"keys": [bad, good.jwk()]}));
            let oidc = bench.oidc(|options| options.algorithms.push("ES384".to_owned()));
            let denied = oidc.verify(&pair.sign(&claims())).await.expect_err(field);
            assert_eq!(denied.public(), unknown());
            assert!(oidc.verify(&good.sign(&claims())).await.is_ok(), "{field}");
        }
    }
    for set in [json!([]), json!({}), json!({"keys": []}), json!({"keys": {"k": 1}}), json!("x")] {
        let bench = Bench::new(&set);
        assert!(Oidc::new(options(&bench.keys()), bench.clock()).is_err(), "{set}");
    }
    // Two keys of one id: whichever were tried would be a guess.
    let twins = [Pair::new("k", Algorithm::ES256), Pair::new("k", Algorithm::ES256)];
    let bench = Bench::new(&key_set(&[&twins[0], &twins[1]]));
    assert!(bench.oidc(|_| {}).verify(&twins[0].sign(&claims())).await.is_err());
}

proptest! {
    #[test]
    fn nothing_that_is_shown_brings_the_server_down(
        header in "\\PC{0,60}|\\{\"alg\":\"(ES256|none|HS256|RS256|EdDSA)\"(,\"kid\":\"k\")?\\}",
        body in "\\PC{0,60}",
        signature in prop::collection::vec(any::<u8>(), 0..80),
        plain in "\\PC{0,100}",
    ) {
        let pair = Pair::new("k", Algorithm::ES256);
        let bench = Bench::new(&key_set(&[&pair]));
        let oidc = bench.oidc(|options| options.algorithms.push("PS256".to_owned()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let encoded = [header.as_bytes(), body.as_bytes(), &signature].map(base64).join(".");
        for shown in [encoded, format!("{header}.{body}.x"), plain] {
            let denied = runtime.block_on(oidc.verify(&shown)).expect_err("nobody signed it");
            prop_assert_eq!(denied.public(), unknown());
        }
    }
}
