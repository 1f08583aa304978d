//! What a server refuses, by which name, and that others are served meanwhile.

mod audited;
mod bodies;
mod refused;
mod shares;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use sidereus::service::ServiceOptions;
use sidereus::wire::v1::CountObjectsRequest;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::{TestServer, galaxy, schema};

/// A predicate that is evaluated row by row, and is true for none.
const SLOW: &str = "power(sin(z), 2) + power(cos(z), 2) + power(sin(z * 3), 2) + exp(-abs(z)) < 0";

/// A server with objects.
async fn filled(folder: &Path, rows: i64, change: impl FnOnce(&mut ServiceOptions)) -> TestServer {
    let server = TestServer::start_with(folder, None, change).await;
    server.create(schema("galaxies")).await.expect("created");
    for first in (0..rows).step_by(10_000) {
        let some = first..rows.min(first + 10_000);
        let objects = some.map(|id| galaxy(id, id as f64 % 360.0, 10.0)).collect();
        server.write("galaxies", objects).await;
    }
    server
}

/// A connection from another address of this machine, which is another caller where nobody is asked who he is.
async fn from(server: &TestServer, number: u8) -> Channel {
    let address = Channel::from_shared(format!("http://{}", server.address)).expect("an address");
    let own = IpAddr::V4(Ipv4Addr::new(127, 0, 0, number));
    address.local_address(Some(own)).connect().await.expect("the server listens")
}

/// Counts objects that are tested row by row.
async fn count(channel: &Channel, collection: &str, predicate: &str) -> Result<u64, Status> {
    let request = CountObjectsRequest {
        collection: collection.to_owned(),
        predicate: predicate.to_owned(),
        ..CountObjectsRequest::default()
    };
    let reply = ObjectServiceClient::new(channel.clone()).count_objects(request).await?;
    Ok(reply.into_inner().count)
}

/// Whether a call was refused for now by a limit of the configuration.
fn is_by(status: &Status, limit: &str) -> bool {
    let named = status.message().contains(&format!("`{limit}`"));
    named && status.code() == Code::ResourceExhausted
}

/// Milliseconds until a refused call should be tried again.
fn retry_after_ms(status: &Status) -> u64 {
    let after = status.metadata().get("retry-after-ms").expect("it says when");
    after.to_str().expect("text").parse().expect("a number")
}
