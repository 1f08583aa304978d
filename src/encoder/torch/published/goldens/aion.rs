//! Golden outputs of AION-1: its codecs, its encoder, and all of them in a row.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sidereus::encoder::AION_CATALOG_OFFSET;
use tch::{Kind, Tensor};

use super::super::aion::{
    AionConfig, AionEncoder, AttentiveProbe, CatalogCodec, Encoded, ImageCodec, ImageCodecConfig,
    LinearProbe, ScalarCodec, ScalarConfig, SegmapCodec, SegmapCodecConfig, Spectra, SpectrumCodec,
    SpectrumCodecConfig, Tokens,
};
use super::super::trace::Trace;
use super::{CONFIG_FILE, Golden, Tensors, input};

const WEIGHTS: &str = "weights.safetensors";

/// The encoder, with heads on its tokens where there are any.
#[derive(Debug, Deserialize)]
pub(super) struct EncoderGoldens {
    hparams: AionConfig,
    #[serde(default)]
    cases: Vec<EncoderCase>,
    probes: Option<Probes>,
}

#[derive(Debug, Deserialize)]
struct EncoderCase {
    name: String,
    /// In the order of the tokens.
    modalities: Vec<String>,
    num_encoder_tokens: i64,
}

#[derive(Debug, Deserialize)]
struct Probes {
    dim_out: i64,
    num_heads: i64,
    cases: Vec<String>,
}

/// The codec of images.
#[derive(Debug, Deserialize)]
pub(super) struct ImageGoldens {
    hparams: ImageCodecConfig,
    #[serde(default)]
    cases: Vec<ImageCase>,
}

#[derive(Debug, Deserialize)]
struct ImageCase {
    name: String,
    bands: Vec<String>,
    /// Whether the outputs hold a second call on what the first one left of its input.
    #[serde(default)]
    twice: bool,
}

/// The codec of spectra.
#[derive(Debug, Deserialize)]
pub(super) struct SpectrumGoldens {
    hparams: SpectrumCodecConfig,
}

/// Codecs of numbers, by their names.
#[derive(Debug, Deserialize)]
pub(super) struct ScalarGoldens {
    codecs: BTreeMap<String, ScalarConfig>,
}

/// The codec of catalogues.
#[derive(Debug, Deserialize)]
pub(super) struct CatalogGoldens {}

/// The codec of segmentation maps.
#[derive(Debug, Deserialize)]
pub(super) struct SegmapGoldens {
    hparams: SegmapCodecConfig,
}

/// Inputs of several folders, through their codecs, into one encoder.
#[derive(Debug, Deserialize)]
pub(super) struct EndToEnd {
    /// Folders of codecs and encoder.
    uses: BTreeMap<String, String>,
    /// Input and row of each modality.
    inputs: BTreeMap<String, (String, i64)>,
    modality_order: Vec<String>,
    num_encoder_tokens: i64,
}

impl EncoderGoldens {
    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let model = golden.load(WEIGHTS, |weights| AionEncoder::load(weights, &self.hparams))?;
        let probes = self.probes.as_ref().map(|probes| self.probes(golden, probes)).transpose()?;
        let inputs = golden.inputs()?;
        let mut trace = Trace::on();
        let mut found = Tensors::new();
        for EncoderCase { name, modalities, num_encoder_tokens } in &self.cases {
            let tokens = modalities.iter().map(|modality| {
                let ids = input(&inputs, &format!("{name}.{modality}"))?.shallow_clone();
                let missing = inputs.get(&format!("{name}.{modality}.mask"));
                let missing = missing.map(Tensor::shallow_clone);
                Ok(Tokens { modality: modality.clone(), ids, missing })
            });
            let tokens = tokens.collect::<Result<Vec<_>>>()?;
            trace.within(name);
            let encoded = model.forward(&tokens, *num_encoder_tokens, &mut trace)?;
            means(&mut found, name, &encoded)?;
            if let Some((linear, attentive)) = probes.as_ref().filter(|_| self.is_probed(name)) {
                let tokens = &encoded.embeddings;
                found.insert(format!("{name}.linear_probe"), linear.forward(tokens)?);
                found.insert(format!("{name}.cross_attention_probe"), attentive.forward(tokens)?);
            }
        }
        found.extend(trace.into_found());
        Ok(found)
    }

    fn is_probed(&self, case: &str) -> bool {
        self.probes.as_ref().is_some_and(|probes| probes.cases.iter().any(|name| name == case))
    }

    fn probes(
        &self,
        golden: &Golden<'_>,
        probes: &Probes,
    ) -> Result<(LinearProbe, AttentiveProbe)> {
        let (dim, outputs) = (self.hparams.dim, probes.dim_out);
        golden.load("probes.safetensors", |weights| {
            let linear = LinearProbe::load(weights, "linear_probe", dim, outputs)?;
            let name = "cross_attention_probe";
            let attentive = AttentiveProbe::load(weights, name, dim, outputs, probes.num_heads)?;
            Ok::<_, super::super::super::weights::WeightsError>((linear, attentive))
        })
    }
}

fn means(found: &mut Tensors, case: &str, encoded: &Encoded) -> Result<()> {
    let [all, valid] = encoded.means()?;
    found.insert(format!("{case}.mean_all_tokens"), all);
    found.insert(format!("{case}.mean_valid_tokens"), valid);
    Ok(())
}

impl ImageGoldens {
    fn codec(&self, golden: &Golden<'_>) -> Result<ImageCodec> {
        golden.load_codec(WEIGHTS, |weights| {
            ImageCodec::load(weights, &self.hparams, golden.computing.device)
        })
    }

    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let codec = self.codec(golden)?;
        let inputs = golden.inputs()?;
        let mut trace = Trace::on();
        let mut found = Tensors::new();
        for ImageCase { name, bands, twice } in &self.cases {
            let flux = input(&inputs, &format!("{name}.flux"))?;
            trace.within(name);
            let _traced = codec.forward(flux, bands, &mut trace)?;
            let present = ImageCodec::present(bands)?.map(u8::from);
            let mask = Tensor::f_from_slice(&present)?.f_unsqueeze(0)?;
            let mask = mask.f_expand([flux.size()[0], -1], false)?;
            found
                .insert(format!("{name}.channel_mask"), mask.f_to_device(golden.computing.device)?);
            if *twice {
                // The original works in its caller's memory; ours does so only here.
                let left = ImageCodec::left_behind(flux, bands)?;
                let thinned = left.f_slice(2, 0, i64::MAX, 4)?.f_slice(3, 0, i64::MAX, 4)?;
                found.insert(format!("{name}.flux_after_first_call"), thinned);
                let again = codec.forward(&left, bands, &mut Trace::off())?;
                found.insert(format!("{name}.tokens_second_call_same_tensor"), again);
            }
        }
        found.extend(trace.into_found());
        Ok(found)
    }
}

impl SpectrumGoldens {
    fn codec(&self, golden: &Golden<'_>) -> Result<SpectrumCodec> {
        golden.load_codec(WEIGHTS, |weights| SpectrumCodec::load(weights, &self.hparams))
    }

    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let codec = self.codec(golden)?;
        let inputs = golden.inputs()?;
        let mut trace = Trace::on();
        for case in inputs.keys().filter_map(|name| name.strip_suffix(".flux")) {
            trace.within(case);
            let _traced = codec.forward(&spectra(&inputs, case)?, &mut trace)?;
        }
        Ok(trace.into_found())
    }
}

fn spectra(inputs: &Tensors, case: &str) -> Result<Spectra> {
    let part = |part: &str| -> Result<Tensor> {
        Ok(input(inputs, &format!("{case}.{part}"))?.shallow_clone())
    };
    Ok(Spectra {
        flux: part("flux")?,
        ivar: part("ivar")?,
        mask: part("mask")?,
        wavelength: part("wavelength")?,
    })
}

impl ScalarGoldens {
    fn codec(&self, golden: &Golden<'_>, name: &str) -> Result<ScalarCodec> {
        let config = self.codecs.get(name).with_context(|| format!("no codec `{name}`"))?;
        let file = format!("codecs/{name}/model.safetensors");
        golden.load_codec(&file, |weights| ScalarCodec::load(weights, config))
    }

    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let inputs = golden.inputs()?;
        let mut found = Tensors::new();
        for name in self.codecs.keys() {
            let codec = self.codec(golden, name)?;
            let values = inputs.iter().filter(|(input, _)| {
                input.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('/'))
            });
            for (input, numbers) in values {
                let case = input.strip_suffix(".value").context("an input that is no value")?;
                let made = codec.forward(numbers)?;
                found.insert(format!("{case}.tokens"), made.tokens);
                found.insert(format!("{case}.decoded"), made.decoded);
            }
        }
        Ok(found)
    }
}

impl CatalogGoldens {
    #[expect(clippy::unused_self, reason = "it runs as the others do")]
    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let codec = golden.load_codec(WEIGHTS, CatalogCodec::load)?;
        let inputs = golden.inputs()?;
        let mut found = Tensors::new();
        for case in inputs.keys().filter_map(|name| name.strip_suffix(".X")) {
            let fields = CatalogCodec::fields()
                .map(|field| Ok(input(&inputs, &format!("{case}.{field}"))?.shallow_clone()))
                .collect::<Result<Vec<_>>>()?;
            let Ok(fields) = <[Tensor; 5]>::try_from(fields) else { bail!("five fields") };
            let made = codec.forward(&fields, AION_CATALOG_OFFSET)?;
            found.insert(format!("{case}.tokens"), made.tokens);
            found.insert(format!("{case}.shifted_ids"), made.ids);
            found.insert(format!("{case}.pad_mask"), made.missing);
        }
        Ok(found)
    }
}

impl SegmapGoldens {
    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let codec = golden.load_codec(WEIGHTS, |weights| {
            SegmapCodec::load(weights, &self.hparams, golden.computing.device)
        })?;
        let mut trace = Trace::on();
        for (name, field) in &golden.inputs()? {
            trace.within(name.strip_suffix(".field").context("an input that is no field")?);
            let _traced = codec.forward(field, &mut trace)?;
        }
        Ok(trace.into_found())
    }
}

impl EndToEnd {
    fn folder(&self, golden: &Golden<'_>, what: &str) -> Result<PathBuf> {
        let name = self.uses.get(what).with_context(|| format!("`uses` names no `{what}`"))?;
        Ok(golden.folder.join(name))
    }

    /// Reads the configuration of another folder.
    fn other<Config: for<'de> Deserialize<'de>>(
        &self,
        golden: &Golden<'_>,
        what: &str,
    ) -> Result<Config> {
        let path = self.folder(golden, what)?.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Runs something on another folder.
    fn within<Made>(
        &self,
        golden: &Golden<'_>,
        what: &str,
        run: impl FnOnce(&Golden<'_>) -> Result<Made>,
    ) -> Result<Made> {
        let folder = self.folder(golden, what)?;
        let computing = golden.computing;
        let read = |name: &str| super::file(&folder.join(name));
        run(&Golden { folder: &folder, computing, read: &read })
    }

    /// The tokens of one modality of one object.
    fn tokens(&self, golden: &Golden<'_>, modality: &str) -> Result<Tensor> {
        let (name, row) =
            self.inputs.get(modality).with_context(|| format!("no input for `{modality}`"))?;
        let one = |tensor: &Tensor| tensor.f_narrow(0, *row, 1);
        let off = &mut Trace::off();
        match modality {
            "tok_image" | "tok_image_hsc" => {
                let goldens: ImageGoldens = self.other(golden, "image")?;
                let case = name.strip_suffix(".flux").unwrap_or(name);
                let case = goldens.cases.iter().find(|other| other.name == case);
                let bands = &case.context("an image of no known bands")?.bands;
                self.within(golden, "image", |golden| {
                    let inputs = golden.inputs()?;
                    let flux = one(input(&inputs, name)?)?;
                    Ok(goldens.codec(golden)?.forward(&flux, bands, off)?)
                })
            }
            "tok_spectrum_desi" | "tok_spectrum_sdss" => {
                let goldens: SpectrumGoldens = self.other(golden, "spectrum")?;
                let case = name.split('.').next().unwrap_or(name);
                self.within(golden, "spectrum", |golden| {
                    let Spectra { flux, ivar, mask, wavelength } =
                        spectra(&golden.inputs()?, case)?;
                    let spectra = Spectra {
                        flux: one(&flux)?,
                        ivar: one(&ivar)?,
                        mask: one(&mask)?,
                        wavelength: one(&wavelength)?,
                    };
                    Ok(goldens.codec(golden)?.forward(&spectra, off)?)
                })
            }
            _ => {
                let goldens: ScalarGoldens = self.other(golden, "scalars")?;
                let codec = name.split('/').next().unwrap_or(name);
                self.within(golden, "scalars", |golden| {
                    let numbers = one(input(&golden.inputs()?, name)?)?;
                    Ok(goldens.codec(golden, codec)?.forward(&numbers)?.tokens)
                })
            }
        }
    }

    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let mut found = Tensors::new();
        let mut tokens = Vec::new();
        for modality in &self.modality_order {
            let ids = self.tokens(golden, modality)?;
            found.insert(format!("tokens.{modality}"), ids.shallow_clone());
            tokens.push(Tokens { modality: modality.clone(), ids, missing: None });
        }
        let goldens: EncoderGoldens = self.other(golden, "encoder")?;
        let model = self.within(golden, "encoder", |golden| {
            golden.load(WEIGHTS, |weights| AionEncoder::load(weights, &goldens.hparams))
        })?;
        let mut trace = Trace::on();
        let encoded = model.forward(&tokens, self.num_encoder_tokens, &mut trace)?;
        let [all, _] = encoded.means()?;
        found.insert("mean_all_tokens".to_owned(), all);
        let mut start = 0;
        for Tokens { modality, ids, .. } in &tokens {
            let count = ids.numel() as i64;
            let part = encoded.embeddings.f_narrow(1, start, count)?;
            let mean = part.f_mean_dim(1, false, Kind::Float)?;
            found.insert(format!("mean_per_modality.{modality}"), mean);
            start += count;
        }
        if let Some(place) = tokens.iter().position(|part| part.modality == "tok_image") {
            let image = &tokens[place..=place];
            let count = image[0].ids.numel() as i64;
            let [all, _] = model.forward(image, count, &mut Trace::off())?.means()?;
            found.insert("image_only.mean_all_tokens".to_owned(), all);
        }
        found.extend(trace.into_found());
        Ok(found)
    }
}
