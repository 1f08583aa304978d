//! The `config.json` of a published model: its authors' own sizes.

use serde_json::Value;

use super::{Architecture, Pooling};

/// Pixels of the side of the pictures of Stein et al.
const STEIN_SIDE: usize = 96;

/// Most pixels of a picture's side.
const PICTURE_SIDE_MAX: usize = 4_096;

/// A published model's sizes, by the names of its authors.
///
/// Files that were made for this program hold them as `hparams` beside a `kind`; AION-1's own file holds them at its
/// top.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedConfig {
    whole: Value,
}

impl PublishedConfig {
    /// Parses the text of a `config.json`.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let whole: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if whole.is_object() { Ok(Self { whole }) } else { Err("it is no object".to_owned()) }
    }

    /// The whole file.
    pub fn whole(&self) -> &Value {
        &self.whole
    }

    /// The sizes.
    pub fn sizes(&self) -> &Value {
        self.whole.get("hparams").unwrap_or(&self.whole)
    }

    /// The network that the file describes, and the tower where it describes two; `None` for one that is not served.
    pub fn architecture(&self) -> Option<Architecture> {
        match self.whole.get("kind").and_then(Value::as_str) {
            Some("astroclip") if self.sizes().get("image").is_some() => {
                Some(Architecture::AstroclipImage)
            }
            Some("astroclip") => Some(Architecture::AstroclipSpectrum),
            Some("astrodino") => Some(Architecture::Astrodino),
            Some("specformer") => Some(Architecture::Specformer),
            Some("stein_moco") => Some(Architecture::SteinMoco),
            Some("aion_encoder") => Some(Architecture::Aion),
            None if self.whole.get("domains_in").is_some() => Some(Architecture::Aion),
            Some(_) | None => None,
        }
    }

    /// A size by its path among the sizes, such as `/image/backbone/img_size`.
    pub fn size(&self, path: &str) -> Result<usize, String> {
        let size = self.sizes().pointer(path).and_then(Value::as_u64);
        let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
        size.ok_or_else(|| format!("`{}` is missing or no positive number", path.replace('/', ".")))
    }

    /// Pixels of the side of the pictures that a network of images takes.
    pub fn picture_side(&self, architecture: Architecture) -> Result<usize, String> {
        let path = match architecture {
            Architecture::AstroclipImage => "/image/backbone/img_size",
            Architecture::SteinMoco => "/npix_out",
            _ => "/img_size",
        };
        let side = match self.sizes().pointer(path) {
            // The published checkpoint's settings may not be there; its pictures are of this size.
            None if architecture == Architecture::SteinMoco => STEIN_SIDE,
            _ => self.size(path)?,
        };
        if side > PICTURE_SIDE_MAX {
            let name = path.trim_start_matches('/').replace('/', ".");
            return Err(format!(
                "`{name}` is {side}; pictures have up to {PICTURE_SIDE_MAX} pixels"
            ));
        }
        Ok(side)
    }

    /// Path of the sizes of the transformer over a spectrum.
    pub fn spectrum_path(architecture: Architecture) -> &'static str {
        match architecture {
            Architecture::AstroclipSpectrum => "/spectrum/backbone",
            _ => "",
        }
    }

    /// Keys of the modalities that an AION-1 encoder takes.
    pub fn domains(&self) -> Result<Vec<String>, String> {
        let listed = self.sizes().get("domains_in").and_then(Value::as_array);
        let names = listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let names: Vec<String> = names.collect();
        if names.is_empty() { Err("`domains_in` names no modality".to_owned()) } else { Ok(names) }
    }

    /// Components of a vector or of a token; 0 for token ids.
    pub fn dimension(&self, architecture: Architecture, pooling: Pooling) -> Result<usize, String> {
        if pooling == Pooling::TokenIds {
            return Ok(0);
        }
        match (architecture, pooling) {
            (Architecture::AstroclipImage, Pooling::Attentive) => {
                self.size("/image/head/embed_dim")
            }
            (Architecture::AstroclipImage, _) => self.size("/image/backbone/embed_dim"),
            (Architecture::AstroclipSpectrum, Pooling::Attentive) => {
                self.size("/spectrum/head/embed_dim")
            }
            (Architecture::AstroclipSpectrum, _) => self.size("/spectrum/backbone/embed_dim"),
            (Architecture::Astrodino | Architecture::Specformer, _) => self.size("/embed_dim"),
            (Architecture::SteinMoco, Pooling::ContrastiveHead) => self.size("/emb_dim"),
            (Architecture::SteinMoco, _) => Ok(self.residual_features()),
            (Architecture::Aion, _) => self.size("/dim"),
            _ => Err("this architecture has no config.json".to_owned()),
        }
    }

    /// Channels of the last feature map: four for each plane of the last stage, 2,048 where nothing is said.
    fn residual_features(&self) -> usize {
        let planes = self.whole.pointer("/architecture/planes/3").and_then(Value::as_u64);
        4 * planes.and_then(|planes| usize::try_from(planes).ok()).unwrap_or(512)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_tells_its_architecture_and_dimensions() {
        let parse = |text: &str| PublishedConfig::parse(text).expect("an object");
        let towers = parse(
            r#"{"kind": "astroclip", "hparams": {"image": {"backbone": {"embed_dim": 32,
            "img_size": 48}, "head": {"embed_dim": 16}}}}"#,
        );
        let image = Architecture::AstroclipImage;
        assert_eq!(towers.architecture(), Some(image));
        assert_eq!(towers.dimension(image, Pooling::Attentive), Ok(16));
        assert_eq!(towers.dimension(image, Pooling::Tokens), Ok(32));
        assert_eq!(towers.picture_side(image), Ok(48));
        let missing = towers.dimension(Architecture::Specformer, Pooling::Mean);
        assert!(missing.expect_err("no such size").contains("embed_dim"));
        let aion = parse(r#"{"dim": 768, "domains_in": ["tok_z"]}"#);
        assert_eq!(aion.architecture(), Some(Architecture::Aion));
        assert_eq!(aion.dimension(Architecture::Aion, Pooling::TokenIds), Ok(0));
        assert_eq!(aion.domains(), Ok(vec!["tok_z".to_owned()]));
        let stein = parse(r#"{"kind": "stein_moco", "hparams": {"emb_dim": 128}}"#);
        assert_eq!(stein.dimension(Architecture::SteinMoco, Pooling::GlobalAverage), Ok(2_048));
        assert_eq!(parse("{\"kind\": \"other\"}").architecture(), None);
        assert!(PublishedConfig::parse("[1]").is_err());
    }
}
