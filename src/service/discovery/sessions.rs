//! Sessions of labelling: what is stored of them, and how it changes.

use std::collections::HashMap;

use prost::Message;

use super::Discovery;
use crate::engine::{Db, RecordKind};
use crate::query::{self, BatchQuery, StopFlag, Strategy};
use crate::schema::{CollectionSchema, ObjectId, check_name};
use crate::service::context::blocking;
use crate::service::limits::{Limits, at_most};
use crate::service::search::StopWhenDropped;
use crate::service::{RequestError, ServiceError, convert};
use crate::wire::v1;

/// Objects of a batch where nothing is said.
const COUNT_DEFAULT: usize = 10;

/// Most labels, and batches that are remembered, of one session.
const LABELS_MAX: usize = 100_000;
const ROUNDS_MAX: usize = 10_000;

impl Discovery {
    pub(super) async fn start(
        &self,
        request: v1::StartSessionRequest,
    ) -> Result<v1::Session, ServiceError> {
        let change = self.turns.of(&request.name).await;
        let db = self.context.db.clone();
        blocking(move || -> Result<_, ServiceError> {
            let _held = change;
            let v1::StartSessionRequest { collection, name, space, seed } = request;
            let schema = db.schema(&collection)?;
            check_name("session", &name).map_err(RequestError::from)?;
            let space = space_name(&schema, &space)?;
            if db.record(&collection, RecordKind::Session, &name)?.is_some() {
                return Err(RequestError::SessionExists { collection, name }.into());
            }
            let collection = schema.name;
            let session = v1::Session { name, collection, space, seed, ..v1::Session::default() };
            keep(&db, &session)?;
            Ok(session)
        })
        .await
    }

    pub(super) async fn label(
        &self,
        request: v1::LabelObjectsRequest,
    ) -> Result<v1::Session, ServiceError> {
        let v1::LabelObjectsRequest { collection, name, positives, negatives, unlabelled } =
            request;
        let given = positives.len() + negatives.len() + unlabelled.len();
        at_most("labels", given, self.context.limits.ids_max)?;
        let change = self.turns.of(&name).await;
        let db = self.context.db.clone();
        blocking(move || -> Result<_, ServiceError> {
            let _held = change;
            let mut session = find(&db, &collection, &name)?;
            let schema = db.schema(&session.collection)?;
            let labels = [(positives, Some(true)), (negatives, Some(false)), (unlabelled, None)];
            for (ids, label) in labels {
                let ids = convert::object_ids(&schema, ids)?;
                if label.is_some() {
                    check_stored(&db, &session, &ids)?;
                }
                set_labels(&mut session, ids, label);
            }
            at_most("labels of a session", session.labels.len(), LABELS_MAX)?;
            keep(&db, &session)?;
            Ok(session)
        })
        .await
    }

    pub(super) async fn next(
        &self,
        request: v1::NextObjectsRequest,
    ) -> Result<v1::NextObjectsResponse, ServiceError> {
        let limits = self.context.limits.clone();
        // First the session, then the turn: one that waits for the others keeps no search from its own.
        let change = self.turns.of(&request.name).await;
        let turn = self.context.search_turn().await?;
        let db = self.context.db.clone();
        let stop = StopFlag::default();
        let _stop = StopWhenDropped(stop.clone());
        blocking(move || {
            // Held by the work itself: it goes on when its caller has gone, and writes at its end.
            let _held = (change, turn);
            next(&db, &limits, request, stop)
        })
        .await
    }

    pub(super) async fn get(
        &self,
        collection: String,
        name: String,
    ) -> Result<v1::Session, ServiceError> {
        let db = self.context.db.clone();
        blocking(move || find(&db, &collection, &name)).await
    }

    pub(super) async fn list(&self, collection: String) -> Result<Vec<v1::Session>, ServiceError> {
        let db = self.context.db.clone();
        blocking(move || -> Result<_, ServiceError> {
            let mut sessions = Vec::new();
            for collection in collections(&db, &collection)? {
                for (name, bytes) in db.records(&collection, RecordKind::Session)? {
                    sessions.push(decode(&name, &bytes)?);
                }
            }
            Ok(sessions)
        })
        .await
    }

    pub(super) async fn remove(
        &self,
        collection: String,
        name: String,
    ) -> Result<(), ServiceError> {
        let change = self.turns.of(&name).await;
        let db = self.context.db.clone();
        blocking(move || -> Result<_, ServiceError> {
            let _held = change;
            let session = find(&db, &collection, &name)?;
            db.delete_record(&session.collection, RecordKind::Session, &name)?;
            Ok(())
        })
        .await
    }
}

/// The collection that is named, or all.
fn collections(db: &Db, named: &str) -> Result<Vec<String>, ServiceError> {
    if !named.is_empty() {
        return Ok(vec![named.to_owned()]);
    }
    Ok(db.collections()?.into_iter().map(|info| info.schema.name).collect())
}

/// The session of a name, in the collection that is named or in the only one that has such a session.
fn find(db: &Db, collection: &str, name: &str) -> Result<v1::Session, ServiceError> {
    let mut found = Vec::new();
    for collection in collections(db, collection)? {
        if let Some(bytes) = db.record(&collection, RecordKind::Session, name)? {
            found.push(decode(name, &bytes)?);
        }
    }
    match found.len() {
        0 => Err(RequestError::NoSession { name: name.to_owned() }.into()),
        1 => Ok(found.swap_remove(0)),
        _ => {
            let owners: Vec<String> = found.into_iter().map(|session| session.collection).collect();
            let (name, collections) = (name.to_owned(), owners.join(", "));
            Err(RequestError::SeveralSessions { name, collections }.into())
        }
    }
}

fn decode(name: &str, bytes: &[u8]) -> Result<v1::Session, ServiceError> {
    v1::Session::decode(bytes).map_err(|error| ServiceError::DamagedSession {
        name: name.to_owned(),
        reason: error.to_string(),
    })
}

fn keep(db: &Db, session: &v1::Session) -> Result<(), ServiceError> {
    let bytes = session.encode_to_vec();
    Ok(db.put_record(&session.collection, RecordKind::Session, &session.name, &bytes)?)
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

fn check_stored(db: &Db, session: &v1::Session, ids: &[ObjectId]) -> Result<(), ServiceError> {
    let found = db.get(&session.collection, ids)?;
    match ids.iter().zip(found).find(|(_, object)| object.is_none()) {
        Some((id, _)) => Err(RequestError::NoObject {
            collection: session.collection.clone(),
            id: id.to_string(),
        }
        .into()),
        None => Ok(()),
    }
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
    db: &Db,
    limits: &Limits,
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
    let mut session = find(db, &request.collection, &request.name)?;
    let view = db.view(&session.collection)?;
    let ids = |positive: bool| {
        let labels = session.labels.iter().filter(|label| label.positive == positive);
        let ids = labels.filter_map(|label| label.id.clone()).collect();
        convert::object_ids(view.schema(), ids)
    };
    let (positives, negatives) = (ids(true)?, ids(false)?);
    let count = if request.count == 0 { COUNT_DEFAULT } else { request.count as usize };
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
    at_most("batches of a session", session.rounds.len() + 1, ROUNDS_MAX)?;
    let proposed = batch.proposals.iter();
    session.rounds.push(v1::SessionRound {
        proposed: proposed.map(|each| convert::object_id_of(each.id.clone())).collect(),
        strategy: batch.strategy.name().to_owned(),
        positives: query.positives.len() as u32,
        negatives: query.negatives.len() as u32,
        version: view.version(),
    });
    keep(db, &session)?;
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
