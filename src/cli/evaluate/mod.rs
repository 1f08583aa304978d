//! `sidereus evaluate`: what the neighbours in a space know about a column, and whether they are found.

mod knn;
mod recall;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Words of `sidereus evaluate`.
#[derive(Debug, Args)]
pub(super) struct EvaluateArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Predict a column by the mean of the nearest neighbours, each object left out of its own
    ///
    /// For every object with a vector in each space and a value of the target, the k nearest other
    /// objects are looked up and their mean is the prediction. Printed for each space: R2 (1 is
    /// perfect, 0 is no better than the mean of all), RMSE, sigma_NMAD = 1.4826 median(|dz -
    /// median(dz)|) with dz = (predicted - z) / (1 + z), the fraction of outliers with |dz| > 0.15,
    /// and how far the values of two neighbours are apart in the median, beside two objects taken
    /// at random. sigma_NMAD and outliers mean something for a redshift only.
    Knn(knn::KnnArguments),
    /// Measure how many of the true nearest neighbours the planner's answers hold
    ///
    /// Objects of the collection, chosen by the seed, are searched twice, once as the planner likes and
    /// once exactly, under each of the conditions. A hit counts when it is as near as the k-th true
    /// neighbour. `scanned` is the share of the objects whose distance was computed.
    Recall(recall::RecallArguments),
}

/// Runs `sidereus evaluate`.
pub(super) async fn run(arguments: EvaluateArguments) -> Result<()> {
    match arguments.action {
        Action::Knn(arguments) => knn::run(arguments).await,
        Action::Recall(arguments) => recall::run(arguments).await,
    }
}
