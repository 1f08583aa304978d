//! AstroDINO: the image backbone of AstroCLIP on its own (Parker et al. 2024, arXiv:2310.03024, section 4).

use tch::{TchError, Tensor};

use super::super::weights::{Weights, WeightsError};
use super::trace::Trace;
use super::vit::{Vit, VitConfig};

/// The network: its embedding is the class token behind the last normalisation.
pub(crate) struct AstroDino {
    vit: Vit,
}

impl AstroDino {
    /// Takes its weights, which have no prefix.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        config: &VitConfig,
    ) -> Result<Self, WeightsError> {
        Ok(Self { vit: Vit::load(weights, "", config)? })
    }

    /// Side of the pictures it takes.
    pub(crate) fn side(&self) -> i64 {
        self.vit.side()
    }

    /// Class token and patch tokens of pictures.
    ///
    /// # Shape
    /// rows x 3 x side x side; rows x width and rows x patches x width.
    pub(crate) fn forward(
        &self,
        pictures: &Tensor,
        trace: &mut Trace,
    ) -> Result<(Tensor, Tensor), TchError> {
        let patches = self.vit.patches(pictures, trace)?;
        let tokens = self.vit.transform(self.vit.with_positions(&patches, trace)?, trace)?;
        let class = tokens.f_select(1, 0)?;
        let patches = tokens.f_narrow(1, 1, tokens.size3()?.1 - 1)?;
        trace.note("x_norm_clstoken", &class);
        trace.note("x_norm_patchtokens", &patches);
        Ok((class, patches))
    }
}
