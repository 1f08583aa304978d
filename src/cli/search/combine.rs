//! How examples and spaces are taken together, and how hits are kept apart: words of the command line.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::cli::angle::parse_angle;
use crate::wire::v1;

/// How several examples become a distance.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum Method {
    /// The example itself, the mean of several, or rocchio where there are negatives
    #[default]
    Automatic,
    /// Distance to the mean of the positives
    Centroid,
    /// Distance to the mean of the positives, moved away from the mean of the negatives
    Rocchio,
    /// Distance to the nearest positive, less half the distance to the nearest negative
    MaxSim,
    /// A logistic regression fitted on the fly: positives against negatives and a sample of the collection
    Probe,
}

impl Method {
    pub(super) fn to_wire(self) -> v1::ExampleMethod {
        match self {
            Self::Automatic => v1::ExampleMethod::Unspecified,
            Self::Centroid => v1::ExampleMethod::Centroid,
            Self::Rocchio => v1::ExampleMethod::Rocchio,
            Self::MaxSim => v1::ExampleMethod::MaxSim,
            Self::Probe => v1::ExampleMethod::Probe,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Fuse {
    /// Weighted mean of the distances as they are
    #[default]
    Distances,
    /// Weighted mean of similarities that are calibrated by how distances are distributed in each space
    Weighted,
    /// Reciprocal ranks, with the constant 60
    Rrf,
    /// The largest of the calibrated similarities: like in any space
    Max,
    /// The smallest of them: like in all spaces
    Min,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Missing {
    /// Objects that lack a vector of one of the spaces are left out
    #[default]
    #[value(alias = "skip")]
    Require,
    /// What is missing counts as the mean
    Neutral,
}

/// Words that say how spaces are combined and hits kept apart.
#[derive(Debug, Default, Args)]
pub(super) struct CombineArguments {
    /// How several spaces become one order
    #[arg(long, value_enum, default_value_t, value_name = "MODE", help_heading = "Several spaces")]
    fuse: Fuse,
    /// What becomes of objects without a vector in one of several spaces
    #[arg(long, value_enum, default_value_t, value_name = "RULE", help_heading = "Several spaces")]
    missing: Missing,
    /// Hits that differ from each other, too (maximal marginal relevance): what nearness to the query counts, from 0 to 1;
    /// after =, how many of the nearest are chosen from [default: ten for each hit, at least 100]
    #[arg(long, value_name = "LAMBDA[=N]", value_parser = diversity, help_heading = "Hits apart")]
    diversity: Option<v1::Diversity>,
    /// Objects within this radius on the sky are one hit, such as 1arcsec
    #[arg(long, value_name = "RADIUS", help_heading = "Hits apart")]
    group_within: Option<String>,
    /// Leave out objects within this radius of the --like and --unlike objects on the sky
    #[arg(long, value_name = "RADIUS", help_heading = "Hits apart")]
    exclude_within: Option<String>,
}

impl CombineArguments {
    /// Adds them to a request.
    pub(super) fn add_to(&self, request: &mut v1::SearchRequest) -> Result<()> {
        let fusion = match self.fuse {
            Fuse::Distances => v1::Fusion::Unspecified,
            Fuse::Weighted => v1::Fusion::Weighted,
            Fuse::Rrf => v1::Fusion::ReciprocalRank,
            Fuse::Max => v1::Fusion::Max,
            Fuse::Min => v1::Fusion::Min,
        };
        let missing = match self.missing {
            Missing::Require => v1::Missing::Require,
            Missing::Neutral => v1::Missing::Neutral,
        };
        request.fusion = fusion.into();
        request.missing = missing.into();
        request.diversity = self.diversity;
        request.group_within = self.group_within.as_deref().map(parse_angle).transpose()?;
        request.exclude_within = self.exclude_within.as_deref().map(parse_angle).transpose()?;
        Ok(())
    }
}

/// Reads `LAMBDA[=N]`.
fn diversity(text: &str) -> Result<v1::Diversity, String> {
    let wrong =
        || "give a number from 0 to 1, such as 0.5, or LAMBDA=N, such as 0.5=200".to_owned();
    let (share, candidates) = match text.split_once('=') {
        Some((share, count)) => (share, count.parse().map_err(|_| wrong())?),
        None => (text, 0),
    };
    let share: f64 = share.parse().map_err(|_| wrong())?;
    if !(0.0..=1.0).contains(&share) {
        return Err(wrong());
    }
    Ok(v1::Diversity { share, candidates })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diversity_is_a_share_and_perhaps_a_number() {
        let read = |text: &str| diversity(text).map(|given| (given.share, given.candidates));
        assert_eq!(read("0.5"), Ok((0.5, 0)));
        assert_eq!(read("1=200"), Ok((1.0, 200)));
        for wrong in ["", "2", "-0.1", "nan", "0.5=many", "0.5="] {
            read(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn radii_are_sent_in_degrees() {
        let words = CombineArguments {
            group_within: Some("36arcsec".to_owned()),
            fuse: Fuse::Rrf,
            ..CombineArguments::default()
        };
        let mut request = v1::SearchRequest::default();
        words.add_to(&mut request).expect("an angle");
        assert_eq!(request.group_within, Some(0.01));
        assert_eq!(request.fusion(), v1::Fusion::ReciprocalRank);
        assert_eq!(request.exclude_within, None);
    }
}
