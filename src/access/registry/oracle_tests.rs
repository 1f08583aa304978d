//! Decisions compared with those of a list that is read from one end to the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::access::records::testing::InMemory;
use crate::access::{EVERYONE, Principal, Scope};

const PEOPLE: [&str; 3] = ["ada", "bea", "cyd"];
const GROUPS: [&str; 3] = ["everyone", "team", "pilots"];
const COLLECTIONS: [&str; 3] = ["galaxies", "stars", "*"];

#[derive(Debug, Clone)]
enum Change {
    Give { principal: usize, collection: usize, role: usize },
    Take { principal: usize, collection: usize },
    Policy { principal: usize, collection: usize, predicate: usize },
    NoPolicy { principal: usize, collection: usize },
    Members { group: usize, members: Vec<usize> },
    Restart,
}

fn change() -> impl Strategy<Value = Change> {
    let (principal, collection) = (0..6_usize, 0..3_usize);
    prop_oneof![
        4 => (principal.clone(), collection.clone(), 0..5_usize)
            .prop_map(|(principal, collection, role)| Change::Give { principal, collection, role }),
        2 => (principal.clone(), collection.clone())
            .prop_map(|(principal, collection)| Change::Take { principal, collection }),
        3 => (principal.clone(), 0..2_usize, 0..3_usize).prop_map(
            |(principal, collection, predicate)| Change::Policy { principal, collection, predicate }
        ),
        1 => (principal, 0..2_usize)
            .prop_map(|(principal, collection)| Change::NoPolicy { principal, collection }),
        2 => (1..3_usize, prop::collection::vec(0..3_usize, 0..3))
            .prop_map(|(group, members)| Change::Members { group, members }),
        1 => Just(Change::Restart),
    ]
}

fn principal(number: usize) -> Principal {
    match number {
        0..3 => Principal::User(PEOPLE[number].to_owned()),
        _ => Principal::Group(GROUPS[number - 3].to_owned()),
    }
}

fn scope(number: usize) -> Scope {
    COLLECTIONS[number].parse().expect("a scope")
}

/// What was given, in lists.
#[derive(Default)]
struct Lists {
    roles: Vec<(Principal, Scope, Role)>,
    policies: Vec<(Principal, Scope, String)>,
    members: Vec<(String, String)>,
}

impl Lists {
    fn principals(&self, name: &str) -> Vec<Principal> {
        let groups = self.members.iter().filter(|(_, member)| member == name);
        let mut all = vec![Principal::User(name.to_owned()), Principal::Group(EVERYONE.to_owned())];
        all.extend(groups.map(|(group, _)| Principal::Group(group.clone())));
        all
    }

    /// `None`: no role.
    fn decide(&self, name: &str, collection: &Scope) -> Option<(Role, Option<BTreeSet<String>>)> {
        let mut best = None;
        let (mut sees_all, mut predicates) = (false, BTreeSet::new());
        for principal in self.principals(name) {
            let roles = self.roles.iter().filter(|(who, on, _)| {
                *who == principal && (on == collection || *on == Scope::Everything)
            });
            let Some(role) = roles.map(|(_, _, role)| *role).max() else { continue };
            best = best.max(Some(role));
            let policy =
                self.policies.iter().find(|(who, on, _)| *who == principal && on == collection);
            match policy {
                Some((_, _, predicate)) => {
                    predicates.insert(predicate.clone());
                }
                None => sees_all = true,
            }
        }
        let role = best?;
        sees_all |= matches!(role, Role::Curate | Role::Administer);
        Some((role, (!sees_all).then_some(predicates)))
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Give { principal: who, collection, role } => {
                let (who, on) = (principal(*who), scope(*collection));
                self.roles.retain(|(w, o, _)| (w, o) != (&who, &on));
                self.roles.push((who, on, Role::ALL[*role]));
            }
            Change::Take { principal: who, collection } => {
                let (who, on) = (principal(*who), scope(*collection));
                self.roles.retain(|(w, o, _)| (w, o) != (&who, &on));
            }
            Change::Policy { principal: who, collection, predicate } => {
                let (who, on) = (principal(*who), scope(*collection));
                self.policies.retain(|(w, o, _)| (w, o) != (&who, &on));
                self.policies.push((who, on, format!("c < {predicate}")));
            }
            Change::NoPolicy { principal: who, collection } => {
                let (who, on) = (principal(*who), scope(*collection));
                self.policies.retain(|(w, o, _)| (w, o) != (&who, &on));
            }
            Change::Members { group, members } => {
                let group = GROUPS[*group].to_owned();
                self.members.retain(|(of, _)| *of != group);
                let new = members.iter().map(|member| (group.clone(), PEOPLE[*member].to_owned()));
                self.members.extend(new);
            }
            Change::Restart => {}
        }
    }
}

fn open(records: &Arc<InMemory>) -> Registry {
    let records: Arc<dyn Records> = Arc::<InMemory>::clone(records);
    Registry::open_with(records, Arc::new(|| 7), AccessOptions::default()).expect("opens")
}

/// Makes a change in both; a refusal to take the last administrator leaves both as they are.
fn make(
    registry: &mut Registry,
    records: &Arc<InMemory>,
    lists: &mut Lists,
    change: &Change,
) -> Result<(), AccessError> {
    match change {
        Change::Give { principal: who, collection, role } => {
            registry.give_role(&principal(*who), &scope(*collection), Role::ALL[*role], "t")?;
        }
        Change::Take { principal: who, collection } => {
            match registry.take_role(&principal(*who), &scope(*collection)) {
                Err(AccessError::NoGrant { .. }) | Ok(_) => {}
                Err(other) => return Err(other),
            }
        }
        Change::Policy { principal: who, collection, predicate } => {
            let predicate = format!("c < {predicate}");
            let good = |_: &str, _: &str| Ok(());
            registry.set_policy(&principal(*who), &scope(*collection), &predicate, "t", &good)?;
        }
        Change::NoPolicy { principal: who, collection } => {
            // There may be none.
            let _ = registry.drop_policy(&principal(*who), &scope(*collection));
        }
        Change::Members { group, members } => {
            let members: Vec<String> =
                members.iter().map(|member| PEOPLE[*member].to_owned()).collect();
            registry.set_group(GROUPS[*group], &members)?;
        }
        Change::Restart => *registry = open(records),
    }
    lists.apply(change);
    Ok(())
}

proptest! {
    #[test]
    fn decisions_are_those_of_the_lists(changes in prop::collection::vec(change(), 0..25)) {
        let records = Arc::new(InMemory::default());
        let (mut registry, mut lists) = (open(&records), Lists::default());
        for change in &changes {
            match make(&mut registry, &records, &mut lists, change) {
                Ok(()) | Err(AccessError::LastAdministrator) => {}
                Err(other) => return Err(TestCaseError::fail(other.to_string())),
            }
        }
        for name in PEOPLE {
            let identity = registry.identity_of_certificate(name).expect("a name");
            for collection in ["galaxies", "stars", "quasars"] {
                let expected = lists.decide(name, &collection.parse().expect("a name"));
                let release = format!("{}@dr1", collection.to_uppercase());
                for asked in [collection, release.as_str()] {
                    prop_assert_eq!(registry.may_know(&identity, asked), expected.is_some());
                    for needed in Role::ALL {
                        let decided = registry.decide(&identity, needed, Some(asked));
                        let expected = expected.as_ref().filter(|(role, _)| *role >= needed);
                        let got = decided.ok().map(|grant| {
                            let rows = match grant.rows {
                                Rows::All => None,
                                Rows::Any(some) => Some(some.iter().cloned().collect()),
                            };
                            (grant.role, rows)
                        });
                        prop_assert_eq!(got.as_ref(), expected);
                    }
                }
            }
            let server = lists.roles.iter().filter(|(who, on, _)| {
                lists.principals(name).contains(who) && *on == Scope::Everything
            });
            let server = server.map(|(_, _, role)| *role).max();
            for needed in Role::ALL.into_iter().skip(1) {
                let may = registry.decide(&identity, needed, None).is_ok();
                prop_assert_eq!(may, server.is_some_and(|role| role >= needed));
            }
        }
    }
}
