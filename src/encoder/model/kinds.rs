//! Words of a `model.toml` that choose something.

use std::str::FromStr;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

fn by_name<'de, Word: Deserialize<'de>>(name: &'de str) -> Result<Word, String> {
    let deserializer: StrDeserializer<'de, Error> = name.into_deserializer();
    Word::deserialize(deserializer).map_err(|error| error.to_string())
}

impl FromStr for Architecture {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        by_name(name)
    }
}

impl FromStr for Pooling {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        by_name(name)
    }
}

/// The networks that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// A masked-modelling transformer over the bands of a catalogue.
    PhotometryMm,
    /// EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946, without squeeze-and-excitation), up to the pooled features.
    EfficientnetLite0,
    /// The image tower of AstroCLIP (Parker et al. 2024, arXiv:2310.03024).
    AstroclipImage,
    /// The spectrum tower of AstroCLIP.
    AstroclipSpectrum,
    /// The image backbone of AstroCLIP on its own: a vision transformer of DINOv2 (Oquab et al. 2023, arXiv:2304.07193).
    Astrodino,
    /// The spectrum backbone of AstroCLIP on its own.
    Specformer,
    /// ResNet-50 as trained with MoCo v2 (Stein et al. 2021, arXiv:2110.13151).
    SteinMoco,
    /// The encoder of AION-1 (Parker et al. 2025, arXiv:2510.17960) behind its codecs.
    Aion,
    /// An archive that brings its own code.
    Torchscript,
}

impl Architecture {
    /// Preprocessings that the network can be fed by; the first one is its own.
    pub fn preprocessings(self) -> &'static [Preprocessing] {
        match self {
            Self::PhotometryMm => &[Preprocessing::AsinhFluxV1],
            Self::EfficientnetLite0 => &[Preprocessing::Rgb224CatmullRomV1],
            Self::AstroclipImage | Self::Astrodino => &[Preprocessing::GrzRgbAstroclipV1],
            Self::AstroclipSpectrum | Self::Specformer => &[Preprocessing::DesiFluxV1],
            Self::SteinMoco => &[Preprocessing::GrzRgbSteinV1],
            Self::Aion => &[Preprocessing::AionCodecsV1],
            Self::Torchscript => &[
                Preprocessing::ArraysV1,
                Preprocessing::Rgb224CatmullRomV1,
                Preprocessing::GrzRgbAstroclipV1,
                Preprocessing::GrzRgbSteinV1,
            ],
        }
    }

    /// What can be made of its tokens or feature maps; the first one is meant where nothing is said.
    pub fn poolings(self) -> &'static [Pooling] {
        match self {
            Self::PhotometryMm => &[Pooling::PosteriorWhiten],
            Self::EfficientnetLite0 => &[Pooling::GlobalAverage],
            Self::AstroclipImage => &[Pooling::Attentive, Pooling::Mean, Pooling::Tokens],
            Self::AstroclipSpectrum => &[
                Pooling::Attentive,
                Pooling::Mean,
                Pooling::MeanWithoutStatistics,
                Pooling::Tokens,
            ],
            Self::Astrodino => &[Pooling::Cls, Pooling::Mean, Pooling::Tokens],
            Self::Specformer => &[Pooling::Mean, Pooling::MeanWithoutStatistics, Pooling::Tokens],
            Self::SteinMoco => &[Pooling::GlobalAverage, Pooling::ContrastiveHead],
            Self::Aion => &[Pooling::Mean, Pooling::Tokens, Pooling::TokenIds],
            Self::Torchscript => &[Pooling::Own],
        }
    }

    /// Whether it computes in the precision that the operator asks for; the project's own networks stay in single precision.
    pub fn is_published(self) -> bool {
        !matches!(self, Self::PhotometryMm | Self::EfficientnetLite0)
    }

    /// Whether sizes are read from a `config.json` beside the weights, as the model's authors publish it.
    pub fn has_own_config(self) -> bool {
        !matches!(self, Self::PhotometryMm | Self::EfficientnetLite0 | Self::Torchscript)
    }
}

/// How a payload becomes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Preprocessing {
    /// Asinh magnitudes and their errors, standardised with constants of the weights file.
    #[serde(rename = "asinh-flux-v1")]
    AsinhFluxV1,
    /// Whole image to 224 x 224 RGB, `(byte - 127) / 128`.
    #[serde(rename = "rgb224-catmullrom-127-128-v1")]
    Rgb224CatmullRomV1,
    /// The middle of a g, r, z cutout in nanomaggies as a picture, as AstroCLIP makes it.
    #[serde(rename = "grz-rgb-astroclip-v1")]
    GrzRgbAstroclipV1,
    /// The same with another stretch, rows and columns exchanged, as Stein et al. make it.
    #[serde(rename = "grz-rgb-stein-v1")]
    GrzRgbSteinV1,
    /// Flux of a spectrum as it is, on the wavelengths of DESI where others are given.
    #[serde(rename = "desi-flux-v1")]
    DesiFluxV1,
    /// Raw observations of any of AION-1's modalities; its own codecs take them from there.
    #[serde(rename = "aion-codecs-v1")]
    AionCodecsV1,
    /// Named arrays as they come.
    #[serde(rename = "arrays-v1")]
    ArraysV1,
}

impl Preprocessing {
    /// The name that goes into the provenance.
    pub fn name(self) -> &'static str {
        match self {
            Self::AsinhFluxV1 => "asinh-flux-v1",
            Self::Rgb224CatmullRomV1 => "rgb224-catmullrom-127-128-v1",
            Self::GrzRgbAstroclipV1 => "grz-rgb-astroclip-v1",
            Self::GrzRgbSteinV1 => "grz-rgb-stein-v1",
            Self::DesiFluxV1 => "desi-flux-v1",
            Self::AionCodecsV1 => "aion-codecs-v1",
            Self::ArraysV1 => "arrays-v1",
        }
    }
}

/// How tokens or feature maps become what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The posterior of every band and all tokens side by side, then a linear map that whitens them.
    PosteriorWhiten,
    /// Mean over the feature map.
    GlobalAverage,
    /// What the contrastive head of the training makes of the mean over the feature map.
    ContrastiveHead,
    /// The class token.
    Cls,
    /// Mean over all tokens but a class token; of AION-1, over those that are there.
    Mean,
    /// Mean over all tokens but the first, which holds mean and deviation of a spectrum.
    MeanWithoutStatistics,
    /// A learned query attends to the tokens; a perceptron follows.
    Attentive,
    /// The tokens themselves.
    Tokens,
    /// The codes that the network starts from.
    TokenIds,
    /// Whatever the archive does.
    Own,
}

impl Pooling {
    /// The name that goes into the provenance.
    pub fn name(self) -> &'static str {
        match self {
            Self::PosteriorWhiten => "posterior-whiten",
            Self::GlobalAverage => "global-average",
            Self::ContrastiveHead => "contrastive-head",
            Self::Cls => "cls",
            Self::Mean => "mean",
            Self::MeanWithoutStatistics => "mean-without-statistics",
            Self::Attentive => "attentive",
            Self::Tokens => "tokens",
            Self::TokenIds => "token-ids",
            Self::Own => "own",
        }
    }
}
