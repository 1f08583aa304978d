//! The SIP distortion of images: a polynomial in pixels that goes before the linear part of the coordinates.

use super::header::Header;

/// Highest order of a polynomial (the convention's limit).
const ORDER_MAX: i64 = 9;

/// Steps after which an inversion that has not come to rest is given up.
const STEPS_MAX: usize = 100;

/// How near two steps of an inversion are when it has come to rest, in pixels.
const REST: f64 = 1e-9;

/// The polynomials A and B. Their inverses in the header, which are approximations, are not used.
#[derive(Debug, Clone)]
pub(super) struct Sip {
    /// For each axis: powers of both offsets, and the coefficient.
    terms: [Vec<(i32, i32, f64)>; 2],
}

impl Sip {
    /// The polynomials of a header whose CTYPE names SIP.
    ///
    /// # Errors
    /// A sentence about a missing or senseless order.
    pub(super) fn of(header: &Header) -> Result<Self, String> {
        let polynomial = |name: &str| {
            let order = header.integer(&format!("{name}_ORDER")).unwrap_or(-1);
            if !(0..=ORDER_MAX).contains(&order) {
                return Err(format!("its CTYPE names SIP, and {name}_ORDER is missing or wrong"));
            }
            let mut terms = Vec::new();
            for first in 0..=order as i32 {
                for second in 0..=order as i32 - first {
                    let value = header.real(&format!("{name}_{first}_{second}"));
                    terms.extend(value.map(|value| (first, second, value)));
                }
            }
            Ok(terms)
        };
        Ok(Self { terms: [polynomial("A")?, polynomial("B")?] })
    }

    fn shift(&self, offset: [f64; 2]) -> [f64; 2] {
        let term = |(first, second, value): &(i32, i32, f64)| {
            value * offset[0].powi(*first) * offset[1].powi(*second)
        };
        [0, 1].map(|axis| self.terms[axis].iter().map(term).sum())
    }

    /// Offsets from CRPIX, in pixels of the detector, to the undistorted plane.
    pub(super) fn distorted(&self, offset: [f64; 2]) -> [f64; 2] {
        let shift = self.shift(offset);
        [offset[0] + shift[0], offset[1] + shift[1]]
    }

    /// The inverse, by repeated substitution; `None` where that does not come to rest.
    pub(super) fn undistorted(&self, plane: [f64; 2]) -> Option<[f64; 2]> {
        let mut offset = plane;
        for _ in 0..STEPS_MAX {
            let shift = self.shift(offset);
            let next = [plane[0] - shift[0], plane[1] - shift[1]];
            let moved = (next[0] - offset[0]).hypot(next[1] - offset[1]);
            offset = next;
            if moved < REST {
                return Some(offset);
            }
            if !moved.is_finite() {
                return None;
            }
        }
        None
    }
}
