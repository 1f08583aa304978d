//! Spectra from columns of whatever form: Angstrom, ascending, with inverse variances.

use super::payload::{NamedArray, too_large};

/// Columns of one spectrum as a file has them. All have one length.
#[derive(Debug, Clone, Default)]
pub(super) struct RawSpectrum {
    pub(super) flux: Vec<f64>,
    pub(super) ivar: Option<Vec<f64>>,
    /// Standard deviations, used where there are no inverse variances.
    pub(super) sigma: Option<Vec<f64>>,
    /// 0 is good.
    pub(super) mask: Option<Vec<f64>>,
    pub(super) wavelength: Option<Vec<f64>>,
    /// Unit of the wavelengths, as the file writes it.
    pub(super) unit: String,
    pub(super) is_logarithmic: bool,
}

/// Angstrom in a unit of length; `None` for what is no length that spectra are in.
pub(super) fn angstroms(unit: &str) -> Option<f64> {
    let unit = unit.trim().trim_matches(['[', ']', '\'', '"']).to_lowercase();
    Some(match unit.as_str() {
        "" | "a" | "å" | "\u{212b}" | "aa" | "ang" | "angs" | "angstrom" | "angstroms"
        | "0.1 nm" => 1.0,
        "nm" | "nanometer" | "nanometers" | "nanometre" => 10.0,
        "um" | "µm" | "μm" | "micron" | "microns" | "micrometer" | "micrometers" => 1e4,
        "mm" => 1e7,
        "cm" => 1e8,
        "m" | "meter" | "metre" => 1e10,
        _ => return None,
    })
}

impl RawSpectrum {
    /// The arrays `flux`, `ivar`, `mask` and `wavelength`. Pixels without a positive wavelength are padding and are left
    /// out; a descending spectrum is turned around.
    ///
    /// # Errors
    /// A sentence about lengths, units or an order that make no sense.
    pub(super) fn into_arrays(self) -> Result<Vec<NamedArray>, String> {
        let count = self.flux.len();
        if count == 0 {
            return Err("its spectrum has no pixels".to_owned());
        }
        if count > super::VALUES_MAX {
            return Err(too_large(count));
        }
        let others = [
            ("ivar", &self.ivar),
            ("err", &self.sigma),
            ("mask", &self.mask),
            ("wavelength", &self.wavelength),
        ];
        for (name, column) in others {
            if let Some(column) = column.as_ref().filter(|column| column.len() != count) {
                return Err(format!(
                    "`{name}` has {} pixels and `flux` {count}; they must be as many",
                    column.len()
                ));
            }
        }
        let wavelength = self.wavelength_in_angstrom()?;
        let order = match &wavelength {
            None => (0..count).collect(),
            Some(wavelength) => ascending(wavelength)?,
        };
        let ivar = self.ivar.or_else(|| {
            let sigma = self.sigma?;
            let ivar = |sigma: &f64| if *sigma > 0.0 { (sigma * sigma).recip() } else { 0.0 };
            Some(sigma.iter().map(ivar).collect())
        });
        let mask = self.mask.map(|mask| {
            mask.iter().map(|bits| if *bits == 0.0 { 0.0 } else { 1.0 }).collect::<Vec<f64>>()
        });
        let array = |name: &str, column: Option<Vec<f64>>| {
            let column = column?;
            let values: Vec<f32> = order
                .iter()
                .filter_map(|place| column.get(*place))
                .map(|value| *value as f32)
                .collect();
            let (name, shape) = (name.to_owned(), vec![values.len()]);
            Some(NamedArray { name, shape, bands: Vec::new(), values })
        };
        let arrays = [
            array("flux", Some(self.flux)),
            array("ivar", ivar),
            array("mask", mask),
            array("wavelength", wavelength),
        ];
        Ok(arrays.into_iter().flatten().collect())
    }

    fn wavelength_in_angstrom(&self) -> Result<Option<Vec<f64>>, String> {
        let Some(stored) = &self.wavelength else { return Ok(None) };
        if self.is_logarithmic {
            return Ok(Some(stored.iter().map(|value| 10_f64.powf(*value)).collect()));
        }
        let each = angstroms(&self.unit).ok_or_else(|| {
            format!(
                "its wavelengths are in `{}`; Angstrom, nm, um and m are read, so convert them",
                self.unit
            )
        })?;
        Ok(Some(stored.iter().map(|value| value * each).collect()))
    }
}

/// The pixels with a wavelength, in ascending order.
fn ascending(wavelength: &[f64]) -> Result<Vec<usize>, String> {
    let is_pixel = |place: &usize| wavelength[*place].is_finite() && wavelength[*place] > 0.0;
    let mut order: Vec<usize> = (0..wavelength.len()).filter(is_pixel).collect();
    if order.is_empty() {
        return Err("none of its wavelengths is a positive number".to_owned());
    }
    if wavelength[order[0]] > wavelength[order[order.len() - 1]] {
        order.reverse();
    }
    match order.windows(2).find(|pair| wavelength[pair[0]] >= wavelength[pair[1]]) {
        None => Ok(order),
        Some(pair) => Err(format!(
            "its wavelengths neither rise nor fall all along: {} stands beside {}",
            wavelength[pair[0]], wavelength[pair[1]]
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(flux: &[f64], wavelength: &[f64]) -> RawSpectrum {
        let wavelength = Some(wavelength.to_vec());
        RawSpectrum { flux: flux.to_vec(), wavelength, ..RawSpectrum::default() }
    }

    fn values(arrays: &[NamedArray], name: &str) -> Vec<f32> {
        arrays.iter().find(|array| array.name == name).expect(name).values.clone()
    }

    #[test]
    fn padding_goes_and_falling_spectra_are_turned() {
        let mut spectrum = raw(&[1.0, 2.0, 3.0, 4.0], &[0.6, 0.5, 0.4, -1.0]);
        spectrum.unit = "um".to_owned();
        spectrum.sigma = Some(vec![2.0, 0.0, f64::NAN, 1.0]);
        spectrum.mask = Some(vec![4.0, 0.0, 1.0, 0.0]);
        let arrays = spectrum.into_arrays().expect("a spectrum");
        assert_eq!(values(&arrays, "flux"), [3.0, 2.0, 1.0]);
        assert_eq!(values(&arrays, "wavelength"), [4_000.0, 5_000.0, 6_000.0]);
        assert_eq!(values(&arrays, "ivar"), [0.0, 0.0, 0.25]);
        assert_eq!(values(&arrays, "mask"), [1.0, 0.0, 1.0]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let error = |spectrum: RawSpectrum| spectrum.into_arrays().expect_err("refused");
        assert!(error(raw(&[1.0, 2.0], &[1.0])).contains("`wavelength` has 1 pixels"));
        assert!(error(raw(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0])).contains("neither rise nor fall"));
        assert!(error(raw(&[1.0], &[f64::NAN])).contains("positive"));
        let unit = RawSpectrum { unit: "Hz".to_owned(), ..raw(&[1.0], &[1.0]) };
        assert!(error(unit).contains("`Hz`"));
    }
}
