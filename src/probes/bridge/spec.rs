//! What is asked of a fit, with the gaps filled and the contradictions refused.

use super::BridgeError;
use super::train;
use crate::engine::{CollectionView, RECORD_BYTES_MAX};
use crate::learn::bridge::Method;
use crate::learn::split::SplitSpec;
use crate::probes::table::{Column, find_column};
use crate::schema::{CollectionSchema, EmbeddingSpace};
use crate::wire::v1::{self, bridge_spec};

/// Split where none is named.
const SPLIT_DEFAULT: &str = "random:0.2:0";

/// Resamples behind an interval where nothing is said, and at most.
const RESAMPLES_DEFAULT: u32 = 1_000;
const RESAMPLES_MAX: u32 = 100_000;

/// Test objects where nothing is said, and at most: their similarities are as many as their square.
const TEST_DEFAULT: u64 = 10_000;
const TEST_MAX: u64 = 50_000;

/// Folds by which a strength is chosen, and at most.
const FOLDS_DEFAULT: u32 = 5;
const FOLDS_MAX: u32 = 20;

/// Components of both spaces together, of which the square is held in double precision several times.
const WIDTH_MAX: usize = 8_192;

/// Most numbers of a matrix from one space into the other: the bridge is kept as one record.
const MATRIX_MAX: usize = RECORD_BYTES_MAX / size_of::<f32>() / 8 * 7;

const REGULARISATION_DEFAULT: f64 = 1e-3;
const POWER_DEFAULT: f64 = 1.0;

/// How the map is found.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// From the moments of the pairs.
    Moments(Method),
    /// By training networks.
    Contrastive(v1::ContrastiveBridge),
}

/// A resolved request.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// As it is kept: nothing left to be filled in.
    pub(super) wire: v1::BridgeSpec,
    pub(super) from: EmbeddingSpace,
    pub(super) to: EmbeddingSpace,
    pub(super) way: Way,
    pub(super) split: SplitSpec,
    pub(super) split_column: Option<Column>,
    pub(super) predicate: Option<String>,
    /// Folds by which a strength is chosen.
    pub(super) folds: u32,
}

impl Spec {
    /// Finds everything that a request names in a collection.
    ///
    /// # Errors
    /// [`BridgeError::BadSpec`], [`BridgeError::UnknownSpace`], [`BridgeError::NotOfVectors`], and those of the split.
    pub(super) fn resolve(
        view: &CollectionView,
        mut wire: v1::BridgeSpec,
    ) -> Result<Self, BridgeError> {
        let schema = view.schema();
        let from = space(schema, &wire.from)?.clone();
        let to = space(schema, &wire.to)?.clone();
        if from.id == to.id {
            return Err(BridgeError::bad(
                format!("the bridge would lead from `{}` into itself", from.name),
                "name two spaces (--from, --to)",
            ));
        }
        let width = from.dimension + to.dimension;
        if width > WIDTH_MAX {
            return Err(BridgeError::bad(
                format!("both spaces have {width} components together"),
                format!("a bridge joins at most {WIDTH_MAX}"),
            ));
        }
        if from.dimension * to.dimension > MATRIX_MAX {
            return Err(BridgeError::bad(
                format!("a map of {} to {} components is too large", from.dimension, to.dimension),
                format!("at most {MATRIX_MAX} numbers are kept of one"),
            ));
        }
        wire.from.clone_from(&from.name);
        wire.to.clone_from(&to.name);
        if wire.split.is_empty() {
            SPLIT_DEFAULT.clone_into(&mut wire.split);
        }
        let split = SplitSpec::parse(&wire.split)?;
        if matches!(split, SplitSpec::KFold { .. }) {
            return Err(BridgeError::bad(
                format!("the split {split} tests every object once"),
                "a bridge is measured on one test set: give random:TEST_FRACTION:SEED, healpix:ORDER:TEST_FRACTION:SEED or column:NAME",
            ));
        }
        wire.split = split.to_string();
        let column = split.column().map(|name| find_column(view, name));
        let split_column = column.transpose()?;
        fill_numbers(&mut wire);
        let (way, folds) = way(&mut wire, from.dimension, to.dimension)?;
        check_size(&way, from.dimension, to.dimension)?;
        let predicate = Some(wire.predicate.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Self { wire, from, to, way, split, split_column, predicate, folds })
    }
}

/// Refuses a bridge whose maps could not be kept, before anything is read for it.
fn check_size(way: &Way, from: usize, to: usize) -> Result<(), BridgeError> {
    let numbers = match way {
        Way::Moments(Method::Cca { components, .. }) => {
            let most = from.min(to);
            let components = if *components == 0 { most } else { most.min(*components) };
            (from + to).saturating_mul(components)
        }
        // One map into the other space, which is checked for every method.
        Way::Moments(_) => 0,
        Way::Contrastive(given) => {
            let dimension = train::dimension(given, from, to);
            let tower = |input: usize| {
                let widths = given.hidden.iter().chain([&dimension]).map(|width| *width as usize);
                let layer = |(from, count): (usize, usize), to: usize| {
                    (to, count.saturating_add(from.saturating_add(1).saturating_mul(to)))
                };
                widths.fold((input, 0), layer).1
            };
            // What is kept may be the closed form that they begin as.
            let affine = (from + to).saturating_add(2).saturating_mul(dimension as usize);
            tower(from).saturating_add(tower(to)).max(affine)
        }
    };
    if numbers <= MATRIX_MAX {
        return Ok(());
    }
    Err(BridgeError::bad(
        format!("the maps of both sides have {numbers} numbers"),
        format!(
            "at most {MATRIX_MAX} are kept; give fewer components (--components) or hidden units"
        ),
    ))
}

fn fill_numbers(wire: &mut v1::BridgeSpec) {
    wire.resamples = match wire.resamples {
        0 => RESAMPLES_DEFAULT,
        given => given.min(RESAMPLES_MAX),
    };
    wire.test_limit = match wire.test_limit {
        0 => TEST_DEFAULT,
        given => given.min(TEST_MAX),
    };
}

/// The method, and the folds that it needs.
fn way(wire: &mut v1::BridgeSpec, from: usize, to: usize) -> Result<(Way, u32), BridgeError> {
    use bridge_spec::Method as Wire;
    let Some(method) = &mut wire.method else {
        let hint = "name one (--method): procrustes, ridge, cca or infonce";
        return Err(BridgeError::bad("no method is given", hint));
    };
    Ok(match method {
        Wire::Procrustes(given) => {
            let method = Method::Procrustes { centre: !given.keep_means, scale: !given.keep_scale };
            (Way::Moments(method), 1)
        }
        Wire::Ridge(given) => {
            given.folds = match given.folds {
                0 => FOLDS_DEFAULT,
                folds => folds,
            };
            if !(2..=FOLDS_MAX).contains(&given.folds) {
                return Err(BridgeError::bad(
                    format!("{} folds", given.folds),
                    format!("give 2 to {FOLDS_MAX}"),
                ));
            }
            (Way::Moments(Method::Ridge { alphas: given.alphas.clone() }), given.folds)
        }
        Wire::Cca(given) => {
            let method = Method::Cca {
                components: given.components as usize,
                regularisation: *given.regularisation.get_or_insert(REGULARISATION_DEFAULT),
                power: *given.power.get_or_insert(POWER_DEFAULT),
            };
            (Way::Moments(method), 1)
        }
        Wire::Contrastive(given) => {
            given.dimension = train::dimension(given, from, to);
            (Way::Contrastive(given.clone()), 1)
        }
    })
}

/// A space of vectors by its name.
///
/// # Errors
/// [`BridgeError::UnknownSpace`]; [`BridgeError::NotOfVectors`].
pub(super) fn space<'schema>(
    schema: &'schema CollectionSchema,
    name: &str,
) -> Result<&'schema EmbeddingSpace, BridgeError> {
    let found = schema.space(name).ok_or_else(|| {
        let known: Vec<&str> = schema.vector_spaces().map(|space| space.name.as_str()).collect();
        BridgeError::UnknownSpace {
            collection: schema.name.clone(),
            space: name.to_owned(),
            known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
        }
    })?;
    if !found.holds_vectors() {
        let (space, holds) = (found.name.clone(), found.form.plural());
        return Err(BridgeError::NotOfVectors { space, holds });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_could_not_be_kept_are_refused() {
        let cca =
            |components| Way::Moments(Method::Cca { components, regularisation: 0.0, power: 1.0 });
        let towers = |hidden: &[u32]| {
            let hidden = hidden.to_vec();
            Way::Contrastive(v1::ContrastiveBridge { hidden, ..v1::ContrastiveBridge::default() })
        };
        for (way, from, to) in
            [(cca(0), 4_000, 4_000), (towers(&[65_536]), 768, 768), (towers(&[u32::MAX; 3]), 8, 8)]
        {
            let refused = check_size(&way, from, to).expect_err("too large").to_string();
            assert!(refused.contains("at most 14680064 are kept"), "{refused}");
        }
        let given = v1::ContrastiveBridge {
            hidden: vec![2],
            dimension: 65_536,
            ..v1::ContrastiveBridge::default()
        };
        check_size(&Way::Contrastive(given), 4_000, 4_000).expect_err("of a closed form");
        check_size(&cca(1_000), 4_000, 4_000).expect("fits");
        check_size(&towers(&[4_096]), 768, 768).expect("fits");
        check_size(&towers(&[]), 4_000, 4_000).expect("fits");
    }
}
