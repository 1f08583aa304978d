//! The gate before every service, called as no client of ours would call it: by path, with bytes.

mod client;
mod flight;
mod frames;
mod matrix;
mod names;
mod python;
mod raw;
mod tls;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sidereus::access::{AccessOptions, Principal, Registry, Role, Scope, system_clock};
use sidereus::engine::{Db, DbOptions};
use sidereus::wire::DESCRIPTORS;
use sidereus::wire::v1::CreateCollectionRequest;
use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use tonic::Request;
use tonic::transport::Channel;

use self::rules::{Method, Needs, Protocol};
use crate::support::{TestServer, schema};
use crate::upkeep::harness::rules;

/// The collection that the tests are about, and one that is somebody else's.
const OURS: &str = "des";
const THEIRS: &str = "ska";

const BY: &str = "a test";

/// Tokens of people who may do different things.
#[derive(Debug, Clone)]
struct Tokens {
    /// Administers the server.
    admin: String,
    /// Has no role at all.
    stranger: String,
    /// Administers the other collection.
    elsewhere: String,
    /// Has been an administrator of ours.
    expired: String,
    revoked: String,
    /// Has the role on our collection, the weakest first.
    roles: [String; 5],
}

impl Tokens {
    /// Makes them in a data directory that no server has open.
    fn make(data: &Path) -> Self {
        let db = Db::open(DbOptions::new(data)).expect("opens");
        let open = |clock| {
            let options = AccessOptions::default();
            Registry::open_with(Arc::new(db.clone()), clock, options).expect("a registry")
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let past = open(Arc::new(move || now - 10 * 86_400));
        let (expired, _) = past.create_token("late", Some(3_600), &[], BY).expect("a token");
        drop(past);
        let registry = open(system_clock());
        let give = |name: &str, collection: &str, role| {
            let principal: Principal = format!("user:{name}").parse().expect("a principal");
            let scope: Scope = collection.parse().expect("a scope");
            registry.give_role(&principal, &scope, role, BY).expect("given");
        };
        let token = |name: &str| {
            let (secret, info) = registry.create_token(name, None, &[], BY).expect("a token");
            (secret.reveal().to_owned(), info.id)
        };
        let (admin, _) = registry.bootstrap("admin", None).expect("an administrator");
        for name in ["late", "gone"] {
            give(name, OURS, Role::Administer);
        }
        give("elsewhere", THEIRS, Role::Administer);
        let (revoked, id) = token("gone");
        registry.revoke_token(&id, None).expect("revoked");
        let roles = Role::ALL.map(|role| {
            give(role.name(), OURS, role);
            token(role.name()).0
        });
        Self {
            admin: admin.reveal().to_owned(),
            stranger: token("stranger").0,
            elsewhere: token("elsewhere").0,
            expired: expired.reveal().to_owned(),
            revoked,
            roles,
        }
    }

    /// Somebody with a role on our collection, by the number that the protocol gives it.
    fn with_role(&self, role: u64) -> &str {
        &self.roles[role as usize - 1]
    }
}

/// A server that asks who calls, with both collections.
async fn guarded(data: &Path) -> (TestServer, Tokens) {
    let tokens = Tokens::make(data);
    let server = TestServer::start_with(data, None, |options| {
        options.authentication = Some(AccessOptions::default());
    })
    .await;
    make_collections(server.channel().await, &tokens.admin).await;
    (server, tokens)
}

async fn make_collections(channel: Channel, admin: &str) {
    let mut collections = CollectionServiceClient::new(channel);
    for name in [OURS, THEIRS] {
        let mut request = Request::new(CreateCollectionRequest { schema: Some(schema(name)) });
        let header = format!("Bearer {admin}").parse().expect("a header");
        request.metadata_mut().insert("authorization", header);
        collections.create_collection(request).await.expect("made");
    }
}

fn protocol() -> Protocol {
    rules::read(DESCRIPTORS).expect("the compiled protocol")
}

/// Every method with its rule.
fn methods(protocol: &Protocol) -> Vec<(Method, Needs)> {
    let rule = |method: &Method| (method.clone(), protocol.needs(method).expect("a rule"));
    protocol.methods.iter().map(rule).collect()
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}
