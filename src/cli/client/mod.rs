//! The connection to a server.

mod here;
mod proof;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use arrow_flight::flight_service_client::FlightServiceClient;
use clap::Args;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

pub(super) use self::here::Here;
use self::proof::Bearer;
use super::failure;
use super::render::Format;
use crate::wire::v1::access_service_client::AccessServiceClient;
use crate::wire::v1::backup_service_client::BackupServiceClient;
use crate::wire::v1::bridge_service_client::BridgeServiceClient;
use crate::wire::v1::collection_service_client::CollectionServiceClient;
use crate::wire::v1::discovery_service_client::DiscoveryServiceClient;
use crate::wire::v1::maintenance_service_client::MaintenanceServiceClient;
use crate::wire::v1::object_service_client::ObjectServiceClient;
use crate::wire::v1::probe_service_client::ProbeServiceClient;
use crate::wire::v1::release_service_client::ReleaseServiceClient;
use crate::wire::v1::search_service_client::SearchServiceClient;
use crate::wire::v1::{CollectionSchema, GetCollectionRequest, GetCollectionResponse};

/// Where a server listens when nobody says otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";

/// Environment variable that names the server.
const SERVER_VARIABLE: &str = "SIDEREUS_SERVER";

const CONNECT_SECONDS_MAX: u64 = 10;

/// Largest reply in one message; the server cuts longer ones.
const REPLY_BYTES_MAX: usize = 256 << 20;

/// Words that every client command takes.
#[derive(Debug, Clone, Args)]
pub(super) struct ClientArguments {
    /// Address of the server [default: $SIDEREUS_SERVER, else http://127.0.0.1:50051]
    #[arg(long, value_name = "URL", global = true, help_heading = "Connection and output")]
    server: Option<String>,
    /// Certificate of the authority that the server's certificate is from, in PEM; else those of this machine [default:
    /// $SIDEREUS_CA]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Connection and output")]
    ca: Option<PathBuf>,
    /// Certificate that shows who you are, in PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        global = true,
        help_heading = "Connection and output"
    )]
    cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "cert",
        global = true,
        help_heading = "Connection and output"
    )]
    key: Option<PathBuf>,
    /// File that holds the token that shows who you are [default: the token in $SIDEREUS_TOKEN]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Connection and output")]
    token_file: Option<PathBuf>,
    /// How results are printed
    #[arg(
        long,
        value_enum,
        default_value_t = Format::Table,
        global = true,
        help_heading = "Connection and output"
    )]
    pub(super) format: Format,
}

impl ClientArguments {
    fn url(&self) -> String {
        let given = self.server.clone().or_else(|| std::env::var(SERVER_VARIABLE).ok());
        let given = given.filter(|url| !url.trim().is_empty());
        let url = given.unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        // As a server says where it listens; the words below gRPC are those of HTTP.
        match url.split_once("://") {
            None => format!("http://{url}"),
            Some(("grpc", rest)) => format!("http://{rest}"),
            Some(("grpcs", rest)) => format!("https://{rest}"),
            Some(_) => url,
        }
    }

    /// Whether a certificate is shown.
    pub(super) fn shows_certificate(&self) -> bool {
        self.cert.is_some()
    }

    /// Connects, or says how to start a server.
    pub(super) async fn connect(&self) -> Result<Client> {
        let url = self.url();
        let endpoint = Endpoint::from_shared(url.clone())
            .with_context(|| {
                format!("`{url}` is not a server address; it looks like {DEFAULT_SERVER}")
            })?
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .tcp_nodelay(true);
        let bearer = Bearer::read(self.token_file.as_deref())?;
        let encrypted = endpoint.uri().scheme_str() == Some("https");
        let endpoint = if encrypted {
            let files = proof::TlsFiles { ca: &self.ca, cert: &self.cert, key: &self.key };
            endpoint.tls_config(files.config()?).context("TLS cannot be set up")?
        } else {
            if self.ca.is_some() || self.cert.is_some() {
                bail!("certificates are for servers with TLS: their addresses begin with https://");
            }
            bearer.check_plaintext(endpoint.uri())?;
            endpoint
        };
        let ca = proof::authority(self.ca.as_deref());
        match endpoint.connect().await {
            Ok(channel) => {
                Ok(Client { channel: InterceptedService::new(channel, bearer), here: None })
            }
            Err(error) => match proof::distrust(&error, ca.as_deref()) {
                Some(reason) => bail!("no connection to {url}: {reason}"),
                None => bail!(
                    "no server answers at {url}; start one with `sidereus serve --data DIR`, or name \
                     another with --server URL"
                ),
            },
        }
    }
}

/// A channel whose calls show who makes them.
pub(super) type Caller = InterceptedService<Channel, Bearer>;

/// A connected channel, and the services on it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    channel: Caller,
    /// The database, where this program has it open itself.
    here: Option<Arc<Here>>,
}

impl Client {
    pub(super) fn collections(&self) -> CollectionServiceClient<Caller> {
        CollectionServiceClient::new(self.channel.clone())
            .max_decoding_message_size(REPLY_BYTES_MAX)
    }

    pub(super) fn objects(&self) -> ObjectServiceClient<Caller> {
        ObjectServiceClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    pub(super) fn search(&self) -> SearchServiceClient<Caller> {
        SearchServiceClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    pub(super) fn maintenance(&self) -> MaintenanceServiceClient<Caller> {
        MaintenanceServiceClient::new(self.channel.clone())
            .max_decoding_message_size(REPLY_BYTES_MAX)
    }

    pub(super) fn access(&self) -> AccessServiceClient<Caller> {
        AccessServiceClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    pub(super) fn bridges(&self) -> BridgeServiceClient<Caller> {
        BridgeServiceClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    pub(super) fn probes(&self) -> ProbeServiceClient<Caller> {
        ProbeServiceClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    pub(super) fn discovery(&self) -> DiscoveryServiceClient<Caller> {
        DiscoveryServiceClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    pub(super) fn releases(&self) -> ReleaseServiceClient<Caller> {
        ReleaseServiceClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    pub(super) fn backups(&self) -> BackupServiceClient<Caller> {
        BackupServiceClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    pub(super) fn flight(&self) -> FlightServiceClient<Caller> {
        FlightServiceClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    /// The schema of a collection; an error when there is none of that name.
    pub(super) async fn schema(&self, name: &str) -> Result<CollectionSchema> {
        schema_of(self.get(name).await.map_err(|status| failure::of_status(&status))?)
    }

    /// The schema of a collection, or of a release of it.
    pub(super) async fn schema_of(
        &self,
        name: &str,
        release: Option<&str>,
    ) -> Result<CollectionSchema> {
        let (name, release) = (name.to_owned(), release.unwrap_or_default().to_owned());
        let request = GetCollectionRequest { name, release };
        let reply = self.collections().get_collection(request).await;
        schema_of(reply.map_err(|status| failure::of_status(&status))?.into_inner())
    }

    /// The schema of a collection, if there is one of that name.
    pub(super) async fn find_schema(&self, name: &str) -> Result<Option<CollectionSchema>> {
        match self.get(name).await {
            Ok(reply) => schema_of(reply).map(Some),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(failure::of_status(&status)),
        }
    }

    async fn get(&self, name: &str) -> Result<GetCollectionResponse, Status> {
        let request = GetCollectionRequest { name: name.to_owned(), release: String::new() };
        Ok(self.collections().get_collection(request).await?.into_inner())
    }
}

fn schema_of(reply: GetCollectionResponse) -> Result<CollectionSchema> {
    reply
        .collection
        .and_then(|collection| collection.schema)
        .context("the server's answer lacks the collection's schema; is it of another version?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_servers_print_them() {
        let of = |server: &str| ClientArguments {
            server: Some(server.to_owned()),
            ca: None,
            cert: None,
            key: None,
            token_file: None,
            format: Format::Table,
        };
        for (given, url) in [
            ("10.0.0.7:50051", "http://10.0.0.7:50051"),
            ("grpc://10.0.0.7:50051", "http://10.0.0.7:50051"),
            ("grpcs://sky.example:50051", "https://sky.example:50051"),
            ("https://sky.example:50051", "https://sky.example:50051"),
        ] {
            assert_eq!(of(given).url(), url);
        }
    }
}
