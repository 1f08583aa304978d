//! Fitting a bridge and measuring it.

use std::time::Instant;

use super::record::Record;
use super::spec::{Spec, Way};
use super::{BridgeError, Bridges, train};
use crate::clock::now_s;
use crate::engine::{CollectionView, Db, RecordKind};
use crate::learn::bridge::{self, Fitted, HELD_OUT, Likeness, Measured, Measuring, Pairs, UNUSED};
use crate::learn::split::{self, Side, SplitId, SplitSpec, SplitSubject, few_shot};
use crate::learn::{Features, LearnError, Progress};
use crate::probes::dataset::split_id;
use crate::probes::features::Stored;
use crate::probes::table::{Table, label};
use crate::query::StopFlag;
use crate::schema::{ObjectId, check_name};
use crate::vector::Metric;
use crate::wire::v1;

impl Bridges {
    /// Fits a bridge on the objects of a view that have vectors in both spaces, measures it on those of them that are held out, and
    /// keeps it.
    ///
    /// # Errors
    /// [`BridgeError`]; nothing is kept then.
    pub fn fit(
        &self,
        view: &CollectionView,
        request: v1::FitBridgeRequest,
        stop: &StopFlag,
        progress: Progress<'_>,
    ) -> Result<v1::Bridge, BridgeError> {
        let started = Instant::now();
        let v1::FitBridgeRequest { spec, name, overwrite, .. } = request;
        let db = &self.tools.db;
        check_name("bridge", &name).map_err(|error| {
            BridgeError::bad(error.to_string(), "give a name under which to keep it (--name)")
        })?;
        // Told before the fit, which may be long; `keep` looks again.
        if !overwrite && db.record(&view.schema().name, RecordKind::Bridge, &name)?.is_some() {
            return Err(exists(view, &name));
        }
        let spec = Spec::resolve(view, spec.unwrap_or_default())?;
        let data = Data::gather(db, view, &spec, stop, progress)?;
        let pairs = data.pairs(&spec);
        let fitted = match &spec.way {
            Way::Moments(method) => bridge::fit(&pairs, method, self.tools.threads, progress)?,
            Way::Contrastive(given) => {
                train::fit(&self.tools, given, spec.wire.seed, &pairs, progress)?
            }
        };
        let map = fitted.map.clone().rounded();
        let leads_into_target = map.leads_into_target();
        let measuring = Measuring {
            from: likeness(spec.from.metric),
            to: likeness(spec.to.metric),
            across: if leads_into_target { likeness(spec.to.metric) } else { Likeness::Cosine },
            resamples: spec.wire.resamples,
            seed: spec.wire.seed,
            threads: self.tools.threads,
        };
        let measured = bridge::evaluate(&pairs, &map, &measuring, progress)?;
        let bridge = v1::Bridge {
            name: name.clone(),
            collection: view.schema().name.clone(),
            version: 0,
            from_provenance: Some(spec.from.provenance.clone().into()),
            to_provenance: Some(spec.to.provenance.clone().into()),
            dimension: map.to.outputs() as u32,
            leads_into_target,
            collection_version: view.version(),
            n_changed: data.changed,
            n_leaked: data.leaked,
            fitted_at: now_s(),
            elapsed_seconds: started.elapsed().as_secs_f64(),
            stale: String::new(),
            spec: Some(spec.wire.clone()),
            ..told(&fitted, data.tested(), measured)
        };
        self.keep(view, overwrite, Record { bridge, map })
    }

    fn keep(
        &self,
        view: &CollectionView,
        overwrite: bool,
        mut record: Record,
    ) -> Result<v1::Bridge, BridgeError> {
        let name = record.bridge.name.clone();
        let db = &self.tools.db;
        let collection = &view.schema().name;
        // The collection may be gone, or another one, and somebody else may have taken the name during the fit.
        db.make_record(view, RecordKind::Bridge, &name, &mut |present| {
            if present.is_some() && !overwrite {
                return Err(exists(view, &name));
            }
            // A damaged bridge is what somebody may want to replace.
            let before = present.and_then(Result::ok);
            let before = before.and_then(|bytes| Record::decode(&name, &bytes).ok());
            record.bridge.version = before.map_or(0, |before| before.bridge.version) + 1;
            Ok(record.encode())
        })?;
        self.forget(view);
        crate::probes::refresh(db, collection)?;
        Ok(record.bridge)
    }
}

fn exists(view: &CollectionView, name: &str) -> BridgeError {
    BridgeError::Exists { collection: view.schema().name.clone(), name: name.to_owned() }
}

fn likeness(metric: Metric) -> Likeness {
    match metric {
        Metric::Cosine => Likeness::Cosine,
        Metric::L2 => Likeness::Euclidean,
        Metric::Ip => Likeness::Product,
    }
}

/// What was learned and measured, as it is told.
fn told(fitted: &Fitted, tested: usize, measured: Vec<Measured>) -> v1::Bridge {
    let metric = |measured: Measured| v1::BridgeMetric {
        name: measured.name,
        value: measured.value,
        low: measured.low,
        high: measured.high,
        chance: measured.chance,
    };
    v1::Bridge {
        n_train: fitted.trained_on as u64,
        n_test: tested as u64,
        metrics: measured.into_iter().map(metric).collect(),
        alpha: fitted.alpha,
        alphas: fitted.alphas.clone(),
        alpha_scores: fitted.alpha_scores.clone(),
        scale: fitted.scale,
        correlations: fitted.correlations.clone(),
        ..v1::Bridge::default()
    }
}

/// Pairs of vectors, and which of them teach.
struct Data {
    features: Stored,
    folds: Vec<u8>,
    /// Objects that were written again while they were read, and are left out.
    changed: u64,
    /// Held out objects that may be the same as one that teaches.
    leaked: u64,
}

impl Data {
    fn gather(
        db: &Db,
        view: &CollectionView,
        spec: &Spec,
        stop: &StopFlag,
        progress: Progress<'_>,
    ) -> Result<Self, BridgeError> {
        progress.step("choosing objects", 0, 0)?;
        let still = view.still()?;
        let mut table = Table::choose(view, spec.predicate.as_deref(), stop)?;
        let changed = table.take_changed(&still).len() as u64;
        let keep = table.have_vectors(&[spec.from.id, spec.to.id]);
        table.retain(&keep);
        let folds = folds(&table, spec)?;
        let needed = |what, given: usize| {
            if given < 2 { Err(LearnError::TooFew { what, given, needed: 2 }) } else { Ok(()) }
        };
        let count = |is: &dyn Fn(u8) -> bool| folds.iter().filter(|fold| is(**fold)).count();
        let (what, held) = (
            "objects with vectors in both spaces on the training side",
            "objects with vectors in both spaces on the test side",
        );
        needed(what, count(&|fold| fold < UNUSED))?;
        needed(held, count(&|fold| fold == HELD_OUT))?;
        let used: Vec<bool> = folds.iter().map(|fold| *fold != UNUSED).collect();
        table.retain(&used);
        let folds: Vec<u8> = folds.into_iter().filter(|fold| *fold != UNUSED).collect();
        let leaked = leaked(&table, &folds)?;
        let spaces = [spec.from.clone(), spec.to.clone()];
        let features = Stored::gather(db, &table, &still, &spaces, &[], progress)?;
        Ok(Self { features, folds, changed, leaked })
    }

    fn pairs(&self, spec: &Spec) -> Pairs<'_> {
        debug_assert_eq!(self.features.width(), spec.from.dimension + spec.to.dimension);
        Pairs {
            features: &self.features,
            from_width: spec.from.dimension,
            from_unit: spec.from.metric == Metric::Cosine,
            to_unit: spec.to.metric == Metric::Cosine,
            folds: &self.folds,
        }
    }

    #[expect(clippy::naive_bytecount, reason = "once for each fit")]
    fn tested(&self) -> usize {
        self.folds.iter().filter(|fold| **fold == HELD_OUT).count()
    }
}

/// Held out objects at the position of one that teaches.
fn leaked(table: &Table<'_>, folds: &[u8]) -> Result<u64, BridgeError> {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (place, fold) in folds.iter().enumerate() {
        let Some(position) = table.position(place) else { continue };
        let direction = split::unit_vector(position.ra().0, position.dec().0);
        if *fold == HELD_OUT { test.push(direction) } else { train.push(direction) }
    }
    Ok(split::leaked(&train, &test, split::LEAK_ARCSEC)?.len() as u64)
}

/// For each object its fold, or that it tests, or that it takes no part. Both sides are cut to their limits by the seed.
fn folds(table: &Table<'_>, spec: &Spec) -> Result<Vec<u8>, BridgeError> {
    let ids: Vec<ObjectId> = (0..table.count()).map(|place| table.id(place)).collect();
    let inner = SplitSpec::KFold { folds: spec.folds, seed: spec.wire.seed };
    let mut folds = vec![UNUSED; ids.len()];
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (place, id) in ids.iter().enumerate() {
        let value = spec.split_column.as_ref();
        let value = value.and_then(|column| label(&table.value(column, place)));
        let subject = SplitSubject {
            id: split_id(id),
            cell: table.key(place).cell.0,
            value: value.as_deref(),
        };
        match spec.split.side(&subject)? {
            Side::Train => train.push(place),
            Side::Test => test.push(place),
            Side::Validation | Side::Fold(_) | Side::Out => {}
        }
    }
    for (places, limit, is_test) in
        [(&train, spec.wire.train_limit, false), (&test, spec.wire.test_limit, true)]
    {
        for place in limited(&ids, places, limit, spec.wire.seed) {
            let subject = SplitSubject { id: split_id(&ids[place]), cell: 0, value: None };
            folds[place] = match inner.side(&subject)? {
                _ if is_test => HELD_OUT,
                Side::Fold(fold) => fold as u8,
                Side::Train | Side::Test | Side::Validation | Side::Out => 0,
            };
        }
    }
    Ok(folds)
}

/// The first places of a seeded order; all of them where no limit is given.
fn limited(ids: &[ObjectId], places: &[usize], limit: u64, seed: u64) -> Vec<usize> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 || places.len() <= limit {
        return places.to_vec();
    }
    let subjects: Vec<SplitId<'_>> = places.iter().map(|place| split_id(&ids[*place])).collect();
    let chosen = few_shot(&subjects, None, limit, seed);
    chosen.into_iter().filter_map(|at| places.get(at as usize).copied()).collect()
}
