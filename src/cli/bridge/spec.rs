//! Words that say what a bridge joins and how.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::wire::v1::{
    BridgeSpec, CcaBridge, ContrastiveBridge, ProcrustesBridge, RidgeBridge, bridge_spec,
};

/// How a bridge is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// The nearest rotation; distances within the space stay as they are
    Procrustes,
    /// The linear map with the least squared error and small weights
    Ridge,
    /// The directions of both spaces that are most correlated: both are mapped into a space of their own
    Cca,
    /// Two networks that begin as cca does and are trained so that an object's own vectors are the most alike: both are mapped
    /// into a space of their own
    Infonce,
}

impl MethodName {
    fn name(self) -> &'static str {
        match self {
            Self::Procrustes => "procrustes",
            Self::Ridge => "ridge",
            Self::Cca => "cca",
            Self::Infonce => "infonce",
        }
    }
}

/// Words of `sidereus bridge fit`.
#[derive(Debug, Args)]
pub(super) struct SpecArguments {
    /// Embedding space whose vectors are mapped
    #[arg(long, value_name = "S")]
    from: String,
    /// Embedding space that they are mapped into
    #[arg(long, value_name = "T")]
    to: String,
    /// How the map is found
    #[arg(long, value_enum)]
    method: MethodName,
    /// random:TEST_FRACTION:SEED, healpix:ORDER:TEST_FRACTION:SEED or column:NAME (values train, test, val)
    /// [default: random:0.2:0]
    #[arg(long, value_name = "SPEC", default_value = "", hide_default_value = true)]
    split: String,
    /// Only objects for which this SQL expression on the columns is true
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicate: Option<String>,
    /// Bootstrap resamples behind each interval [default: 1000]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    resamples: u32,
    /// Seed of whatever is random beside the split
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Objects to learn from at most [default: all]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    train_limit: u64,
    /// Objects to measure on at most [default: 10000]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    test_limit: u64,
    /// procrustes: leave the means of both spaces where they are
    #[arg(long, help_heading = "Of one method")]
    keep_means: bool,
    /// procrustes: neither stretch nor shrink
    #[arg(long, help_heading = "Of one method")]
    keep_scale: bool,
    /// ridge: strengths to choose from by folds [default: a grid around the mean variance]
    #[arg(long, value_name = "A,...", value_delimiter = ',', help_heading = "Of one method")]
    alpha: Vec<f64>,
    /// ridge: folds by which the strength is chosen [default: 5]
    #[arg(long, value_name = "K", help_heading = "Of one method")]
    folds: Option<u32>,
    /// cca, infonce: components of the shared space [default: as many as the smaller
    /// space has, infonce one more and at most 128, and 128 with hidden layers]
    #[arg(long, value_name = "N", help_heading = "Of one method")]
    dims: Option<u32>,
    /// cca: share of the mean variance that is added in every direction [default: 0.001]
    #[arg(long, value_name = "SHARE", help_heading = "Of one method")]
    regularisation: Option<f64>,
    /// cca: components count by their correlation to this power [default: 1]
    #[arg(long, value_name = "P", help_heading = "Of one method")]
    power: Option<f64>,
    /// infonce: widths of the hidden layers [default: none, an affine map on each side]
    #[arg(long, value_name = "N,...", value_delimiter = ',', help_heading = "Of one method")]
    hidden: Vec<u32>,
    /// infonce: temperature to begin with [default: what suits the closed form that it begins as]
    #[arg(long, value_name = "T", help_heading = "Of one method")]
    temperature: Option<f64>,
    /// infonce: passes over the pairs, at most [default: 600 steps, in 10 to 100 passes]
    #[arg(long, value_name = "N", help_heading = "Of one method")]
    epochs: Option<u32>,
    /// infonce: pairs that are compared with each other [default: 1024]
    #[arg(long, value_name = "N", help_heading = "Of one method")]
    batch: Option<u32>,
    /// infonce: step size [default: 0.0003]
    #[arg(long, value_name = "R", help_heading = "Of one method")]
    learning_rate: Option<f64>,
    /// infonce: decoupled weight decay [default: 0]
    #[arg(long, value_name = "D", help_heading = "Of one method")]
    weight_decay: Option<f64>,
}

impl SpecArguments {
    /// The message; words of another method are refused.
    pub(super) fn to_wire(&self) -> Result<BridgeSpec> {
        self.check_words()?;
        Ok(BridgeSpec {
            from: self.from.clone(),
            to: self.to.clone(),
            method: Some(self.method_to_wire()),
            split: self.split.clone(),
            predicate: self.predicate.clone().unwrap_or_default(),
            resamples: self.resamples,
            seed: self.seed,
            train_limit: self.train_limit,
            test_limit: self.test_limit,
        })
    }

    fn method_to_wire(&self) -> bridge_spec::Method {
        use bridge_spec::Method;
        match self.method {
            MethodName::Procrustes => Method::Procrustes(ProcrustesBridge {
                keep_means: self.keep_means,
                keep_scale: self.keep_scale,
            }),
            MethodName::Ridge => Method::Ridge(RidgeBridge {
                alphas: self.alpha.clone(),
                folds: self.folds.unwrap_or_default(),
            }),
            MethodName::Cca => Method::Cca(CcaBridge {
                components: self.dims.unwrap_or_default(),
                regularisation: self.regularisation,
                power: self.power,
            }),
            MethodName::Infonce => Method::Contrastive(ContrastiveBridge {
                dimension: self.dims.unwrap_or_default(),
                hidden: self.hidden.clone(),
                temperature: self.temperature.unwrap_or_default(),
                learning_rate: self.learning_rate.unwrap_or_default(),
                epochs: self.epochs.unwrap_or_default(),
                batch: self.batch.unwrap_or_default(),
                weight_decay: self.weight_decay.unwrap_or_default(),
            }),
        }
    }

    fn check_words(&self) -> Result<()> {
        use MethodName::{Cca, Infonce, Procrustes, Ridge};
        let words: [(&str, bool, &[MethodName]); 13] = [
            ("keep-means", self.keep_means, &[Procrustes]),
            ("keep-scale", self.keep_scale, &[Procrustes]),
            ("alpha", !self.alpha.is_empty(), &[Ridge]),
            ("folds", self.folds.is_some(), &[Ridge]),
            ("dims", self.dims.is_some(), &[Cca, Infonce]),
            ("regularisation", self.regularisation.is_some(), &[Cca]),
            ("power", self.power.is_some(), &[Cca]),
            ("hidden", !self.hidden.is_empty(), &[Infonce]),
            ("temperature", self.temperature.is_some(), &[Infonce]),
            ("epochs", self.epochs.is_some(), &[Infonce]),
            ("batch", self.batch.is_some(), &[Infonce]),
            ("learning-rate", self.learning_rate.is_some(), &[Infonce]),
            ("weight-decay", self.weight_decay.is_some(), &[Infonce]),
        ];
        for (word, is_given, methods) in words {
            if is_given && !methods.contains(&self.method) {
                let names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
                bail!(
                    "--{word} is for --method {}, not for {}",
                    names.join(" or "),
                    self.method.name()
                );
            }
        }
        Ok(())
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

    fn spec(words: &[&str]) -> Result<BridgeSpec> {
        let given = ["fit", "--from", "a", "--to", "b", "--method"];
        let words = Words::try_parse_from(given.iter().chain(words))?;
        words.spec.to_wire()
    }

    #[test]
    fn words_belong_to_methods() {
        let ridge = spec(&["ridge", "--alpha", "1,10", "--folds", "3"]).expect("a spec");
        let wanted = RidgeBridge { alphas: vec![1.0, 10.0], folds: 3 };
        assert_eq!(ridge.method, Some(bridge_spec::Method::Ridge(wanted)));
        let cca = spec(&["cca", "--dims", "8"]).expect("a spec");
        let wanted = CcaBridge { components: 8, regularisation: None, power: None };
        assert_eq!(cca.method, Some(bridge_spec::Method::Cca(wanted)));
        let error = spec(&["procrustes", "--dims", "8"]).expect_err("not its word");
        assert!(error.to_string().contains("--method cca or infonce"), "{error}");
        assert!(spec(&["magic"]).is_err());
    }
}
