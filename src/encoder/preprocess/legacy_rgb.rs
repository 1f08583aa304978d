//! Pictures of three bands of the Legacy Surveys as two groups of authors make them: with the same stretch (after Lupton
//! et al. 2004, arXiv:astro-ph/0312483), put together differently.
//!
//! The two differ by up to half of the whole range in bright pixels, so a model must get the one that it was trained on.

use super::PayloadError;

/// Bands of a cutout, in the order of its planes: g, r, z. A picture has them in the order z, r, g.
const SCALES: [f64; 3] = [6.0, 3.4, 2.2];

/// Added to every scaled flux.
const OFFSET: f64 = 0.03;

/// Softening of the stretch.
const SOFTENING: f64 = 20.0;

/// Which group's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    AstroClip,
    Stein,
}

/// A group's picture of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegacyRgb {
    group: Group,
    side: usize,
}

impl LegacyRgb {
    /// Pixels of a side of AstroCLIP's pictures.
    pub const ASTROCLIP_SIDE: usize = 144;

    /// Pixels of a side of the pictures of Stein et al.
    pub const STEIN_SIDE: usize = 96;

    /// `grz-rgb-astroclip-v1`: AstroCLIP and AstroDINO (Parker et al. 2024, arXiv:2310.03024), the middle pixels as they
    /// lie in the cutout.
    pub fn astroclip(side: usize) -> Self {
        Self { group: Group::AstroClip, side }
    }

    /// `grz-rgb-stein-v1`: Stein et al. 2021 (arXiv:2110.13151), the middle pixels, rows and columns exchanged.
    pub fn stein(side: usize) -> Self {
        Self { group: Group::Stein, side }
    }

    /// Pixels of a picture's side.
    pub fn side(self) -> usize {
        self.side
    }

    /// The picture of a cutout in nanomaggies.
    ///
    /// # Shape
    /// `flux`: 3 x height x width, planes g, r, z; 3 x side x side.
    ///
    /// # Errors
    /// [`PayloadError`] for a cutout that is smaller than the picture, or has no finite pixel where the picture is. Single
    /// pixels that are not finite count as sky, as they do in the coadds' masks.
    pub fn picture(
        self,
        flux: &[f32],
        height: usize,
        width: usize,
    ) -> Result<Vec<f32>, PayloadError> {
        let side = self.side();
        let plane = height * width;
        if flux.len() != 3 * plane {
            let reason = format!(
                "a cutout of {height} x {width} pixels in three bands has {} numbers, not {}",
                3 * plane,
                flux.len()
            );
            return Err(PayloadError::BadCutout { reason });
        }
        if height < side || width < side {
            let reason =
                format!("the cutout has {height} x {width} pixels; {side} x {side} are needed");
            return Err(PayloadError::BadCutout { reason });
        }
        let (top, left) = (self.first(height), self.first(width));
        let mut picture = vec![0.0f32; 3 * side * side];
        let mut is_empty = true;
        for row in 0..side {
            for column in 0..side {
                let place = (top + row) * width + left + column;
                let bands = [0, 1, 2].map(|band| flux[band * plane + place]);
                is_empty &= !bands.iter().any(|value| value.is_finite());
                let pixel =
                    self.pixel(bands.map(|value| if value.is_finite() { value } else { 0.0 }));
                let to = match self.group {
                    Group::AstroClip => row * side + column,
                    Group::Stein => column * side + row,
                };
                // g, r, z become z, r, g.
                for (band, value) in pixel.into_iter().enumerate() {
                    picture[(2 - band) * side * side + to] = value;
                }
            }
        }
        if is_empty {
            let reason = "the cutout has no finite pixel".to_owned();
            return Err(PayloadError::BadCutout { reason });
        }
        Ok(picture)
    }

    /// First of the middle pixels. Where an odd number is left over, one group rounds down and the other to even.
    fn first(self, size: usize) -> usize {
        let spare = size - self.side();
        let half = spare / 2;
        match self.group {
            Group::AstroClip => half + usize::from(spare % 2 == 1 && half % 2 == 1),
            Group::Stein => half,
        }
    }

    fn pixel(self, flux: [f32; 3]) -> [f32; 3] {
        let scaled = |band: usize| f64::from(flux[band]) * SCALES[band] + OFFSET;
        let intensity = (0..3).map(|band| scaled(band).max(0.0)).sum::<f64>() / 3.0;
        let stretched = (SOFTENING * intensity).asinh() / SOFTENING.sqrt();
        let divisor = if intensity == 0.0 { 1e-6 } else { intensity };
        [0, 1, 2].map(|band| {
            let value = match self.group {
                Group::AstroClip => (scaled(band) * stretched / divisor) as f32,
                Group::Stein => flux[band] * (SCALES[band] + OFFSET * stretched / divisor) as f32,
            };
            value.clamp(0.0, 1.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_rounded_as_the_authors_do() {
        let first =
            |kind: LegacyRgb| [0, 1, 2, 3, 4, 5, 7].map(|spare| kind.first(kind.side() + spare));
        assert_eq!(first(LegacyRgb::astroclip(144)), [0, 0, 1, 2, 2, 2, 4]);
        assert_eq!(first(LegacyRgb::stein(96)), [0, 0, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn sky_is_dark_and_what_is_bright_stays_in_range() {
        for kind in [LegacyRgb::astroclip(144), LegacyRgb::stein(96)] {
            let side = kind.side();
            let mut flux = vec![0.0f32; 3 * side * side];
            flux[0] = 1e6;
            flux[1] = f32::NAN;
            let picture = kind.picture(&flux, side, side).expect("a picture");
            assert!(picture.iter().all(|value| (0.0..=1.0).contains(value)), "{kind:?}");
            // The bright pixel is in the plane of g, the last one.
            assert_eq!(picture[2 * side * side], 1.0);
            assert!(picture[side + 1] < 0.2);
        }
    }

    #[test]
    fn cutouts_that_make_no_picture_are_refused() {
        let refused = |flux: &[f32], height, width| {
            LegacyRgb::stein(96).picture(flux, height, width).expect_err("must fail").to_string()
        };
        assert!(refused(&vec![0.0; 3 * 95 * 96], 95, 96).contains("95 x 96 pixels; 96 x 96"));
        assert!(refused(&vec![0.0; 2 * 96 * 96], 96, 96).contains("has 27648 numbers, not 18432"));
        assert!(refused(&vec![f32::NAN; 3 * 96 * 96], 96, 96).contains("no finite pixel"));
    }
}
