//! A training: networks that learn from chunk after chunk.

use std::ops::Range;

use sidereus::encoder::{Chunk, TrainSpec, TrainTask};
use sidereus::learn::NamedTensor;
use tch::{Device, Kind, TchError, Tensor};
use thiserror::Error;

use super::adam::Adam;
use super::inputs::{Inputs, Scale, Wanted, offsets};
use super::loss;
use super::network::Net;
use super::random::Random;

/// Tells the streams of random numbers of one seed apart: beginnings of both towers, and what is left out.
const STREAMS: u64 = 4;

/// Why a training came to nothing.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// Examples that do not fit.
    #[error("{reason}")]
    Examples {
        /// What is wrong with them.
        reason: String,
    },
    /// The numbers have left every bound.
    #[error(
        "the loss is not a number any more after {steps} steps; choose a smaller learning_rate, or let the inputs be scaled"
    )]
    Diverged {
        /// Steps until then.
        steps: u64,
    },
    /// Nobody waits for it, or the program ends.
    #[error("{reason}")]
    Stopped {
        /// Which of the two.
        reason: &'static str,
    },
    /// libtorch failed, for example for lack of memory.
    #[error("libtorch failed: {0}")]
    Torch(#[from] TchError),
}

/// The mean of a loss over examples.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, loss: f64, weight: f64) {
        self.sum += loss * weight;
        self.weight += weight;
    }

    fn get(self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

/// How an epoch went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Epoch {
    pub(super) loss: f64,
    pub(super) validation_loss: Option<f64>,
    /// Whether it was the last one.
    pub(super) last: bool,
}

/// The networks, and where they come from.
pub(super) struct Outcome {
    pub(super) first: Vec<Vec<NamedTensor>>,
    pub(super) second: Vec<Vec<NamedTensor>>,
    pub(super) temperature: Option<f64>,
    /// Absent where no epoch was better than the beginning.
    pub(super) best_epoch: Option<u32>,
}

/// One member of the ensemble, or both towers.
struct Member {
    first: Net,
    /// The second tower, and minus the logarithm of the temperature.
    second: Option<(Net, Tensor)>,
    random: Random,
}

/// The best epoch so far.
struct Best {
    /// Absent for the beginning.
    epoch: Option<u32>,
    loss: f64,
    /// Copies of all parameters.
    values: Vec<Tensor>,
}

/// A training under way.
pub(super) struct Trainer {
    spec: TrainSpec,
    device: Device,
    targets: Option<Scale>,
    members: Vec<Member>,
    adam: Adam,
    epoch: u32,
    steps: u64,
    /// Examples of this epoch that were learned.
    seen: u64,
    learned: Mean,
    validated: Mean,
    best: Option<Best>,
}

impl Trainer {
    /// Networks at their beginning, for a training that was checked.
    pub(super) fn new(spec: TrainSpec, device: Device) -> Result<Self, Failure> {
        let members = (0..spec.members as u64).map(|number| Member::new(&spec, number, device));
        let members = members.collect::<Result<Vec<_>, _>>()?;
        let parameters = members.iter().flat_map(Member::parameters).collect();
        let targets = spec.targets.as_ref();
        let targets = targets.map(|scaling| Scale::new(&scaling.mean, &scaling.scale, device));
        Ok(Self {
            adam: Adam::new(parameters, spec.weight_decay)?,
            targets: targets.transpose()?,
            members,
            spec,
            device,
            epoch: 0,
            steps: 0,
            seen: 0,
            learned: Mean::default(),
            validated: Mean::default(),
            best: None,
        })
    }

    /// Lets the first or the second tower begin with given numbers.
    pub(super) fn begin(&mut self, tensors: &[NamedTensor], second: bool) -> Result<(), Failure> {
        let examples = |reason| Failure::Examples { reason };
        if self.seen > 0 || self.epoch > 0 || self.best.is_some() || self.validated.weight > 0.0 {
            return Err(examples("a network begins before all examples".to_owned()));
        }
        self.spec.check_beginning(tensors, second).map_err(examples)?;
        for member in &self.members {
            match &member.second {
                Some((net, _)) if second => net.set(tensors)?,
                _ => member.first.set(tensors)?,
            }
        }
        Ok(())
    }

    /// Learns from examples, batch by batch; `between` is called before each batch, and its error ends the training. Tells
    /// the mean loss of the epoch so far.
    pub(super) fn learn(
        &mut self,
        chunk: &Chunk,
        between: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<f64, Failure> {
        self.each_batch(chunk, between, true)?;
        Ok(self.learned.get().unwrap_or(0.0))
    }

    /// Measures the networks on examples.
    pub(super) fn validate(
        &mut self,
        chunk: &Chunk,
        between: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<f64, Failure> {
        tch::no_grad(|| self.each_batch(chunk, between, false))?;
        Ok(self.learned.get().unwrap_or(0.0))
    }

    fn each_batch(
        &mut self,
        chunk: &Chunk,
        between: &mut dyn FnMut() -> Result<(), Failure>,
        learns: bool,
    ) -> Result<(), Failure> {
        chunk.check(&self.spec).map_err(|reason| Failure::Examples { reason })?;
        let offsets = (offsets(&chunk.first), offsets(&chunk.second));
        for start in (0..chunk.examples).step_by(self.spec.batch) {
            between()?;
            let examples = start..(start + self.spec.batch).min(chunk.examples);
            let count = examples.len() as u64;
            let wanted = Wanted::new(chunk, examples.clone(), self.targets.as_ref(), self.device)?;
            let alone = self.spec.second().is_some() && count < 2;
            if wanted.weight > 0.0 && !alone {
                self.batch(chunk, (&offsets.0, &offsets.1), examples, &wanted, learns)?;
            }
            if learns {
                self.seen += count;
            }
        }
        Ok(())
    }

    fn batch(
        &mut self,
        chunk: &Chunk,
        offsets: (&[usize], &[usize]),
        examples: Range<usize>,
        wanted: &Wanted,
        learns: bool,
    ) -> Result<(), Failure> {
        let (spec, device) = (&self.spec, self.device);
        let Some(Member { first, second, .. }) = self.members.first() else { return Ok(()) };
        // Every member scales alike.
        let scale = first.scale.as_ref();
        let inputs =
            Inputs::new(&chunk.first, offsets.0, examples.clone(), &spec.input, scale, device)?;
        let others = match (spec.second(), second) {
            (Some(input), Some((net, _))) => {
                let scale = net.scale.as_ref();
                Some(Inputs::new(&chunk.second, offsets.1, examples, input, scale, device)?)
            }
            _ => None,
        };
        let mut sum: Option<Tensor> = None;
        for member in &mut self.members {
            let losses = member.losses(spec, &inputs, others.as_ref(), wanted, learns)?;
            let mean = match &wanted.weights {
                Some(weights) => {
                    losses.f_mul(weights)?.f_sum(Kind::Float)?.f_div_scalar(wanted.weight)?
                }
                None => losses.f_mean(Kind::Float)?,
            };
            sum = Some(match sum {
                Some(sum) => sum.f_add(&mean)?,
                None => mean,
            });
        }
        let Some(sum) = sum else { return Ok(()) };
        let loss = sum.f_double_value(&[])? / self.spec.members as f64;
        if !loss.is_finite() {
            return Err(Failure::Diverged { steps: self.steps });
        }
        if !learns {
            self.validated.add(loss, wanted.weight);
            return Ok(());
        }
        self.adam.step(&sum, self.learning_rate())?;
        self.steps += 1;
        self.learned.add(loss, wanted.weight);
        for member in &self.members {
            if let Some((_, log_scale)) = &member.second {
                // Of the logarithm of 1 / temperature.
                let (coldest, hottest) = TrainSpec::TEMPERATURE;
                let (lowest, highest) = (-hottest.ln(), -coldest.ln());
                let _clamped =
                    tch::no_grad(|| log_scale.shallow_clone().f_clamp_(lowest, highest))?;
            }
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        if !self.spec.anneal {
            return self.spec.learning_rate;
        }
        let within = match self.spec.examples {
            0 => 0.0,
            examples => (self.seen as f64 / examples as f64).min(1.0),
        };
        let part = (f64::from(self.epoch) + within) / f64::from(self.spec.epochs);
        self.spec.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
    }

    /// Ends an epoch; before anything was learned, the measuring of the beginning.
    pub(super) fn end_epoch(&mut self) -> Result<Epoch, Failure> {
        if self.epoch == 0
            && self.seen == 0
            && self.best.is_none()
            && let Some(loss) = self.validated.get()
        {
            self.keep(None, loss)?;
            self.validated = Mean::default();
            return Ok(Epoch { loss, validation_loss: Some(loss), last: false });
        }
        let Some(loss) = self.learned.get() else {
            let reason =
                "an epoch had no example with a weight above zero, or no two towers to compare";
            return Err(Failure::Examples { reason: reason.to_owned() });
        };
        let validation_loss = self.validated.get();
        if let Some(validation_loss) = validation_loss
            && self.best.as_ref().is_none_or(|best| validation_loss < best.loss)
        {
            self.keep(Some(self.epoch), validation_loss)?;
        }
        // The beginning is as old as if it were the epoch before the first.
        let after = |best: &Best| best.epoch.map_or(0, |epoch| epoch + 1);
        let since = self.best.as_ref().map_or(0, |best| self.epoch + 1 - after(best));
        let tired = self.spec.patience > 0 && since >= self.spec.patience;
        self.epoch += 1;
        (self.seen, self.learned, self.validated) = (0, Mean::default(), Mean::default());
        Ok(Epoch { loss, validation_loss, last: tired || self.epoch >= self.spec.epochs })
    }

    /// Keeps copies of all parameters as the best so far.
    fn keep(&mut self, epoch: Option<u32>, loss: f64) -> Result<(), Failure> {
        let copy = |value: Tensor| {
            let mut copy = value.f_detach()?.f_zeros_like()?;
            copy.f_copy_(&value.f_detach()?)?;
            Ok::<_, TchError>(copy)
        };
        let values = self.parameters().map(copy).collect::<Result<_, _>>()?;
        self.best = Some(Best { epoch, loss, values });
        Ok(())
    }

    fn parameters(&self) -> impl Iterator<Item = Tensor> + '_ {
        self.members.iter().flat_map(Member::parameters).map(|(value, _)| value)
    }

    /// The networks of the best epoch, or of the last one where nothing was measured.
    pub(super) fn finish(self) -> Result<Outcome, Failure> {
        let mut best_epoch = Some(self.epoch.saturating_sub(1));
        if let Some(best) = &self.best {
            best_epoch = best.epoch;
            tch::no_grad(|| {
                let mut pairs = self.parameters().zip(&best.values);
                pairs.try_for_each(|(mut value, best)| value.f_copy_(best))
            })?;
        }
        let first = self.members.iter().map(|member| member.first.export());
        let seconds = || self.members.iter().filter_map(|member| member.second.as_ref());
        let mut temperatures = seconds().map(|(_, log_scale)| log_scale.f_double_value(&[]));
        Ok(Outcome {
            first: first.collect::<Result<_, _>>()?,
            second: seconds().map(|(net, _)| net.export()).collect::<Result<_, _>>()?,
            temperature: temperatures.next().transpose()?.map(|log_scale| (-log_scale).exp()),
            best_epoch,
        })
    }

    /// What libtorch makes of the first tower of each member: their last layers, for the examples of a chunk.
    #[cfg(test)]
    pub(super) fn raw(&self, chunk: &Chunk) -> Result<Vec<Tensor>, TchError> {
        let offsets = offsets(&chunk.first);
        let of_member = |member: &Member| {
            let (net, all) = (&member.first, 0..chunk.examples);
            let (input, scale) = (&self.spec.input, net.scale.as_ref());
            let inputs = Inputs::new(&chunk.first, &offsets, all, input, scale, self.device)?;
            tch::no_grad(|| net.forward(&inputs, None))
        };
        self.members.iter().map(of_member).collect()
    }
}

impl Member {
    fn new(spec: &TrainSpec, number: u64, device: Device) -> Result<Self, TchError> {
        let stream = |which: u64| Random::new(spec.seed, STREAMS * number + which);
        let (shape, second) = spec.shapes();
        let second = match (&spec.task, second) {
            (
                TrainTask::Contrastive { second: input, temperature, learn_temperature, .. },
                Some(shape),
            ) => {
                let net = Net::new(shape, input, &mut stream(1), device)?;
                let log_scale = Tensor::f_from_slice(&[-temperature.ln()])?;
                let log_scale = log_scale.f_squeeze()?.f_to_device(device)?;
                Some((net, log_scale.f_set_requires_grad(*learn_temperature)?))
            }
            _ => None,
        };
        let first = Net::new(shape, &spec.input, &mut stream(0), device)?;
        Ok(Self { first, second, random: stream(2) })
    }

    fn parameters(&self) -> Vec<(Tensor, bool)> {
        let mut all = self.first.parameters();
        if let Some((net, log_scale)) = &self.second {
            all.extend(net.parameters());
            all.push((log_scale.shallow_clone(), false));
        }
        all
    }

    /// The loss of each example.
    fn losses(
        &mut self,
        spec: &TrainSpec,
        inputs: &Inputs,
        others: Option<&Inputs>,
        wanted: &Wanted,
        learns: bool,
    ) -> Result<Tensor, TchError> {
        let p = if learns { spec.dropout } else { 0.0 };
        let raw = self.first.forward(inputs, Some((p, &mut self.random)))?;
        match (&self.second, others) {
            (Some((net, log_scale)), Some(others)) => {
                let other = net.forward(others, Some((p, &mut self.random)))?;
                loss::of_towers(&loss::unit(&raw)?, &loss::unit(&other)?, log_scale)
            }
            _ => loss::of_head(&spec.task, &raw, wanted),
        }
    }
}
