//! What predicts: fitted weights, or training examples.

use super::measure::Predicted;
use super::network::{Frame, Network};
use crate::learn::knn::{Distance, KnnOptions, neighbours};
use crate::learn::linear::{Linear, Logistic};
use crate::learn::scale::Scale;
use crate::learn::{Features, HeadInputs, HeadWeights, LearnError, Matrix, Progress};
use crate::wire::internal::{LinearModel, NeighbourModel, NetworkModel, probe_record};
use crate::wire::v1;

/// A head that predicts.
#[derive(Debug)]
pub(super) enum Model {
    Linear(Linear),
    Logistic(Logistic),
    Neighbours(Neighbours),
    Network(Box<Network>),
}

/// Training examples that vote.
#[derive(Debug)]
pub(super) struct Neighbours {
    pub(super) k: usize,
    pub(super) by_distance: bool,
    pub(super) distance: Distance,
    /// Made of the training examples; applied to them already.
    pub(super) scale: Option<Scale>,
    pub(super) train: Matrix,
    /// Features that single precision does not hold, ascending: they are kept in double precision.
    pub(super) wide: Vec<u32>,
    /// Row-major, of the training examples.
    pub(super) targets: Vec<f64>,
    pub(super) outputs: usize,
}

impl Model {
    /// A network whose weights fit together.
    ///
    /// # Errors
    /// [`LearnError`] naming what does not.
    pub(super) fn network(weights: HeadWeights, frame: Frame) -> Result<Self, LearnError> {
        Ok(Self::Network(Box::new(Network::new(weights, frame)?)))
    }

    /// Whether it gives a density of the target.
    pub(super) fn is_density(&self) -> bool {
        matches!(self, Self::Network(network) if network.is_density())
    }

    /// Predicts for some objects from their features, row-major.
    ///
    /// # Errors
    /// [`LearnError::Shape`] when the features do not fit.
    pub(super) fn predict(
        &self,
        features: &[f64],
        count: usize,
        threads: usize,
    ) -> Result<Predicted, LearnError> {
        let mut values = Vec::new();
        match self {
            Self::Linear(linear) => {
                linear.predict(features, count, &mut values)?;
                Ok(Predicted::new(values, linear.outputs()))
            }
            Self::Logistic(logistic) => {
                logistic.predict(features, count, &mut values)?;
                Ok(Predicted::new(values, logistic.classes))
            }
            Self::Neighbours(neighbours) => neighbours.predict(features, threads),
            Self::Network(network) => network.predict(HeadInputs::Rows(features), &[]),
        }
    }

    /// The same beside the truth, where it is known: of densities the logarithm at it.
    ///
    /// # Errors
    /// Those of [`Model::predict`].
    pub(super) fn predict_beside(
        &self,
        features: &[f64],
        count: usize,
        truth: &[f64],
        threads: usize,
    ) -> Result<Predicted, LearnError> {
        match self {
            Self::Network(network) => network.predict(HeadInputs::Rows(features), truth),
            Self::Linear(_) | Self::Logistic(_) | Self::Neighbours(_) => {
                self.predict(features, count, threads)
            }
        }
    }

    /// Predicts for objects from their tokens.
    ///
    /// # Errors
    /// [`LearnError::BadSetting`] for a head that reads vectors.
    pub(super) fn predict_tokens(
        &self,
        values: &[f32],
        lengths: &[u32],
        truth: &[f64],
    ) -> Result<Predicted, LearnError> {
        match self {
            Self::Network(network) => {
                network.predict(HeadInputs::Tokens { values, lengths }, truth)
            }
            Self::Linear(_) | Self::Logistic(_) | Self::Neighbours(_) => {
                Err(LearnError::BadSetting {
                    what: "the head",
                    value: "one of vectors".to_owned(),
                    hint: "tokens need the attention head",
                })
            }
        }
    }

    pub(super) fn to_wire(&self) -> probe_record::Model {
        match self {
            Self::Linear(linear) => probe_record::Model::Linear(linear_to_wire(linear, false)),
            Self::Logistic(logistic) => {
                probe_record::Model::Linear(linear_to_wire(&logistic.linear, true))
            }
            Self::Neighbours(neighbours) => probe_record::Model::Neighbours(neighbours.to_wire()),
            Self::Network(network) => probe_record::Model::ScaledNetwork(network.to_wire()),
        }
    }

    /// Reads a stored model and checks its sizes, the number of features where that is known.
    pub(super) fn from_wire(
        model: probe_record::Model,
        width: Option<usize>,
        probe: &v1::Probe,
    ) -> Result<Self, String> {
        let outputs = probe.classes.len().max(1);
        match model {
            probe_record::Model::Linear(model) => {
                let weights = numbers(&model.weights)?;
                let intercepts = numbers(&model.intercepts)?;
                let own = weights.len() / intercepts.len().max(1);
                let fits = own * intercepts.len() == weights.len()
                    && width.is_none_or(|width| width == own)
                    && own > 0;
                let logits = if outputs == 2 { 1 } else { outputs };
                let expected = if model.is_logistic { logits } else { outputs };
                if !fits || intercepts.len() != expected {
                    return Err("its weights have another shape than its features".to_owned());
                }
                let linear = Linear { width: own, weights, intercepts };
                Ok(if model.is_logistic {
                    Self::Logistic(Logistic { linear, classes: outputs })
                } else {
                    Self::Linear(linear)
                })
            }
            probe_record::Model::Neighbours(model) => {
                Neighbours::from_wire(&model, width, outputs).map(Self::Neighbours)
            }
            probe_record::Model::Network(head) => {
                // Of before the scaling was done outside: it is within the head.
                network_from_wire(&NetworkModel { head, ..NetworkModel::default() }, width)
            }
            probe_record::Model::ScaledNetwork(model) => network_from_wire(&model, width),
        }
    }
}

fn network_from_wire(model: &NetworkModel, width: Option<usize>) -> Result<Model, String> {
    let network = Network::from_wire(model)?;
    if width.is_some_and(|width| width != network.input()) {
        return Err("its network reads another number of features".to_owned());
    }
    Ok(Model::Network(Box::new(network)))
}

impl Neighbours {
    fn predict(&self, features: &[f64], threads: usize) -> Result<Predicted, LearnError> {
        let mut features = features.to_vec();
        if let Some(scale) = &self.scale {
            scale.apply(&mut features);
        }
        let test = Matrix::new(self.train.width(), features)?;
        let options = KnnOptions {
            k: self.k,
            distance: self.distance,
            standardize: false,
            ..KnnOptions::default()
        };
        let found = neighbours(&self.train, Some(&test), &options, threads, Progress::silent())?;
        let values = found.regress(&self.targets, self.outputs, self.by_distance)?;
        Ok(Predicted::new(values, self.outputs))
    }

    fn to_wire(&self) -> NeighbourModel {
        let single = |value: &f64| (*value as f32).to_le_bytes();
        // As given: the scale is applied again when it is read.
        let mut features = self.train.as_slice().to_vec();
        let (mut mean, mut factor) = (Vec::new(), Vec::new());
        if let Some(scale) = &self.scale {
            for row in features.chunks_mut(self.train.width()) {
                for ((value, mean), scale) in row.iter_mut().zip(&scale.mean).zip(&scale.scale) {
                    *value = *value * scale + mean;
                }
            }
            (mean, factor) = (bytes(&scale.mean), bytes(&scale.scale));
        }
        // But for those that single precision does not hold: they are kept to the last digit, as they are compared.
        let mut wide_features = Vec::new();
        let rows = features.chunks_mut(self.train.width());
        for (row, compared) in rows.zip(self.train.as_slice().chunks(self.train.width())) {
            for &place in &self.wide {
                row[place as usize] = 0.0;
                wide_features.extend(compared[place as usize].to_le_bytes());
            }
        }
        NeighbourModel {
            k: self.k as u32,
            by_distance: self.by_distance,
            is_cosine: matches!(self.distance, Distance::Cosine),
            mean,
            scale: factor,
            features: features.iter().flat_map(single).collect(),
            targets: bytes(&self.targets),
            wide: self.wide.clone(),
            wide_features,
        }
    }

    fn from_wire(
        model: &NeighbourModel,
        width: Option<usize>,
        outputs: usize,
    ) -> Result<Self, String> {
        let targets = numbers(&model.targets)?;
        let count = targets.len() / outputs;
        let (floats, rest) = model.features.as_chunks::<4>();
        let mut features: Vec<f64> =
            floats.iter().map(|float| f64::from(f32::from_le_bytes(*float))).collect();
        let own = features.len() / count.max(1);
        let whole =
            rest.is_empty() && own * count == features.len() && count * outputs == targets.len();
        if !whole || own == 0 || width.is_some_and(|width| width != own) {
            return Err("its training examples have another shape than its features".to_owned());
        }
        let (mean, factor) = (numbers(&model.mean)?, numbers(&model.scale)?);
        let scale = (!mean.is_empty()).then_some(Scale { mean, scale: factor });
        if let Some(scale) = &scale {
            if scale.mean.len() != own || scale.scale.len() != own {
                return Err("its scale has another length than its features".to_owned());
            }
            scale.apply(&mut features);
        }
        put_wide(&mut features, own, model)?;
        Ok(Self {
            k: model.k as usize,
            by_distance: model.by_distance,
            distance: if model.is_cosine { Distance::Cosine } else { Distance::Euclidean },
            scale,
            train: Matrix::new(own, features).map_err(|error| error.to_string())?,
            wide: model.wide.clone(),
            targets,
            outputs,
        })
    }
}

/// Puts features that are kept in double precision where they belong. Older records have none.
fn put_wide(features: &mut [f64], width: usize, model: &NeighbourModel) -> Result<(), String> {
    let ascends = model.wide.windows(2).all(|pair| pair[0] < pair[1]);
    let fits = ascends && model.wide.iter().all(|place| (*place as usize) < width);
    let values = numbers(&model.wide_features)?;
    if !fits || values.len() != features.len() / width * model.wide.len() {
        return Err("its features in double precision are not all there".to_owned());
    }
    let mut values = values.into_iter();
    for row in features.chunks_mut(width) {
        for (&place, value) in model.wide.iter().zip(&mut values) {
            row[place as usize] = value;
        }
    }
    Ok(())
}

fn linear_to_wire(linear: &Linear, is_logistic: bool) -> LinearModel {
    let (weights, intercepts) = (bytes(&linear.weights), bytes(&linear.intercepts));
    LinearModel { weights, intercepts, is_logistic }
}

pub(super) fn bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Finite numbers of little-endian bytes.
pub(super) fn numbers(bytes: &[u8]) -> Result<Vec<f64>, String> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    let numbers: Vec<f64> = numbers.iter().map(|number| f64::from_le_bytes(*number)).collect();
    if rest.is_empty() && numbers.iter().all(|number| number.is_finite()) {
        return Ok(numbers);
    }
    Err("its numbers are cut off or not finite".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dates, which single precision tells apart by a quarter of a day, beside a component of a vector.
    fn dated(is_scaled: bool) -> Neighbours {
        let date = |at: u32| 2_459_000.5 + 1e-3 * f64::from(at);
        let mut values: Vec<f64> =
            (0..50).flat_map(|at| [f64::from(at as f32 * 0.1), date(at)]).collect();
        let scale =
            is_scaled.then(|| Scale { mean: vec![2.5, date(25)], scale: vec![0.7, 0.0144] });
        if let Some(scale) = &scale {
            scale.apply(&mut values);
        }
        Neighbours {
            k: 1,
            by_distance: false,
            distance: Distance::Euclidean,
            scale,
            train: Matrix::new(2, values).expect("whole"),
            wide: vec![1],
            targets: (0..50).map(f64::from).collect(),
            outputs: 1,
        }
    }

    #[test]
    fn kept_neighbours_hold_what_was_measured_to_the_last_digit() {
        for is_scaled in [false, true] {
            let model = dated(is_scaled);
            let kept = Neighbours::from_wire(&model.to_wire(), Some(2), 1).expect("read");
            let of = |of: &Neighbours, place: usize| of.train.as_slice()[place];
            for place in (0..100).filter(|place| place % 2 == 1) {
                assert_eq!(of(&model, place), of(&kept, place), "{place}");
            }
            let vectors = (0..100).step_by(2);
            assert!(vectors.into_iter().all(|at| (of(&model, at) - of(&kept, at)).abs() < 1e-12));
            let asked: Vec<f64> = (0..50)
                .flat_map(|at| [f64::from(at as f32 * 0.1), 2_459_000.5 + 1e-3 * f64::from(at)])
                .collect();
            let predicted = kept.predict(&asked, 1).expect("predicted");
            assert_eq!(predicted.values, model.targets);
        }
    }

    #[test]
    fn neighbours_of_older_records_are_read() {
        let mut old = dated(false).to_wire();
        (old.wide, old.wide_features) = (Vec::new(), Vec::new());
        Neighbours::from_wire(&old, Some(2), 1).expect("read");
        let mut cut = dated(false).to_wire();
        cut.wide_features.truncate(8);
        assert!(Neighbours::from_wire(&cut, Some(2), 1).is_err());
        let mut beyond = dated(false).to_wire();
        beyond.wide = vec![2];
        assert!(Neighbours::from_wire(&beyond, Some(2), 1).is_err());
    }
}
