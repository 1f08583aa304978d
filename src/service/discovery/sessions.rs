//! Sessions of labelling: what is stored of them, and how it changes.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::Discovery;
use crate::access::Grant;
use crate::class::Class;
use crate::engine::RecordKind;
use crate::query::{self, BatchQuery, StopFlag, Strategy};
use crate::schema::{CollectionSchema, ObjectId, check_name};
use crate::service::admission::{Cost, Work};
use crate::service::context::{Context, blocking, in_turn};
use crate::service::door::Door;
use crate::service::limits::{FIXED, at_most};
use crate::service::search::StopWhenDropped;
use crate::service::{RequestError, ServiceError, convert};
use crate::wire::v1;

/// Objects of a batch where nothing is said.
const COUNT_DEFAULT: usize = 10;

/// Most labels, and batches that are remembered, of one session.
const LABELS_MAX: usize = 100_000;
const ROUNDS_MAX: usize = 10_000;

/// Objects that are looked for at once.
const ASKED_AT_ONCE: usize = 4_096;

impl Discovery {
    pub(super) async fn start(
        &self,
        door: Door,
        request: v1::StartSessionRequest,
    ) -> Result<v1::Session, ServiceError> {
        let change = self.turns.of(&request.name).await;
        blocking(move || -> Result<_, ServiceError> {
            let _held = change;
            let v1::StartSessionRequest { collection, name, space, seed } = request;
            door.check(&collection)?;
            let schema = door.db().schema(&collection)?;
            check_name("session", &name).map_err(RequestError::from)?;
            let space = space_name(&schema, &space)?;
            if door.db().record(&collection, RecordKind::Session, &name)?.is_some() {
                return Err(RequestError::SessionExists { collection, name }.into());
            }
            let collection = schema.name;
            let session = v1::Session { name, collection, space, seed, ..v1::Session::default() };
            keep(&door, &session)?;
            Ok(session)
        })
        .await
    }

    pub(super) async fn label(
        &self,
        grant: Grant,
        request: v1::LabelObjectsRequest,
    ) -> Result<v1::Session, ServiceError> {
        let v1::LabelObjectsRequest { collection, name, positives, negatives, unlabelled } =
            request;
        let given = positives.len() + negatives.len() + unlabelled.len();
        at_most("labels", "limits.ids", given, self.context.limits.ids_max)?;
        let context = self.context.clone();
        let change = self.turns.of(&name).await;
        blocking(move || -> Result<_, ServiceError> {
            let _held = change;
            let (door, mut session) = find(&context, grant, collection, &name)?;
            let schema = door.db().schema(&session.collection)?;
            let labels = [(positives, Some(true)), (negatives, Some(false)), (unlabelled, None)];
            for (ids, label) in labels {
                let ids = convert::object_ids(&schema, ids)?;
                let ids = match label {
                    Some(_) => {
                        check_stored(&door, &session, &ids)?;
                        ids
                    }
                    None => not_hidden(&door, &session, ids)?,
                };
                set_labels(&mut session, ids, label);
            }
            at_most("labels of a session", FIXED, session.labels.len(), LABELS_MAX)?;
            keep(&door, &session)?;
            shown(&door, session)
        })
        .await
    }

    pub(super) async fn next(
        &self,
        grant: Grant,
        request: v1::NextObjectsRequest,
    ) -> Result<v1::NextObjectsResponse, ServiceError> {
        let context = self.context.clone();
        // First the session, then the turn: one that waits for the others keeps no search from its own.
        let change = self.turns.of(&request.name).await;
        let turn = self.context.search_turn(Cost::of(Work::Session, None)).await?;
        let stop = StopFlag::default();
        let _stop = StopWhenDropped(stop.clone());
        in_turn(turn, move |_| {
            // Held by the work itself: it goes on when its caller has gone, and writes at its end.
            let _held = change;
            next(&context, grant, request, stop)
        })
        .await
    }

    pub(super) async fn get(
        &self,
        grant: Grant,
        collection: String,
        name: String,
    ) -> Result<v1::Session, ServiceError> {
        let context = self.context.clone();
        blocking(move || {
            let (door, session) = find(&context, grant, collection, &name)?;
            shown(&door, session)
        })
        .await
    }

    pub(super) async fn list(
        &self,
        grant: Grant,
        collection: String,
    ) -> Result<Vec<v1::Session>, ServiceError> {
        let context = self.context.clone();
        blocking(move || -> Result<_, ServiceError> {
            let mut sessions = Vec::new();
            for (door, collection) in doors(&context, grant, collection)? {
                door.db().visit_records(&collection, RecordKind::Session, &mut |name, bytes| {
                    let read = bytes.map_err(ServiceError::from);
                    let session = match read.and_then(|bytes| decode(&name, &bytes)) {
                        Ok(session) => shown(&door, session)?,
                        // One that cannot be read is named, and the others are told.
                        Err(error) => {
                            let (collection, damaged) = (collection.clone(), error.to_string());
                            v1::Session { name, collection, damaged, ..v1::Session::default() }
                        }
                    };
                    sessions.push(session);
                    Ok::<_, ServiceError>(())
                })?;
            }
            Ok(sessions)
        })
        .await
    }

    pub(super) async fn remove(
        &self,
        grant: Grant,
        collection: String,
        name: String,
    ) -> Result<(), ServiceError> {
        let context = self.context.clone();
        let change = self.turns.of(&name).await;
        blocking(move || -> Result<_, ServiceError> {
            let _held = change;
            // What it holds is not looked at: a damaged one can be dropped.
            let (door, collection) = owner(&context, grant, collection, &name)?;
            door.db().delete_record(&collection, RecordKind::Session, &name)?;
            Ok(())
        })
        .await
    }
}

/// The collection that is named, or all that the caller may look into, each with its door.
fn doors(
    context: &Context,
    grant: Grant,
    named: String,
) -> Result<Vec<(Door, String)>, ServiceError> {
    if !named.is_empty() {
        let door = context.door(grant);
        door.check(&named)?;
        return Ok(vec![(door, named)]);
    }
    Ok(context.known(&grant)?.into_iter().map(|(door, info)| (door, info.schema.name)).collect())
}

/// A session as the caller may see it: of objects that are hidden from him no label is told, and no proposal, and of the
/// batches not how many labels there were.
fn shown(door: &Door, mut session: v1::Session) -> Result<v1::Session, ServiceError> {
    if !door.is_restricted() {
        return Ok(session);
    }
    let view = door.view(&session.collection)?;
    let mut kept = HashSet::new();
    let labelled = session.labels.iter().filter_map(|label| label.id.clone());
    let proposed = session.rounds.iter().flat_map(|round| round.proposed.iter().cloned());
    let named = convert::object_ids(view.schema(), labelled.chain(proposed).collect())?;
    for ids in named.chunks(ASKED_AT_ONCE) {
        let there = ids.iter().zip(view.columns_of(ids)?).filter(|(_, object)| object.is_some());
        kept.extend(there.map(|(id, _)| convert::object_id_of(id.clone()).encode_to_vec()));
    }
    let is_kept = |id: &v1::ObjectId| kept.contains(&id.encode_to_vec());
    session.labels.retain(|label| label.id.as_ref().is_some_and(is_kept));
    for round in &mut session.rounds {
        round.proposed.retain(is_kept);
        (round.positives, round.negatives) = (0, 0);
    }
    Ok(session)
}

/// The session of a name, in the collection that is named or in the only one that has such a session, and the door to it.
fn find(
    context: &Context,
    grant: Grant,
    collection: String,
    name: &str,
) -> Result<(Door, v1::Session), ServiceError> {
    let (door, collection) = owner(context, grant, collection, name)?;
    let bytes = door.db().record(&collection, RecordKind::Session, name).map_err(|error| {
        let is_damaged = error.class() == Class::Corrupt;
        if is_damaged { damaged(name, error.to_string()) } else { error.into() }
    })?;
    let bytes = bytes.ok_or_else(|| RequestError::NoSession { name: name.to_owned() })?;
    let session = decode(name, &bytes)?;
    Ok((door, session))
}

/// The collection that is named, or the only one that has a session of the name, and the door to it.
fn owner(
    context: &Context,
    grant: Grant,
    collection: String,
    name: &str,
) -> Result<(Door, String), ServiceError> {
    let mut found = Vec::new();
    for (door, collection) in doors(context, grant, collection)? {
        if door.db().has_record(&collection, RecordKind::Session, name)? {
            found.push((door, collection));
        }
    }
    match found.len() {
        0 => Err(RequestError::NoSession { name: name.to_owned() }.into()),
        1 => Ok(found.swap_remove(0)),
        _ => {
            let owners: Vec<String> = found.into_iter().map(|(_, collection)| collection).collect();
            let (name, collections) = (name.to_owned(), owners.join(", "));
            Err(RequestError::SeveralSessions { name, collections }.into())
        }
    }
}

fn decode(name: &str, bytes: &[u8]) -> Result<v1::Session, ServiceError> {
    v1::Session::decode(bytes).map_err(|error| damaged(name, error.to_string()))
}

fn damaged(name: &str, reason: String) -> ServiceError {
    ServiceError::DamagedSession { name: name.to_owned(), reason }
}

fn keep(door: &Door, session: &v1::Session) -> Result<(), ServiceError> {
    let bytes = session.encode_to_vec();
    Ok(door.db().put_record(&session.collection, RecordKind::Session, &session.name, &bytes)?)
}

/// The space that is named, or the only one.
fn space_name(schema: &CollectionSchema, name: &str) -> Result<String, RequestError> {
    let spaces: Vec<&str> = schema.vector_spaces().map(|space| space.name.as_str()).collect();
    let found = match (name, spaces.as_slice()) {
        ("", [only]) => Some(*only),
        ("", _) => None,
        (name, _) => spaces.iter().copied().find(|space| space.eq_ignore_ascii_case(name)),
    };
    found.map(str::to_owned).ok_or_else(|| RequestError::UnknownSpace {
        collection: schema.name.clone(),
        space: name.to_owned(),
        known: spaces.join(", "),
    })
}

fn check_stored(door: &Door, session: &v1::Session, ids: &[ObjectId]) -> Result<(), ServiceError> {
    let found = door.view(&session.collection)?.columns_of(ids)?;
    match ids.iter().zip(found).find(|(_, object)| object.is_none()) {
        Some((id, _)) => Err(RequestError::NoObject {
            collection: session.collection.clone(),
            id: id.to_string(),
        }
        .into()),
        None => Ok(()),
    }
}

/// Those of some objects whose labels the caller may take away. A label of an object that is hidden from him stays, and nothing
/// tells it from one that never was; he who sees all also takes away labels of objects that are gone.
fn not_hidden(
    door: &Door,
    session: &v1::Session,
    ids: Vec<ObjectId>,
) -> Result<Vec<ObjectId>, ServiceError> {
    if !door.is_restricted() {
        return Ok(ids);
    }
    let view = door.view(&session.collection)?;
    let mut seen = Vec::with_capacity(ids.len());
    for some in ids.chunks(ASKED_AT_ONCE) {
        let there = some.iter().zip(view.columns_of(some)?).filter(|(_, found)| found.is_some());
        seen.extend(there.map(|(id, _)| id.clone()));
    }
    Ok(seen)
}

/// Gives objects a label in place of any other, or takes it away. Labels stay in the order in which objects got their first.
fn set_labels(session: &mut v1::Session, ids: Vec<ObjectId>, label: Option<bool>) {
    let key = |id: &v1::ObjectId| id.encode_to_vec();
    let known = session.labels.iter().enumerate();
    let places: HashMap<Vec<u8>, usize> =
        known.filter_map(|(place, label)| Some((key(label.id.as_ref()?), place))).collect();
    let round = session.rounds.len() as u32;
    let mut gone = Vec::new();
    let mut new: HashMap<Vec<u8>, usize> = HashMap::new();
    for id in ids {
        let id = convert::object_id_of(id);
        let key = key(&id);
        let place = places.get(&key).or_else(|| new.get(&key)).copied();
        match (place, label) {
            (Some(place), Some(positive)) => {
                session.labels[place] = v1::SessionLabel { id: Some(id), positive, round };
            }
            (None, Some(positive)) => {
                new.insert(key, session.labels.len());
                session.labels.push(v1::SessionLabel { id: Some(id), positive, round });
            }
            (Some(place), None) => gone.push(place),
            (None, None) => {}
        }
    }
    gone.sort_unstable();
    gone.dedup();
    for place in gone.into_iter().rev() {
        session.labels.remove(place);
    }
}

fn next(
    context: &Context,
    grant: Grant,
    request: v1::NextObjectsRequest,
    stop: StopFlag,
) -> Result<v1::NextObjectsResponse, ServiceError> {
    let strategy = match v1::NextStrategy::try_from(request.strategy) {
        Ok(v1::NextStrategy::Unspecified) => Strategy::Uncertain,
        Ok(v1::NextStrategy::Likely) => Strategy::Likely,
        Ok(v1::NextStrategy::Diverse) => Strategy::Diverse,
        Err(_) => {
            let value = request.strategy;
            return Err(RequestError::UnknownEnum { field: "strategy", value }.into());
        }
    };
    let (door, mut session) = find(context, grant, request.collection, &request.name)?;
    let view = door.view(&session.collection)?;
    // What is hidden teaches nothing, and is not counted as what is gone either.
    let known = shown(&door, session.clone())?;
    let ids = |positive: bool| {
        let labels = known.labels.iter().filter(|label| label.positive == positive);
        let ids = labels.filter_map(|label| label.id.clone()).collect();
        convert::object_ids(view.schema(), ids)
    };
    let (positives, negatives) = (ids(true)?, ids(false)?);
    let count = if request.count == 0 { COUNT_DEFAULT } else { request.count as usize };
    let limits = &context.limits;
    let query = BatchQuery {
        space: session.space.clone(),
        region: request.region.map(|region| convert::region(limits, region)).transpose()?,
        predicate: convert::predicate(limits, request.predicate)?,
        count,
        strategy,
        // Another batch, other objects.
        seed: session.seed.wrapping_add(session.rounds.len() as u64),
        stop,
        positives,
        negatives,
    };
    let batch = query::next_batch(&view, &query)?;
    at_most("batches of a session", FIXED, session.rounds.len() + 1, ROUNDS_MAX)?;
    let proposed = batch.proposals.iter();
    session.rounds.push(v1::SessionRound {
        proposed: proposed.map(|each| convert::object_id_of(each.id.clone())).collect(),
        strategy: batch.strategy.name().to_owned(),
        positives: query.positives.len() as u32,
        negatives: query.negatives.len() as u32,
        version: view.version(),
    });
    keep(&door, &session)?;
    let object = |proposal: query::Proposal| v1::NextObject {
        id: Some(convert::object_id_of(proposal.id)),
        position: Some(convert::position_of(proposal.position)),
        probability: proposal.probability,
    };
    Ok(v1::NextObjectsResponse {
        objects: batch.proposals.into_iter().map(object).collect(),
        strategy: batch.strategy.name().to_owned(),
        scored: batch.scored,
        unusable: batch.unusable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(session: &v1::Session) -> Vec<(i64, bool, u32)> {
        let told = |label: &v1::SessionLabel| match label.id.as_ref().and_then(|id| id.id.clone()) {
            Some(v1::object_id::Id::Number(id)) => (id, label.positive, label.round),
            other => panic!("a number: {other:?}"),
        };
        session.labels.iter().map(told).collect()
    }

    #[test]
    fn an_object_has_one_label_however_often_it_is_given() {
        let mut session = v1::Session::default();
        let set = |session: &mut v1::Session, ids: &[i64], label| {
            set_labels(session, ids.iter().copied().map(ObjectId::Number).collect(), label);
        };
        set(&mut session, &[5, 3, 5, 5], Some(true));
        assert_eq!(told(&session), [(5, true, 0), (3, true, 0)]);
        session.rounds.push(v1::SessionRound::default());
        set(&mut session, &[3, 8, 3], Some(false));
        assert_eq!(told(&session), [(5, true, 0), (3, false, 1), (8, false, 1)]);
        set(&mut session, &[5, 5, 99], None);
        assert_eq!(told(&session), [(3, false, 1), (8, false, 1)]);
        set(&mut session, &[8, 3], None);
        assert!(told(&session).is_empty());
        set(&mut session, &[8], Some(true));
        assert_eq!(told(&session), [(8, true, 1)]);
    }
}
