//! World coordinates of images: which pixel shows a position, and where on the sky a pixel is.
//!
//! Read are the zenithal projections TAN, SIN, ARC, STG and ZEA with CD, PC and CDELT, or CDELT and CROTA2, and SIP
//! distortions. Coordinates must be ICRS, or FK5 of J2000, which agrees with ICRS within 0.03 arcseconds and is taken
//! for it. Galactic and ecliptic axes, FK4, other equinoxes, other projections and other distortions are refused. The lookup
//! tables that HST pipelines add to SIP move nothing by as much as a pixel and are passed over.
//!
//! # Reference
//! Greisen and Calabretta 2002, A&A 395, 1061; Calabretta and Greisen 2002, A&A 395, 1077; Shupe et al. 2005,
//! ASP Conf. 347, 491 (SIP).

use super::header::Header;
use super::sip::Sip;
use crate::sky::{Degrees, Position, Radians};

/// A projection around the reference point. Radii are in radians.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Projection {
    Tan,
    Sin,
    Arc,
    Stg,
    Zea,
}

impl Projection {
    fn of(code: &str) -> Option<Self> {
        Some(match code {
            "TAN" => Self::Tan,
            "SIN" => Self::Sin,
            "ARC" => Self::Arc,
            "STG" => Self::Stg,
            "ZEA" => Self::Zea,
            _ => return None,
        })
    }

    /// Radius in the plane of a point at an angle from the reference point.
    fn radius(self, angle: f64) -> Option<f64> {
        let is_near = angle < std::f64::consts::FRAC_PI_2;
        match self {
            Self::Tan => is_near.then(|| angle.tan()),
            Self::Sin => is_near.then(|| angle.sin()),
            Self::Arc => Some(angle),
            Self::Stg => Some(2.0 * (0.5 * angle).tan()).filter(|radius| *radius < 1e6),
            Self::Zea => Some(2.0 * (0.5 * angle).sin()),
        }
    }

    /// The inverse of [`Self::radius`].
    fn angle(self, radius: f64) -> Option<f64> {
        match self {
            Self::Tan => Some(radius.atan()),
            Self::Sin => (radius <= 1.0).then(|| radius.asin()),
            Self::Arc => (radius <= std::f64::consts::PI).then_some(radius),
            Self::Stg => Some(2.0 * (0.5 * radius).atan()),
            Self::Zea => (radius <= 2.0).then(|| 2.0 * (0.5 * radius).asin()),
        }
    }
}

/// Where the pixels of an image are on the sky.
#[derive(Debug, Clone)]
pub(in crate::files) struct Wcs {
    projection: Projection,
    /// Which axis of the image carries right ascension: 0 or 1.
    longitude: usize,
    /// CRPIX, counted from 0.
    center: [f64; 2],
    /// CRVAL in degrees: right ascension, declination.
    origin: [f64; 2],
    /// Degrees for each pixel, and its inverse.
    forward: [[f64; 2]; 2],
    backward: [[f64; 2]; 2],
    /// LONPOLE in degrees.
    pole: f64,
    sip: Option<Sip>,
}

impl Wcs {
    /// The coordinates of the first two axes; `None` when the header says nothing about the sky.
    ///
    /// # Errors
    /// A sentence about what is not read.
    pub(in crate::files) fn of(header: &Header) -> Result<Option<Self>, String> {
        let kinds = [1, 2]
            .map(|axis| header.text(&format!("CTYPE{axis}")).unwrap_or("").trim().to_uppercase());
        if kinds.iter().all(|kind| kind.split('-').count() < 2) {
            return Ok(None);
        }
        let longitude = match [&kinds[0], &kinds[1]].map(|kind| kind.split('-').next()) {
            [Some("RA"), Some("DEC")] => 0,
            [Some("DEC"), Some("RA")] => 1,
            _ => return Err(format!("its axes are {} and {}, not RA and DEC", kinds[0], kinds[1])),
        };
        check_frame(header)?;
        let (projection, has_sip) = projection(&kinds)?;
        check_words(header)?;
        let real = |word: String, usual: f64| header.real(&word).unwrap_or(usual);
        let center = [1, 2].map(|axis| real(format!("CRPIX{axis}"), 0.0) - 1.0);
        let values = [1, 2].map(|axis| real(format!("CRVAL{axis}"), 0.0));
        let origin = [values[longitude], values[1 - longitude]];
        if Position::new(Degrees(origin[0]), Degrees(origin[1])).is_err() {
            return Err(format!("CRVAL is {}, {}, which is no position", origin[0], origin[1]));
        }
        let forward = matrix(header);
        let backward = inverse(&forward).ok_or("its pixels have no size")?;
        // The usual value of LONPOLE depends on whether the reference point lies north of the native pole.
        let usual_pole = if origin[1] >= 90.0 { 0.0 } else { 180.0 };
        let pole = header.real("LONPOLE").filter(|pole| pole.is_finite()).unwrap_or(usual_pole);
        let sip = if has_sip { Some(Sip::of(header)?) } else { None };
        Ok(Some(Self { projection, longitude, center, origin, forward, backward, pole, sip }))
    }

    /// The place of a position in the image: along the rows, then along the columns, counted from 0 at the middle of the
    /// first pixel. `None` where the projection or the distortion has no such place.
    pub(in crate::files) fn pixel(&self, position: &Position) -> Option<[f64; 2]> {
        let (sin_turn, cos_turn) = Degrees(position.ra().0 - self.origin[0]).sin_cos();
        let (sin_dec, cos_dec) = position.dec().sin_cos();
        let (sin_origin, cos_origin) = Degrees(self.origin[1]).sin_cos();
        let (sin_rise, _) = Degrees(position.dec().0 - self.origin[1]).sin_cos();
        let (sin_half, _) = Degrees(0.5 * (position.ra().0 - self.origin[0])).sin_cos();
        // East and north of the reference point; differences of nearly equal numbers are avoided.
        let east = cos_dec * sin_turn;
        let north = sin_rise + 2.0 * cos_dec * sin_origin * sin_half * sin_half;
        let towards = sin_dec * sin_origin + cos_dec * cos_origin * cos_turn;
        let across = east.hypot(north);
        let radius = Degrees::from(Radians(self.projection.radius(across.atan2(towards))?)).0;
        let (x, y) = if across > 0.0 {
            (radius * east / across, radius * north / across)
        } else {
            (0.0, 0.0)
        };
        let plane = Self::turned(x, y, self.pole - 180.0);
        let mut offset = apply(&self.backward, self.in_order(plane));
        if let Some(sip) = &self.sip {
            offset = sip.undistorted(offset)?;
        }
        let place = [self.center[0] + offset[0], self.center[1] + offset[1]];
        place.iter().all(|value| value.is_finite()).then_some(place)
    }

    /// The position of a place in the image, counted as in [`Self::pixel`].
    pub(in crate::files) fn position(&self, place: [f64; 2]) -> Option<Position> {
        let mut offset = [place[0] - self.center[0], place[1] - self.center[1]];
        if let Some(sip) = &self.sip {
            offset = sip.distorted(offset);
        }
        let plane = self.in_order(apply(&self.forward, offset));
        let [x, y] = Self::turned(plane[0], plane[1], 180.0 - self.pole);
        let radius = x.hypot(y);
        let (sin_angle, cos_angle) =
            self.projection.angle(Radians::from(Degrees(radius)).0)?.sin_cos();
        let (east, north) = if radius > 0.0 {
            (sin_angle * x / radius, sin_angle * y / radius)
        } else {
            (0.0, 0.0)
        };
        let (sin_origin, cos_origin) = Degrees(self.origin[1]).sin_cos();
        let outward = cos_angle * cos_origin - north * sin_origin;
        let up = cos_angle * sin_origin + north * cos_origin;
        let ra = self.origin[0] + Degrees::from(Radians(east.atan2(outward))).0;
        let dec = Radians(up.atan2(east.hypot(outward)));
        Position::new(Degrees(ra.rem_euclid(360.0)), dec.into()).ok()
    }

    /// From the order of the image's axes to longitude and latitude, and back.
    fn in_order(&self, pair: [f64; 2]) -> [f64; 2] {
        if self.longitude == 0 { pair } else { [pair[1], pair[0]] }
    }

    /// Turns the plane of projection by an angle.
    fn turned(x: f64, y: f64, angle: f64) -> [f64; 2] {
        let (sin, cos) = Degrees(angle).sin_cos();
        [x * cos - y * sin, x * sin + y * cos]
    }
}

fn check_frame(header: &Header) -> Result<(), String> {
    let word = header.text("RADESYS").or_else(|| header.text("RADECSYS")).unwrap_or("");
    let frame = word.trim().to_uppercase();
    let equinox = header
        .real("EQUINOX")
        // The old word for it; today it is also the date of an observation.
        .or_else(|| header.real("EPOCH").filter(|epoch| *epoch < 1_984.0));
    let is_j2000 = equinox.is_none_or(|equinox| (equinox - 2_000.0).abs() < 0.01);
    match frame.as_str() {
        "ICRS" | "GAIA" | "GAIADR1" | "GAIADR2" | "GAIA-CRF3" => Ok(()),
        "FK5" | "" if is_j2000 => Ok(()),
        "FK5" | "" => Err(format!(
            "its coordinates are of equinox {}; ICRS, or FK5 of J2000, is read",
            equinox.unwrap_or(2_000.0)
        )),
        _ => Err(format!("its coordinates are {frame}; ICRS, or FK5 of J2000, is read")),
    }
}

/// The projection that both axes name, and whether a SIP distortion goes before it.
fn projection(kinds: &[String; 2]) -> Result<(Projection, bool), String> {
    let code = |kind: &str| -> (String, bool) {
        let mut parts = kind.split('-').filter(|part| !part.is_empty()).skip(1);
        (parts.next().unwrap_or("").to_owned(), parts.next() == Some("SIP"))
    };
    let (first, second) = (code(&kinds[0]), code(&kinds[1]));
    match Projection::of(&first.0).filter(|_| first == second) {
        Some(projection) => Ok((projection, first.1)),
        None => Err(format!(
            "its projection is {} and {}; TAN, SIN, ARC, STG and ZEA are read, and SIP distortions",
            kinds[0], kinds[1]
        )),
    }
}

/// Refuses what would move pixels and is not read.
fn check_words(header: &Header) -> Result<(), String> {
    for axis in 1..=2 {
        let unit = header.text(&format!("CUNIT{axis}")).unwrap_or("").trim().to_lowercase();
        if !matches!(unit.as_str(), "" | "deg" | "degree" | "degrees") {
            return Err(format!("its coordinates are in `{unit}`, not in degrees"));
        }
        let distortion = (0..40).map(|term| format!("PV{axis}_{term}"));
        if let Some(word) =
            distortion.into_iter().find(|word| header.real(word).is_some_and(|value| value != 0.0))
        {
            return Err(format!("{word} describes a distortion that is not read"));
        }
    }
    Ok(())
}

/// Degrees for each pixel: CD, or PC with CDELT, or CROTA2 with CDELT.
fn matrix(header: &Header) -> [[f64; 2]; 2] {
    let words = |name: &str| {
        let word = |i: usize, j: usize| format!("{name}{i}_{j}");
        [[word(1, 1), word(1, 2)], [word(2, 1), word(2, 2)]]
    };
    let is_there = |words: &[[String; 2]; 2]| words.iter().flatten().any(|word| header.has(word));
    let cd = words("CD");
    if is_there(&cd) {
        return cd.map(|row| row.map(|word| header.real(&word).unwrap_or(0.0)));
    }
    let step = [1, 2].map(|axis| header.real(&format!("CDELT{axis}")).unwrap_or(1.0));
    let pc = words("PC");
    if is_there(&pc) {
        let value = |i: usize, j: usize| {
            let usual = if i == j { 1.0 } else { 0.0 };
            step[i] * header.real(&pc[i][j]).unwrap_or(usual)
        };
        return [[value(0, 0), value(0, 1)], [value(1, 0), value(1, 1)]];
    }
    let (sin, cos) = Degrees(header.real("CROTA2").unwrap_or(0.0)).sin_cos();
    [[step[0] * cos, -step[1] * sin], [step[0] * sin, step[1] * cos]]
}

fn inverse(matrix: &[[f64; 2]; 2]) -> Option<[[f64; 2]; 2]> {
    let [[a, b], [c, d]] = *matrix;
    let determinant = a * d - b * c;
    let inverse = [[d / determinant, -b / determinant], [-c / determinant, a / determinant]];
    inverse.iter().flatten().all(|value| value.is_finite()).then_some(inverse)
}

fn apply(matrix: &[[f64; 2]; 2], [x, y]: [f64; 2]) -> [f64; 2] {
    matrix.map(|[to_x, to_y]| to_x * x + to_y * y)
}

#[cfg(test)]
#[path = "wcs_tests.rs"]
mod tests;
