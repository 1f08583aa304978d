//! ResNet-50 as trained with MoCo v2 on the Legacy Surveys (Stein et al. 2021, arXiv:2110.13151).

use serde::Deserialize;
use tch::{TchError, Tensor};

use super::super::load::channels_last;
use super::super::weights::{Weights, WeightsError};
use super::layers::{Convolution, Kernel, Linear, check_sizes};
use super::trace::Trace;

/// Channels behind a block, for each channel within it.
const EXPANSION: i64 = 4;

/// The contrastive head's sizes, by the names of the published configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct MocoConfig {
    /// Components of the contrastive head's output.
    pub(crate) emb_dim: i64,
    /// Whether the head has a hidden layer.
    pub(crate) use_mlp: bool,
}

/// Sizes of the residual network; those of ResNet-50 where nothing is said.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct ResNetConfig {
    pub(crate) layers: [i64; 4],
    pub(crate) planes: [i64; 4],
    pub(crate) stem_channels: i64,
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self { layers: [3, 4, 6, 3], planes: [64, 128, 256, 512], stem_channels: 64 }
    }
}

/// The network: the query encoder of the contrastive pair.
pub(crate) struct MocoResNet {
    stem: Convolution,
    stages: [Vec<Bottleneck>; 4],
    head: Vec<Linear>,
}

struct Bottleneck {
    layers: [Convolution; 3],
    shortcut: Option<Convolution>,
}

impl MocoResNet {
    /// Takes the tensors of `encoder_q`; its slow twin and the queues of the training are passed over.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        moco: &MocoConfig,
        config: &ResNetConfig,
    ) -> Result<Self, WeightsError> {
        let planes = config.planes.map(|planes| ("planes", planes));
        check_sizes(&planes)?;
        check_sizes(&config.layers.map(|layers| ("layers", layers)))?;
        check_sizes(&[("stem_channels", config.stem_channels), ("emb_dim", moco.emb_dim)])?;
        weights.skip_all(|name| {
            ["encoder_k.", "queue", "val_queue"].iter().any(|part| name.starts_with(part))
        });
        let kernel = Kernel { size: 7, stride: 2, padding: 3 };
        let channels = (3, config.stem_channels);
        let names = ["encoder_q.conv1", "encoder_q.bn1"];
        let stem = Convolution::load_normed(weights, names, channels, kernel)?;
        let mut from = config.stem_channels;
        let mut stages = [const { Vec::new() }; 4];
        for (number, stage) in stages.iter_mut().enumerate() {
            let planes = config.planes[number];
            for block in 0..config.layers[number] {
                let stride = if block == 0 && number > 0 { 2 } else { 1 };
                let prefix = format!("encoder_q.layer{}.{block}", number + 1);
                stage.push(Bottleneck::load(weights, &prefix, (from, planes), stride)?);
                from = planes * EXPANSION;
            }
        }
        let head = if moco.use_mlp {
            vec![
                Linear::load(weights, "encoder_q.fc.0", from, from)?,
                Linear::load(weights, "encoder_q.fc.2", from, moco.emb_dim)?,
            ]
        } else {
            vec![Linear::load(weights, "encoder_q.fc", from, moco.emb_dim)?]
        };
        Ok(Self { stem, stages, head })
    }

    /// The pooled features, which the authors publish as embeddings; and what the contrastive head makes of them, which
    /// others publish under the same name.
    ///
    /// # Shape
    /// `pictures`: rows x 3 x height x width, in the order z, r, g; rows x features, rows x `emb_dim`.
    pub(crate) fn forward(
        &self,
        pictures: &Tensor,
        trace: &mut Trace,
    ) -> Result<[Tensor; 2], TchError> {
        let pictures = pictures.f_to_kind(self.stem.kind())?;
        let mut features = self.stem.forward(&channels_last(&pictures)?)?;
        let _same = features.f_relu_()?;
        features = features.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        trace.note_with("maxpool", || features.f_narrow(0, 0, 1)?.f_narrow(1, 0, 8))?;
        for (number, stage) in self.stages.iter().enumerate() {
            for block in stage {
                features = block.forward(&features)?;
            }
            match number {
                0 => trace.note_with("layer1", || features.f_narrow(0, 0, 1))?,
                3 => trace.note("layer4", &features),
                _ => {}
            }
        }
        let representation = features.f_adaptive_avg_pool2d([1, 1])?.f_flatten(1, -1)?;
        trace.note("representation", &representation);
        let mut contrastive = representation.shallow_clone();
        for (place, layer) in self.head.iter().enumerate() {
            contrastive = if place == 0 { contrastive } else { contrastive.f_relu()? };
            contrastive = layer.forward(&contrastive)?;
        }
        trace.note("encoder_q_output_with_fc", &contrastive);
        Ok([representation, contrastive])
    }
}

impl Bottleneck {
    fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        (from, planes): (i64, i64),
        stride: i64,
    ) -> Result<Self, WeightsError> {
        let within = |name: &str| format!("{prefix}.{name}");
        let to = planes * EXPANSION;
        let sizes = [
            ((from, planes), Kernel::same(1)),
            ((planes, planes), Kernel { stride, ..Kernel::same(3) }),
            ((planes, to), Kernel::same(1)),
        ];
        let mut layer = |number: usize| {
            let names = [format!("conv{}", number + 1), format!("bn{}", number + 1)];
            let [convolution, norm] = names.map(|name| within(&name));
            let (channels, kernel) = sizes[number];
            Convolution::load_normed(weights, [&convolution, &norm], channels, kernel)
        };
        let layers = [layer(0)?, layer(1)?, layer(2)?];
        let shortcut = if stride != 1 || from != to {
            let names = [within("downsample.0"), within("downsample.1")];
            let kernel = Kernel { size: 1, stride, padding: 0 };
            let names = [&*names[0], &*names[1]];
            Some(Convolution::load_normed(weights, names, (from, to), kernel)?)
        } else {
            None
        };
        Ok(Self { layers, shortcut })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let [first, second, third] = &self.layers;
        // In place: the maps are large, and nobody else looks at them.
        let mut hidden = first.forward(input)?;
        let _same = hidden.f_relu_()?;
        let mut hidden = second.forward(&hidden)?;
        let _same = hidden.f_relu_()?;
        let mut hidden = third.forward(&hidden)?;
        let kept = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input)?,
            None => input.shallow_clone(),
        };
        let mut sum = hidden.f_add_(&kept)?;
        sum.f_relu_()
    }
}
