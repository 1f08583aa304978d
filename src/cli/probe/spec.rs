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

/// Settings of a network, and more.
macro_rules! network {
    ($($more:literal)?) => {
        &["hidden", "dropout", "epochs", "batch", "learning-rate", "weight-decay", "activation" $(, $more)?]
    };
}

impl HeadName {
    /// Names of the words that set it.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Knn => &["k", "weights", "metric"],
            Self::Ridge | Self::Logistic => &["alpha", "folds"],
            Self::Mlp => network!(),
            Self::Attention => network!("attention-heads"),
            Self::Density => network!("components"),
            Self::Token => &["alpha"],
        }
    }

    /// The word for it.
    fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
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
    /// Neighbours (knn) [default: 20]
    #[arg(short, long, value_name = "K")]
    k: Option<u32>,
    /// How neighbours count (knn) [default: uniform]
    #[arg(long, value_enum)]
    weights: Option<Weights>,
    /// How near neighbours are (knn) [default: l2]
    #[arg(long, value_enum)]
    metric: Option<Distance>,
    /// Widths of the hidden layers (mlp, attention, density) [default: 256]
    #[arg(long, value_name = "N[,N...]", value_delimiter = ',')]
    hidden: Vec<u32>,
    /// Share of hidden units that are left out in each step of the training [default: 0]
    #[arg(long, value_name = "P")]
    dropout: Option<f64>,
    /// Times that the training goes through all examples [default: 10]
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Examples of one step of the training [default: 64]
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// Step size of the training [default: 0.001]
    #[arg(long, value_name = "R")]
    learning_rate: Option<f64>,
    /// Decay of the weights in the training [default: 0]
    #[arg(long, value_name = "R")]
    weight_decay: Option<f64>,
    /// What stands between the layers [default: relu]
    #[arg(long, value_enum)]
    activation: Option<ActivationName>,
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
        self.settings.check(self.head.as_slice())?;
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

    /// Refuses settings that none of some heads has, so that nobody believes that they counted. A preset has its own.
    pub(in crate::cli) fn check(&self, heads: &[HeadName]) -> Result<()> {
        for (name, is_given) in self.given() {
            if is_given && !heads.iter().any(|head| head.settings().contains(&name)) {
                let all = HeadName::value_variants().iter().copied();
                let others: Vec<String> = all
                    .filter(|head| head.settings().contains(&name))
                    .map(HeadName::word)
                    .collect();
                let others = others.join(", ");
                let Some(head) = heads.first() else {
                    bail!(
                        "a preset has settings of its own: leave --{name} out, or name a --head that has it ({others})"
                    );
                };
                let words: Vec<String> = heads.iter().copied().map(HeadName::word).collect();
                let own = head.settings().iter().map(|name| format!("--{name}"));
                bail!(
                    "--{name} is of no use to {}, which has {}; it is a setting of {others}",
                    words.join(" and "),
                    own.collect::<Vec<_>>().join(", ")
                );
            }
        }
        if self.alpha.len() > 1 && heads == [HeadName::Token] {
            bail!("--alpha names {} strengths, and the token head takes one", self.alpha.len());
        }
        Ok(())
    }

    /// Settings of heads, and whether each was given.
    fn given(&self) -> [(&'static str, bool); 14] {
        [
            ("alpha", !self.alpha.is_empty()),
            ("folds", self.folds.is_some()),
            ("k", self.k.is_some()),
            ("weights", self.weights.is_some()),
            ("metric", self.metric.is_some()),
            ("hidden", !self.hidden.is_empty()),
            ("dropout", self.dropout.is_some()),
            ("epochs", self.epochs.is_some()),
            ("batch", self.batch.is_some()),
            ("learning-rate", self.learning_rate.is_some()),
            ("weight-decay", self.weight_decay.is_some()),
            ("activation", self.activation.is_some()),
            ("attention-heads", self.attention_heads.is_some()),
            ("components", self.components.is_some()),
        ]
    }

    /// Whether features are brought to one scale.
    pub(in crate::cli) fn standardizes(&self) -> bool {
        self.standardize
    }

    /// Whether targets are said to be classes.
    pub(in crate::cli) fn are_classes(&self) -> bool {
        self.kind == Some(As::Class)
    }

    /// A head of a name with the settings that were given.
    fn head_of(&self, name: HeadName) -> head::Kind {
        let metric = match self.metric {
            Some(Distance::Cosine) => Metric::Cosine,
            Some(Distance::L2) | None => Metric::L2,
        };
        match name {
            HeadName::Knn => head::Kind::Knn(KnnHead {
                k: self.k.unwrap_or(0),
                by_distance: self.weights == Some(Weights::Distance),
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
            Some(ActivationName::Gelu) => Activation::Gelu,
            Some(ActivationName::Relu) | None => Activation::Unspecified,
        };
        MlpHead {
            hidden: self.hidden.clone(),
            dropout: self.dropout.unwrap_or(0.0),
            learning_rate: self.learning_rate.unwrap_or(0.0),
            epochs: self.epochs.unwrap_or(0),
            batch: self.batch.unwrap_or(0),
            weight_decay: self.weight_decay.unwrap_or(0.0),
            activation: activation.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        spec: SpecArguments,
    }

    fn refused(words: &str) -> Option<String> {
        let words = format!("fit --space image --target z {words}");
        let words = Words::try_parse_from(words.split_whitespace()).expect("words");
        words.spec.to_wire().err().map(|error| error.to_string())
    }

    #[test]
    fn settings_that_a_head_does_not_have_are_refused_with_those_that_it_has() {
        for (words, told) in [
            (
                "--head ridge --k 5",
                "--k is of no use to ridge, which has --alpha, --folds; it is a setting of knn",
            ),
            ("--head knn --alpha 1,2", "it is a setting of ridge, logistic, token"),
            ("--head knn --epochs 3", "which has --k, --weights, --metric"),
            ("--head logistic --components 3", "it is a setting of density"),
            ("--head mlp --attention-heads 2", "it is a setting of attention"),
            ("--head token --folds 3", "--folds is of no use to token"),
            ("--head token --alpha 1,2", "takes one"),
            ("--preset gz5 --hidden 64", "a preset has settings of its own"),
        ] {
            let refused = refused(words).unwrap_or_else(|| panic!("{words} is taken"));
            assert!(refused.contains(told), "{words}: {refused}");
        }
        for words in [
            "--head ridge --alpha 1,2 --folds 3",
            "--head knn --k 5 --weights distance --metric cosine",
            "--head attention --attention-heads 2 --epochs 3 --dropout 0.1 --activation gelu",
            "--head density --components 3 --batch 8 --learning-rate 0.1 --weight-decay 0.1",
            "--head token --alpha 2",
            "--preset gz5",
        ] {
            assert_eq!(refused(words), None, "{words}");
        }
    }

    #[test]
    fn one_of_several_heads_is_enough() {
        let words = "fit --space image --target z --head knn --k 5 --alpha 1";
        let words = Words::try_parse_from(words.split_whitespace()).expect("words");
        let check = |heads: &[HeadName]| words.spec.settings.check(heads);
        assert!(check(&[HeadName::Knn, HeadName::Ridge]).is_ok());
        let refused = check(&[HeadName::Knn, HeadName::Mlp]).expect_err("no head of strengths");
        assert!(refused.to_string().contains("--alpha is of no use to knn and mlp"), "{refused}");
    }
}
