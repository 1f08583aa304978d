//! Files made with healpy, mocpy, astropy and 60-digit arithmetic by `tests/fixtures/sky/make.py`:
//! not one difference is allowed.

use std::str::FromStr;

use super::testing::at;
use super::{
    Cell29, Cone, Degrees, EDGE_TOLERANCE, Moc, Order, Polygon, Position, Radians, Region, Zone,
    healpix,
};

/// Rows of a table without its header.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().skip(1).map(|line| line.split(',').collect())
}

fn number<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// The generator of the fixtures: splitmix64 as doubles in `[0, 1)`.
struct Units(u64);

impl Iterator for Units {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Some(((z ^ (z >> 31)) >> 11) as f64 * 2.0_f64.powi(-53))
    }
}

/// Positions of a row `seed, ra, width, dec, height`, as the script makes them.
fn sample(row: &[&str], count: usize) -> Vec<Position> {
    let mut units = Units(number(row[0]));
    let [ra, width, dec, height]: [f64; 4] = std::array::from_fn(|index| number(row[index + 1]));
    let mut next = || units.next().expect("endless");
    let position = |_| {
        let (u, v) = (next(), next());
        at(ra + width * u, (dec + height * v).clamp(-90.0, 90.0))
    };
    (0..count).map(position).collect()
}

#[test]
fn cells_of_a_million_positions_equal_those_of_healpy() {
    let mut count = 0;
    for row in rows(include_str!("../../tests/fixtures/sky/cells.csv")) {
        let positions = sample(&row, 10_000);
        let cells: Vec<u64> = positions.iter().map(|position| position.cell29().0).collect();
        assert_eq!(cells[0], number::<u64>(row[5]), "{}", positions[0]);
        let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_le_bytes()).collect();
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), row[6], "block of seed {}", row[0]);
        count += cells.len();
    }
    assert_eq!(count, 1_000_000);
}

#[test]
fn cells_on_every_kind_of_edge() {
    let mut corners = 0;
    for row in rows(include_str!("../../tests/fixtures/sky/edges.csv")) {
        let position = at(number(row[1]), number(row[2]));
        let theirs = Cell29(number(row[3]));
        if row[0] == "corner" {
            // Several cells touch the position: each is right.
            corners += 1;
            for cell in [position.cell29(), theirs] {
                let away = position.separation(&healpix::centre(&cell.into()));
                assert!(away <= healpix::reach(Order::MAX).into(), "{position}: {cell:?}");
            }
        } else {
            assert_eq!(position.cell29(), theirs, "{position} by {}", row[0]);
        }
    }
    assert!((8..40).contains(&corners), "{corners}");
}

#[test]
fn separations_equal_those_of_astropy_and_of_60_digits() {
    for row in rows(include_str!("../../tests/fixtures/sky/separations.csv")) {
        let [ra1, dec1, ra2, dec2, astropy, exact]: [f64; 6] =
            std::array::from_fn(|index| number(row[index]));
        let ours = at(ra1, dec1).separation(&at(ra2, dec2)).0;
        // Units in the last place of RA and of half a circle are 6e-14 and 3e-14 degrees.
        assert!((ours - exact).abs() <= 6e-14, "{row:?}: {ours}");
        assert!((ours - astropy).abs() <= 3e-13, "{row:?}: {ours}");
        assert!((ours - exact).abs() <= 1e-14 + 1e-14 * exact || exact > 1.0, "{row:?}: {ours}");
    }
}

/// A region as the script writes it.
fn region(kind: &str, numbers: &str) -> Region {
    let numbers: Vec<f64> = numbers.split(' ').map(number).collect();
    match (kind, numbers.as_slice()) {
        ("cone", &[ra, dec, radius]) => {
            Cone::new(at(ra, dec), Degrees(radius)).expect("a cone").into()
        }
        ("zone", &[west, east, south, north]) => {
            let [west, east, south, north] = [west, east, south, north].map(Degrees);
            Zone::new(west, east, south, north).expect("a zone").into()
        }
        ("polygon", corners) => {
            let corners = corners.chunks_exact(2).map(|pair| at(pair[0], pair[1])).collect();
            Polygon::new(corners).expect("a polygon").into()
        }
        _ => panic!("unknown {kind}"),
    }
}

#[test]
fn regions_hold_the_positions_that_they_should() {
    for row in rows(include_str!("../../tests/fixtures/sky/regions.csv")) {
        let region = region(row[0], row[1]);
        let positions = sample(&row[2..], 4_000);
        let inside: Vec<u8> = positions.iter().map(|p| u8::from(region.contains(p))).collect();
        let count: usize = inside.iter().map(|&flag| usize::from(flag)).sum();
        assert_eq!(count, number::<usize>(row[7]), "{region}");
        assert_eq!(blake3::hash(&inside).to_hex().as_str(), row[8], "{region}");
        let cover = region.cover();
        for (position, _) in positions.iter().zip(inside).filter(|(_, flag)| *flag == 1) {
            assert!(cover.contains(position.cell29()), "{region}: {position} is not covered");
        }
    }
}

#[test]
fn maps_equal_those_of_mocpy() {
    let texts = include_str!("../../tests/fixtures/sky/maps.json");
    let maps: Vec<serde_json::Value> = serde_json::from_str(texts).expect("JSON");
    assert_eq!(maps.len(), 16);
    for entry in &maps {
        let text = |key: &str| entry[key].as_str().expect("text");
        let read = |key: &str| Moc::from_ascii(text(key)).expect("written by mocpy");
        let (map, other) = (read("ascii"), read("other"));
        assert_eq!(Moc::from_json(text("json")).expect("written by mocpy"), map);
        for (ours, theirs) in map.ranges().iter().zip(entry["ranges"].as_array().expect("ranges")) {
            assert_eq!(serde_json::json!([ours.start, ours.end]), *theirs);
        }
        assert_eq!(map.union(&other), read("union"));
        assert_eq!(map.intersection(&other), read("intersection"));
        let order = Order::new(entry["order"].as_u64().expect("order")).expect("an order");
        assert_eq!(map.degraded(order), read("degraded"));
        // mocpy's fraction of three order-29 cells is 0.
        let fraction = entry["sky_fraction"].as_f64().expect("a fraction");
        assert!((map.sky_fraction() - fraction).abs() < 1e-15);
        // mocpy ends with the empty order under which it made a map; the cells are the same text.
        let cells = text("ascii").trim_end();
        let cells = if cells.ends_with('/') {
            cells.rsplit_once(' ').map_or(cells, |c| c.0)
        } else {
            cells
        };
        assert_eq!(map.to_ascii(), cells);
        assert_eq!(Moc::from_json(&map.to_json()).expect("our own"), map);
    }
}

#[test]
fn the_edge_tolerance_is_as_stated() {
    let stated = 16.0 * f64::EPSILON;
    assert!((Radians::from(EDGE_TOLERANCE).0 / stated - 1.0).abs() < 1e-4);
}
