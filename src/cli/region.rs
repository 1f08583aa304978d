//! Parts of the sky as they are typed.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::angle::{parse_angle, parse_dec, parse_numbers, parse_ra};
use crate::sky::{Degrees, Position as SkyPosition};
use crate::wire::v1::region::Shape;
use crate::wire::v1::{CellList, Cone, Moc, Polygon, Position, Region, Zone, moc};

/// Most cells of a `--cells` list; a longer list is a MOC file.
const CELL_COUNT_MAX: u64 = 100_000;

/// Words that name a part of the sky; at most one of them. Edges belong to the region.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub(super) struct RegionArguments {
    /// Within RADIUS (5, 5deg, 30arcmin, 12arcsec) of a position in degrees, or as 10h00m24s,+02d12m00s
    #[arg(
        long,
        value_name = "RA,DEC,RADIUS",
        allow_hyphen_values = true,
        help_heading = "Part of the sky (at most one)"
    )]
    cone: Option<String>,
    /// Inside a polygon of great-circle arcs, three or more corners
    #[arg(
        long,
        value_name = "RA,DEC,RA,DEC,...",
        allow_hyphen_values = true,
        help_heading = "Part of the sky (at most one)"
    )]
    polygon: Option<String>,
    /// Between two meridians and two parallels, running east from RA1 to RA2 (also across 0)
    #[arg(
        long,
        value_name = "RA1,DEC1,RA2,DEC2",
        allow_hyphen_values = true,
        help_heading = "Part of the sky (at most one)"
    )]
    zone: Option<String>,
    /// In a coverage map: a file (ASCII or JSON), or its text such as "5/10-12 6/99"
    #[arg(long, value_name = "FILE|ASCII", help_heading = "Part of the sky (at most one)")]
    moc: Option<String>,
    /// In HEALPix NESTED cells of one order, such as 5/10,12-20
    #[arg(long, value_name = "ORDER/N,N-N", help_heading = "Part of the sky (at most one)")]
    cells: Option<String>,
}

impl RegionArguments {
    /// The region that was asked for; `None` for all of the sky.
    pub(super) fn to_wire(&self) -> Result<Option<Region>> {
        let shape = if let Some(text) = &self.cone {
            Some(Shape::Cone(parse_cone(text)?))
        } else if let Some(text) = &self.polygon {
            Some(Shape::Polygon(parse_polygon(text)?))
        } else if let Some(text) = &self.zone {
            Some(Shape::Zone(parse_zone(text)?))
        } else if let Some(text) = &self.moc {
            Some(Shape::Moc(read_moc(text)?))
        } else if let Some(text) = &self.cells {
            Some(Shape::Cells(parse_cells(text)?))
        } else {
            None
        };
        Ok(shape.map(|shape| Region { shape: Some(shape) }))
    }
}

impl RegionArguments {
    /// Centre of the cone that was asked for; `None` for other regions.
    pub(super) fn centre(&self) -> Option<SkyPosition> {
        let centre = parse_cone(self.cone.as_deref()?).ok()?.centre?;
        SkyPosition::new(Degrees(centre.ra), Degrees(centre.dec)).ok()
    }
}

fn parse_cone(text: &str) -> Result<Cone> {
    let parts: Vec<&str> = text.split(',').collect();
    let [ra, dec, radius] = parts.as_slice() else {
        bail!("`{text}` is not a cone; write RA,DEC,RADIUS, for example 150.1,2.2,30arcmin");
    };
    let form = || format!("`{text}` is not a cone RA,DEC,RADIUS");
    let ra = parse_ra(ra).with_context(form)?;
    let dec = parse_dec(dec).with_context(form)?;
    let centre = Position { ra, dec };
    Ok(Cone { centre: Some(centre), radius: parse_angle(radius)? })
}

fn parse_polygon(text: &str) -> Result<Polygon> {
    let count = text.split(',').count();
    if !count.is_multiple_of(2) {
        bail!(
            "`{text}` has {count} numbers; a polygon is RA,DEC pairs, for example 10,0,12,0,11,2"
        );
    }
    let numbers = parse_numbers(text, count, "a polygon RA,DEC,RA,DEC,...")?;
    let vertices =
        numbers.chunks_exact(2).map(|pair| Position { ra: pair[0], dec: pair[1] }).collect();
    Ok(Polygon { vertices })
}

fn parse_zone(text: &str) -> Result<Zone> {
    let numbers = parse_numbers(text, 4, "a zone RA1,DEC1,RA2,DEC2")?;
    Ok(Zone { ra_min: numbers[0], dec_min: numbers[1], ra_max: numbers[2], dec_max: numbers[3] })
}

/// Reads a coverage map from a file of that name or, when there is none, from the text itself.
fn read_moc(text: &str) -> Result<Moc> {
    let is_ascii_form = |text: &str| {
        let mut characters = text.chars();
        text.contains('/')
            && characters
                .all(|each| each.is_ascii_digit() || each.is_whitespace() || "/,-".contains(each))
    };
    let is_fits = |path: &str| {
        let mut start = [0; 6];
        let read = std::fs::File::open(path)
            .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut start));
        read.is_ok() && start == *b"SIMPLE"
    };
    if is_fits(text) {
        bail!(
            "{text} is a FITS file; a MOC is read as ASCII or JSON (mocpy: moc.save(path, format='ascii'))"
        );
    }
    let content = if Path::new(text).is_file() {
        std::fs::read_to_string(text).with_context(|| {
            format!("cannot read {text} as text; a MOC file is ASCII or JSON here")
        })?
    } else if is_ascii_form(text) || text.trim_start().starts_with('{') {
        text.to_owned()
    } else {
        bail!("`{text}` is neither a file nor a MOC; write it like \"5/10-12 6/99\"");
    };
    let form = if content.trim_start().starts_with('{') {
        moc::Form::Json(content)
    } else {
        moc::Form::Ascii(content.trim().to_owned())
    };
    Ok(Moc { form: Some(form) })
}

fn parse_cells(text: &str) -> Result<CellList> {
    let form = "a list of cells; write ORDER/N,N-N, for example 5/10,12-20";
    let (order, list) = text.split_once('/').with_context(|| format!("`{text}` is not {form}"))?;
    let number = |part: &str| {
        part.trim()
            .parse::<u64>()
            .with_context(|| format!("`{part}` in `{text}`: this is not {form}"))
    };
    let order = u32::try_from(number(order)?).context("the order of cells is 0 to 29")?;
    let mut cells = Vec::new();
    for part in list.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last < first {
            bail!("`{part}` in `{text}` runs backwards; the smaller cell comes first");
        }
        if (last - first).saturating_add(cells.len() as u64) >= CELL_COUNT_MAX {
            bail!("`{text}` has more than {CELL_COUNT_MAX} cells; give them as a MOC with --moc");
        }
        cells.extend(first..=last);
    }
    Ok(CellList { order, cells })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cone_takes_negative_declinations_and_units() {
        let cone = parse_cone("10.5,-45,30arcmin").expect("a cone");
        assert_eq!(cone.centre, Some(Position { ra: 10.5, dec: -45.0 }));
        assert_eq!(cone.radius, 0.5);
        let cone = parse_cone("10h00m24s,-02d12m00s,3'").expect("a cone");
        let centre = cone.centre.expect("a centre");
        assert!((centre.ra - 150.1).abs() < 1e-12 && (centre.dec + 2.2).abs() < 1e-12);
        assert_eq!(cone.radius, 0.05);
    }

    #[test]
    fn a_zone_is_two_corners() {
        let zone = parse_zone("350,-5,10,5").expect("a zone");
        assert_eq!((zone.ra_min, zone.ra_max), (350.0, 10.0));
        assert_eq!((zone.dec_min, zone.dec_max), (-5.0, 5.0));
    }

    #[test]
    fn cells_are_numbers_and_runs() {
        let list = parse_cells("5/1,3-5").expect("cells");
        assert_eq!((list.order, list.cells), (5, vec![1, 3, 4, 5]));
    }

    #[test]
    fn a_moc_may_be_typed() {
        let moc = read_moc("5/10-12 6/99").expect("a moc");
        assert_eq!(moc.form, Some(moc::Form::Ascii("5/10-12 6/99".to_owned())));
        let moc = read_moc("{\"1\":[1,2]}").expect("a moc");
        assert!(matches!(moc.form, Some(moc::Form::Json(_))));
    }

    #[test]
    fn what_is_no_region_is_refused_with_the_form_that_is() {
        for (error, wanted) in [
            (parse_cone("1,2").expect_err("two"), "RA,DEC,RADIUS"),
            (parse_cone("a,2,3").expect_err("letter"), "RA,DEC,RADIUS"),
            (parse_cone("10:00:24,2,3").expect_err("hours or degrees"), "10h00m24s"),
            (parse_cone("360.5,2,3").expect_err("turned"), "0.5"),
            (parse_cone("-10,2,3").expect_err("negative"), "350"),
            (parse_polygon("1,2,3").expect_err("odd"), "RA,DEC"),
            (parse_zone("1,2,3").expect_err("three"), "RA1,DEC1,RA2,DEC2"),
            (parse_cells("5").expect_err("no slash"), "ORDER/N"),
            (parse_cells("5/9-3").expect_err("backwards"), "smaller"),
            (parse_cells("9/0-99999999").expect_err("many"), "--moc"),
            (read_moc("missing.moc").expect_err("no file"), "neither a file"),
        ] {
            let error = format!("{error:#}");
            assert!(error.contains(wanted), "{error}");
        }
    }
}
