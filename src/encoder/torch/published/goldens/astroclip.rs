//! Golden outputs of AstroCLIP and its backbones, and of the network of Stein et al.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sidereus::encoder::LegacyRgb;
use tch::{Kind, Tensor};

use super::super::astroclip::{ImageTower, SpectrumTower, TowerConfig};
use super::super::astrodino::AstroDino;
use super::super::resnet::{MocoConfig, MocoResNet, ResNetConfig};
use super::super::specformer::{Specformer, SpecformerConfig};
use super::super::trace::Trace;
use super::super::vit::VitConfig;
use super::{Golden, Tensors};

const WEIGHTS: &str = "weights.safetensors";

/// One tower of AstroCLIP, or both.
#[derive(Debug, Deserialize)]
pub(super) struct Towers {
    hparams: TowerSizes,
}

#[derive(Debug, Deserialize)]
struct TowerSizes {
    image: Option<TowerConfig<VitConfig>>,
    spectrum: Option<TowerConfig<SpecformerConfig>>,
}

/// AstroDINO.
#[derive(Debug, Deserialize)]
pub(super) struct Backbone {
    hparams: VitConfig,
}

/// Specformer.
#[derive(Debug, Deserialize)]
pub(super) struct SpectrumBackbone {
    hparams: SpecformerConfig,
}

/// The network of Stein et al.
#[derive(Debug, Deserialize)]
pub(super) struct Moco {
    hparams: MocoConfig,
    #[serde(default)]
    architecture: ResNetConfig,
}

impl Towers {
    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let TowerSizes { image, spectrum } = &self.hparams;
        if image.is_none() && spectrum.is_none() {
            bail!("hparams has neither `image` nor `spectrum`");
        }
        let (image, spectrum) = golden.load(WEIGHTS, |weights| {
            let image = image.as_ref().map(|sizes| ImageTower::load(weights, sizes)).transpose()?;
            let spectrum =
                spectrum.as_ref().map(|sizes| SpectrumTower::load(weights, sizes)).transpose()?;
            Ok::<_, super::super::super::weights::WeightsError>((image, spectrum))
        })?;
        let mut trace = Trace::on();
        for (name, tensor) in &golden.inputs()? {
            trace.within(name);
            if tensor.dim() == 4 {
                let tower = image.as_ref().context("no image tower for an image")?;
                fits(name, tensor, tower.side())?;
                let _traced = tower.forward(tensor, &mut trace)?;
            } else {
                let tower = spectrum.as_ref().context("no spectrum tower for a spectrum")?;
                let spectra = spectra(name, tensor, tower.config())?;
                let _traced = tower.forward(&spectra, &mut trace)?;
            }
        }
        Ok(trace.into_found())
    }
}

impl Backbone {
    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let model = golden.load(WEIGHTS, |weights| AstroDino::load(weights, &self.hparams))?;
        let mut trace = Trace::on();
        for (name, pictures) in &golden.inputs()? {
            fits(name, pictures, model.side())?;
            trace.within(name);
            let _traced = model.forward(pictures, &mut trace)?;
        }
        Ok(trace.into_found())
    }
}

impl SpectrumBackbone {
    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let model = golden.load(WEIGHTS, |weights| Specformer::load(weights, "", &self.hparams))?;
        let mut trace = Trace::on();
        let mut pooled = Tensors::new();
        for (name, tensor) in &golden.inputs()? {
            trace.within(name);
            let tokens = model.forward(&spectra(name, tensor, model.config())?, &mut trace)?;
            let [all, without_first] = Specformer::pooled(&tokens)?;
            pooled.insert(format!("{name}.embedding"), tokens);
            pooled.insert(format!("{name}.pooled_mean_all"), all);
            pooled.insert(format!("{name}.pooled_mean_excluding_token0"), without_first);
        }
        pooled.extend(trace.into_found());
        Ok(pooled)
    }
}

impl Moco {
    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let model = golden.load(WEIGHTS, |weights| {
            MocoResNet::load(weights, &self.hparams, &self.architecture)
        })?;
        let mut trace = Trace::on();
        let mut made = Tensors::new();
        for (name, tensor) in &golden.inputs()? {
            if let Some(case) = name.strip_suffix(".raw_grz") {
                let pictures = pictures(tensor, LegacyRgb::stein(LegacyRgb::STEIN_SIDE))?
                    .f_to_device(golden.computing.device)?;
                made.insert(format!("{case}.model_input"), pictures);
            } else if let Some(case) = name.strip_suffix(".image") {
                trace.within(case);
                let _traced = model.forward(tensor, &mut trace)?;
            }
        }
        made.extend(trace.into_found());
        Ok(made)
    }
}

/// Pictures of cutouts.
pub(super) fn pictures(cutouts: &Tensor, kind: LegacyRgb) -> Result<Tensor> {
    let (rows, _, height, width) = cutouts.size4()?;
    let mut pictures = Vec::new();
    for row in 0..rows {
        let cutout = cutouts.f_get(row)?.f_to_kind(Kind::Float)?.f_contiguous()?;
        let mut flux = vec![0.0f32; cutout.numel()];
        cutout.f_copy_data(&mut flux, cutout.numel())?;
        let picture = kind.picture(&flux, height as usize, width as usize)?;
        let side = kind.side() as i64;
        pictures.push(Tensor::f_from_slice(&picture)?.f_reshape([3, side, side])?);
    }
    Ok(Tensor::f_stack(&pictures, 0)?)
}

fn fits(name: &str, pictures: &Tensor, side: i64) -> Result<()> {
    let (_, bands, height, width) = pictures.size4()?;
    if (bands, height, width) != (3, side, side) {
        bail!("`{name}` is {bands} x {height} x {width}; the model takes 3 x {side} x {side}");
    }
    Ok(())
}

/// rows x bins, of a length that the model takes.
fn spectra(name: &str, tensor: &Tensor, config: &SpecformerConfig) -> Result<Tensor> {
    let spectra = match tensor.dim() {
        3 => tensor.f_squeeze_dim(2)?,
        _ => tensor.shallow_clone(),
    };
    let bins = input_bins(&spectra)?;
    if !config.takes(bins) {
        bail!("`{name}` has {bins} bins, which make no token or more than {}", config.max_len);
    }
    Ok(spectra)
}

fn input_bins(spectra: &Tensor) -> Result<i64> {
    Ok(spectra.size2()?.1)
}

/// The picture that AstroCLIP makes of the cutouts of a folder with the files of its preprocessing.
#[cfg(test)]
pub(super) fn preprocessed(inputs: &Tensors) -> Result<Tensor> {
    pictures(super::input(inputs, "raw_grz")?, LegacyRgb::astroclip(LegacyRgb::ASTROCLIP_SIDE))
}
