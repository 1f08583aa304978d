//! What the columns and datasets of files are called, and what they are.

/// What a column or dataset holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Object,
    Ra,
    Dec,
    Flux,
    Ivar,
    /// Standard deviations.
    Sigma,
    Mask,
    Wavelength,
    /// Decimal logarithms of wavelengths in Angstrom.
    LogWavelength,
    /// A cutout of all bands.
    Image,
    /// The cutout of one band, which its name tells.
    ImageOfBand,
    /// Names of the bands of [`Self::Image`].
    Bands,
    /// Lengths of the axes of [`Self::Image`] where it is stored flat.
    Shape,
}

impl Role {
    /// Whether it is one number for each pixel of a spectrum.
    pub(super) fn is_along_pixels(self) -> bool {
        matches!(
            self,
            Self::Flux
                | Self::Ivar
                | Self::Sigma
                | Self::Mask
                | Self::Wavelength
                | Self::LogWavelength
        )
    }
}

/// Names by what they mean, in lower case with `_` between the parts of a path; the first of a list is preferred.
const NAMES: [(Role, &[&str]); 12] = [
    (
        Role::Object,
        &["object_id", "targetid", "target_id", "specobjid", "objid", "obj_id", "source_id", "id"],
    ),
    (Role::Ra, &["target_ra", "plug_ra", "ra"]),
    (Role::Dec, &["target_dec", "plug_dec", "dec"]),
    (
        Role::Flux,
        &[
            "spectrum_flux",
            "flux",
            "spectrum",
            "spectra",
            "spec",
            "spectrum_spec",
            "fluxes",
            "flam",
        ],
    ),
    (Role::Ivar, &["spectrum_ivar", "ivar", "invvar", "inverse_variance", "ivars"]),
    (
        Role::Sigma,
        &[
            "spectrum_err",
            "err",
            "error",
            "sigma",
            "flux_err",
            "flux_error",
            "e_flux",
            "uncertainty",
            "noise",
            "std",
            "spectrum_sigma",
        ],
    ),
    (Role::Mask, &["spectrum_mask", "mask", "and_mask", "spectrum_and_mask", "flag", "flags"]),
    (
        Role::Wavelength,
        &[
            "spectrum_lambda",
            "spectrum_wavelength",
            "spectrum_wave",
            "wavelength",
            "lambda",
            "wave",
            "lam",
            "waves",
            "wavelengths",
        ],
    ),
    (Role::LogWavelength, &["spectrum_loglam", "loglam", "log_lambda", "loglambda", "log_wave"]),
    (
        Role::Image,
        &[
            "image_flux",
            "image_array",
            "image",
            "images",
            "cutout",
            "cutouts",
            "image_bytes",
            "rgb_image_bytes",
            "rgb_image",
        ],
    ),
    (Role::Bands, &["image_band", "image_bands", "bands", "band", "image_filter", "filters"]),
    (Role::Shape, &["image_shape", "shape"]),
];

/// What stands before the name of a band.
const BAND_PREFIXES: [&str; 4] = ["img_", "image_", "cutout_", "stamp_"];

/// Parts of an image's description that are no band of it.
const NOT_BANDS: [&str; 16] = [
    "ivar", "invvar", "mask", "psf", "psf_fwhm", "scale", "band", "bands", "shape", "id", "name",
    "path", "weight", "err", "flux", "array",
];

/// Words in the names of groups whose members describe images or catalogues, and no spectrum.
const OTHER_GROUPS: [&str; 5] = ["ima", "img", "cutout", "stamp", "phot"];

/// What a name means, and how far down its list of names it stands. The name within a group means what it means alone
/// where the whole path means nothing: `desi/flux`.
pub(super) fn role_of(name: &str) -> Option<(Role, usize)> {
    let whole = plain(name);
    let known = |name: &str| {
        NAMES.iter().find_map(|(role, names)| {
            names.iter().position(|known| *known == name).map(|rank| (*role, rank))
        })
    };
    let within = || {
        let (group, name) = name.trim_matches('/').rsplit_once(['/', '.'])?;
        let group = plain(group);
        let is_other = OTHER_GROUPS.iter().any(|word| group.contains(word));
        known(&plain(name)).filter(|_| !is_other)
    };
    known(&whole).or_else(within).or_else(|| band_of(&whole).map(|_| (Role::ImageOfBand, 0)))
}

/// The band whose cutout a column holds: `img_f606w` is F606W's.
pub(super) fn band_of(name: &str) -> Option<String> {
    let plain = plain(name);
    let band = BAND_PREFIXES.iter().find_map(|prefix| plain.strip_prefix(prefix))?;
    let is_band = !band.is_empty() && !NOT_BANDS.contains(&band);
    is_band.then(|| band.to_uppercase())
}

/// A name in lower case, with `_` for whatever stands between its parts.
fn plain(name: &str) -> String {
    let parted = |each: char| if matches!(each, '.' | '/' | '-' | ' ') { '_' } else { each };
    name.trim_matches('/').to_lowercase().chars().map(parted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_understood() {
        let role = |name| role_of(name).map(|(role, _)| role);
        assert_eq!(role("spectrum.flux"), Some(Role::Flux));
        assert_eq!(role("FLUX"), Some(Role::Flux));
        assert_eq!(role("/Spectrum/lambda"), Some(Role::Wavelength));
        assert_eq!(role("image.band"), Some(Role::Bands));
        assert_eq!(role("image.psf_fwhm"), None);
        assert_eq!(role("desi/coadd/flux"), Some(Role::Flux));
        assert_eq!(role("image.ivar"), None);
        assert_eq!(role("photometry/flux"), None);
        assert_eq!(role("img_f606w"), Some(Role::ImageOfBand));
        assert_eq!(band_of("img_f606w").as_deref(), Some("F606W"));
        assert_eq!(role("redshift"), None);
    }
}
