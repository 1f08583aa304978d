//! What the registry gives, keeps and denies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::access::records::testing::InMemory;
use crate::access::{AccessRecord, EVERYONE, Principal, Scope, system_clock};
use crate::engine::{DbOptions, EngineError};
use crate::schema::{CollectionSchema, IdKind};

const START: u64 = 1_795_000_000;

struct Bench {
    records: Arc<InMemory>,
    now: Arc<AtomicU64>,
}

impl Bench {
    fn new() -> Self {
        Self { records: Arc::default(), now: Arc::new(AtomicU64::new(START)) }
    }

    fn open(&self) -> Registry {
        let now = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || now.load(Ordering::Relaxed));
        let records: Arc<dyn Records> = Arc::<InMemory>::clone(&self.records);
        Registry::open_with(records, clock, AccessOptions::default()).expect("opens")
    }

    fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn who(text: &str) -> Principal {
    text.parse().expect("a principal")
}

fn on(text: &str) -> Scope {
    text.parse().expect("a scope")
}

fn give(registry: &Registry, principal: &str, role: Role, scope: &str) {
    registry.give_role(&who(principal), &on(scope), role, "test").expect("gives");
}

fn any_policy(registry: &Registry, principal: &str, collection: &str, predicate: &str) {
    let good = |_: &str, _: &str| Ok(());
    let set = registry.set_policy(&who(principal), &on(collection), predicate, "test", &good);
    set.expect("a good policy");
}

fn somebody(name: &str, groups: &[&str]) -> Identity {
    let groups = groups.iter().map(|name| (*name).to_owned()).collect();
    Identity { name: name.to_owned(), groups, proof: Proof::Certificate }
}

fn predicates(rows: &Rows) -> Vec<String> {
    match rows {
        Rows::All => vec!["ALL".to_owned()],
        Rows::Any(predicates) => predicates.to_vec(),
    }
}

#[test]
fn a_token_opens_until_it_ends_and_says_whose_it_is() {
    let bench = Bench::new();
    let registry = bench.open();
    registry.set_group("Team", &["ada".to_owned()]).expect("a group");
    let (secret, info) = registry.create_token("ada", None, &[], "root").expect("a token");
    assert_eq!(info.expires - info.created, 90 * DAY_S);
    assert_eq!(info.last_used, None);
    bench.pass(5);
    let identity = registry.authenticate_token(secret.reveal()).expect("opens");
    assert_eq!(identity.name, "ada");
    assert_eq!(identity.groups, ["everyone", "team"]);
    assert_eq!(identity.proof, Proof::Token { id: info.id.clone() });
    assert_eq!(registry.tokens(Some("ada"))[0].last_used, Some(START + 5));
    bench.pass(90 * DAY_S - 6);
    assert!(registry.authenticate_token(secret.reveal()).is_ok(), "in its last second");
    bench.pass(1);
    let denied = registry.authenticate_token(secret.reveal()).expect_err("has expired");
    assert!(denied.public().contains("expired 2027-"), "{denied}");
    assert!(denied.reason().contains("of ada expired"), "{}", denied.reason());
}

#[test]
fn a_call_that_goes_on_is_decided_on_again_by_what_holds_now() {
    let bench = Bench::new();
    let registry = bench.open();
    let team = ["ada".to_owned()];
    registry.set_group("team", &team).expect("a group");
    give(&registry, "group:team", Role::Ingest, "sky");
    let (secret, _) = registry.create_token("ada", Some(1_000), &[], "root").expect("a token");
    let identity = registry.authenticate_token(secret.reveal()).expect("opens");
    let grant = registry.decide(&identity, Role::Ingest, Some("sky")).expect("granted");
    let again = || registry.renew(&grant, Role::Ingest);
    let same = again().expect("nothing has changed");
    assert_eq!(
        (same.role, same.rows, same.collection),
        (Role::Ingest, Rows::All, grant.collection.clone())
    );
    any_policy(&registry, "group:team", "sky", "z < 1");
    assert_eq!(predicates(&again().expect("granted").rows), ["z < 1"]);
    registry.set_group("team", &[]).expect("a group");
    assert_eq!(again().expect_err("no role").kind(), DeniedKind::Forbidden);
    registry.set_group("team", &team).expect("a group");
    bench.pass(999);
    assert!(again().is_ok(), "in the last second of the token");
    bench.pass(1);
    assert_eq!(again().expect_err("it has expired").kind(), DeniedKind::Unauthenticated);
    let (secret, info) = registry.create_token("ada", None, &[], "root").expect("a token");
    let identity = registry.authenticate_token(secret.reveal()).expect("opens");
    let grant = registry.decide(&identity, Role::Ingest, Some("sky")).expect("granted");
    registry.revoke_token(&info.id, None).expect("revokes");
    let denied = registry.renew(&grant, Role::Ingest).expect_err("it was revoked");
    assert_eq!(denied.kind(), DeniedKind::Unauthenticated);
}

#[test]
fn groups_of_an_issuer_hold_until_his_token_ends() {
    let bench = Bench::new();
    let registry = bench.open();
    give(&registry, "group:team", Role::Read, "sky");
    let groups = vec!["team".to_owned()];
    let proof = Proof::Oidc { issuer: "x".to_owned(), groups: groups.clone(), ends: START + 10 };
    let identity = Identity { name: "oidc:ada".to_owned(), groups, proof };
    let grant = registry.decide(&identity, Role::Read, Some("sky")).expect("granted");
    bench.pass(9);
    assert!(registry.renew(&grant, Role::Read).is_ok());
    bench.pass(1);
    assert!(registry.renew(&grant, Role::Read).is_err());
}

#[test]
fn nothing_is_told_about_tokens_that_are_unknown_malformed_or_revoked() {
    let bench = Bench::new();
    let registry = bench.open();
    let (secret, info) = registry.create_token("ada", None, &[], "root").expect("a token");
    let (other, _) = registry.create_token("eve", None, &[], "root").expect("a token");
    let good = secret.reveal().to_owned();
    let stolen = format!("{}{}", &good[..13], &other.reveal()[13..]);
    let unknown = format!("sid_aaaaaaaa{}", &good[12..]);
    registry.revoke_token(&info.id, None).expect("revokes");
    // Revoked and then expired is revoked.
    bench.pass(200 * DAY_S);
    let longer = format!("{good}A");
    let shown = ["", "sid_", "Bearer x", &longer, &good[..40], &stolen, &unknown, &good, "sid_é"];
    let denied: Vec<Denied> =
        shown.iter().map(|token| registry.authenticate_token(token).expect_err(token)).collect();
    for (token, denied) in shown.iter().zip(&denied) {
        assert_eq!(denied.public(), denied_text(), "{token}");
        assert_eq!(denied.kind(), DeniedKind::Unauthenticated);
        for secret in [&good[13..], &other.reveal()[13..]] {
            assert!(!denied.reason().contains(secret) && !format!("{denied:?}").contains(secret));
        }
    }
    let reasons: Vec<&str> = denied.iter().map(Denied::reason).collect();
    assert!(reasons[5].contains("wrong secret") && reasons[6].contains("unknown"));
    assert!(reasons[7].contains("revoked"), "{}", reasons[7]);
}

fn denied_text() -> String {
    Denied::token("").public().to_owned()
}

#[test]
fn what_is_revoked_is_denied_to_the_next_call_and_after_a_restart() {
    let bench = Bench::new();
    let registry = bench.open();
    let clone = registry.clone();
    let (secret, info) = registry.create_token("ada", Some(60), &[], "root").expect("a token");
    let missing = registry.revoke_token(&info.id, Some("eve")).expect_err("is not Eve's");
    assert!(matches!(missing, AccessError::NoToken { .. }));
    assert!(clone.authenticate_token(secret.reveal()).is_ok());
    assert!(bench.open().authenticate_token(secret.reveal()).is_ok(), "after a restart");
    let revoked = registry.revoke_token(&info.id, Some("ada")).expect("revokes");
    assert_eq!(revoked.revoked, Some(START));
    assert!(clone.authenticate_token(secret.reveal()).is_err());
    assert!(bench.open().authenticate_token(secret.reveal()).is_err(), "after a restart");
    bench.pass(7);
    let again = registry.revoke_token(&info.id, None).expect("changes nothing");
    assert_eq!(again.revoked, Some(START));
}

#[test]
fn no_record_holds_a_secret() {
    let bench = Bench::new();
    let (secret, _) = bench.open().bootstrap("root", None).expect("a token");
    let held = bench.records.held.lock().expect("no panic");
    assert_eq!(held.len(), 2);
    for bytes in held.values() {
        let text = String::from_utf8(bytes.clone()).expect("text");
        assert!(!text.contains(&secret.reveal()[13..]), "{text}");
    }
}

#[test]
fn a_change_that_is_not_written_is_not_seen() {
    let bench = Bench::new();
    let registry = bench.open();
    let (secret, info) = registry.create_token("ada", None, &[], "root").expect("a token");
    give(&registry, "user:ada", Role::Read, "galaxies");
    *bench.records.full.lock().expect("no panic") = true;
    assert!(registry.create_token("eve", None, &[], "root").is_err());
    let all = registry.give_role(&who("user:ada"), &on("*"), Role::Administer, "ada");
    assert!(all.is_err());
    assert!(registry.take_role(&who("user:ada"), &on("galaxies")).is_err());
    assert!(registry.set_group("team", &[]).is_err());
    assert_eq!(registry.tokens(None).len(), 1);
    let ada = registry.authenticate_token(secret.reveal()).expect("not revoked");
    assert!(registry.decide(&ada, Role::Read, Some("galaxies")).is_ok());
    assert!(registry.decide(&ada, Role::Administer, None).is_err());
    assert!(registry.groups().is_empty());
    // A full disk does not keep a stolen token alive, and whoever revokes it is told that it must be done again.
    assert!(registry.revoke_token(&info.id, None).is_err());
    assert!(registry.authenticate_token(secret.reveal()).is_err());
    *bench.records.full.lock().expect("no panic") = false;
    registry.revoke_token(&info.id, None).expect("is written now");
    assert!(bench.open().authenticate_token(secret.reveal()).is_err());
}

#[test]
fn the_first_administrator_is_made_by_the_holder_of_the_directory_alone() {
    let bench = Bench::new();
    let registry = bench.open();
    assert!(!registry.has_administrator());
    for name in ["", "admin", "root", "anybody"] {
        let nobody = somebody(name, &[EVERYONE]);
        for role in Role::ALL {
            assert!(registry.decide(&nobody, role, None).is_err(), "no default identity");
            assert!(registry.decide(&nobody, role, Some("galaxies")).is_err());
        }
    }
    let (secret, _) = registry.bootstrap("root", Some(3_600)).expect("a token");
    assert!(registry.has_administrator());
    let registry = bench.open();
    let root = registry.authenticate_token(secret.reveal()).expect("opens");
    assert!(registry.decide(&root, Role::Administer, None).is_ok());
    let grant = registry.decide(&root, Role::Administer, Some("anything")).expect("may");
    assert_eq!((grant.rows, grant.open), (Rows::All, false));
}

#[test]
fn all_tokens_are_revoked_at_once_and_the_holder_of_the_directory_begins_anew() {
    let bench = Bench::new();
    let registry = bench.open();
    let (root, _) = registry.bootstrap("root", Some(3_600)).expect("a token");
    let (ann, info) = registry.create_token("ann", None, &[], "root").expect("a token");
    registry.create_token("bob", None, &[], "root").expect("a token");
    registry.revoke_token(&info.id, None).expect("revokes");
    assert_eq!(registry.revoke_all_tokens().expect("revokes"), 2);
    assert_eq!(registry.revoke_all_tokens().expect("revokes"), 0);
    let registry = bench.open();
    for secret in [root, ann] {
        assert!(registry.authenticate_token(secret.reveal()).is_err());
    }
    let (secret, _) = registry.bootstrap("root", Some(3_600)).expect("another token");
    assert!(registry.authenticate_token(secret.reveal()).is_ok());
}

#[test]
fn the_last_administrator_stays() {
    let bench = Bench::new();
    let registry = bench.open();
    give(&registry, "user:root", Role::Administer, "*");
    let last = registry.take_role(&who("user:root"), &on("*")).expect_err("is the last");
    assert!(matches!(last, AccessError::LastAdministrator));
    let weaker = registry.give_role(&who("user:root"), &on("*"), Role::Read, "root");
    assert!(matches!(weaker, Err(AccessError::LastAdministrator)));
    give(&registry, "group:operators", Role::Administer, "*");
    assert_eq!(registry.take_role(&who("user:root"), &on("*")).expect("goes"), Role::Administer);
    assert!(bench.open().has_administrator());
}

#[test]
fn rows_of_a_proprietary_period_are_those_of_the_team() {
    let registry = Bench::new().open();
    give(&registry, "group:everyone", Role::Read, "Galaxies");
    give(&registry, "group:team", Role::Read, "galaxies");
    any_policy(&registry, "group:everyone", "GALAXIES", " release_date <= today ");
    let rows = |groups: &[&str], collection: &str| {
        let grant = registry.decide(&somebody("ada", groups), Role::Read, Some(collection));
        predicates(&grant.expect("may read").rows)
    };
    for collection in ["galaxies", "GALAXIES", "galaxies@dr1", "Galaxies@dr2"] {
        assert_eq!(rows(&["everyone"], collection), ["release_date <= today"]);
        assert_eq!(rows(&["everyone", "team"], collection), ["ALL"]);
    }
    // A policy for the team, too, makes the union; it is hers only where she may read through it.
    any_policy(&registry, "group:team", "galaxies", "programme IN (7)");
    any_policy(&registry, "user:ada", "galaxies", "mag < 3");
    assert_eq!(
        rows(&["everyone", "team"], "galaxies"),
        ["programme IN (7)", "release_date <= today"]
    );
    give(&registry, "user:ada", Role::Ingest, "*");
    assert_eq!(rows(&["everyone"], "galaxies"), ["mag < 3", "release_date <= today"]);
    give(&registry, "user:ada", Role::Curate, "galaxies");
    assert_eq!(rows(&["everyone"], "galaxies"), ["ALL"]);
    registry.drop_policy(&who("group:team"), &on("galaxies")).expect("goes");
    let bea = registry.decide(&somebody("bea", &["team"]), Role::Read, Some("galaxies"));
    assert_eq!(predicates(&bea.expect("may").rows), ["ALL"]);
}

#[test]
fn refusals_do_not_tell_what_there_is() {
    let registry = Bench::new().open();
    give(&registry, "user:ada", Role::Read, "secret");
    let eve = somebody("eve", &[EVERYONE]);
    let there = registry.decide(&eve, Role::Read, Some("secret")).expect_err("denied");
    let not_there = registry.decide(&eve, Role::Read, Some("nothing")).expect_err("denied");
    assert_eq!(there.kind(), DeniedKind::Forbidden);
    assert_eq!(there.public().replace("secret", "nothing"), not_there.public());
    assert!(!registry.may_know(&eve, "secret") && !registry.may_know(&eve, "nothing"));
    let ada = somebody("ada", &[EVERYONE]);
    assert!(registry.may_know(&ada, "SECRET@dr1"));
    let weak = registry.decide(&ada, Role::Curate, Some("secret")).expect_err("may read alone");
    assert!(weak.public().contains("curate") && weak.public().contains("read"), "{weak}");
    // Who has a role on a collection may ask what the server tells about itself, and nothing more.
    let server = registry.decide(&ada, Role::Read, None).expect("may ask");
    assert_eq!((server.role, server.rows), (Role::Read, Rows::Any(Arc::default())));
    assert!(registry.decide(&ada, Role::Annotate, None).is_err());
    assert!(registry.decide(&eve, Role::Read, None).is_err());
    // A name that hides in another does not count.
    for name in ["secret/..", " secret", "secret ", "*", "@secret", "sec\u{0}ret", "**"] {
        assert!(registry.decide(&eve, Role::Read, Some(name)).is_err(), "{name:?}");
    }
}

#[test]
fn policies_are_checked_when_they_are_written() {
    let registry = Bench::new().open();
    let check = |collection: &str, predicate: &str| match predicate.contains("magg") {
        true => Err(format!("collection `{collection}` has no column `magg`")),
        false => Ok(()),
    };
    let (ada, galaxies, everything) = (who("user:ada"), on("galaxies"), on("*"));
    let set = |scope, predicate| registry.set_policy(&ada, scope, predicate, "root", &check);
    let refused = set(&galaxies, "magg < 3").expect_err("an unknown column");
    assert!(refused.to_string().contains("no column `magg`"), "{refused}");
    assert!(matches!(set(&galaxies, "  "), Err(AccessError::PolicyRefused { .. })));
    assert!(matches!(set(&everything, "mag < 3"), Err(AccessError::PolicyOnEverything)));
    assert!(registry.policies(None).is_empty());
    assert_eq!(set(&galaxies, "mag < 3").expect("good").predicate, "mag < 3");
    assert_eq!(registry.policies(Some("Galaxies@dr1")).len(), 1);
    assert!(registry.policies(Some("stars")).is_empty());
}

#[test]
fn a_dropped_collection_leaves_nothing_to_the_next_of_its_name() {
    let bench = Bench::new();
    let registry = bench.open();
    give(&registry, "group:everyone", Role::Read, "galaxies");
    give(&registry, "group:everyone", Role::Read, "stars");
    any_policy(&registry, "group:everyone", "galaxies", "mag < 3");
    let forget = |records: &[(AccessRecord, String)]| {
        records.iter().try_for_each(|(kind, name)| bench.records.delete(*kind, name))
    };
    registry.drop_collection("Galaxies", forget).expect("drops");
    for registry in [registry, bench.open()] {
        let ada = somebody("ada", &[EVERYONE]);
        assert!(registry.decide(&ada, Role::Read, Some("galaxies")).is_err());
        assert!(registry.decide(&ada, Role::Read, Some("stars")).is_ok());
        assert!(registry.policies(None).is_empty());
    }
}

#[test]
fn a_collection_and_its_roles_and_policies_go_in_one_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = Db::open(DbOptions::new(folder.path())).expect("opens");
    let schema = CollectionSchema {
        name: "galaxies".to_owned(),
        id_kind: IdKind::Number,
        columns: Vec::new(),
        spaces: Vec::new(),
        description: String::new(),
    };
    db.create_collection(schema.clone()).expect("creates");
    let open = || Registry::open(db.clone(), system_clock()).expect("opens");
    let registry = open();
    give(&registry, "group:everyone", Role::Read, "galaxies");
    any_policy(&registry, "group:everyone", "galaxies", "mag < 3");
    let found = |registry: &Registry| {
        let decided = registry.decide(&somebody("ada", &[EVERYONE]), Role::Read, Some("galaxies"));
        (db.schema("galaxies").is_ok(), decided.is_ok(), registry.policies(None).len())
    };
    let drop = |name: &str, records: &[(AccessRecord, String)]| {
        let records = records.iter().map(|(kind, name)| ((*kind).into(), name.clone()));
        db.drop_with_records(name, false, &records.collect::<Vec<_>>())
    };
    // What is not dropped keeps them.
    registry.drop_collection("galaxies", |records| drop("stars", records)).expect_err("no such");
    for registry in [&registry, &open()] {
        assert_eq!(found(registry), (true, true, 1));
    }
    let dropped: Result<(), EngineError> = registry.drop_collection("Galaxies", |records| {
        assert_eq!(found(&open()), (true, true, 1), "a start after a crash before");
        drop("galaxies", records)?;
        assert_eq!(found(&open()), (false, false, 0), "a start after a crash behind");
        Ok(())
    });
    dropped.expect("drops");
    db.create_collection(schema).expect("creates");
    for registry in [&registry, &open()] {
        assert_eq!(found(registry), (true, false, 0), "another of its name");
    }
}

#[test]
fn everything_is_there_after_a_restart() {
    let bench = Bench::new();
    let registry = bench.open();
    let (secret, _) = registry.create_token("ada", None, &[], "root").expect("a token");
    registry.set_group("Team", &["bea".to_owned(), "ada".to_owned()]).expect("a group");
    registry.create_token("cyd", None, &["TEAM".to_owned()], "root").expect("a member, too");
    assert!(matches!(
        registry.create_token("cyd", None, &["tema".to_owned()], "root"),
        Err(AccessError::NoGroup { .. })
    ));
    give(&registry, "group:team", Role::Ingest, "Galaxies");
    any_policy(&registry, "group:team", "galaxies", "mag < 3");
    bench.pass(100);
    registry.authenticate_token(secret.reveal()).expect("opens");
    registry.write_uses().expect("writes");
    let again = bench.open();
    assert_eq!(again.tokens(None), registry.tokens(None));
    assert_eq!(again.tokens(Some("ada"))[0].last_used, Some(START + 100));
    assert_eq!(again.groups(), registry.groups());
    assert_eq!(again.groups()[0].members, ["ada", "bea", "cyd"]);
    assert_eq!(again.roles(None), registry.roles(None));
    assert_eq!(again.policies(None), registry.policies(None));
    again.drop_group("team").expect("goes");
    assert!(matches!(again.drop_group("team"), Err(AccessError::NoGroup { .. })));
    assert!(matches!(again.set_group("Everyone", &[]), Err(AccessError::Everyone)));
    assert!(bench.open().groups().is_empty());
}

#[test]
fn a_record_that_cannot_be_read_stops_the_opening() {
    for (kind, text) in [
        (AccessRecord::Token, r#"{"id":"aaaaaaaa"}"#),
        (AccessRecord::Group, "not JSON"),
        (
            AccessRecord::Grant,
            r#"{"principal":"user:a","collection":"*","role":"owner","given":1,"given_by":"x"}"#,
        ),
        (
            AccessRecord::Policy,
            r#"{"principal":"a","collection":"c","predicate":"p","written":1,"written_by":"x"}"#,
        ),
        // Of a later version, which may mean a restriction.
        (AccessRecord::Group, r#"{"name":"team","members":[],"until":5}"#),
    ] {
        let bench = Bench::new();
        bench.records.put(kind, "one", text.as_bytes()).expect("puts");
        let records: Arc<dyn Records> = Arc::<InMemory>::clone(&bench.records);
        let opened = Registry::open_with(records, Arc::new(|| START), AccessOptions::default());
        let damaged = opened.expect_err(text);
        assert!(matches!(damaged, AccessError::Damaged { .. }), "{damaged}");
    }
}

#[test]
fn a_token_lasts_no_longer_than_the_operator_allows() {
    let bench = Bench::new();
    let registry = bench.open();
    for life in [0, 366 * DAY_S, u64::MAX] {
        let refused = registry.create_token("ada", Some(life), &[], "root");
        assert!(matches!(refused, Err(AccessError::BadLife { max_days: 365, .. })));
    }
    assert!(registry.create_token("ada", Some(365 * DAY_S), &[], "root").is_ok());
    for name in ["", " ada", "a\u{7}", &"x".repeat(121)] {
        let refused = registry.create_token(name, None, &[], "root");
        assert!(matches!(refused, Err(AccessError::BadName { .. })), "{name:?}");
    }
    // Long after its end it is forgotten.
    bench.pass(800 * DAY_S);
    registry.create_token("eve", None, &[], "root").expect("a token");
    assert_eq!(registry.tokens(None).len(), 1);
    assert_eq!(bench.open().tokens(None).len(), 1);
}

#[test]
fn names_of_people_are_told_apart_by_case() {
    let registry = Bench::new().open();
    give(&registry, "user:Ada", Role::Read, "galaxies");
    assert!(registry.decide(&somebody("ada", &[]), Role::Read, Some("galaxies")).is_err());
    assert!(registry.decide(&somebody("Ada", &[]), Role::Read, Some("galaxies")).is_ok());
    assert!(registry.identity_of_certificate("a\nb").is_err());
    let identity = registry.identity_of_certificate("telescope-7").expect("a name");
    assert_eq!(
        (identity.proof, identity.groups),
        (Proof::Certificate, vec!["everyone".to_owned()])
    );
}
