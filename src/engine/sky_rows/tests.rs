//! The rows found and the tests of rows, against the region's own answer for every row.

use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::engine::columns;
use crate::engine::part::{Part, PartKind};
use crate::schema::{CollectionId, CollectionSchema, IdKind, Object, ObjectId};
use crate::sky::testing::{at, position, radius, star, towards};
use crate::sky::{Cone, Degrees, Position, Zone};
use crate::storage::ObjectKey;
use crate::vector::RowBitmap;

fn schema() -> CollectionSchema {
    CollectionSchema {
        name: "sky".to_owned(),
        id_kind: IdKind::Number,
        columns: Vec::new(),
        spaces: Vec::new(),
        description: String::new(),
    }
}

fn rows_at(positions: &[Position]) -> Vec<(ObjectKey, Object)> {
    let row = |(number, &position): (u32, &Position)| {
        let key =
            ObjectKey { collection: CollectionId(1), cell: position.cell29(), ordinal: number };
        let id = ObjectId::Number(i64::from(number));
        (key, Object { id, position, columns: Vec::new(), vectors: Vec::new() })
    };
    (0_u32..).zip(positions).map(row).collect()
}

fn part_at(positions: &[Position]) -> Part {
    let schema = schema();
    let arrow_schema = columns::resident_schema(&schema);
    Part::from_objects(&schema, &arrow_schema, rows_at(positions)).expect("a part")
}

/// Uniform, special and clumped positions, in clumps from a nanodegree to ten degrees wide.
fn sky() -> impl Strategy<Value = Vec<Position>> {
    let clump = (position(), -9.0..1.0_f64, vec((0.0..360.0, 0.0..=1.0_f64), 0..300));
    let clumps = vec(clump, 0..5).prop_map(|clumps| {
        let members = clumps.into_iter().flat_map(|(centre, exponent, members)| {
            let size = 10.0_f64.powf(exponent);
            members
                .into_iter()
                .map(move |(bearing, share)| towards(&centre, bearing, size * share * share))
        });
        members.collect::<Vec<_>>()
    });
    (vec(position(), 0..600), clumps, 0_usize..3, position()).prop_map(
        |(mut all, clumps, copies, place)| {
            all.extend(clumps);
            // More rows in one cell than any leaf holds.
            all.extend(std::iter::repeat_n(place, 200 * copies));
            all
        },
    )
}

/// Everything that is promised of one region and one part.
fn check(part: &Part, region: &Region) -> Result<(), TestCaseError> {
    let found = part.region_rows(region);
    check_found(part, region, &found)?;
    check_tests(part, region, &found)
}

fn truth(part: &Part, region: &Region) -> Vec<bool> {
    let is_inside = |row| part.position_at(row).is_some_and(|place| region.contains(&place));
    (0..part.row_count()).map(is_inside).collect()
}

fn check_found(part: &Part, region: &Region, found: &RegionRows) -> Result<(), TestCaseError> {
    let truth = truth(part, region);
    let mut next = 0;
    for (place, run) in found.runs().iter().enumerate() {
        prop_assert!(!run.rows.is_empty() && run.rows.start >= next, "{region}: {found:?}");
        if place > 0 && run.rows.start == next {
            prop_assert!(found.runs()[place - 1].inside != run.inside);
        }
        prop_assert!(truth[next..run.rows.start].iter().all(|is_inside| !is_inside), "{region}");
        prop_assert!(!run.inside || truth[run.rows.clone()].iter().all(|&is| is), "{region}");
        next = run.rows.end;
    }
    prop_assert!(truth[next..].iter().all(|is_inside| !is_inside), "{region}");
    let count = truth.iter().filter(|is_inside| **is_inside).count();
    prop_assert!((found.inside_count()..=found.count()).contains(&count));
    prop_assert!((found.inside_count() as f64..=found.count() as f64).contains(&found.estimate()));
    prop_assert!(found.span().len() >= found.count());
    if region.cover_is_exact() {
        prop_assert_eq!(found.inside_count(), count);
        prop_assert_eq!(found.count(), count);
    }
    Ok(())
}

fn check_tests(part: &Part, region: &Region, found: &RegionRows) -> Result<(), TestCaseError> {
    let truth = truth(part, region);
    let test = part.region_test(region);
    for (row, &is_inside) in truth.iter().enumerate() {
        prop_assert_eq!(test.contains(row), is_inside, "{}: {:?}", region, part.position_at(row));
    }
    prop_assert!(!test.contains(truth.len()));
    let row_count = truth.len();
    let mut all = RowBitmap::empty(row_count);
    test.mark_all(found, &mut all);
    let mut expected = RowBitmap::empty(row_count);
    (0..row_count).filter(|&row| truth[row]).for_each(|row| expected.insert(row));
    prop_assert_eq!(&all, &expected);
    for rows in
        [0..row_count + 100, row_count / 3..row_count / 2, row_count / 3..row_count / 3 + 7, 5..5]
    {
        let mut some = RowBitmap::empty(row_count);
        test.mark(rows.clone(), &mut some);
        for (row, is_inside) in truth.iter().enumerate() {
            prop_assert_eq!(some.contains(row), rows.contains(&row) && *is_inside);
        }
    }
    let picked: Vec<u32> = (0..row_count as u32).rev().step_by(3).collect();
    let mut kept = vec![77];
    test.select(&picked, &mut kept);
    let passing = (0_u32..).zip(&picked).filter(|&(_, &row)| truth[row as usize]);
    prop_assert_eq!(&kept[1..], &passing.map(|(place, _)| place).collect::<Vec<_>>()[..]);
    prop_assert_eq!(kept[0], 77);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn cones(
        mut places in sky(), centre in position(), radius in radius(), is_on_a_row in any::<bool>(),
        edges in vec((0.0..360.0, -16.0..-6.0_f64), 0..100),
    ) {
        let centre = if is_on_a_row { places.last().copied().unwrap_or(centre) } else { centre };
        for (bearing, exponent) in edges {
            let off = 10.0_f64.powf(exponent);
            for distance in [radius, radius - off, radius + off, radius * (1.0 - off)] {
                places.push(towards(&centre, bearing, distance.clamp(0.0, 180.0)));
            }
        }
        places.push(centre);
        check(&part_at(&places), &Cone::new(centre, Degrees(radius)).expect("a radius").into())?;
    }

    #[test]
    fn polygons(
        mut places in sky(), (centre, size, outline) in star(),
        near in vec((0.0..360.0, 0.0..1.5_f64), 0..300),
    ) {
        places.extend(near.iter().map(|(bearing, share)| towards(&centre, *bearing, size * share)));
        places.extend(outline.vertices());
        check(&part_at(&places), &outline.into())?;
    }

    #[test]
    fn zones(
        mut places in sky(), west in prop_oneof![0.0..360.0, Just(0.0)],
        width in prop_oneof![0.0..=360.0, Just(0.0), Just(360.0), 0.0..1e-6],
        south in prop_oneof![-90.0..=90.0_f64, Just(-90.0), 89.999..=90.0],
        height in prop_oneof![0.0..=180.0_f64, Just(0.0), 0.0..1e-6],
        near in vec((-0.1..1.1_f64, -0.1..1.1_f64), 0..300),
    ) {
        let north = f64::min(south + height, 90.0);
        let zone = Zone::new(Degrees(west), Degrees(west + width), Degrees(south), Degrees(north));
        prop_assume!(zone.is_ok());
        for (along, up) in near {
            let ra = (west + along * width) % 360.0;
            let dec = (south + up * (north - south)).clamp(-90.0, 90.0);
            places.extend([at(ra, dec), at(west, dec), at(ra, south), at(ra, north)]);
        }
        check(&part_at(&places), &zone.expect("checked").into())?;
    }

    #[test]
    fn maps(
        places in sky(), others in vec((position(), 0_u64..=29), 0..40),
        rows in vec((any::<prop::sample::Index>(), 0_u64..=29), 0..40),
    ) {
        let order = |order| Order::new(order).expect("in range");
        let mut cells: Vec<Cell> =
            others.iter().map(|(place, depth)| place.cell29().parent(order(*depth))).collect();
        if !places.is_empty() {
            cells.extend(rows.iter().map(|(row, depth)| row.get(&places).cell29().parent(order(*depth))));
        }
        // Half of the maps are of small cells alone, so that they leave rows out.
        if others.len() % 2 == 0 {
            cells.retain(|cell| cell.order().get() > 12);
        }
        check(&part_at(&places), &cells.into_iter().collect::<Moc>().into())?;
    }

    #[test]
    fn all_sky(places in sky()) {
        check(&part_at(&places), &Region::AllSky)?;
    }

    #[test]
    fn a_descent_that_is_cut_short_finds_more_rows(
        places in sky(), centre in position(), radius in radius(), splits_max in 0_usize..12,
    ) {
        let part = part_at(&places);
        let region = Region::from(Cone::new(centre, Degrees(radius)).expect("a radius"));
        check_found(&part, &region, &RegionRows::descend(part.cells(), &region, 4, splits_max))?;
    }

    #[test]
    fn galloping_is_a_binary_search(mut items in vec(0_u64..50, 0..60), bound in 0_u64..52) {
        items.sort_unstable();
        prop_assert_eq!(gallop(items.len(), |place| items[place] < bound), items.partition_point(|&item| item < bound));
    }

    #[test]
    fn cells_from_a_damaged_file_are_passed_over(mut cells in vec(any::<u64>(), 0..300), centre in position(), radius in radius()) {
        cells.sort_unstable();
        let region = Region::from(Cone::new(centre, Degrees(radius)).expect("a radius"));
        let sky_cells = SkyCells::new(cells.iter().map(|&cell| cell as i64).collect());
        let found = RegionRows::find(&sky_cells, &region);
        prop_assert!(found.runs().iter().flat_map(|run| run.rows.clone()).all(|row| cells[row] < Cell29::COUNT));
    }
}

#[test]
fn an_empty_part_has_no_rows() {
    let part = part_at(&[]);
    let map: Moc = Cell::base().take(2).collect();
    let cone = Cone::new(at(0.0, 0.0), Degrees(90.0)).expect("a radius");
    for region in [Region::AllSky, map.into(), cone.into()] {
        check(&part, &region).expect("holds");
        let found = part.region_rows(&region);
        assert_eq!((found.runs(), found.span()), (&[][..], 0..0));
        assert_eq!((found.count(), found.inside_count(), found.estimate()), (0, 0, 0.0));
    }
}

#[test]
fn a_small_cone_among_many_rows_finds_few() {
    // Ten thousand rows on a grid of one degree, and a cone of two.
    let places: Vec<Position> = (0..10_000)
        .map(|row| at(f64::from(row % 100), f64::from(row / 100) * 0.8 - 40.0))
        .collect();
    let part = part_at(&places);
    let region = Cone::new(at(50.0, 0.0), Degrees(2.0)).expect("a radius").into();
    check(&part, &region).expect("holds");
    assert!(part.region_rows(&region).count() < 600);
    let most = Cone::new(at(50.0, 0.0), Degrees(60.0)).expect("a radius").into();
    assert!(part.region_rows(&most).inside_count() > 5_000);
}

#[test]
fn a_row_without_a_position_is_nowhere() {
    let places = [at(1.0, 2.0), at(100.0, 2.0), at(200.0, -80.0)];
    let (schema, mut rows) = (schema(), rows_at(&places));
    rows.sort_unstable_by_key(|(key, _)| *key);
    let arrow_schema = columns::resident_schema(&schema);
    let (batch, ordinals) = columns::to_batch(&schema, &arrow_schema, &rows).expect("a batch");
    let mut arrays = batch.columns().to_vec();
    arrays[1] = Arc::new(Float64Array::from(vec![f64::NAN, 1e9, 200.0]));
    let batch = RecordBatch::try_new(arrow_schema, arrays).expect("a batch");
    let part = Part::new(PartKind::Segment, vec![batch], &[ordinals], Vec::new(), "x")
        .expect("nothing looks at positions");
    for radius in [0.0, 10.0, 179.0, 180.0] {
        let region = Cone::new(at(1.0, 2.0), Degrees(radius)).expect("a radius").into();
        let test = part.region_test(&region);
        let truth = truth(&part, &region);
        assert!((0..3).all(|row| test.contains(row) == truth[row]));
        let mut marked = RowBitmap::empty(3);
        test.mark(0..3, &mut marked);
        assert!((0..3).all(|row| marked.contains(row) == truth[row]));
    }
}

#[test]
fn directions_of_another_number_are_refused() {
    let part = part_at(&[at(1.0, 2.0), at(3.0, 4.0)]);
    assert!(part.with_directions(Directions::of(vec![0]), "x").is_err());
}
