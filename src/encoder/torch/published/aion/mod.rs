//! AION-1 (Parker et al. 2025, arXiv:2510.17960): one encoder for forty kinds of observations, behind codecs that turn each
//! of them into tokens.

mod encoder;
mod fsq;
mod image_codec;
mod model;
mod probe;
mod scalar_codec;
mod segmap_codec;
mod spectrum_codec;

pub(crate) use encoder::{AionConfig, AionEncoder, Encoded, Tokens};
pub(crate) use image_codec::{ImageCodec, ImageCodecConfig};
pub(crate) use model::AionModel;
pub(crate) use probe::{AttentiveProbe, LinearProbe};
pub(crate) use scalar_codec::{CatalogCodec, ScalarCodec, ScalarConfig};
pub(crate) use segmap_codec::{SegmapCodec, SegmapCodecConfig};
pub(crate) use spectrum_codec::{Spectra, SpectrumCodec, SpectrumCodecConfig};
