//! What a head is made of: sizes, tensors by name, and how inputs and targets were scaled.

use super::super::LearnError;

/// What stands between the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// max(x, 0).
    #[default]
    Relu,
    /// x times the normal distribution's cumulative probability at x, exact.
    Gelu,
}

/// How a learned query collects an object's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Parts of the query, each with weights of its own over the tokens.
    pub heads: usize,
    /// Numbers of what is collected; a multiple of `heads`.
    pub width: usize,
}

/// What a head says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadOutput {
    /// So many numbers.
    Values(usize),
    /// A probability for each of so many classes.
    Classes(usize),
    /// The density of a number: a mixture of so many Gaussians.
    Density {
        /// Gaussians.
        components: usize,
    },
    /// A vector of unit length with so many components.
    Embedding(usize),
}

impl HeadOutput {
    /// Logarithm of the smallest and the largest standard deviation of a density's Gaussian, in units of the scaled target.
    pub const LOG_SIGMA: (f64, f64) = (-7.0, 2.0);

    /// Numbers that the last layer gives.
    pub fn raw_width(self) -> usize {
        match self {
            Self::Values(width) | Self::Classes(width) | Self::Embedding(width) => width,
            // Logits of the weights, means, logarithms of the standard deviations.
            Self::Density { components } => components.saturating_mul(3),
        }
    }

    /// Numbers of an answer.
    pub fn width(self) -> usize {
        match self {
            Self::Density { .. } => 1,
            other => other.raw_width(),
        }
    }
}

/// Sizes of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadShape {
    /// Numbers of a row, or of a token.
    pub input: usize,
    /// Present where the inputs are sequences of tokens.
    pub attention: Option<AttentionShape>,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// What stands between the layers.
    pub activation: Activation,
    /// What comes out.
    pub output: HeadOutput,
}

impl HeadShape {
    /// Numbers that the first layer reads.
    pub fn pooled_width(&self) -> usize {
        self.attention.map_or(self.input, |attention| attention.width)
    }

    /// Names and shapes of a member's tensors, in their order.
    ///
    /// `layers.I.weight` is outputs x inputs. `attention.query` holds, for each part of the query, what a token's features
    /// are multiplied with: the query times the projection of the keys, divided by the square root of the part's width.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut tensors = Vec::new();
        if let Some(AttentionShape { heads, width }) = self.attention {
            tensors.push(("attention.query".to_owned(), vec![heads, self.input]));
            tensors.push(("attention.value.weight".to_owned(), vec![width, self.input]));
            tensors.push(("attention.value.bias".to_owned(), vec![width]));
            tensors.push(("attention.out.weight".to_owned(), vec![width, width]));
            tensors.push(("attention.out.bias".to_owned(), vec![width]));
        }
        let mut from = self.pooled_width();
        let last = self.output.raw_width();
        for (number, &to) in self.hidden.iter().chain([&last]).enumerate() {
            tensors.push((format!("layers.{number}.weight"), vec![to, from]));
            tensors.push((format!("layers.{number}.bias"), vec![to]));
            from = to;
        }
        tensors
    }

    /// Numbers of one member.
    pub fn parameters(&self) -> usize {
        let count = |(_, shape): &(String, Vec<usize>)| {
            shape.iter().fold(1_usize, |product, size| product.saturating_mul(*size))
        };
        self.tensors().iter().map(count).fold(0, usize::saturating_add)
    }

    /// Whether the sizes make a head.
    ///
    /// # Errors
    /// [`LearnError::BadSetting`].
    pub fn check(&self) -> Result<(), LearnError> {
        let refuse = |what, value: usize, hint| {
            Err(LearnError::BadSetting { what, value: value.to_string(), hint })
        };
        if self.input == 0 {
            return refuse("the number of features", 0, "there must be one at least");
        }
        if self.hidden.contains(&0) {
            return refuse("the width of a hidden layer", 0, "it must be 1 at least");
        }
        if self.output.raw_width() == 0 {
            return refuse("the number of outputs", 0, "there must be one at least");
        }
        match self.attention {
            Some(AttentionShape { heads: 0, .. }) => {
                refuse("the number of attention heads", 0, "there must be one at least")
            }
            Some(AttentionShape { heads, width }) if width == 0 || width % heads != 0 => {
                refuse("the attention's width", width, "it must be a multiple of its heads")
            }
            _ => Ok(()),
        }
    }
}

/// Where numbers lay before training: `(x - mean) / scale` is what the network sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    /// Subtracted.
    pub mean: Vec<f32>,
    /// Divided by; above zero.
    pub scale: Vec<f32>,
}

impl Scaling {
    /// Whether it is one of so many numbers.
    ///
    /// # Errors
    /// [`LearnError::Shape`], [`LearnError::BadSetting`].
    pub fn check(&self, width: usize) -> Result<(), LearnError> {
        for (what, given) in
            [("means of the scaling", self.mean.len()), ("its scales", self.scale.len())]
        {
            if given != width {
                return Err(LearnError::Shape { what, given, expected: width });
            }
        }
        let bad_mean = self.mean.iter().find(|mean| !mean.is_finite());
        let bad_scale = self.scale.iter().find(|scale| !scale.is_normal() || **scale < 0.0);
        match bad_mean.or(bad_scale) {
            None => Ok(()),
            Some(value) => Err(LearnError::BadSetting {
                what: "a mean or a scale",
                value: value.to_string(),
                hint: "means must be finite and scales above zero",
            }),
        }
    }
}

/// Numbers of a network, row-major, by their name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// As in [`HeadShape::tensors`].
    pub name: String,
    /// Lengths of its axes, the slowest first.
    pub shape: Vec<usize>,
    /// The numbers.
    pub values: Vec<f32>,
}

/// Everything of a trained head, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadWeights {
    /// Its sizes.
    pub shape: HeadShape,
    /// How its features are scaled before the first layer.
    pub inputs: Option<Scaling>,
    /// How its targets were scaled; only for [`HeadOutput::Values`] and [`HeadOutput::Density`].
    pub targets: Option<Scaling>,
    /// The tensors of each member of the ensemble, in the order of [`HeadShape::tensors`].
    pub members: Vec<Vec<NamedTensor>>,
}

impl HeadWeights {
    /// Whether everything is there in its shape.
    ///
    /// # Errors
    /// [`LearnError::BadSetting`], [`LearnError::Shape`], [`LearnError::TooFew`], [`LearnError::NotFinite`].
    pub fn check(&self) -> Result<(), LearnError> {
        self.shape.check()?;
        if let Some(scaling) = &self.inputs {
            scaling.check(self.shape.input)?;
        }
        match (&self.targets, self.shape.output) {
            (None, _) => {}
            (Some(scaling), HeadOutput::Values(width)) => scaling.check(width)?,
            (Some(scaling), HeadOutput::Density { .. }) => scaling.check(1)?,
            (Some(_), HeadOutput::Classes(_) | HeadOutput::Embedding(_)) => {
                return Err(LearnError::BadSetting {
                    what: "the scaling of targets",
                    value: "given".to_owned(),
                    hint: "only numbers have one, not classes and not vectors",
                });
            }
        }
        if self.members.is_empty() {
            return Err(LearnError::TooFew {
                what: "members of the ensemble",
                given: 0,
                needed: 1,
            });
        }
        let expected = self.shape.tensors();
        self.members
            .iter()
            .enumerate()
            .try_for_each(|(place, member)| fits(place, member, &expected))
    }
}

fn fits(
    place: usize,
    member: &[NamedTensor],
    expected: &[(String, Vec<usize>)],
) -> Result<(), LearnError> {
    if member.len() != expected.len() {
        let what = "tensors of a member";
        return Err(LearnError::Shape { what, given: member.len(), expected: expected.len() });
    }
    for (tensor, (name, shape)) in member.iter().zip(expected) {
        let count = shape.iter().product();
        if tensor.name != *name || tensor.shape != *shape {
            return Err(LearnError::BadSetting {
                what: "a tensor of the network",
                value: format!("{} {:?} where {name} {shape:?} belongs", tensor.name, tensor.shape),
                hint: "the weights are not those of a network of this shape",
            });
        }
        if tensor.values.len() != count {
            let what = "numbers of a tensor";
            return Err(LearnError::Shape { what, given: tensor.values.len(), expected: count });
        }
        if tensor.values.iter().any(|value| !value.is_finite()) {
            return Err(LearnError::NotFinite { what: "a weight of the network", example: place });
        }
    }
    Ok(())
}
