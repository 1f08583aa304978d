//! Cutouts: fluxes in named bands on a grid of pixels.

use super::PayloadError;
use super::arrays::{Array, Arrays, bad, from_npy, is_npy};
use crate::wire::v1::payload::Content;

/// Name of the array.
pub(super) const IMAGE: &str = "image";

/// Most bands of an image that names none.
const BANDS_USUAL_MAX: usize = 9;

/// A cutout in the bands that a model wants, in its order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cutout {
    pub(super) bands: Vec<String>,
    pub(super) height: usize,
    pub(super) width: usize,
    /// bands x height x width.
    pub(super) flux: Vec<f32>,
}

/// The short name of a band: the filter's letter, in lower case. `DES-G`, `DECam_g` and `g` are the same filter to a
/// model that takes three bands of one survey.
fn letter(band: &str) -> String {
    let last = band.rsplit(['-', '_', '.', ' ']).next().unwrap_or(band);
    last.to_lowercase()
}

impl Cutout {
    /// The cutout of a payload: its array `image`, or a NumPy file. `usual` names the bands of an image that names none, by
    /// their number.
    pub(super) fn of(
        arrays: &Arrays,
        usual: impl Fn(usize) -> Option<&'static [&'static str]>,
    ) -> Result<Self, PayloadError> {
        let image = arrays.get(IMAGE).ok_or_else(|| bad(IMAGE, "is missing"))?;
        let Array { shape, values, bands } = image;
        let (planes, height, width) = match shape[..] {
            [planes, height, width] => (planes, height, width),
            [height, width] if bands.len() <= 1 => (1, height, width),
            // A list column knows no axes: as many squares as there are bands.
            [count] if !bands.is_empty() => squares(count, bands.len())?,
            [count] => {
                let fitting = (1..=BANDS_USUAL_MAX).filter(|planes| usual(*planes).is_some());
                let mut fitting = fitting.filter_map(|planes| squares(count, planes).ok());
                match (fitting.next(), fitting.next()) {
                    (Some(only), None) => only,
                    (None, _) => {
                        return Err(bad(
                            IMAGE,
                            format!("has {count} numbers, which are no squares"),
                        ));
                    }
                    (Some(_), Some(_)) => {
                        return Err(bad(IMAGE, format!("has {count} numbers; name its bands")));
                    }
                }
            }
            _ => return Err(bad(IMAGE, format!("has shape {shape:?}; bands, rows, columns"))),
        };
        let bands = match (bands.is_empty(), usual(planes)) {
            (false, _) => bands.clone(),
            (true, Some(names)) => names.iter().map(|&name| name.to_owned()).collect(),
            (true, None) => {
                return Err(bad(
                    IMAGE,
                    format!("has {planes} planes; name its bands, as with --bands g,r,z"),
                ));
            }
        };
        if bands.len() != planes {
            return Err(bad(IMAGE, format!("names {} bands for {planes} planes", bands.len())));
        }
        if !values.iter().any(|value| value.is_finite()) {
            return Err(bad(IMAGE, "has no finite pixel"));
        }
        Ok(Self { bands, height, width, flux: values.clone() })
    }

    /// Leaves the middle square of every plane; of an odd number of pixels more, one more is left out behind than before.
    pub(super) fn cut_middle(&mut self, side: usize) {
        let (top, left) = ((self.height - side) / 2, (self.width - side) / 2);
        let mut flux = Vec::with_capacity(self.bands.len() * side * side);
        for plane in self.flux.chunks_exact(self.height * self.width) {
            for row in plane.chunks_exact(self.width).skip(top).take(side) {
                flux.extend_from_slice(&row[left..left + side]);
            }
        }
        (self.height, self.width, self.flux) = (side, side, flux);
    }

    /// The planes of three filters in the order g, r, z; other bands are left out.
    pub(super) fn grz(&self) -> Result<Vec<f32>, PayloadError> {
        let plane = self.height * self.width;
        if let Some(band) = self.bands.iter().find(|band| band.to_uppercase().starts_with("HSC")) {
            let reason = "of HSC, whose zero point and pixels are others; the model takes DECam's";
            return Err(bad(IMAGE, format!("has band {band} {reason}")));
        }
        let mut flux = Vec::with_capacity(3 * plane);
        for wanted in ["g", "r", "z"] {
            let mut found =
                self.bands.iter().enumerate().filter(|(_, band)| letter(band) == wanted);
            match (found.next(), found.next()) {
                (Some((place, _)), None) => {
                    flux.extend_from_slice(&self.flux[place * plane..(place + 1) * plane]);
                }
                (found, _) => {
                    let what = if found.is_some() { "twice" } else { "not" };
                    let bands = self.bands.join(", ");
                    return Err(bad(
                        IMAGE,
                        format!("has band {wanted} {what} among {bands}; the model takes g, r, z"),
                    ));
                }
            }
        }
        Ok(flux)
    }
}

fn squares(count: usize, planes: usize) -> Result<(usize, usize, usize), PayloadError> {
    let side = (count / planes).isqrt();
    if side > 0 && planes * side * side == count {
        return Ok((planes, side, side));
    }
    Err(bad(IMAGE, format!("has {count} numbers, which are no {planes} squares")))
}

/// The arrays of a payload that may be a NumPy file with a cutout.
pub(super) fn arrays_of(content: &Content) -> Option<Result<Arrays, PayloadError>> {
    match content {
        Content::Arrays(arrays) => Some(super::arrays::from_wire(arrays)),
        Content::Image(bytes) if is_npy(bytes) => {
            Some(from_npy(IMAGE, bytes).map(|array| Arrays::from([(IMAGE.to_owned(), array)])))
        }
        Content::Image(_) | Content::Row(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(shape: &[usize], bands: &[&str]) -> Arrays {
        let count = shape.iter().product();
        let values = (0..count).map(|value| value as f32).collect();
        let bands = bands.iter().map(|&band| band.to_owned()).collect();
        Arrays::from([(IMAGE.to_owned(), Array { shape: shape.to_vec(), values, bands })])
    }

    fn grz(planes: usize) -> Option<&'static [&'static str]> {
        (planes == 3).then_some(&["g", "r", "z"])
    }

    #[test]
    fn bands_are_found_by_their_filter_and_put_in_order() {
        let arrays = image(&[4, 1, 2], &["DES-Z", "DECam_i", "r", "DES-G"]);
        let cutout = Cutout::of(&arrays, grz).expect("a cutout");
        assert_eq!(cutout.grz().expect("three bands"), [6.0, 7.0, 4.0, 5.0, 0.0, 1.0]);
        let plain = Cutout::of(&image(&[12], &[]), grz).expect("three squares");
        assert_eq!((plain.height, plain.width, plain.bands.len()), (2, 2, 3));
    }

    #[test]
    fn the_middle_of_every_plane_is_cut_out() {
        let mut cutout = Cutout::of(&image(&[2, 3, 4], &["g", "r"]), grz).expect("a cutout");
        cutout.cut_middle(2);
        assert_eq!((cutout.height, cutout.width), (2, 2));
        // Of three rows the first two, of four columns the two in the middle.
        assert_eq!(cutout.flux, [1.0, 2.0, 5.0, 6.0, 13.0, 14.0, 17.0, 18.0]);
    }

    #[test]
    fn cutouts_that_a_model_cannot_take_are_refused() {
        let refused = |arrays: &Arrays| {
            Cutout::of(arrays, grz).and_then(|it| it.grz()).expect_err("must fail").to_string()
        };
        assert!(refused(&image(&[2, 2, 2], &[])).contains("name its bands"));
        assert!(refused(&image(&[2, 2, 2], &["g", "r"])).contains("band z not among g, r"));
        assert!(refused(&image(&[3, 2, 2], &["g", "g", "z"])).contains("band g twice"));
        assert!(refused(&image(&[10], &[])).contains("are no squares"));
        assert!(refused(&image(&[1, 1, 1, 1], &["g"])).contains("bands, rows, columns"));
        assert!(refused(&image(&[3, 2, 2], &["HSC-G", "HSC-R", "HSC-Z"])).contains("zero point"));
        assert!(refused(&Arrays::new()).contains("`image` is missing"));
        let mut empty = image(&[3, 1, 1], &[]);
        empty.values_mut().for_each(|array| array.values.fill(f32::NAN));
        assert!(refused(&empty).contains("no finite pixel"));
    }
}
