//! `sidereus evaluate`: what the neighbours in a space know about a column, and whether they are found.

mod gallery;
mod knn;
mod pages;
mod probes;
mod recall;
mod retrieval;

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
    /// Measure whether searches find what is like the example: objects of a class, or with a high vote
    ///
    /// Objects that the label says are relevant search the whole collection, each left out of its own answer. Printed for
    /// each space: nDCG@k with linear and with exponential gain, recall@k and precision@k, each with the interval in which 95 %
    /// of the bootstrap's resamples of the queries lie, and below them what an order by chance would have. --above grades
    /// objects by the column's value for nDCG; relevant are those above.
    Retrieval(Box<retrieval::RetrievalArguments>),
    /// Fit heads on several spaces for several targets, and compare them on the same objects
    ///
    /// Every head is fitted on every space for every target that it fits, and with --few-shot on few examples, too, of
    /// which the smaller sets are part of the larger ones. Nothing is kept. --report draws what was found.
    Probes(Box<probes::ProbesArguments>),
}

/// Runs `sidereus evaluate`.
pub(super) async fn run(arguments: EvaluateArguments) -> Result<()> {
    match arguments.action {
        Action::Knn(arguments) => knn::run(arguments).await,
        Action::Recall(arguments) => recall::run(arguments).await,
        Action::Retrieval(arguments) => retrieval::run(*arguments).await,
        Action::Probes(arguments) => probes::run(*arguments).await,
    }
}
