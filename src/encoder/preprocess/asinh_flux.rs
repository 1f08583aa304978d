//! `asinh-flux-v1`: fluxes and inverse variances to standardised asinh magnitudes and their errors.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors};

use super::PayloadError;

/// Bound of the standardised asinh flux.
const VALUE_MAX: f64 = 12.0;

/// Bound of the standardised logarithm of its error.
const NOISE_MAX: f64 = 6.0;

/// Bound of the variance, which keeps it finite in single precision; a band of such variance weighs nothing.
const VARIANCE_MAX: f64 = 1e30;

/// Asinh fluxes (Lupton, Gunn & Szalay 1999, 1999AJ....118.1406L) of the bands of a survey.
///
/// # Units
/// `flux_<band>` in the unit of the constants in the weights file, `ivar_<band>` in its inverse square,
/// `extinction_<band>` in magnitudes (absent means that the flux is corrected already).
#[derive(Debug, Clone)]
pub struct AsinhFlux {
    bands: Vec<Band>,
    /// All inputs in one sentence, for messages.
    inputs: String,
}

#[derive(Debug, Clone)]
struct Band {
    flux: String,
    ivar: String,
    extinction: Option<String>,
    softening: f64,
    centre: f64,
    scale: f64,
    noise_centre: f64,
    noise_scale: f64,
}

impl AsinhFlux {
    /// The standardised flux, the standardised log error, the variance of the standardised flux, and 1 where the band
    /// is measured.
    pub const FEATURES_PER_BAND: usize = 4;

    /// The features of a band that is not measured.
    const NOT_MEASURED: [f32; Self::FEATURES_PER_BAND] = [0.0, 0.0, 1.0, 0.0];

    /// Keys of the constants in the weights file; each is a list of doubles, one for each band.
    pub const CONSTANTS: [&str; 5] = [
        "preprocess.softening",
        "preprocess.centre",
        "preprocess.scale",
        "preprocess.noise_centre",
        "preprocess.noise_scale",
    ];

    /// Reads the constants of the bands.
    ///
    /// # Errors
    /// A sentence that names the constant that is missing or wrong.
    pub fn from_weights(
        bands: &[String],
        corrected: bool,
        weights: &SafeTensors<'_>,
    ) -> Result<Self, String> {
        let constants = Self::CONSTANTS.map(|name| read_constant(weights, name, bands.len()));
        let [softening, centre, scale, noise_centre, noise_scale] = constants;
        let (softening, centre, scale) = (softening?, centre?, scale?);
        let (noise_centre, noise_scale) = (noise_centre?, noise_scale?);
        for (name, values) in
            [(0, &softening), (2, &scale), (4, &noise_scale)].map(|(k, v)| (Self::CONSTANTS[k], v))
        {
            if values.iter().any(|value| *value <= 0.0) {
                return Err(format!("tensor `{name}` must be positive"));
            }
        }
        let bands = bands.iter().enumerate().map(|(row, name)| Band {
            flux: format!("flux_{name}"),
            ivar: format!("ivar_{name}"),
            extinction: corrected.then(|| format!("extinction_{name}")),
            softening: softening[row],
            centre: centre[row],
            scale: scale[row],
            noise_centre: noise_centre[row],
            noise_scale: noise_scale[row],
        });
        let bands: Vec<Band> = bands.collect();
        let inputs: Vec<&str> = bands.iter().flat_map(Band::names).collect();
        let inputs = inputs.join(", ");
        Ok(Self { bands, inputs })
    }

    /// How many bands there are.
    pub fn band_count(&self) -> usize {
        self.bands.len()
    }

    /// Turns named numbers into features, band by band.
    pub fn features(&self, values: &HashMap<String, f64>) -> Result<Vec<f32>, PayloadError> {
        let is_known =
            |name: &String| self.bands.iter().any(|band| band.names().any(|known| known == name));
        if let Some(name) = values.keys().filter(|name| !is_known(name)).min() {
            return Err(PayloadError::UnknownInput {
                name: name.clone(),
                inputs: self.inputs.clone(),
            });
        }
        let measured: Vec<_> = self.bands.iter().map(|band| band.features(values)).collect();
        if measured.iter().all(Option::is_none) {
            return Err(PayloadError::NothingMeasured);
        }
        Ok(measured.into_iter().flat_map(|band| band.unwrap_or(Self::NOT_MEASURED)).collect())
    }
}

impl Band {
    fn names(&self) -> impl Iterator<Item = &str> {
        [Some(&self.flux), Some(&self.ivar), self.extinction.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// The features of a band; `None` when it is not measured.
    fn features(
        &self,
        values: &HashMap<String, f64>,
    ) -> Option<[f32; AsinhFlux::FEATURES_PER_BAND]> {
        let finite = |name: &String| values.get(name).copied().filter(|value| value.is_finite());
        let extinction = self.extinction.as_ref().and_then(finite).unwrap_or(0.0);
        let correction = 10_f64.powf(0.4 * extinction);
        let flux = finite(&self.flux)? * correction;
        let ivar = finite(&self.ivar)? / (correction * correction);
        if !flux.is_finite() || !ivar.is_finite() || ivar <= 0.0 {
            return None;
        }
        let magnitude = (flux / (2.0 * self.softening)).asinh();
        let slope = (flux * flux + 4.0 * self.softening * self.softening).sqrt();
        let error = 1.0 / (ivar.sqrt() * slope);
        let value = ((magnitude - self.centre) / self.scale).clamp(-VALUE_MAX, VALUE_MAX);
        let noise =
            ((error.ln() - self.noise_centre) / self.noise_scale).clamp(-NOISE_MAX, NOISE_MAX);
        let variance = (error / self.scale).powi(2).min(VARIANCE_MAX);
        Some([value as f32, noise as f32, variance as f32, 1.0])
    }
}

fn read_constant(
    weights: &SafeTensors<'_>,
    name: &str,
    band_count: usize,
) -> Result<Vec<f64>, String> {
    let tensor = weights.tensor(name).map_err(|_| format!("tensor `{name}` is missing"))?;
    if tensor.dtype() != Dtype::F64 || tensor.shape() != [band_count] {
        return Err(format!(
            "tensor `{name}` is {:?} {:?}, expected F64 [{band_count}]",
            tensor.dtype(),
            tensor.shape()
        ));
    }
    let (numbers, _) = tensor.data().as_chunks::<8>();
    let values: Vec<f64> = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(format!("tensor `{name}` is not finite"))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use safetensors::tensor::{TensorView, serialize};

    use super::*;

    fn table() -> AsinhFlux {
        let columns = [[2.0, 4.0], [1.0, 0.5], [2.0, 3.0], [-1.0, -2.0], [1.0, 0.5]];
        let data: Vec<Vec<u8>> = columns
            .iter()
            .map(|column| column.iter().flat_map(|value: &f64| value.to_le_bytes()).collect())
            .collect();
        let views = AsinhFlux::CONSTANTS.iter().zip(&data).map(|(name, bytes)| {
            (*name, TensorView::new(Dtype::F64, vec![2], bytes).expect("a tensor"))
        });
        let file = serialize(views, None).expect("a file");
        let weights = SafeTensors::deserialize(&file).expect("reads");
        AsinhFlux::from_weights(&["g".to_owned(), "r".to_owned()], true, &weights)
            .expect("constants")
    }

    fn row(values: &[(&str, f64)]) -> HashMap<String, f64> {
        values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn a_measured_band_gives_the_textbook_numbers() {
        let features =
            table().features(&row(&[("flux_g", 10.0), ("ivar_g", 0.25)])).expect("features");
        let value = ((10.0_f64 / 4.0).asinh() - 1.0) / 2.0;
        let error = 2.0 / (100.0_f64 + 16.0).sqrt();
        let measured = [value as f32, (error.ln() + 1.0) as f32, (error * error / 4.0) as f32, 1.0];
        assert_eq!(features[..4], measured);
        assert_eq!(features[4..], [0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn extinction_brightens_the_flux_and_its_error_alike() {
        let dusty = row(&[("flux_r", 10.0), ("ivar_r", 4.0), ("extinction_r", 2.5)]);
        let clean = row(&[("flux_r", 100.0), ("ivar_r", 0.04)]);
        let (dusty, clean) = (
            table().features(&dusty).expect("features"),
            table().features(&clean).expect("features"),
        );
        for (dusty, clean) in dusty.iter().zip(&clean) {
            assert!((dusty - clean).abs() < 1e-6, "{dusty} {clean}");
        }
        let unknown = row(&[("flux_r", 100.0), ("ivar_r", 0.04), ("extinction_r", f64::NAN)]);
        assert_eq!(table().features(&unknown).expect("features"), clean);
    }

    #[test]
    fn what_is_not_measured_is_masked() {
        let whole = row(&[("flux_g", 1.0), ("ivar_g", 1.0)]);
        let expected = table().features(&whole).expect("features");
        for (flux, ivar) in
            [(f64::NAN, 1.0), (1.0, f64::NAN), (1.0, 0.0), (1.0, -1.0), (f64::INFINITY, 1.0)]
        {
            let mut part = whole.clone();
            part.extend(row(&[("flux_r", flux), ("ivar_r", ivar)]));
            assert_eq!(table().features(&part).expect("features"), expected);
        }
        for nothing in
            [row(&[]), row(&[("flux_g", 1.0)]), row(&[("flux_g", f64::NAN), ("ivar_g", 1.0)])]
        {
            assert_eq!(table().features(&nothing), Err(PayloadError::NothingMeasured));
        }
    }

    #[test]
    fn absurd_numbers_stay_finite() {
        for flux in [1e300, -1e300, 1e-300, 0.0] {
            for ivar in [1e300, 1e-300, f64::MIN_POSITIVE] {
                for extinction in [0.0, 300.0, -300.0] {
                    let row = row(&[
                        ("flux_g", flux),
                        ("ivar_g", ivar),
                        ("extinction_g", extinction),
                        ("flux_r", 1.0),
                        ("ivar_r", 1.0),
                    ]);
                    let features = table().features(&row).expect("features");
                    assert!(features.iter().all(|value| value.is_finite()), "{row:?} {features:?}");
                }
            }
        }
    }

    #[test]
    fn a_misspelt_input_is_named() {
        let error = table()
            .features(&row(&[("flux_G", 1.0), ("flux_g", 1.0), ("ivar_g", 1.0)]))
            .expect_err("must fail");
        let message = error.to_string();
        assert!(message.contains("`flux_G`") && message.contains("extinction_r"), "{message}");
    }

    #[test]
    fn a_constant_that_is_missing_or_misshapen_is_named() {
        let bands = ["g".to_owned(), "r".to_owned()];
        let bytes = [0_u8; 24];
        for (dtype, shape, expected) in
            [(Dtype::F64, vec![3], "expected F64 [2]"), (Dtype::F32, vec![2], "expected F64 [2]")]
        {
            let length = shape[0] * if dtype == Dtype::F64 { 8 } else { 4 };
            let view = TensorView::new(dtype, shape, &bytes[..length]).expect("a tensor");
            let file = serialize([("preprocess.softening", view)], None).expect("a file");
            let weights = SafeTensors::deserialize(&file).expect("reads");
            let error = AsinhFlux::from_weights(&bands, true, &weights).expect_err("must fail");
            assert!(
                error.contains("`preprocess.softening`") && error.contains(expected),
                "{error}"
            );
        }
        let file = serialize(Vec::<(&str, TensorView<'_>)>::new(), None).expect("a file");
        let weights = SafeTensors::deserialize(&file).expect("reads");
        let error = AsinhFlux::from_weights(&bands, true, &weights).expect_err("must fail");
        assert_eq!(error, "tensor `preprocess.softening` is missing");
    }
}
