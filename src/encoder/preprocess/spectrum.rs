//! Spectra: flux along wavelength.

use super::PayloadError;
use super::arrays::{Array, Arrays, bad};
use crate::encoder::PublishedConfig;

/// Names of the arrays of a spectrum.
pub(super) const FLUX: &str = "flux";
pub(super) const IVAR: &str = "ivar";
pub(super) const MASK: &str = "mask";
pub(super) const WAVELENGTH: &str = "wavelength";

/// The wavelengths of DESI's coadds in Angstrom: first, step, and how many.
const DESI: (f64, f64, usize) = (3_600.0, 0.8, 7_781);

/// By how much of a step a pixel may lie beside its place on a grid.
const GRID_TOLERANCE: f64 = 0.01;

/// A spectrum with all its arrays.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spectrum {
    pub(super) flux: Vec<f32>,
    /// Inverse variances; ones where none are given.
    pub(super) ivar: Vec<f32>,
    /// 1 where a pixel is bad.
    pub(super) mask: Vec<f32>,
    /// Ascending, in Angstrom; absent where it is not given.
    pub(super) wavelength: Option<Vec<f32>>,
}

impl Spectrum {
    /// The spectrum whose arrays have names that begin with `prefix`; `None` when there is no flux of that name.
    pub(super) fn of(arrays: &Arrays, prefix: &str) -> Result<Option<Self>, PayloadError> {
        let name = |part: &str| format!("{prefix}{part}");
        let get = |part: &str| arrays.get(&name(part));
        let Some(flux) = get(FLUX) else { return Ok(None) };
        let flux = line(&name(FLUX), flux)?;
        let like_flux = |part: &str| -> Result<Option<Vec<f32>>, PayloadError> {
            let Some(array) = get(part) else { return Ok(None) };
            let values = line(&name(part), array)?;
            if values.len() == flux.len() {
                return Ok(Some(values));
            }
            let (count, pixels) = (values.len(), flux.len());
            Err(bad(&name(part), format!("has {count} pixels, the flux has {pixels}")))
        };
        let wavelength = like_flux(WAVELENGTH)?;
        if let Some(wavelength) = &wavelength {
            check_ascending(&name(WAVELENGTH), wavelength)?;
        }
        let ivar = like_flux(IVAR)?.unwrap_or_else(|| vec![1.0; flux.len()]);
        let mask = like_flux(MASK)?.unwrap_or_else(|| vec![0.0; flux.len()]);
        let mask: Vec<f32> =
            mask.into_iter().map(|value| if value == 0.0 { 0.0 } else { 1.0 }).collect();
        let pixels = flux.iter().zip(&ivar).zip(&mask);
        let is_good = |((flux, ivar), mask): ((&f32, &f32), &f32)| {
            flux.is_finite() && *ivar > 0.0 && *mask == 0.0
        };
        if !pixels.into_iter().any(is_good) {
            return Err(bad(
                &name(FLUX),
                "has no good pixel: none is finite, unmasked, with ivar > 0",
            ));
        }
        Ok(Some(Self { flux, ivar, mask, wavelength }))
    }
}

/// The numbers of an array along one axis.
fn line(name: &str, array: &Array) -> Result<Vec<f32>, PayloadError> {
    let long = array.shape.iter().filter(|size| **size > 1).count();
    if long > 1 || array.values.len() < 2 {
        return Err(bad(
            name,
            format!("has shape {:?}; a spectrum lies along one axis", array.shape),
        ));
    }
    Ok(array.values.clone())
}

fn check_ascending(name: &str, wavelength: &[f32]) -> Result<(), PayloadError> {
    let is_good = wavelength.iter().all(|value| value.is_finite() && *value > 0.0);
    if is_good && wavelength.is_sorted_by(|left, right| left < right) {
        return Ok(());
    }
    Err(bad(name, "must be finite, positive and ascending, in Angstrom"))
}

/// `desi-flux-v1`: raw flux on the wavelengths that a Specformer was trained on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpectrumWindows {
    /// Pixels of a window.
    pub section: usize,
    /// Pixels that two neighbours share.
    pub overlap: usize,
    /// Most tokens, that of mean and deviation included.
    pub tokens_max: usize,
}

impl SpectrumWindows {
    /// Reads the sizes from a published model's own configuration.
    pub(super) fn new(config: &PublishedConfig, path: &str) -> Result<Self, String> {
        let size = |name: &str| config.size(&format!("{path}/{name}"));
        let section = size("slice_section_length")?;
        let overlap = config.sizes().pointer(&format!("{path}/slice_overlap"));
        let overlap = overlap.and_then(serde_json::Value::as_u64).unwrap_or(0) as usize;
        if overlap >= section {
            return Err("slice_overlap must be shorter than slice_section_length".to_owned());
        }
        Ok(Self { section, overlap, tokens_max: size("max_len")? })
    }

    /// Windows of a spectrum of so many pixels: the last one is always left out, also where it is full.
    pub fn windows(&self, pixels: usize) -> usize {
        let step = self.section - self.overlap;
        pixels.saturating_sub(self.overlap).div_ceil(step).saturating_sub(1)
    }

    /// Whether a spectrum of so many pixels can be encoded.
    pub fn takes(&self, pixels: usize) -> bool {
        pixels >= self.section && (1..self.tokens_max).contains(&self.windows(pixels))
    }

    /// Pixels of a spectrum of DESI, or as many as the model can take of them.
    pub(super) fn usual_pixels(&self) -> usize {
        let step = self.section - self.overlap;
        let (_, _, count) = DESI;
        if self.takes(count) { count } else { self.section + 2 * step }
    }

    /// The flux that the network gets: on DESI's wavelengths where others are given, 0 where it is not finite, as coadds
    /// have it.
    pub(super) fn flux(&self, spectrum: &Spectrum) -> Result<Vec<f32>, PayloadError> {
        let finite = |value: f32| if value.is_finite() { value } else { 0.0 };
        let flux: Vec<f32> = match &spectrum.wavelength {
            Some(wavelength) if !is_desi(wavelength) => on_desi(spectrum, wavelength)?,
            _ => spectrum.flux.iter().copied().map(finite).collect(),
        };
        if self.takes(flux.len()) {
            return Ok(flux);
        }
        let reason = format!(
            "has {} pixels, of which the model makes {} tokens; it takes up to {}",
            flux.len(),
            self.windows(flux.len()) + 1,
            self.tokens_max
        );
        Err(bad(FLUX, reason))
    }
}

fn is_desi(wavelength: &[f32]) -> bool {
    let (first, step, count) = DESI;
    let is_near = |(place, value): (usize, &f32)| {
        (f64::from(*value) - (first + step * place as f64)).abs() < step * GRID_TOLERANCE
    };
    wavelength.len() == count && wavelength.iter().enumerate().all(is_near)
}

/// Linear interpolation between good pixels; 0 beyond the spectrum's ends.
fn on_desi(spectrum: &Spectrum, wavelength: &[f32]) -> Result<Vec<f32>, PayloadError> {
    let (first, step, count) = DESI;
    let good: Vec<(f64, f64)> = wavelength
        .iter()
        .zip(&spectrum.flux)
        .zip(&spectrum.mask)
        .filter(|((_, flux), mask)| flux.is_finite() && **mask == 0.0)
        .map(|((at, flux), _)| (f64::from(*at), f64::from(*flux)))
        .collect();
    let last = first + step * (count - 1) as f64;
    let overlaps = good.iter().any(|(at, _)| (first..=last).contains(at));
    if good.len() < 2 || !overlaps {
        return Err(bad(WAVELENGTH, format!("has nothing between {first} and {last} Angstrom")));
    }
    let mut flux = Vec::with_capacity(count);
    let mut right = 1;
    for place in 0..count {
        let at = first + step * place as f64;
        while right + 1 < good.len() && good[right].0 < at {
            right += 1;
        }
        let ((x0, y0), (x1, y1)) = (good[right - 1], good[right]);
        let is_inside = at >= good[0].0 && at <= good[good.len() - 1].0;
        let value = if is_inside { y0 + (y1 - y0) * (at - x0) / (x1 - x0) } else { 0.0 };
        flux.push(value as f32);
    }
    Ok(flux)
}

/// Which survey's grid wavelengths lie on: SDSS in equal steps of the logarithm, DESI in equal steps.
pub(super) fn survey_of(wavelength: &[f32]) -> Option<&'static str> {
    let [first, .., last] = wavelength else { return None };
    let steps = (wavelength.len() - 1) as f64;
    let (first, last) = (f64::from(*first), f64::from(*last));
    let is_even = |at: &dyn Fn(f64) -> f64| {
        let step = (at(last) - at(first)) / steps;
        wavelength.iter().enumerate().all(|(place, value)| {
            (at(f64::from(*value)) - at(first) - step * place as f64).abs() < 0.1 * step
        })
    };
    if is_even(&|value| value) {
        Some("desi")
    } else if is_even(&f64::ln) {
        Some("sdss")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrays(parts: &[(&str, Vec<f32>)]) -> Arrays {
        let array = |values: &Vec<f32>| Array {
            shape: vec![values.len()],
            values: values.clone(),
            bands: Vec::new(),
        };
        parts.iter().map(|(name, values)| ((*name).to_owned(), array(values))).collect()
    }

    #[test]
    fn a_spectrum_lacks_no_array() {
        let spectrum = Spectrum::of(&arrays(&[("flux", vec![1.0, f32::NAN])]), "").expect("good");
        let spectrum = spectrum.expect("there");
        assert_eq!((spectrum.ivar, spectrum.mask), (vec![1.0; 2], vec![0.0; 2]));
        assert_eq!(Spectrum::of(&arrays(&[]), ""), Ok(None));
        let refused = |parts: &[(&str, Vec<f32>)]| {
            Spectrum::of(&arrays(parts), "").expect_err("must fail").to_string()
        };
        let flux = || ("flux", vec![1.0, 2.0]);
        assert!(refused(&[flux(), ("wavelength", vec![2.0, 2.0])]).contains("ascending"));
        assert!(refused(&[flux(), ("wavelength", vec![3.0, 2.0])]).contains("ascending"));
        assert!(refused(&[flux(), ("ivar", vec![1.0; 3])]).contains("3 pixels, the flux has 2"));
        assert!(refused(&[flux(), ("mask", vec![1.0; 2])]).contains("no good pixel"));
        assert!(refused(&[flux(), ("ivar", vec![0.0; 2])]).contains("no good pixel"));
        assert!(refused(&[("flux", vec![f32::NAN; 2])]).contains("no good pixel"));
    }

    #[test]
    fn other_wavelengths_are_brought_to_those_of_desi() {
        let windows = SpectrumWindows { section: 20, overlap: 10, tokens_max: 800 };
        let wavelength: Vec<f32> = (0..5_000).map(|place| 3_000.0 + place as f32).collect();
        let mut flux = wavelength.clone();
        flux[1_000] = f32::NAN;
        let parts = [("flux", flux), ("wavelength", wavelength)];
        let spectrum = Spectrum::of(&arrays(&parts), "").expect("good").expect("there");
        let resampled = windows.flux(&spectrum).expect("resampled");
        assert_eq!(resampled.len(), 7_781);
        for (place, value) in resampled.iter().enumerate() {
            let at = 3_600.0 + 0.8 * place as f64;
            let expected = if at <= 7_999.0 { at } else { 0.0 };
            assert!((f64::from(*value) - expected).abs() < 2e-3, "{place}: {value}");
        }
        let far = [("flux", vec![1.0; 3]), ("wavelength", vec![1.0, 2.0, 3.0])];
        let far = Spectrum::of(&arrays(&far), "").expect("good").expect("there");
        assert!(windows.flux(&far).expect_err("far").to_string().contains("nothing between"));
        let short = Spectrum::of(&arrays(&[("flux", vec![1.0; 20])]), "").expect("good");
        let error = windows.flux(&short.expect("there")).expect_err("short").to_string();
        assert!(error.contains("20 pixels"), "{error}");
    }

    #[test]
    fn desi_and_sdss_are_told_apart_by_their_steps() {
        let even: Vec<f32> =
            (0..7_781).map(|place| (3_600.0 + 0.8 * f64::from(place)) as f32).collect();
        let logarithmic: Vec<f32> =
            (0..4_000).map(|place| 10f64.powf(3.58 + 1e-4 * f64::from(place)) as f32).collect();
        assert!(is_desi(&even));
        assert_eq!(survey_of(&even), Some("desi"));
        assert_eq!(survey_of(&logarithmic), Some("sdss"));
        assert_eq!(survey_of(&[1.0, 2.0, 9.0]), None);
    }
}
