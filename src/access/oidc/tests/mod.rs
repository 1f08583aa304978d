//! Tokens of an issuer whose keys the tests make, and every way to get one wrong.

mod keys;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_795_000_000;
const ISSUER: &str = "https://sso.example.org/realms/sky";

/// A key of the issuer.
struct Pair {
    id: &'static str,
    algorithm: Algorithm,
    pair: KeyPair,
}

impl Pair {
    fn new(id: &'static str, algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::ES256 => &PKCS_ECDSA_P256_SHA256,
            Algorithm::ES384 => &PKCS_ECDSA_P384_SHA384,
            _ => &PKCS_ED25519,
        };
        Self { id, algorithm, pair: KeyPair::generate_for(kind).expect("a key") }
    }

    fn jwk(&self) -> Value {
        let raw = self.pair.public_key_raw();
        let half = |from: usize, to: usize| base64(&raw[from..to]);
        match self.algorithm {
            Algorithm::ES256 => {
                json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "x": half(1, 33), "y": half(33, 65)})
            }
            Algorithm::ES384 => {
                json!({"kty": "EC", "crv": "P-384", "kid": self.id, "x": half(1, 49), "y": half(49, 97)})
            }
            _ => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.id, "alg": "EdDSA", "x": half(0, 32)})
            }
        }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) };
        self.sign_as(&header, claims)
    }

    fn sign_as(&self, header: &Header, claims: &Value) -> String {
        let der = self.pair.serialize_der();
        let key = match self.algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(&der),
            _ => EncodingKey::from_ec_der(&der),
        };
        encode(header, claims, &key).expect("signs")
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for letter in 0..=three.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * letter) & 63) as usize]));
        }
    }
    text
}

fn key_set(pairs: &[&Pair]) -> Value {
    json!({"keys": pairs.iter().map(|pair| pair.jwk()).collect::<Vec<_>>()})
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "sidereus", "sub": "ada", "exp": NOW + 300, "iat": NOW - 10})
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut claims = claims();
    for (name, value) in changes {
        let map = claims.as_object_mut().expect("an object");
        match value {
            Value::Null => drop(map.remove(*name)),
            value => drop(map.insert((*name).to_owned(), value.clone())),
        }
    }
    claims
}

fn options(keys: &Path) -> OidcOptions {
    OidcOptions { keys: Some(keys.to_owned()), ..OidcOptions::new(ISSUER, "sidereus") }
}

/// An issuer whose keys lie in a file, and a clock that can be set.
struct Bench {
    folder: tempfile::TempDir,
    now: Arc<AtomicU64>,
}

impl Bench {
    fn new(set: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = Self { folder, now: Arc::new(AtomicU64::new(NOW)) };
        bench.write(set);
        bench
    }

    fn keys(&self) -> std::path::PathBuf {
        self.folder.path().join("keys.json")
    }

    fn write(&self, set: &Value) {
        std::fs::write(self.keys(), set.to_string()).expect("writes");
    }

    fn oidc(&self, change: impl FnOnce(&mut OidcOptions)) -> Oidc {
        let mut options = options(&self.keys());
        change(&mut options);
        Oidc::new(options, self.clock()).expect("good options")
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Arc::new(move || now.load(Ordering::Relaxed))
    }
}

fn unknown() -> String {
    Denied::token("").public().to_owned()
}

#[tokio::test]
async fn a_token_of_the_issuer_says_who_it_is() {
    let pairs = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA]
        .map(|algorithm| Pair::new("k", algorithm));
    for pair in &pairs {
        let bench = Bench::new(&key_set(&[pair]));
        let oidc = bench.oidc(|options| options.algorithms.push("ES384".to_owned()));
        let verified = oidc.verify(&pair.sign(&claims())).await.expect("is good");
        let Verified { name, groups, ends } = verified;
        assert_eq!((name.as_str(), groups.len()), ("oidc:ada", 0));
        assert!(ends > NOW);
        let several = with(&[("aud", json!(["other", "sidereus"]))]);
        assert!(oidc.verify(&pair.sign(&several)).await.is_ok());
        // The last letter of a signature has idle bits, the first has none.
        let token = pair.sign(&claims());
        let at = token.rfind('.').expect("a signature") + 1;
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        let forged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        assert_eq!(oidc.verify(&forged).await.expect_err("forged").public(), unknown());
        // The claims of another token under this signature.
        let admin = pair.sign(&with(&[("sub", json!("root"))]));
        let parts: Vec<&str> = token.split('.').collect();
        let payload = admin.split('.').nth(1).expect("claims");
        let mixed = format!("{}.{payload}.{}", parts[0], parts[2]);
        assert_eq!(oidc.verify(&mixed).await.expect_err("mixed").public(), unknown());
    }
}

#[tokio::test]
async fn claims_that_are_wrong_or_missing_open_nothing() {
    let pair = Pair::new("k", Algorithm::ES256);
    let bench = Bench::new(&key_set(&[&pair]));
    let oidc = bench.oidc(|options| {
        options.groups_claim = Some("realm.roles".to_owned());
        options.group_prefix = Some("sso-".to_owned());
    });
    let roles = ("realm", json!({"roles": ["a"]}));
    assert!(oidc.verify(&pair.sign(&with(std::slice::from_ref(&roles)))).await.is_ok());
    for (change, told) in [
        (("aud", json!("another")), "audience"),
        (("aud", json!(["a", "b"])), "audience"),
        (("aud", json!([])), "audience"),
        (("aud", Value::Null), "`aud`"),
        (("iss", json!("https://sso.example.org/realms/sky/")), "issuer"),
        (("iss", json!([ISSUER])), "`iss`"),
        (("iss", Value::Null), "`iss`"),
        (("exp", json!(NOW - 60)), "expired 2026-"),
        (("exp", json!("never")), "`exp`"),
        (("exp", json!(-5)), "`exp`"),
        (("exp", Value::Null), "`exp`"),
        (("nbf", json!(NOW + 61)), "not valid before"),
        (("iat", json!(NOW + 61)), "not valid before"),
        (("iat", Value::Null), "`iat`"),
        (("sub", Value::Null), "`sub`"),
        (("sub", json!("")), "`sub`"),
        (("sub", json!(7)), "`sub`"),
        (("sub", json!("a\nb")), "`sub`"),
        (("sub", json!("x".repeat(200))), "`sub`"),
        (("realm", Value::Null), "`realm.roles`"),
        (("realm", json!({"roles": 5})), "`realm.roles`"),
    ] {
        let token = pair.sign(&with(&[roles.clone(), change.clone()]));
        let denied = oidc.verify(&token).await.expect_err(told);
        assert_eq!(denied.kind(), DeniedKind::Unauthenticated);
        assert!(denied.public().contains(told), "{change:?}: {denied}");
    }
}

#[tokio::test]
async fn an_address_that_nobody_has_checked_names_nobody() {
    let pair = Pair::new("k", Algorithm::EdDSA);
    let bench = Bench::new(&key_set(&[&pair]));
    let oidc = bench.oidc(|options| options.name_claim = "email".to_owned());
    let address = ("email", json!("ada@example.org"));
    for (told, good) in [
        (json!(true), true),
        (json!("true"), true),
        (json!(false), false),
        (json!("false"), false),
        (json!(1), false),
        (Value::Null, false),
    ] {
        let token = pair.sign(&with(&[address.clone(), ("email_verified", told.clone())]));
        match oidc.verify(&token).await {
            Ok(verified) => assert!(good && verified.name == "oidc:ada@example.org", "{told}"),
            Err(denied) => {
                assert!(!good && denied.public().contains("`email_verified`"), "{told}: {denied}");
            }
        }
    }
    // Names without a beginning of their own could be those of tokens' owners.
    let options = OidcOptions { name_prefix: String::new(), ..options(&bench.keys()) };
    let refused = Oidc::new(options, bench.clock()).err().expect("refused").to_string();
    assert!(refused.contains("name_prefix"), "{refused}");
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway() {
    let pair = Pair::new("k", Algorithm::EdDSA);
    let bench = Bench::new(&key_set(&[&pair]));
    let oidc = bench.oidc(|_| {});
    for (change, good) in [
        (("exp", json!(NOW - 59)), true),
        (("exp", json!(NOW - 60)), false),
        // The fraction of a second is nobody's.
        (("exp", json!(NOW as f64 - 59.5)), false),
        (("exp", json!(NOW as f64 - 58.5)), true),
        (("nbf", json!(NOW + 60)), true),
        (("nbf", json!(NOW + 61)), false),
        (("iat", json!(NOW + 60)), true),
    ] {
        let verified = oidc.verify(&pair.sign(&with(std::slice::from_ref(&change)))).await;
        assert_eq!(verified.is_ok(), good, "{change:?}");
    }
    let with_nbf_alone = with(&[("iat", Value::Null), ("nbf", json!(NOW - 5))]);
    assert!(oidc.verify(&pair.sign(&with_nbf_alone)).await.is_ok());
    let token = pair.sign(&claims());
    bench.now.store(NOW + 359, Ordering::Relaxed);
    assert!(oidc.verify(&token).await.is_ok());
    bench.now.store(NOW + 360, Ordering::Relaxed);
    assert!(oidc.verify(&token).await.is_err());
}

#[tokio::test]
async fn algorithms_and_headers_that_are_not_allowed_open_nothing() {
    let (es, ed) = (Pair::new("es", Algorithm::ES256), Pair::new("ed", Algorithm::EdDSA));
    let secret = base64(b"a secret that should not be here");
    let mut set = key_set(&[&es, &ed]);
    let list = set["keys"].as_array_mut().expect("a list");
    list.push(json!({"kty": "oct", "kid": "oct", "k": secret}));
    list.push(json!({"kty": "of the future", "kid": "new"}));
    let bench = Bench::new(&set);
    let oidc = bench.oidc(|options| options.algorithms = vec!["ES256".to_owned()]);
    let body = base64(claims().to_string().as_bytes());
    let mut tokens = Vec::new();
    for none in ["none", "None", "NONE", ""] {
        let head = base64(json!({"alg": none, "kid": "es"}).to_string().as_bytes());
        tokens.extend([format!("{head}.{body}."), format!("{head}.{body}.AAAA")]);
    }
    // The public key as the secret of a symmetric algorithm, and the secret of the set itself.
    for (id, secret) in [
        ("es", es.pair.public_key_raw().to_vec()),
        ("es", es.pair.public_key_pem().into_bytes()),
        ("oct", b"a secret that should not be here".to_vec()),
    ] {
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(&secret);
        tokens.push(encode(&header, &claims(), &key).expect("signs"));
    }
    // A good signature of an algorithm that is not allowed, and one under the name of another key.
    tokens.push(ed.sign(&claims()));
    let under_es = Header { kid: Some("es".to_owned()), ..Header::new(Algorithm::EdDSA) };
    tokens.push(ed.sign_as(&under_es, &claims()));
    let critical = Header {
        kid: Some("es".to_owned()),
        crit: Some(vec!["b64".to_owned()]),
        ..Header::new(Algorithm::ES256)
    };
    tokens.push(es.sign_as(&critical, &claims()));
    let embedded = Pair::new("es", Algorithm::ES256);
    let jwk = serde_json::from_value(embedded.jwk()).expect("a key");
    let header =
        Header { jwk: Some(jwk), kid: Some("es".to_owned()), ..Header::new(Algorithm::ES256) };
    tokens.push(embedded.sign_as(&header, &claims()));
    tokens.extend(["", ".", "..", "...", "a.b.c", "é.é.é"].map(str::to_owned));
    tokens.push("x".repeat(TOKEN_BYTES_MAX + 1));
    for token in tokens {
        let denied = oidc.verify(&token).await.expect_err(&token);
        assert_eq!(denied.public(), unknown(), "{token}: {}", denied.reason());
    }
    assert!(oidc.verify(&es.sign(&claims())).await.is_ok());
    let two = Header::new(Algorithm::ES256);
    assert!(oidc.verify(&es.sign_as(&two, &claims())).await.is_ok(), "the only key of ES256");
}

/// The example of RFC 7515, appendix A.2: the signature is good, and the claims are told to lack an audience.
#[tokio::test]
async fn the_example_of_the_rfc_is_verified() {
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-\
             pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2Ca\
             pHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb5\
             4h4FRWyuXpoQ";
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290I\
                 jp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGb\
                 ds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN\
                 9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy\
                 wlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let bench = Bench::new(&json!({"keys": [{"kty": "RSA", "n": n, "e": "AQAB"}]}));
    let oidc = bench.oidc(|options| options.issuer = "joe".to_owned());
    let denied = oidc.verify(token).await.expect_err("has no audience");
    assert!(denied.public().contains("`aud`"), "{} ({})", denied, denied.reason());
    let forged = token.replace(".cC4h", ".cC4i");
    assert_eq!(oidc.verify(&forged).await.expect_err("forged").public(), unknown());
    // Of 1,024 bits it would not be taken.
    let weak = json!({"keys": [{"kty": "RSA", "n": &n[..171], "e": "AQAB"}]}).to_string();
    std::fs::write(bench.keys(), weak).expect("writes");
    assert!(Oidc::new(options(&bench.keys()), bench.clock()).is_err());
}

#[tokio::test]
async fn groups_are_those_that_the_operator_maps() {
    let pair = Pair::new("k", Algorithm::ES256);
    let bench = Bench::new(&key_set(&[&pair]));
    let groups = json!(["Sky Survey/PIs", "pilots", "everyone", "b ad", 7, "Pilots"]);
    let token = pair.sign(&with(&[("https://x.org/groups", groups)]));
    let mapped = |prefix: Option<&str>| {
        let prefix = prefix.map(str::to_owned);
        bench.oidc(|options| {
            options.groups_claim = Some("https://x.org/groups".to_owned());
            options.groups.insert("Sky Survey/PIs".to_owned(), "Team".to_owned());
            options.group_prefix = prefix;
        })
    };
    let table = mapped(None).verify(&token).await.expect("is good");
    assert_eq!(table.groups, ["team"]);
    let prefixed = mapped(Some("sso-")).verify(&token).await.expect("is good");
    assert_eq!(prefixed.groups, ["sso-everyone", "sso-pilots", "team"]);
    let bare = mapped(Some("")).verify(&token).await.expect("is good");
    assert_eq!(bare.groups, ["pilots", "team"], "and nobody is made `everyone`");
    let many: Vec<String> = (0..1_001).map(|number| number.to_string()).collect();
    let token = pair.sign(&with(&[("https://x.org/groups", json!(many))]));
    assert!(mapped(None).verify(&token).await.is_err());
}

#[test]
fn settings_that_would_let_anybody_in_are_refused() {
    let good = OidcOptions::new(ISSUER, "sidereus");
    assert!(Oidc::new(good.clone(), Arc::new(|| NOW)).is_ok());
    let refused = |key: &str, change: fn(&mut OidcOptions)| {
        let mut options = good.clone();
        change(&mut options);
        match Oidc::new(options, Arc::new(|| NOW)) {
            Err(AccessError::Oidc { key: told, .. }) => assert_eq!(told, key),
            Err(other) => panic!("{key}: {other}"),
            Ok(_) => panic!("{key} was taken"),
        }
    };
    for name in ["HS256", "none", "es256", ""] {
        let mut options = good.clone();
        options.algorithms = vec!["ES256".to_owned(), name.to_owned()];
        assert!(Oidc::new(options, Arc::new(|| NOW)).is_err(), "{name}");
    }
    refused("algorithms", |options| options.algorithms.clear());
    refused("audiences", |options| options.audiences.clear());
    refused("audiences", |options| options.audiences.push(String::new()));
    refused("issuer", |options| options.issuer.clear());
    refused("issuer", |options| options.issuer = "http://sso.example.org".to_owned());
    refused("issuer", |options| options.issuer = "sso.example.org".to_owned());
    refused("name_claim", |options| options.name_claim.clear());
    refused("leeway_s", |options| options.leeway_s = 3_600);
    refused("groups_claim", |options| options.group_prefix = Some("a".to_owned()));
    refused("groups_claim", |options| options.groups_claim = Some("groups".to_owned()));
    refused("groups", |options| {
        options.groups_claim = Some("groups".to_owned());
        options.groups.insert("staff".to_owned(), "everyone".to_owned());
    });
    refused("keys", |options| options.keys = Some("/nowhere/keys.json".into()));
    let told: OidcOptions =
        serde_json::from_value(json!({"issuer": ISSUER, "audiences": ["sidereus"]})).expect("read");
    assert_eq!(told, good);
    let typo = json!({"issuer": ISSUER, "audiences": ["a"], "audience": "b"});
    assert!(serde_json::from_value::<OidcOptions>(typo).is_err());
}
