//! Words that say what is fitted to what.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::wire::v1::{
    Activation, AttentionHead, DensityHead, Head, KnnHead, LogisticHead, Metric, MlpHead,
    ProbeSpec, RidgeHead, Target, TargetKind, TokenHead, head,
};

/// Heads by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum HeadName {
    /// Mean, or vote, of the nearest training objects
    Knn,
    /// Least squares with a penalty on the weights; the whole path of strengths in one pass
    Ridge,
    /// Multinomial logistic regression
    Logistic,
    /// Multilayer perceptron, trained by the encoder service
    Mlp,
    /// Attentive pooling over the tokens of an object, then a perceptron
    Attention,
    /// Density of the target given the vector: a mixture of Gaussians
    Density,
    /// A class for each token
    Token,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Weights {
    /// All neighbours count the same
    Uniform,
    /// Neighbours count by 1 / distance
    Distance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Distance {
    /// 1 - cos
    Cosine,
    /// Euclidean
    L2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum As {
    /// Regression
    Number,
    /// Classification
    Class,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ActivationName {
    /// Rectified linear unit
    Relu,
    /// Gaussian error linear unit
    Gelu,
}

/// What is fitted to what, how, and on which objects it is measured.
#[derive(Debug, Clone, Args)]
pub(super) struct SpecArguments {
    /// Embedding spaces whose vectors are the features, side by side
    #[arg(long, value_name = "S[,S2]", value_delimiter = ',')]
    space: Vec<String>,
    /// Columns of numbers that are features, too
    #[arg(long, value_name = "COLUMN[,...]", value_delimiter = ',')]
    columns: Vec<String>,
    /// Column to predict
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// Instead of a target: columns of vote fractions, one for each answer
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',', conflicts_with = "target")]
    fractions: Vec<String>,
    /// With --fractions: column of the number of votes, by which objects are weighted
    #[arg(long, value_name = "COLUMN", requires = "fractions")]
    votes: Option<String>,
    /// What predicts
    #[arg(long, value_enum, required_unless_present = "preset")]
    head: Option<HeadName>,
    /// One of the published protocols (`sidereus probe presets`)
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Use so many training objects only, the first of an order by the seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    train_limit: u64,
    #[command(flatten)]
    settings: SettingArguments,
}

/// How heads are fitted, and on which objects they are measured.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct SettingArguments {
    /// Predict the target as a number or as a class [default: by the column and the head]
    #[arg(long = "as", value_enum, value_name = "KIND")]
    kind: Option<As>,
    /// Which objects it is measured on: random:TEST_FRACTION:SEED, healpix:ORDER:TEST_FRACTION:SEED, kfold:K:SEED,
    /// column:NAME (values train, test, val) or survey:COLUMN=TRAIN>TEST [default: random:0.2:0]
    #[arg(long, value_name = "SPEC")]
    split: Option<String>,
    /// Only objects for which this SQL expression on the columns is true
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicate: Option<String>,
    /// Column of sample weights
    #[arg(long, value_name = "COLUMN")]
    weight: Option<String>,
    /// Give every feature mean 0 and standard deviation 1 (of the training set)
    #[arg(long)]
    standardize: bool,
    /// Strengths of the penalty (ridge, logistic); the best one by the folds is taken [default: ridge a path of 20,
    /// logistic 1]
    #[arg(long, value_name = "A[,A2...]", value_delimiter = ',')]
    alpha: Vec<f64>,
    /// Folds of the training set by which the strength is chosen; 0 leaves one out at a time
    #[arg(long, value_name = "K")]
    folds: Option<u32>,
    /// Neighbours (knn)
    #[arg(short, long, value_name = "K", default_value_t = 20)]
    k: u32,
    /// How neighbours count (knn)
    #[arg(long, value_enum, default_value_t = Weights::Uniform)]
    weights: Weights,
    /// How near neighbours are (knn)
    #[arg(long, value_enum, default_value_t = Distance::L2)]
    metric: Distance,
    /// Widths of the hidden layers (mlp, attention, density) [default: 256]
    #[arg(long, value_name = "N[,N...]", value_delimiter = ',')]
    hidden: Vec<u32>,
    /// Share of hidden units that are left out in each step of the training
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    dropout: f64,
    /// Times that the training goes through all examples [default: 10]
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Examples of one step of the training [default: 64]
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// Step size of the training [default: 0.001]
    #[arg(long, value_name = "R")]
    learning_rate: Option<f64>,
    /// Decay of the weights in the training
    #[arg(long, value_name = "R", default_value_t = 0.0)]
    weight_decay: f64,
    /// What stands between the layers
    #[arg(long, value_enum, default_value_t = ActivationName::Relu)]
    activation: ActivationName,
    /// Heads of the attention
    #[arg(long, value_name = "N")]
    attention_heads: Option<u32>,
    /// Gaussians of the density
    #[arg(long, value_name = "N")]
    components: Option<u32>,
    /// Resamples of the test set behind each interval
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    resamples: u32,
    /// Seed of everything random beside the split
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(in crate::cli) seed: u64,
}

impl SpecArguments {
    /// As the server takes it.
    pub(super) fn to_wire(&self) -> Result<ProbeSpec> {
        if self.target.is_none() && self.fractions.is_empty() {
            bail!("name what to predict: --target COLUMN, or --fractions COLUMN,COLUMN,...");
        }
        let target = Target {
            column: self.target.clone().unwrap_or_default(),
            fractions: self.fractions.clone(),
            votes: self.votes.clone().unwrap_or_default(),
            kind: TargetKind::Unspecified.into(),
        };
        Ok(ProbeSpec {
            spaces: self.space.clone(),
            columns: self.columns.clone(),
            train_limit: self.train_limit,
            preset: self.preset.clone().unwrap_or_default(),
            ..self.settings.to_wire(target, self.head)
        })
    }
}

impl SettingArguments {
    /// A head of a name fitted to a target, still without features.
    pub(in crate::cli) fn to_wire(&self, target: Target, head: Option<HeadName>) -> ProbeSpec {
        let kind = match self.kind {
            None => TargetKind::Unspecified,
            Some(As::Number) => TargetKind::Number,
            Some(As::Class) => TargetKind::Class,
        };
        ProbeSpec {
            target: Some(Target { kind: kind.into(), ..target }),
            head: head.map(|name| Head { kind: Some(self.head_of(name)) }),
            split: self.split.clone().unwrap_or_default(),
            predicate: self.predicate.clone().unwrap_or_default(),
            weight: self.weight.clone().unwrap_or_default(),
            standardize: self.standardize,
            resamples: self.resamples,
            seed: self.seed,
            ..ProbeSpec::default()
        }
    }

    /// Whether targets are said to be classes.
    pub(in crate::cli) fn are_classes(&self) -> bool {
        self.kind == Some(As::Class)
    }

    /// A head of a name with the settings that were given.
    fn head_of(&self, name: HeadName) -> head::Kind {
        let metric = match self.metric {
            Distance::Cosine => Metric::Cosine,
            Distance::L2 => Metric::L2,
        };
        match name {
            HeadName::Knn => head::Kind::Knn(KnnHead {
                k: self.k,
                by_distance: self.weights == Weights::Distance,
                metric: metric.into(),
            }),
            HeadName::Ridge => head::Kind::Ridge(RidgeHead {
                alphas: self.alpha.clone(),
                folds: self.folds.unwrap_or(0),
            }),
            HeadName::Logistic => head::Kind::Logistic(LogisticHead {
                alphas: self.alpha.clone(),
                folds: self.folds.unwrap_or(0),
            }),
            HeadName::Mlp => head::Kind::Mlp(self.mlp()),
            HeadName::Attention => head::Kind::Attention(AttentionHead {
                heads: self.attention_heads.unwrap_or(0),
                mlp: Some(self.mlp()),
            }),
            HeadName::Density => head::Kind::Density(DensityHead {
                components: self.components.unwrap_or(0),
                mlp: Some(self.mlp()),
            }),
            HeadName::Token => {
                head::Kind::Token(TokenHead { alpha: self.alpha.first().copied().unwrap_or(1.0) })
            }
        }
    }

    fn mlp(&self) -> MlpHead {
        let activation = match self.activation {
            ActivationName::Relu => Activation::Unspecified,
            ActivationName::Gelu => Activation::Gelu,
        };
        MlpHead {
            hidden: self.hidden.clone(),
            dropout: self.dropout,
            learning_rate: self.learning_rate.unwrap_or(0.0),
            epochs: self.epochs.unwrap_or(0),
            batch: self.batch.unwrap_or(0),
            weight_decay: self.weight_decay,
            activation: activation.into(),
        }
    }
}
