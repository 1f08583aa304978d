//! Regions of the sky.

use super::object::position;
use crate::service::RequestError;
use crate::service::limits::{Limits, at_most};
use crate::sky::{Cell, Cone, Degrees, Moc, Order, Polygon, Region, Zone};
use crate::wire::v1;

/// Reads and checks a region. A region without a shape is refused: it could be a mistake as well as the whole sky.
pub(in crate::service) fn region(
    limits: &Limits,
    region: v1::Region,
) -> Result<Region, RequestError> {
    let shape = region.shape.ok_or(RequestError::Missing { field: "region.shape" })?;
    Ok(match shape {
        v1::region::Shape::Cone(given) => {
            let centre = position("region.cone.centre", given.centre)?;
            Region::Cone(Cone::new(centre, Degrees(given.radius))?)
        }
        v1::region::Shape::Polygon(given) => Region::Polygon(polygon(limits, given)?),
        v1::region::Shape::Zone(given) => Region::Zone(Zone::new(
            Degrees(given.ra_min),
            Degrees(given.ra_max),
            Degrees(given.dec_min),
            Degrees(given.dec_max),
        )?),
        v1::region::Shape::Moc(given) => Region::Moc(moc(limits, given)?),
        v1::region::Shape::Cells(given) => Region::Moc(cells(limits, &given)?),
    })
}

fn polygon(limits: &Limits, given: v1::Polygon) -> Result<Polygon, RequestError> {
    at_most(
        "vertices of a polygon",
        "limits.polygon_vertices",
        given.vertices.len(),
        limits.polygon_vertices_max,
    )?;
    let vertices = given
        .vertices
        .into_iter()
        .map(|vertex| position("region.polygon.vertices", Some(vertex)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Polygon::new(vertices)?)
}

fn moc(limits: &Limits, given: v1::Moc) -> Result<Moc, RequestError> {
    let limit = |text: &str| {
        at_most("bytes of a MOC", "limits.moc_bytes", text.len(), limits.moc_bytes_max)
    };
    match given.form {
        None => Err(RequestError::Missing { field: "region.moc.form" }),
        Some(v1::moc::Form::Ascii(text)) => {
            limit(&text)?;
            Ok(Moc::from_ascii(&text)?)
        }
        Some(v1::moc::Form::Json(text)) => {
            limit(&text)?;
            Ok(Moc::from_json(&text)?)
        }
    }
}

fn cells(limits: &Limits, given: &v1::CellList) -> Result<Moc, RequestError> {
    at_most("cells", "limits.cells", given.cells.len(), limits.cells_max)?;
    let order = Order::new(u64::from(given.order))?;
    let ranges = given
        .cells
        .iter()
        .map(|&number| Ok(Cell::new(order, number)?.range()))
        .collect::<Result<Vec<_>, RequestError>>()?;
    Ok(Moc::from_ranges(ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ra: f64, dec: f64) -> v1::Position {
        v1::Position { ra, dec }
    }

    fn read(shape: v1::region::Shape) -> Result<Region, RequestError> {
        region(&Limits::default(), v1::Region { shape: Some(shape) })
    }

    fn refusal(shape: v1::region::Shape) -> String {
        read(shape).expect_err("refused").to_string()
    }

    fn cone(centre: Option<v1::Position>, radius: f64) -> v1::region::Shape {
        v1::region::Shape::Cone(v1::Cone { centre, radius })
    }

    fn polygon(vertices: &[(f64, f64)]) -> v1::region::Shape {
        let vertices = vertices.iter().map(|&(ra, dec)| at(ra, dec)).collect();
        v1::region::Shape::Polygon(v1::Polygon { vertices })
    }

    fn ascii(text: &str) -> v1::region::Shape {
        v1::region::Shape::Moc(v1::Moc { form: Some(v1::moc::Form::Ascii(text.to_owned())) })
    }

    fn cells(order: u32, cells: Vec<u64>) -> v1::region::Shape {
        v1::region::Shape::Cells(v1::CellList { order, cells })
    }

    #[test]
    fn every_shape_is_read() {
        assert!(matches!(read(cone(Some(at(10.0, 20.0)), 180.0)), Ok(Region::Cone(_))));
        let triangle = polygon(&[(0.0, 0.0), (10.0, 0.0), (0.0, 10.0)]);
        assert!(matches!(read(triangle), Ok(Region::Polygon(_))));
        let zone = v1::Zone { ra_min: 350.0, ra_max: 10.0, dec_min: -5.0, dec_max: 5.0 };
        assert!(matches!(read(v1::region::Shape::Zone(zone)), Ok(Region::Zone(_))));
        assert!(matches!(read(ascii("5/10-12 6/99")), Ok(Region::Moc(_))));
        let json = v1::Moc { form: Some(v1::moc::Form::Json("{\"5\":[10,11]}".to_owned())) };
        assert!(matches!(read(v1::region::Shape::Moc(json)), Ok(Region::Moc(_))));
        let Ok(Region::Moc(list)) = read(cells(29, vec![5, 6, 9])) else { panic!("a cell list") };
        assert_eq!(list.ranges(), [5..7, 9..10]);
    }

    #[test]
    fn what_is_no_region_is_refused() {
        assert!(region(&Limits::default(), v1::Region { shape: None }).is_err());
        assert!(refusal(cone(None, 1.0)).contains("region.cone.centre"));
        assert!(refusal(cone(Some(at(0.0, 0.0)), 180.1)).contains("180"));
        assert!(read(cone(Some(at(0.0, 0.0)), f64::NAN)).is_err());
        assert!(read(cone(Some(at(0.0, 91.0)), 1.0)).is_err());
        assert!(read(polygon(&[])).is_err());
        assert!(read(polygon(&[(0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 10.0)])).is_err());
        assert!(refusal(polygon(&[(1.0, 2.0); 1_001])).contains("limit of 1000"));
        let zone = v1::Zone { ra_min: 0.0, ra_max: 10.0, dec_min: 5.0, dec_max: -5.0 };
        assert!(read(v1::region::Shape::Zone(zone)).is_err());
        assert!(read(ascii("5/x")).is_err());
        assert!(read(v1::region::Shape::Moc(v1::Moc { form: None })).is_err());
        assert!(refusal(cells(30, vec![0])).contains("30"));
        assert!(refusal(cells(0, vec![12])).contains("12"));
    }
}
