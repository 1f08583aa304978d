//! `sidereus encoder register`: a published model's files become a model that can be served.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::render::write_out;
use crate::encoder::{Architecture, Pooling, RegisterOptions, register};
use crate::vector::Metric;

/// Words of `sidereus encoder register`.
#[derive(Debug, Args)]
pub(super) struct RegisterArguments {
    /// Folder with config.json and the weights; its name becomes the model's id
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Which network, where config.json leaves it open: astroclip-image, astroclip-spectrum,
    /// astrodino, specformer, stein-moco or aion
    #[arg(long, value_name = "NAME")]
    architecture: Option<Architecture>,
    /// What vectors are made of where nothing is said [default: the network's own pooling]
    #[arg(long, value_name = "P")]
    pooling: Option<Pooling>,
    /// A sentence for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// How vectors are compared: cosine, l2 or ip [default: cosine]
    #[arg(long, value_name = "M")]
    metric: Option<Metric>,
    /// Most tokens of an object that AION-1 looks at; an object with more is refused [default: all]
    #[arg(long, value_name = "N")]
    tokens_max: Option<usize>,
    /// Write a model.toml that is there anew
    #[arg(long)]
    replace: bool,
}

/// Runs `sidereus encoder register`.
pub(super) fn run(arguments: RegisterArguments) -> Result<()> {
    let options = RegisterOptions {
        architecture: arguments.architecture,
        pooling: arguments.pooling,
        description: arguments.description,
        metric: arguments.metric,
        tokens_max: arguments.tokens_max,
        replace: arguments.replace,
    };
    let model = register(&arguments.directory, &options)?;
    let outputs: Vec<String> = model
        .outputs()
        .into_iter()
        .map(|(_, output)| {
            format!("{} ({}, {})", output.pooling, output.form.name(), output.dimension)
        })
        .collect();
    let (spec, folder) = (&model.spec, model.folder.display());
    let directory = model.folder.parent().unwrap_or(&model.folder).display();
    write_out(&format!(
        "registered {}\n  {}\n  takes    {}\n  gives    {}\n  files    {} pinned by digest\nnext:\n  \
         sidereus encoder check {folder}\n  sidereus serve --models {directory} ...   (a server that runs is started again)\n",
        spec.id,
        spec.provenance(),
        model.inputs().0.join(", "),
        outputs.join(", "),
        spec.files.len() + 1,
    ))
}
