//! `aion-codecs-v1`: any of the observations that AION-1 has a codec for, by the keys of its modalities.
//!
//! What is handed on is raw: the codecs are networks and lookups of their own. Here it is seen to that every array has a
//! shape and values that its codec can take, so that one bad object is refused and the others of its batch go on.

use super::aion_modalities::{AionLayout, aion_modality};
use super::arrays::{Array, Arrays, bad, from_numbers};
use super::cutout::{Cutout, IMAGE};
use super::spectrum::{FLUX, IVAR, MASK, Spectrum, WAVELENGTH, survey_of};
use super::{Features, PayloadError};
use crate::encoder::{FeaturePart, ModelSpec};
use crate::wire::v1::{NamedValues, TokenSequence};

/// Pixels of the side of what the codecs of pictures encode.
const SIDE: usize = 96;

/// The bands of images that name none, by their number: Legacy Surveys and HSC.
const LEGACY: [&str; 4] = ["DES-G", "DES-R", "DES-I", "DES-Z"];
const HSC: [&str; 5] = ["HSC-G", "HSC-R", "HSC-I", "HSC-Z", "HSC-Y"];

/// Wavelengths that the codec of spectra looks at, in Angstrom.
const CODEC_RANGE: std::ops::RangeInclusive<f32> = 3_500.0..=10_462.4;

/// Coefficients of a Gaia XP spectrum.
const COEFFICIENTS: usize = 55;

/// Numbers of an object of a catalogue: place, ellipticity and radius.
const OBJECT_NUMBERS: usize = 5;

/// Most objects of a catalogue.
const OBJECTS_MAX: usize = 10;

/// Greatest redshift that the codec tells apart.
const REDSHIFT_MAX: f32 = 1.0;

/// The observations that a model takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observations {
    /// Keys of the modalities that its encoder knows.
    keys: Vec<String>,
    /// Those of them whose codec is among the model's files.
    coded: Vec<String>,
    /// Most tokens of an object, where more are refused.
    tokens_max: Option<usize>,
}

/// What a modality's codec takes.
enum Form {
    Image,
    Spectrum,
    Map,
    Coefficients,
    Catalog,
    Number,
}

fn form(key: &str) -> Form {
    match key {
        "tok_image" | "tok_image_hsc" => Form::Image,
        "tok_spectrum_desi" | "tok_spectrum_sdss" => Form::Spectrum,
        "tok_segmap" => Form::Map,
        "tok_xp_bp" | "tok_xp_rp" => Form::Coefficients,
        "catalog" => Form::Catalog,
        _ => Form::Number,
    }
}

/// A modality's name as an input: its key without what all keys begin with.
fn input_name(key: &str) -> &str {
    key.strip_prefix("tok_").unwrap_or(key)
}

impl Observations {
    pub(super) fn new(spec: &ModelSpec, keys: Vec<String>) -> Self {
        let has_codec = |key: &&String| {
            aion_modality(key).is_some_and(|info| {
                spec.files.contains_key(&format!("codecs/{}/model.safetensors", info.codec))
            })
        };
        let coded = keys.iter().filter(has_codec).cloned().collect();
        let tokens_max = spec.tokens_max.filter(|_| !spec.truncate);
        Self { keys, coded, tokens_max }
    }

    /// Refuses an object of which the encoder would look at a part only.
    fn check_count(&self, parts: &[(FeaturePart, Vec<f32>)]) -> Result<(), PayloadError> {
        let Some(limit) = self.tokens_max else { return Ok(()) };
        let mut seen: Vec<&str> = Vec::new();
        let mut tokens = 0;
        for (part, values) in parts {
            let key = part.name.split('.').next().unwrap_or_default();
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            tokens += match aion_modality(key) {
                Some(info) if info.layout == AionLayout::Grid => info.positions as usize,
                _ => values.len(),
            };
        }
        if tokens > limit {
            return Err(PayloadError::TooManyTokens { tokens, limit });
        }
        Ok(())
    }

    /// A dark image, where the model takes images; else a number.
    pub(super) fn example(&self) -> Option<Features> {
        let (name, shape) = match self.coded.iter().any(|key| key == "tok_image") {
            true => (IMAGE, vec![LEGACY.len(), SIDE, SIDE]),
            false => {
                let number = self.coded.iter().find(|key| matches!(form(key), Form::Number))?;
                (number.as_str(), Vec::new())
            }
        };
        let values = vec![0.0; shape.iter().product()];
        let array = Array { shape, values, bands: Vec::new() };
        self.features(&Arrays::from([(name.to_owned(), array)])).ok()
    }

    /// Names of all inputs; an observation may lack any of them.
    pub(super) fn inputs(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut add = |name: String| {
            if !names.contains(&name) {
                names.push(name);
            }
        };
        for key in &self.coded {
            match form(key) {
                Form::Image => add(IMAGE.to_owned()),
                Form::Spectrum => {
                    [FLUX, IVAR, MASK, WAVELENGTH]
                        .into_iter()
                        .for_each(|name| add(name.to_owned()));
                }
                _ => add(input_name(key).to_owned()),
            }
        }
        names
    }

    /// The features of an observation, in the order of the model's modalities.
    pub(super) fn features(&self, arrays: &Arrays) -> Result<Features, PayloadError> {
        let mut parts = Vec::new();
        let mut used: Vec<String> = Vec::new();
        self.image(arrays, &mut parts, &mut used)?;
        self.spectra(arrays, &mut parts, &mut used)?;
        for key in &self.coded {
            let own = input_name(key);
            let array = arrays.get_key_value(own).or_else(|| arrays.get_key_value(key));
            let Some((name, array)) = array.filter(|(name, _)| !used.contains(name)) else {
                continue;
            };
            if let Some(part) = single(key, name, array)? {
                used.push(name.clone());
                parts.push(part);
            }
        }
        if let Some(unknown) = arrays.keys().filter(|name| !used.contains(name)).min() {
            let inputs = self.inputs().join(", ");
            return Err(PayloadError::UnknownInput { name: unknown.clone(), inputs });
        }
        if parts.is_empty() {
            return Err(PayloadError::NothingObserved);
        }
        let place = |part: &FeaturePart| {
            let key = part.name.split('.').next().unwrap_or_default();
            self.keys.iter().position(|known| known == key)
        };
        parts.sort_by_key(|(part, _)| place(part));
        self.check_count(&parts)?;
        Ok(Features::new(parts))
    }

    /// The features of a row of numbers: each is a modality of one token.
    pub(super) fn numbers(&self, row: &NamedValues) -> Result<Features, PayloadError> {
        self.features(&from_numbers(row))
    }

    /// The features of token ids that the model made earlier.
    pub(super) fn ids(&self, tokens: &TokenSequence) -> Result<Features, PayloadError> {
        let mut parts = Vec::with_capacity(tokens.runs.len());
        for run in &tokens.runs {
            let name = &run.modality;
            if !self.keys.contains(name) {
                let inputs = self.keys.join(", ");
                return Err(PayloadError::UnknownInput { name: name.clone(), inputs });
            }
            if parts.iter().any(|(part, _): &(FeaturePart, _)| part.name == format!("{name}.ids")) {
                return Err(bad(name, "is there twice"));
            }
            let (ids, rest) = run.ids.as_chunks::<2>();
            let count = run.count as usize;
            let info = aion_modality(name);
            let positions = info.map_or(0, |info| info.positions as usize);
            let fits = match info.map(|info| info.layout) {
                Some(AionLayout::Grid) => count == positions,
                _ => (1..=positions).contains(&count),
            };
            if ids.len() != count || !rest.is_empty() || !fits {
                let bytes = run.ids.len();
                let reason = format!("has {count} ids in {bytes} bytes; it has {positions} places");
                return Err(bad(name, reason));
            }
            let ids = ids.iter().map(|id| u16::from_le_bytes(*id));
            let vocabulary = aion_modality(name).map_or(0, |info| info.vocabulary);
            if let Some(id) = ids.clone().find(|id| i64::from(*id) >= vocabulary) {
                return Err(bad(name, format!("has token {id}; its vocabulary has {vocabulary}")));
            }
            let ids = ids.map(f32::from).collect();
            parts.push((FeaturePart::new(format!("{name}.ids"), [count]), ids));
        }
        if parts.is_empty() {
            return Err(PayloadError::NothingObserved);
        }
        self.check_count(&parts)?;
        Ok(Features::new(parts))
    }

    fn image(
        &self,
        arrays: &Arrays,
        parts: &mut Vec<(FeaturePart, Vec<f32>)>,
        used: &mut Vec<String>,
    ) -> Result<(), PayloadError> {
        if !arrays.contains_key(IMAGE) {
            return Ok(());
        }
        let mut cutout = Cutout::of(arrays, |planes| match planes {
            4 => Some(&LEGACY),
            5 => Some(&HSC),
            _ => None,
        })?;
        let known = |band: &String| LEGACY.contains(&&**band) || HSC.contains(&&**band);
        let survey = |band: &String| band.split('-').next().unwrap_or_default().to_owned();
        if let Some(band) = cutout.bands.iter().find(|band| !known(band)) {
            let names = [LEGACY.join(", "), HSC.join(", ")].join(", ");
            return Err(bad(
                IMAGE,
                format!(
                    "has band `{band}`; the codec takes {names}: say which they are, as with --bands"
                ),
            ));
        }
        if cutout.bands.iter().any(|band| survey(band) != survey(&cutout.bands[0])) {
            return Err(bad(IMAGE, "has bands of two surveys"));
        }
        if let Some(band) = cutout
            .bands
            .iter()
            .enumerate()
            .find_map(|(place, band)| cutout.bands[..place].contains(band).then_some(band))
        {
            return Err(bad(IMAGE, format!("has band `{band}` twice")));
        }
        let is_hsc = cutout.bands[0].starts_with("HSC");
        let key = if is_hsc { "tok_image_hsc" } else { "tok_image" };
        self.must_know(key, IMAGE)?;
        check_side(IMAGE, cutout.height, cutout.width)?;
        // What the codec does not look at need not be kept, and says nothing of the object.
        cutout.cut_middle(SIDE);
        if !cutout.flux.iter().any(|value| value.is_finite()) {
            return Err(bad(IMAGE, format!("has no finite pixel in its middle {SIDE} x {SIDE}")));
        }
        // Bad pixels count as sky, as masked pixels of coadds do; one of them would spoil every token.
        cutout.flux.iter_mut().filter(|value| !value.is_finite()).for_each(|value| *value = 0.0);
        let shape = vec![cutout.bands.len(), cutout.height, cutout.width];
        let bands = std::mem::take(&mut cutout.bands);
        parts.push((FeaturePart { name: key.to_owned(), shape, bands }, cutout.flux));
        used.push(IMAGE.to_owned());
        Ok(())
    }

    fn spectra(
        &self,
        arrays: &Arrays,
        parts: &mut Vec<(FeaturePart, Vec<f32>)>,
        used: &mut Vec<String>,
    ) -> Result<(), PayloadError> {
        for prefix in ["", "spectrum_desi.", "spectrum_sdss."] {
            let Some(spectrum) = Spectrum::of(arrays, prefix)? else { continue };
            let name = |part: &str| format!("{prefix}{part}");
            let Spectrum { flux, ivar, mask, wavelength } = spectrum;
            let wavelength = wavelength
                .ok_or_else(|| bad(&name(WAVELENGTH), "is missing; the codec needs it"))?;
            let survey = match prefix {
                "spectrum_desi." => "desi",
                "spectrum_sdss." => "sdss",
                _ => survey_of(&wavelength).ok_or_else(|| {
                    let advice =
                        "name the arrays spectrum_desi.flux or spectrum_sdss.flux, and so on";
                    bad(WAVELENGTH, format!("has the steps of neither DESI nor SDSS; {advice}"))
                })?,
            };
            let key = format!("tok_spectrum_{survey}");
            self.must_know(&key, &name(FLUX))?;
            let good = |((at, flux), mask): ((&f32, &f32), &f32)| {
                CODEC_RANGE.contains(at) && flux.is_finite() && *mask == 0.0
            };
            if !wavelength.iter().zip(&flux).zip(&mask).any(good) {
                let (first, last) = (CODEC_RANGE.start(), CODEC_RANGE.end());
                let reason = format!("has no good pixel between {first} and {last} Angstrom");
                return Err(bad(&name(WAVELENGTH), reason));
            }
            if parts.iter().any(|(part, _)| part.name.starts_with(&key)) {
                return Err(bad(&name(FLUX), "is a second spectrum of the same survey"));
            }
            let shape = [flux.len()];
            for (part, values) in
                [(FLUX, flux), (IVAR, ivar), (MASK, mask), (WAVELENGTH, wavelength)]
            {
                parts.push((FeaturePart::new(format!("{key}.{part}"), shape), values));
                used.push(name(part));
            }
        }
        Ok(())
    }

    fn must_know(&self, key: &str, name: &str) -> Result<(), PayloadError> {
        if self.coded.iter().any(|known| known == key) {
            return Ok(());
        }
        let known = self.coded.join(", ");
        Err(bad(
            name,
            format!("is of modality `{key}`, which these weights lack; they have {known}"),
        ))
    }
}

/// Every other modality is one array; `None` for those that are read otherwise.
fn single(
    key: &str,
    name: &str,
    array: &Array,
) -> Result<Option<(FeaturePart, Vec<f32>)>, PayloadError> {
    let Array { shape, values, .. } = array;
    let wrong = |expected: &str| bad(name, format!("has shape {shape:?}; expected {expected}"));
    let shape = match form(key) {
        Form::Image | Form::Spectrum => return Ok(None),
        Form::Number if values.len() == 1 => {
            check_number(key, name, values[0])?;
            vec![1]
        }
        Form::Number => return Err(wrong("one number")),
        Form::Coefficients if values.len() == COEFFICIENTS => vec![COEFFICIENTS],
        Form::Coefficients => return Err(wrong("55 coefficients")),
        Form::Catalog => {
            let objects = values.len() / OBJECT_NUMBERS;
            if values.len() % OBJECT_NUMBERS != 0 || !(1..=OBJECTS_MAX).contains(&objects) {
                return Err(wrong("up to 10 objects of x, y, e1, e2, r"));
            }
            vec![objects, OBJECT_NUMBERS]
        }
        Form::Map => match shape[..] {
            [height, width] => {
                check_side(name, height, width)?;
                if values.iter().any(|value| !(0.0..=1.0).contains(value)) {
                    return Err(bad(name, "must hold numbers from 0 to 1"));
                }
                vec![height, width]
            }
            _ => return Err(wrong("rows, columns")),
        },
    };
    if !matches!(form(key), Form::Map) && values.iter().any(|value| !value.is_finite()) {
        return Err(bad(name, "is not finite; leave it out where it was not observed"));
    }
    Ok(Some((FeaturePart::new(key, shape), values.clone())))
}

/// Numbers beyond what a codec tells apart would be stored as another object's: they are refused.
fn check_number(key: &str, name: &str, value: f32) -> Result<(), PayloadError> {
    let is_logarithmic = key.contains("flux") || key == "tok_shape_r" || key == "tok_parallax";
    match key {
        "tok_z" if !(0.0..=REDSHIFT_MAX).contains(&value) => Err(bad(
            name,
            format!("is {value}; the codec takes redshifts from 0 to {REDSHIFT_MAX}"),
        )),
        _ if is_logarithmic && value < 0.0 => Err(bad(
            name,
            format!("is {value}; the codec takes its logarithm: leave negative values out"),
        )),
        _ => Ok(()),
    }
}

fn check_side(name: &str, height: usize, width: usize) -> Result<(), PayloadError> {
    if height >= SIDE && width >= SIDE {
        return Ok(());
    }
    Err(bad(name, format!("has {height} x {width} pixels; {SIDE} x {SIDE} or more are needed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Observations {
        let keys =
            ["tok_image", "tok_spectrum_desi", "tok_z", "tok_flux_g", "tok_xp_bp", "catalog"];
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        Observations { coded: keys.clone(), keys, tokens_max: Some(600) }
    }

    fn arrays(parts: &[(&str, &[usize], f32)]) -> Arrays {
        let array = |shape: &[usize], value| Array {
            shape: shape.to_vec(),
            values: vec![value; shape.iter().product()],
            bands: Vec::new(),
        };
        parts
            .iter()
            .map(|(name, shape, value)| ((*name).to_owned(), array(shape, *value)))
            .collect()
    }

    #[test]
    fn observations_come_in_the_order_of_the_modalities() {
        let features = keys()
            .features(&arrays(&[
                ("flux_g", &[], 2.0),
                ("tok_z", &[1], 0.5),
                ("image", &[4, 96, 100], 1.0),
            ]))
            .expect("features");
        let names: Vec<_> = features.layout().iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["tok_image", "tok_z", "tok_flux_g"]);
        assert_eq!(features.layout()[0].bands, LEGACY);
        assert!(keys().inputs().contains(&"wavelength".to_owned()));
    }

    #[test]
    fn what_a_codec_cannot_take_is_refused() {
        let refused = |parts: &[(&str, &[usize], f32)]| {
            keys().features(&arrays(parts)).expect_err("must fail").to_string()
        };
        assert!(refused(&[("z", &[], 1.2)]).contains("redshifts from 0 to 1"));
        assert!(refused(&[("z", &[], -0.1)]).contains("redshifts from 0 to 1"));
        assert!(refused(&[("flux_g", &[], -1.0)]).contains("logarithm"));
        assert!(refused(&[("flux_g", &[], f32::NAN)]).contains("not finite"));
        assert!(refused(&[("flux_g", &[2], 1.0)]).contains("one number"));
        assert!(refused(&[("flux_x", &[], 1.0)]).contains("no input `flux_x`"));
        assert!(refused(&[("xp_bp", &[54], 1.0)]).contains("55 coefficients"));
        assert!(refused(&[("catalog", &[11, 5], 1.0)]).contains("up to 10 objects"));
        assert!(refused(&[("image", &[4, 95, 96], 1.0)]).contains("95 x 96"));
        assert!(refused(&[("image", &[5, 96, 96], 1.0)]).contains("these weights lack"));
        assert!(refused(&[("image", &[3, 96, 96], 1.0)]).contains("name its bands"));
        assert!(refused(&[("image", &[4, 96, 96], f32::NAN)]).contains("no finite pixel"));
        assert!(refused(&[("flux", &[10], 1.0)]).contains("`wavelength` is missing"));
        assert!(refused(&[]).contains("nothing"));
        let both: [(&str, &[usize], f32); 2] =
            [("image", &[4, 96, 96], 1.0), ("catalog", &[5, 5], 1.0)];
        assert!(refused(&both).contains("601 tokens"), "{}", refused(&both));
    }

    #[test]
    fn token_ids_are_taken_by_their_modality() {
        let run = |modality: &str, count, ids: &[u8]| TokenSequence {
            runs: vec![crate::wire::v1::TokenRun {
                modality: modality.to_owned(),
                count,
                ids: ids.to_vec(),
                ..Default::default()
            }],
        };
        let features = keys().ids(&run("tok_z", 1, &[1, 2])).expect("ids");
        assert_eq!(features.arrays(), [[513.0]]);
        assert!(
            keys().ids(&run("tok_z", 1, &[1, 4])).expect_err("1025").to_string().contains("1025")
        );
        assert!(keys().ids(&run("tok_z", 2, &[1, 2])).is_err());
        assert!(keys().ids(&run("tok_y", 1, &[1, 2])).is_err());
        assert!(keys().ids(&TokenSequence::default()).is_err());
    }
}
