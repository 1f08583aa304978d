//! Bearer tokens of a single sign-on at a real server.

use std::net::SocketAddr;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use sidereus::access::{AccessOptions, OidcOptions, Registry, Role, system_clock};
use sidereus::engine::{Db, DbOptions};
use sidereus::wire::v1::access_service_client::AccessServiceClient;
use sidereus::wire::v1::{
    CreateTokenRequest, GiveRoleRequest, ListTokensRequest, WhoAmIRequest, WhoAmIResponse,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::support::TestServer;

const ISSUER: &str = "https://sso.example.org/realms/sky";

struct SignOn {
    pair: KeyPair,
}

impl SignOn {
    fn keys(&self) -> Value {
        let raw = self.pair.public_key_raw();
        let (x, y) = (base64(&raw[1..33]), base64(&raw[33..]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]})
    }

    fn token(&self, audience: &str, lasts_s: i64, roles: &[&str]) -> String {
        let now = system_clock()() as i64;
        let claims = json!({
            "iss": ISSUER, "aud": audience, "sub": "ada", "iat": now - 1_000, "exp": now + lasts_s,
            "realm": {"roles": roles},
        });
        let header = Header { kid: Some("k".to_owned()), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        encode(&header, &claims, &key).expect("signs")
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

fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let header = format!("Bearer {token}").parse().expect("a header");
    request.metadata_mut().insert("authorization", header);
    request
}

async fn who(
    client: &mut AccessServiceClient<Channel>,
    token: &str,
) -> Result<WhoAmIResponse, Status> {
    Ok(client.who_am_i(with_token(token, WhoAmIRequest {})).await?.into_inner())
}

async fn server(data: &std::path::Path, keys: std::path::PathBuf) -> TestServer {
    let server = TestServer::start_with(data, None, |options| {
        assert_eq!(options.listen, SocketAddr::from(([127, 0, 0, 1], 0)));
        options.authentication = Some(AccessOptions {
            oidc: Some(OidcOptions {
                keys: Some(keys),
                groups_claim: Some("realm.roles".to_owned()),
                groups: [("pi".to_owned(), "team".to_owned())].into(),
                ..OidcOptions::new(ISSUER, "sidereus")
            }),
            ..AccessOptions::default()
        });
    });
    server.await
}

#[tokio::test]
async fn the_single_sign_on_says_who_it_is_and_roles_say_what_he_may() {
    let folder = tempfile::tempdir().expect("a folder");
    let sso = SignOn { pair: KeyPair::generate().expect("a key") };
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, sso.keys().to_string()).expect("written");
    let data = folder.path().join("data");
    let db = Db::open(DbOptions::new(&data)).expect("opens");
    let registry = Registry::open(db.clone(), system_clock()).expect("opens");
    let (root, _) = registry.bootstrap("root", None).expect("a token");
    drop((registry, db));
    let server = server(&data, keys).await;
    let mut client = AccessServiceClient::new(server.channel().await);

    let pi = sso.token("sidereus", 600, &["pi", "unmapped"]);
    let told = who(&mut client, &pi).await.expect("is known");
    assert_eq!((told.name.as_str(), told.proof.as_str()), ("oidc:ada", "oidc"));
    assert_eq!(told.groups, ["everyone", "team"]);
    assert!(told.roles.is_empty());
    for (token, told) in [
        (sso.token("another", 600, &["pi"]), "audience"),
        (sso.token("sidereus", -61, &["pi"]), "expired"),
        (
            SignOn { pair: KeyPair::generate().expect("a key") }.token("sidereus", 600, &[]),
            "not valid",
        ),
        ("a.b.c".to_owned(), "not valid"),
        (format!("{}A", root.reveal()), "not valid"),
    ] {
        let status = who(&mut client, &token).await.expect_err(told);
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        assert!(status.message().contains(told), "{status}");
        assert!(!status.message().contains(&token));
    }

    // A role of the group is hers, and lets her do as much as it says.
    let ask = |token: &str| {
        with_token(token, CreateTokenRequest { owner: "robot".to_owned(), ..Default::default() })
    };
    let denied = client.create_token(ask(&pi)).await.expect_err("has no role");
    assert_eq!(denied.code(), Code::PermissionDenied);
    let give = GiveRoleRequest {
        principal: "group:team".to_owned(),
        role: Role::Administer.name().to_owned(),
        collection: "*".to_owned(),
    };
    client.give_role(with_token(root.reveal(), give)).await.expect("gives");
    let made = client.create_token(ask(&pi)).await.expect("may now").into_inner();
    assert_eq!(who(&mut client, &made.secret).await.expect("opens").name, "robot");
    assert_eq!(made.token.expect("told").created_by, "oidc:ada");
    let student = sso.token("sidereus", 600, &["student"]);
    assert!(client.create_token(ask(&student)).await.is_err());

    // Uses are written down when the server stops.
    server.stop().await;
    let server = self::server(&data, folder.path().join("keys.json")).await;
    let mut client = AccessServiceClient::new(server.channel().await);
    let list = ListTokensRequest { owner: "robot".to_owned(), ended: false };
    let tokens = client.list_tokens(with_token(root.reveal(), list)).await.expect("lists");
    assert!(tokens.into_inner().tokens[0].last_used.is_some());
}
