//! Every shape of a region, also where the sphere is awkward.

use sidereus::wire::v1::{CellList, Cone, Moc, Polygon, Position, Region, Zone, moc, region};
use tonic::{Code, Status};

use crate::support::{TestServer, galaxy, in_region, schema};

fn at(ra: f64, dec: f64) -> Position {
    Position { ra, dec }
}

fn cone(ra: f64, dec: f64, radius: f64) -> Option<Region> {
    in_region(region::Shape::Cone(Cone { centre: Some(at(ra, dec)), radius }))
}

fn polygon(vertices: &[(f64, f64)]) -> Option<Region> {
    let vertices = vertices.iter().map(|&(ra, dec)| at(ra, dec)).collect();
    in_region(region::Shape::Polygon(Polygon { vertices }))
}

fn zone(ra_min: f64, ra_max: f64, dec_min: f64, dec_max: f64) -> Option<Region> {
    in_region(region::Shape::Zone(Zone { ra_min, ra_max, dec_min, dec_max }))
}

fn ascii(text: &str) -> Option<Region> {
    in_region(region::Shape::Moc(Moc { form: Some(moc::Form::Ascii(text.to_owned())) }))
}

fn json(text: &str) -> Option<Region> {
    in_region(region::Shape::Moc(Moc { form: Some(moc::Form::Json(text.to_owned())) }))
}

fn cells(order: u32, cells: &[u64]) -> Option<Region> {
    in_region(region::Shape::Cells(CellList { order, cells: cells.to_vec() }))
}

struct Sky {
    _folder: tempfile::TempDir,
    server: TestServer,
}

impl Sky {
    /// One object for each of these positions.
    async fn with(positions: &[(f64, f64)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = TestServer::start(folder.path()).await;
        server.create(schema("sky")).await.expect("created");
        let rows = positions.iter().enumerate().map(|(id, &(ra, dec))| galaxy(id as i64, ra, dec));
        server.write("sky", rows.collect()).await;
        Self { _folder: folder, server }
    }

    async fn count(&self, region: Option<Region>) -> u64 {
        self.server.count("sky", region, "").await.expect("counted")
    }

    async fn refusal(&self, region: Option<Region>) -> Status {
        let status = self.server.count("sky", region, "").await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(!status.message().is_empty() && !status.message().contains('\n'));
        status
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_finds_what_lies_inside_and_on_its_edge() {
    let sky = Sky::with(&[
        (0.0, 0.0),
        (359.5, 0.0),
        (1.0, 0.0),
        (10.0, 10.0),
        (10.0, 89.9),
        (190.0, 89.9),
        (45.0, -90.0),
        (180.0, 0.0),
    ])
    .await;
    assert_eq!(sky.count(None).await, 8);
    assert_eq!(sky.count(cone(0.0, 0.0, 1.0)).await, 3, "across RA 0, edge included");
    assert_eq!(sky.count(cone(0.0, 0.0, 0.0)).await, 1, "radius 0");
    assert_eq!(sky.count(cone(77.0, 90.0, 0.2)).await, 2, "around the pole");
    assert_eq!(sky.count(cone(0.0, 0.0, 180.0)).await, 8, "the whole sky");
    assert_eq!(sky.count(cone(0.0, 0.0, 90.0)).await, 6, "half the sky");
    assert_eq!(
        sky.count(polygon(&[(359.0, -1.0), (2.0, -1.0), (2.0, 1.0), (359.0, 1.0)])).await,
        3
    );
    assert_eq!(
        sky.count(polygon(&[(2.0, 1.0), (2.0, -1.0), (359.0, -1.0), (359.0, 1.0)])).await,
        3
    );
    assert_eq!(
        sky.count(polygon(&[(0.0, 80.0), (120.0, 80.0), (240.0, 80.0)])).await,
        2,
        "holds the pole"
    );
    assert_eq!(sky.count(zone(359.0, 1.0, -5.0, 5.0)).await, 3, "runs east across RA 0");
    assert_eq!(sky.count(zone(1.0, 359.0, -5.0, 5.0)).await, 2, "the other way round");
    assert_eq!(sky.count(zone(0.0, 360.0, -90.0, 90.0)).await, 8);
    assert_eq!(sky.count(ascii("0/0-11")).await, 8);
    assert_eq!(sky.count(json("{\"0\":[0,1,2,3,4,5,6,7,8,9,10,11]}")).await, 8);
    assert_eq!(sky.count(cells(0, &[0, 1, 2, 3])).await, sky.count(ascii("0/0-3")).await);
    let all: Vec<u64> = (0..48).collect();
    assert_eq!(sky.count(cells(1, &all)).await, 8);
    assert_eq!(sky.count(cells(1, &[])).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_region_is_refused() {
    let sky = Sky::with(&[(0.0, 0.0)]).await;
    let large = sky.refusal(cone(0.0, 0.0, 180.5)).await;
    assert!(large.message().contains("180"), "{large:?}");
    for region in [
        cone(0.0, 0.0, -1.0),
        cone(0.0, 0.0, f64::NAN),
        cone(f64::NAN, 0.0, 1.0),
        cone(0.0, 90.5, 1.0),
        in_region(region::Shape::Cone(Cone { centre: None, radius: 1.0 })),
        polygon(&[]),
        polygon(&[(0.0, 0.0), (1.0, 0.0)]),
        polygon(&[(0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 10.0)]),
        polygon(&[(0.0, 0.0), (10.0, f64::INFINITY), (10.0, 0.0)]),
        zone(0.0, 10.0, 5.0, -5.0),
        zone(0.0, 10.0, -95.0, 5.0),
        zone(f64::NAN, 10.0, -5.0, 5.0),
        ascii("5/x"),
        ascii("30/1"),
        ascii("0/12"),
        json("{\"0\":"),
        json("[1]"),
        in_region(region::Shape::Moc(Moc { form: None })),
        cells(30, &[0]),
        cells(0, &[12]),
        Some(Region { shape: None }),
    ] {
        sky.refusal(region).await;
    }
    let crossing =
        sky.refusal(polygon(&[(0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 10.0)])).await;
    assert!(crossing.message().contains("cross"), "{crossing:?}");
    let many: Vec<(f64, f64)> = (0..1_001).map(|place| (f64::from(place) * 0.3, 0.0)).collect();
    let many = sky.refusal(polygon(&many)).await;
    assert!(many.message().contains("limit of 1000"), "{many:?}");
}
