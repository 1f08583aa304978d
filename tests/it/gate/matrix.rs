//! Every method with every kind of caller.

use tonic::Code;
use tonic::transport::Channel;

use super::raw::{call, field, nested, send, varint};
use super::rules::{self, Method, Needs, Scope};
use super::{OURS, THEIRS, Tokens, guarded, methods, protocol};

/// A minimal request about a collection.
fn about(needs: &Needs, collection: &str) -> Vec<u8> {
    match &needs.scope {
        Scope::Collection(path, _) => nested(path, collection.as_bytes()),
        _ => Vec::new(),
    }
}

/// Who is refused with which code, of those who have shown nothing that counts.
async fn nobody_is_served(channel: &Channel, tokens: &Tokens, method: &Method, message: &[u8]) {
    let forged = format!("{}x", tokens.admin);
    let bearers = [
        None,
        Some("sid_nonsense"),
        Some("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."),
        Some("x"),
        Some(&*forged),
        Some(&*tokens.expired),
        Some(&*tokens.revoked),
    ];
    for bearer in bearers {
        let status = call(channel, &method.path, bearer, message).await;
        assert_eq!(status.code(), Code::Unauthenticated, "{} {bearer:?}: {status}", method.path);
        assert!(!status.message().contains(&tokens.admin));
    }
    for header in ["", "Bearer", "Basic YWRtaW46YWRtaW4=", &tokens.admin] {
        let headers = [("authorization", header)];
        let status = send(channel, &method.path, &headers, super::raw::framed(message)).await;
        assert_eq!(status.code(), Code::Unauthenticated, "{} {header}: {status}", method.path);
    }
    let (good, bad) = (format!("Bearer {}", tokens.admin), "Bearer x");
    for headers in [[("authorization", &*good), ("authorization", bad)]] {
        let status = send(channel, &method.path, &headers, super::raw::framed(message)).await;
        assert_eq!(status.code(), Code::Unauthenticated, "{} twice: {status}", method.path);
    }
}

fn is_let_through(code: Code) -> bool {
    !matches!(code, Code::Unauthenticated | Code::PermissionDenied)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_closed_to_whoever_lacks_what_it_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    let protocol = protocol();
    let methods = methods(&protocol);
    assert!(methods.len() >= 33, "{}", methods.len());
    for (method, needs) in &methods {
        let (ours, theirs) = (about(needs, OURS), about(needs, THEIRS));
        nobody_is_served(&channel, &tokens, method, &ours).await;
        let refused = |status: tonic::Status, who: &str| {
            let (path, code) = (&method.path, status.code());
            assert_eq!(code, Code::PermissionDenied, "{path} by {who}: {status}");
            status.message().to_owned()
        };
        match &needs.scope {
            Scope::Collection(..) => {
                let denied = call(&channel, &method.path, Some(&tokens.stranger), &ours).await;
                let known = refused(denied, "a stranger");
                let nowhere = about(needs, "nowhere");
                let denied = call(&channel, &method.path, Some(&tokens.stranger), &nowhere).await;
                let unknown = refused(denied, "a stranger, about nothing");
                assert_eq!(known.replace(OURS, "nowhere"), unknown, "nobody learns what there is");
                let denied = call(&channel, &method.path, Some(&tokens.elsewhere), &ours).await;
                refused(denied, "who administers another");
                let owner = tokens.with_role(5);
                refused(call(&channel, &method.path, Some(owner), &theirs).await, "ours");
                if needs.role > 1 {
                    let weaker = tokens.with_role(needs.role - 1);
                    refused(
                        call(&channel, &method.path, Some(weaker), &ours).await,
                        "a weaker role",
                    );
                }
                for (number, role) in &needs.raises {
                    raised(&channel, &tokens, method, &ours, *number, *role).await;
                }
            }
            Scope::Server => {
                for who in [&tokens.stranger, &tokens.elsewhere, &tokens.roles[4]] {
                    refused(call(&channel, &method.path, Some(who), &ours).await, "no server role");
                }
            }
            Scope::Listing => {}
            Scope::Anybody => panic!("{} asks nobody", method.path),
        }
    }
}

/// A field that asks for more is denied to the role below.
async fn raised(
    channel: &Channel,
    tokens: &Tokens,
    method: &Method,
    ours: &[u8],
    number: u32,
    role: u64,
) {
    let text = [ours, &field(number, b"some")].concat();
    let mut flag = ours.to_vec();
    flag.extend(varint(u64::from(number) << 3));
    flag.push(1);
    for message in [text, flag] {
        let weaker = Some(tokens.with_role(role - 1));
        let status = call(channel, &method.path, weaker, &message).await;
        assert_eq!(status.code(), Code::PermissionDenied, "{} {number}: {status}", method.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_open_to_whoever_has_what_it_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    let protocol = protocol();
    let mut methods = methods(&protocol);
    // What takes the collection, or roles, away comes last.
    methods.sort_by_key(|(method, _)| {
        ["DropCollection", "TakeRole"].iter().any(|last| method.path.ends_with(last))
    });
    for (method, needs) in &methods {
        let token = match needs.scope {
            Scope::Collection(..) => tokens.with_role(needs.role),
            Scope::Server => &tokens.admin,
            Scope::Listing | Scope::Anybody => &tokens.stranger,
        };
        let status = call(&channel, &method.path, Some(token), &about(needs, OURS)).await;
        assert!(is_let_through(status.code()), "{}: {status}", method.path);
        assert_ne!(status.code(), Code::Unimplemented, "{}: {status}", method.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_name_nobody_touches_a_collection_and_lists_show_what_one_may_know() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    let protocol = protocol();
    for (method, needs) in methods(&protocol) {
        let Scope::Collection(_, lists) = needs.scope else { continue };
        let status = call(&channel, &method.path, Some(&tokens.stranger), &[]).await;
        if lists {
            assert_eq!(status.code(), Code::Ok, "{}: {status}", method.path);
        } else {
            assert_eq!(status.code(), Code::InvalidArgument, "{}: {status}", method.path);
            assert!(status.message().contains("names no collection"), "{status}");
        }
    }
    let names = async |token: &str| {
        let mut request = tonic::Request::new(sidereus::wire::v1::ListCollectionsRequest {});
        let header = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", header);
        let reply = server.collections().await.list_collections(request).await.expect("a list");
        let collections = reply.into_inner().collections.into_iter();
        collections.map(|each| each.schema.expect("a schema").name).collect::<Vec<_>>()
    };
    assert!(names(&tokens.stranger).await.is_empty());
    assert_eq!(names(&tokens.elsewhere).await, [THEIRS]);
    assert_eq!(names(tokens.with_role(1)).await, [OURS]);
    assert_eq!(names(&tokens.admin).await, [OURS, THEIRS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_are_closed_and_health_is_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    for path in [
        "/",
        "/sidereus.v1.SearchService/Nothing",
        "/sidereus.v1.SearchService/Search/",
        "/sidereus.v1.SearchService/search",
        "/sidereus.v1.Nothing/Search",
        "/sidereus.internal.v1.EncoderService/Encode",
        "/sidereus.v1.SearchService%2FSearch",
        "/..%2f..%2fetc/passwd",
    ] {
        let nobody = call(&channel, path, None, &[]).await;
        assert_eq!(nobody.code(), Code::Unauthenticated, "{path}: {nobody}");
        let known = call(&channel, path, Some(&tokens.admin), &[]).await;
        assert_eq!(known.code(), Code::Unimplemented, "{path}: {known}");
    }
    let health = call(&channel, "/grpc.health.v1.Health/Check", None, &[]).await;
    assert_eq!(health.code(), Code::Ok, "{health}");
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let nobody = call(&channel, &path, None, &field(7, b"")).await;
        assert_eq!(nobody.code(), Code::Unauthenticated, "{nobody}");
        let known = call(&channel, &path, Some(&tokens.stranger), &field(7, b"")).await;
        assert_eq!(known.code(), Code::Ok, "{known}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_is_refused_by_the_next_call() {
    use sidereus::wire::v1::RevokeTokenRequest;
    use sidereus::wire::v1::access_service_client::AccessServiceClient;

    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    let reader = tokens.with_role(1).to_owned();
    let path = "/sidereus.v1.CollectionService/GetCollection";
    let message = field(1, OURS.as_bytes());
    assert_eq!(call(&channel, path, Some(&reader), &message).await.code(), Code::Ok);
    let id = reader.trim_start_matches("sid_").split(['_', '.']).next().expect("an id").to_owned();
    let mut request = tonic::Request::new(RevokeTokenRequest { id });
    let header = format!("Bearer {}", tokens.admin).parse().expect("a header");
    request.metadata_mut().insert("authorization", header);
    AccessServiceClient::new(channel.clone()).revoke_token(request).await.expect("revoked");
    let status = call(&channel, path, Some(&reader), &message).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}

/// A protocol of one service with one method, as the compiler would describe it.
fn made_up(options: &[u8]) -> Vec<u8> {
    let text = |number, text: &str| field(number, text.as_bytes());
    let kind = |number: u32, value: u64| [varint(u64::from(number) << 3), varint(value)].concat();
    let name = [text(1, "collection"), kind(3, 1), kind(4, 1), kind(5, rules::TEXT)].concat();
    let request = [text(1, "AskRequest"), field(2, &name)].concat();
    let types = [text(2, ".sidereus.v1.AskRequest"), text(3, ".sidereus.v1.AskRequest")].concat();
    let mut method = [text(1, "Ask"), types].concat();
    if !options.is_empty() {
        method.extend(field(4, &field(51_001, options)));
    }
    let service = [text(1, "Oracle"), field(2, &method)].concat();
    let file = [text(2, "sidereus.v1"), field(4, &request), field(6, &service)].concat();
    field(1, &file)
}

#[test]
fn a_method_without_a_rule_is_not_built() {
    let table = rules::table(sidereus::wire::DESCRIPTORS).expect("every method has a rule");
    let count = protocol().methods.len();
    assert_eq!(table.matches("Rule {").count(), count);
    let refused = |options: &[u8]| rules::table(&made_up(options)).expect_err("refused");
    let why = refused(&[]);
    assert!(why.contains("/sidereus.v1.Oracle/Ask") && why.contains("needs"), "{why}");
    let good = [&[0x08, 1][..], &field(2, b"collection")].concat();
    let table = rules::table(&made_up(&good)).expect("a rule");
    assert!(table.contains("role: Role::Read, scope: Scope::Collection { path: &[1]"), "{table}");
    assert!(refused(&field(2, b"collection")).contains("no role"), "without a role");
    assert!(refused(&[0x08, 1]).contains("one scope"), "without a scope");
    let elsewhere = [&[0x08, 1][..], &field(2, b"collections")].concat();
    assert!(refused(&elsewhere).contains("no field `collections`"), "of another name");
    let both = [&good[..], &[0x18, 1]].concat();
    assert!(refused(&both).contains("one scope"), "two scopes");
}
