//! Certificates: of the server, of clients, renewed, over, and of the wrong authority.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sidereus::access::AccessOptions;
use sidereus::engine::{Db, DbOptions};
use sidereus::service::{
    ClientCertificates, Server, ServerError, ServiceOptions, TlsError, TlsOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use super::raw::{call, field};
use super::{OURS, Tokens, anywhere, make_collections};
use crate::support::TestServer;

const HEALTH: &str = "/grpc.health.v1.Health/Check";
const COUNT: &str = "/sidereus.v1.ObjectService/CountObjects";

/// Authorities that were made; each has a name of its own.
static AUTHORITIES: AtomicU32 = AtomicU32::new(0);

/// An authority of its own.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        parameters.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("an authority"))
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    fn signs(&self, names: Vec<SanType>, over: bool) -> Pair {
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = names;
        if over {
            parameters.not_before = date_time_ymd(2020, 1, 1);
            parameters.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate").pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    pub(super) fn server(&self) -> Pair {
        self.signs(vec![SanType::DnsName("localhost".try_into().expect("a name"))], false)
    }

    pub(super) fn client(&self, name: &str, over: bool) -> Pair {
        let uri = format!("sidereus:user:{name}");
        self.signs(vec![SanType::URI(uri.try_into().expect("a URI"))], over)
    }
}

impl Pair {
    fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        std::fs::write(&certificate, &self.certificate).expect("written");
        std::fs::write(&key, &self.key).expect("written");
        (certificate, key)
    }

    pub(super) fn options(&self, folder: &Path) -> TlsOptions {
        let (certificate, key) = self.write(folder);
        let client_certificates = ClientCertificates::Optional;
        TlsOptions { certificate, key, client_ca: None, client_certificates }
    }
}

async fn connect(
    address: SocketAddr,
    ca: &str,
    client: Option<&Pair>,
) -> Result<Channel, tonic::transport::Error> {
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("localhost");
    if let Some(client) = client {
        tls = tls.identity(Identity::from_pem(&client.certificate, &client.key));
    }
    let endpoint = Channel::from_shared(format!("https://{address}")).expect("an address");
    let endpoint = endpoint.tls_config(tls).expect("a configuration");
    endpoint.connect_timeout(Duration::from_secs(10)).connect().await
}

/// Whether a call gets through: in TLS 1.3 a client learns only by its first answer that its certificate was refused.
async fn answers(address: SocketAddr, ca: &str, client: Option<&Pair>) -> bool {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    let Ok(channel) = connect(address, ca, client).await else { return false };
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.is_ok()
}

/// A connection of a client that says nothing after its handshake; `None` where the server closes it before.
async fn greeted(address: SocketAddr, ca: &str) -> Option<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.expect("connects");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
}

pub(super) async fn encrypted(data: &Path, tls: TlsOptions) -> TestServer {
    TestServer::start_with(data, None, |options| {
        options.tls = Some(tls);
        options.authentication = Some(AccessOptions::default());
    })
    .await
}

async fn refusal(data: &Path, change: impl FnOnce(&mut ServiceOptions)) -> ServerError {
    let db = Db::open(DbOptions::new(data)).expect("opens");
    let mut options = ServiceOptions::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    change(&mut options);
    Server::bind(options, db, None).await.expect_err("refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_know_the_server_and_the_server_speaks_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = encrypted(&folder.path().join("data"), ours.server().options(folder.path())).await;
    assert!(answers(server.address, &ours.pem(), None).await);
    let error = connect(server.address, &theirs.pem(), None).await.expect_err("a stranger");
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
    // Plain HTTP/2 to the port of TLS.
    let mut plain = TcpStream::connect(server.address).await.expect("connects");
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
    let mut said = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), plain.read_to_end(&mut said)).await;
    assert!(read.is_ok(), "the connection is closed");
    assert!(said.len() < 16, "an alert, and nothing of HTTP");
    for (versions, works) in
        [(&[&rustls::version::TLS12], false), (&[&rustls::version::TLS13], true)]
    {
        let mut roots = RootCertStore::empty();
        roots.add(ours.0.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(server.address).await.expect("connects");
        let name = ServerName::try_from("localhost").expect("a name");
        let tried = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        assert_eq!(tried.is_ok(), works, "{:?}", tried.err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_shows_who_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let tokens = Tokens::make(&data);
    let (ours, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let client_ca = folder.path().join("clients.pem");
    std::fs::write(&client_ca, clients.pem()).expect("written");
    let optional =
        TlsOptions { client_ca: Some(client_ca), ..ours.server().options(folder.path()) };
    let required =
        TlsOptions { client_certificates: ClientCertificates::Required, ..optional.clone() };
    let message = field(1, OURS.as_bytes());
    let server = encrypted(&data, optional).await;
    let (address, ca) = (server.address, ours.pem());
    make_collections(connect(address, &ca, None).await.expect("connects"), &tokens.admin).await;
    for (name, code) in [("read", Code::Ok), ("nobody", Code::PermissionDenied)] {
        let pair = clients.client(name, false);
        let channel = connect(address, &ca, Some(&pair)).await.expect("connects");
        let status = call(&channel, COUNT, None, &message).await;
        assert_eq!(status.code(), code, "{name}: {status}");
        // A token counts where there are both, and a bad one is not passed over.
        let status = call(&channel, COUNT, Some(tokens.with_role(1)), &message).await;
        assert_eq!(status.code(), Code::Ok, "{status}");
        let status = call(&channel, COUNT, Some(&tokens.revoked), &message).await;
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    }
    let nobody = connect(address, &ca, None).await.expect("connects");
    assert_eq!(call(&nobody, COUNT, None, &message).await.code(), Code::Unauthenticated);
    assert!(!answers(address, &ca, Some(&clients.client("read", true))).await, "it is over");
    assert!(!answers(address, &ca, Some(&others.client("read", false))).await, "of a stranger");
    drop(nobody);
    server.stop().await;
    let server = encrypted(&data, required).await;
    assert!(!answers(server.address, &ca, None).await, "one is required");
    assert!(answers(server.address, &ca, Some(&clients.client("read", false))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (Authority::new(), Authority::new());
    let server =
        encrypted(&folder.path().join("data"), first.server().options(folder.path())).await;
    let held = connect(server.address, &first.pem(), None).await.expect("connects");
    assert!(answers(server.address, &first.pem(), None).await);
    // Half of a pair, and then nonsense: the old one stays.
    std::fs::write(folder.path().join("server.pem"), second.server().certificate).expect("written");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(answers(server.address, &first.pem(), None).await);
    std::fs::write(folder.path().join("server.pem"), "no certificate").expect("written");
    second.signs(Vec::new(), true).write(folder.path());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(answers(server.address, &first.pem(), None).await, "one that is over is not taken");
    second.server().write(folder.path());
    let began = Instant::now();
    while !answers(server.address, &second.pem(), None).await {
        assert!(began.elapsed() < Duration::from_secs(20), "it is read again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(!answers(server.address, &first.pem(), None).await);
    // Connections of before go on.
    assert_eq!(call(&held, HEALTH, None, &[]).await.code(), Code::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_stalls_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = Authority::new();
    let server = encrypted(&folder.path().join("data"), ours.server().options(folder.path())).await;
    let mut stalled = Vec::new();
    for _ in 0..200 {
        stalled.push(TcpStream::connect(server.address).await.expect("connects"));
    }
    let began = Instant::now();
    assert!(answers(server.address, &ours.pem(), None).await);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_places_are_given_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_with(folder.path(), None, |options| {
        options.connections.total_max = 3;
    })
    .await;
    let open = async || {
        let endpoint = Channel::from_shared(format!("http://{}", server.address)).expect("one");
        let channel = endpoint.connect().await.ok()?;
        // A call that makes its caller known; who is known keeps his place.
        let answer = call(&channel, COUNT, None, &field(1, b"none")).await;
        (answer.code() == Code::NotFound).then_some(channel)
    };
    let held = [open().await, open().await, open().await];
    assert!(held.iter().all(Option::is_some));
    assert!(open().await.is_none(), "a fourth");
    drop(held);
    let began = Instant::now();
    while open().await.is_none() {
        assert!(began.elapsed() < Duration::from_secs(10), "a place is free again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_say_nothing_keep_nobody_out_and_are_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = Authority::new();
    let tls = ours.server().options(folder.path());
    let server = TestServer::start_with(&folder.path().join("data"), None, |options| {
        options.tls = Some(tls);
        options.connections.total_max = 8;
        options.connections.first_call_max = Duration::from_secs(3);
    })
    .await;
    let known = connect(server.address, &ours.pem(), None).await.expect("connects");
    assert_eq!(call(&known, COUNT, None, &field(1, b"none")).await.code(), Code::NotFound);
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(greeted(server.address, &ours.pem()).await);
    }
    // The oldest of them have made room for the others, and one makes room for who comes now.
    assert!(answers(server.address, &ours.pem(), None).await);
    assert_eq!(call(&known, COUNT, None, &field(1, b"none")).await.code(), Code::NotFound);
    let began = Instant::now();
    for stream in silent.iter_mut().flatten() {
        let mut last = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut last));
        assert!(end.await.is_ok(), "it is closed after {:?}", began.elapsed());
    }
    assert_eq!(call(&known, COUNT, None, &field(1, b"none")).await.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_cannot_be_used_are_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let authority = Authority::new();
    let expired = authority.signs(Vec::new(), true).options(folder.path());
    let error = refusal(&data, |options| options.tls = Some(expired)).await;
    assert!(matches!(error, ServerError::Tls(TlsError::Expired { .. })), "{error}");
    assert!(error.to_string().contains("renew it"), "{error}");
    let good = authority.server().options(folder.path());
    let other = folder.path().join("other.key");
    std::fs::write(&other, authority.server().key).expect("written");
    let mismatched = TlsOptions { key: other, ..good.clone() };
    let error = refusal(&data, |options| options.tls = Some(mismatched)).await;
    assert!(matches!(error, ServerError::Tls(TlsError::BadPair { .. })), "{error}");
    let missing = TlsOptions { certificate: folder.path().join("none.pem"), ..good.clone() };
    let error = refusal(&data, |options| options.tls = Some(missing)).await;
    assert!(matches!(error, ServerError::Tls(TlsError::Unreadable { .. })), "{error}");
    let swapped = TlsOptions { certificate: good.key.clone(), ..good };
    let error = refusal(&data, |options| options.tls = Some(swapped)).await;
    assert!(matches!(error, ServerError::Tls(TlsError::Malformed { .. })), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_need_tls_and_authentication() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let tls = Authority::new().server().options(folder.path());
    let error = refusal(&data, |options| {
        options.listen = anywhere();
        options.tls = Some(tls.clone());
    })
    .await;
    assert!(matches!(error, ServerError::RemoteRefused { lacks: "authentication", .. }), "{error}");
    let error = refusal(&data, |options| {
        options.listen = anywhere();
        options.authentication = Some(AccessOptions::default());
    })
    .await;
    assert!(matches!(error, ServerError::RemoteRefused { lacks: "TLS", .. }), "{error}");
    let db = Db::open(DbOptions::new(&data)).expect("opens");
    let mut options = ServiceOptions::new(anywhere());
    options.tls = Some(tls);
    options.authentication = Some(AccessOptions::default());
    let server = Server::bind(options, db, None).await.expect("it encrypts and asks");
    assert_ne!(server.address().port(), 0);
}
