//! Coordinates against astropy, and what is refused.
//!
//! The numbers are those of astropy 8.0.2 (wcslib): `WCS(header).all_pix2world([[0, 0], [123.4, 67.8], [199, 159]], 0)`.

use proptest::prelude::*;

use super::*;

fn header(cards: &[String]) -> Header {
    let mut bytes: Vec<u8> = [&["SIMPLE  =                    T".to_owned()], cards]
        .concat()
        .iter()
        .chain([&"END".to_owned()])
        .flat_map(|card| format!("{card:<80}").into_bytes())
        .collect();
    bytes.resize(bytes.len().next_multiple_of(2_880), b' ');
    Header::read(&mut bytes.as_slice()).expect("sound").expect("present").0
}

fn cards(kinds: &str, numbers: &[(&str, f64)]) -> Vec<String> {
    let (first, second) = kinds.split_once(' ').expect("two");
    let kinds = [("CTYPE1", first), ("CTYPE2", second)];
    let texts = kinds.iter().map(|(word, text)| format!("{word:<8}= '{text}'"));
    let is_order = |word: &str| word.ends_with("_ORDER");
    let numbers = numbers.iter().map(|(word, value)| match is_order(word) {
        true => format!("{word:<8}= {}", *value as i64),
        false => format!("{word:<8}= {value:E}"),
    });
    texts.chain(numbers).collect()
}

/// Kinds of the axes, numbers of the header, and (x, y, ra, dec).
#[expect(clippy::unreadable_literal, reason = "as astropy wrote them")]
const CASES: [(&str, &[(&str, f64)], [[f64; 4]; 3]); 12] = [
    (
        "RA---TAN DEC--TAN",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 150.1),
            ("CRVAL2", 2.2),
            ("CD1_1", -7.1e-05),
            ("CD1_2", 1.3e-05),
            ("CD2_1", 1.2e-05),
            ("CD2_2", 7.3e-05),
        ],
        [
            [0.0, 0.0, 150.10603867274708, 2.1930207378663176],
            [123.4, 67.8, 150.09815288920504, 2.1994509488582006],
            [199.0, 159.0, 150.093967775414, 2.2070157377453867],
        ],
    ),
    (
        "RA---TAN DEC--TAN",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 150.1),
            ("CRVAL2", 2.2),
            ("CDELT1", -7e-05),
            ("CDELT2", 7e-05),
            ("PC1_1", 0.8),
            ("PC1_2", -0.6),
            ("PC2_1", 0.6),
            ("PC2_2", 0.8),
        ],
        [
            [0.0, 0.0, 150.10224514189414, 2.1913829983842072],
            [123.4, 67.8, 150.09817935759267, 2.200362598890207],
            [199.0, 159.0, 150.09777584773246, 2.2086449982719545],
        ],
    ),
    (
        "RA---TAN DEC--TAN",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 150.1),
            ("CRVAL2", 2.2),
            ("CDELT1", -7e-05),
            ("CDELT2", 8e-05),
            ("CROTA2", 30.0),
        ],
        [
            [0.0, 0.0, 150.1092086420076, 2.1979918705802075],
            [123.4, 67.8, 150.09900840969738, 2.198370220401678],
            [199.0, 159.0, 150.0907713182019, 2.2020427135386957],
        ],
    ),
    (
        "DEC--TAN RA---TAN",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 2.2),
            ("CRVAL2", 150.1),
            ("CD1_1", 7e-05),
            ("CD1_2", 0.0),
            ("CD2_1", 0.0),
            ("CD2_2", -7e-05),
        ],
        [
            [0.0, 0.0, 150.10555156604445, 2.193034989749957],
            [123.4, 67.8, 150.10080209210793, 2.201672999783989],
            [199.0, 159.0, 150.09441335612405, 2.2069649894849492],
        ],
    ),
    (
        "RA---TAN DEC--TAN",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 150.1),
            ("CRVAL2", 2.2),
            ("CDELT1", -7e-05),
            ("CDELT2", 7e-05),
            ("LONPOLE", 150.0),
        ],
        [
            [0.0, 0.0, 150.10881210432157, 2.198678198093938],
            [123.4, 67.8, 150.09895111746113, 2.1984693802712325],
            [199.0, 159.0, 150.0911703669562, 2.2013520607024626],
        ],
    ),
    (
        "RA---TAN DEC--TAN",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 10.0),
            ("CRVAL2", -89.95),
            ("CDELT1", -0.001),
            ("CDELT2", 0.001),
        ],
        [
            [0.0, 0.0, 116.38173341971853, -89.89628997233642],
            [123.4, 67.8, 338.20215945159356, -89.95464239494324],
            [199.0, 159.0, 332.5168603638553, -89.8364908469643],
        ],
    ),
    (
        "RA---TAN DEC--TAN",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 30.0),
            ("CRVAL2", 90.0),
            ("CDELT1", -0.001),
            ("CDELT2", 0.001),
        ],
        [
            [0.0, 0.0, 261.4632948273831, 89.87279638633078],
            [123.4, 67.8, 145.59812560543367, 89.9734988226708],
            [199.0, 159.0, 81.28756244701327, 89.87248428015826],
        ],
    ),
    (
        "RA---SIN DEC--SIN",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 150.1),
            ("CRVAL2", 2.2),
            ("CDELT1", -0.01),
            ("CDELT2", 0.01),
        ],
        [
            [0.0, 0.0, 151.09535021047654, 1.4071429159842113],
            [123.4, 67.8, 149.8608408983472, 2.085480775630111],
            [199.0, 159.0, 149.1035868477346, 2.9971935865244492],
        ],
    ),
    (
        "RA---ARC DEC--ARC",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 150.1),
            ("CRVAL2", 2.2),
            ("CDELT1", -0.01),
            ("CDELT2", 0.01),
        ],
        [
            [0.0, 0.0, 151.09526846476214, 1.4072080784321226],
            [123.4, 67.8, 149.86084175103733, 2.085481184029419],
            [199.0, 159.0, 149.10366917069422, 2.997127800702077],
        ],
    ),
    (
        "RA---STG DEC--STG",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 150.1),
            ("CRVAL2", 2.2),
            ("CDELT1", -0.01),
            ("CDELT2", 0.01),
        ],
        [
            [0.0, 0.0, 151.09522760399057, 1.4072406500197445],
            [123.4, 67.8, 149.86084217737692, 2.08548138822645],
            [199.0, 159.0, 149.10371031993782, 2.9970949175638113],
        ],
    ),
    (
        "RA---ZEA DEC--ZEA",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 0.01),
            ("CRVAL2", 2.2),
            ("CDELT1", -0.01),
            ("CDELT2", 0.01),
        ],
        [
            [0.0, 0.0, 1.0052888977910335, 1.4071917905307878],
            [123.4, 67.8, 359.7708415378663, 2.0854810819303315],
            [199.0, 159.0, 359.0136485933962, 2.9971442444085095],
        ],
    ),
    (
        "RA---TAN-SIP DEC--TAN-SIP",
        &[
            ("CRPIX1", 100.5),
            ("CRPIX2", 80.25),
            ("CRVAL1", 150.1),
            ("CRVAL2", 2.2),
            ("CD1_1", -7.1e-05),
            ("CD1_2", 1.3e-05),
            ("CD2_1", 1.2e-05),
            ("CD2_2", 7.3e-05),
            ("A_ORDER", 3.0),
            ("B_ORDER", 3.0),
            ("A_2_0", 2e-05),
            ("A_0_2", -1e-05),
            ("A_1_1", 3e-05),
            ("A_3_0", 4e-08),
            ("B_2_0", -2e-05),
            ("B_0_2", 1.5e-05),
            ("B_1_1", 2e-05),
            ("B_0_3", -3e-08),
            ("A_1_2", 1e-08),
        ],
        [
            [0.0, 0.0, 150.10601639772625, 2.193029676794564],
            [123.4, 67.8, 150.09815251927296, 2.1994498919707657],
            [199.0, 159.0, 150.09393859375504, 2.2070237402844186],
        ],
    ),
];

#[test]
fn pixels_and_positions_are_those_of_astropy() {
    for (kinds, numbers, points) in CASES {
        let header = header(&cards(kinds, numbers));
        let wcs = Wcs::of(&header).expect(kinds).expect("coordinates");
        for [x, y, ra, dec] in points {
            let wanted = Position::new(Degrees(ra), Degrees(dec)).expect("a position");
            let found = wcs.position([x, y]).expect("on the sky");
            let apart = found.separation(&wanted).0;
            assert!(apart < 1e-12, "{kinds} {numbers:?}: {found} is {apart} deg from {wanted}");
            let [column, row] = wcs.pixel(&wanted).expect("in the plane");
            let apart = (column - x).hypot(row - y);
            assert!(apart < 1e-6, "{kinds}: {column}, {row} instead of {x}, {y}");
        }
    }
}

#[test]
fn what_is_not_read_is_named() {
    let usual = [("CDELT1", -1e-4), ("CDELT2", 1e-4)];
    let tan = cards("RA---TAN DEC--TAN", &usual);
    let with = |more: &str| header(&[tan.clone(), vec![more.to_owned()]].concat());
    let refused = |header: &Header| Wcs::of(header).expect_err("refused");
    assert!(refused(&with("RADESYS = 'FK4'")).contains("FK4"));
    assert!(refused(&with("EQUINOX = 1950.0")).contains("equinox 1950"));
    assert!(refused(&with("CUNIT1  = 'arcsec'")).contains("`arcsec`"));
    assert!(refused(&with("PV1_1   = 1.01")).contains("PV1_1"));
    assert!(refused(&with("CRVAL2  = 95.0")).contains("no position"));
    assert!(refused(&header(&cards("GLON-CAR GLAT-CAR", &usual))).contains("not RA and DEC"));
    assert!(refused(&header(&cards("RA---TPV DEC--TPV", &usual))).contains("TPV"));
    assert!(refused(&header(&cards("RA---TAN-SIP DEC--TAN-SIP", &usual))).contains("A_ORDER"));
    assert!(refused(&header(&cards("RA---TAN DEC--TAN", &[("CD1_1", 1.0)]))).contains("no size"));
    for more in ["RADESYS = 'ICRS'", "RADESYS = 'FK5'", "EQUINOX = 2000.0", "EPOCH   = 2021.4"] {
        assert!(Wcs::of(&with(more)).expect(more).is_some());
    }
    assert!(Wcs::of(&header(&cards("LINEAR LINEAR", &usual))).expect("none").is_none());
}

#[test]
fn the_far_side_of_the_sky_has_no_pixel() {
    let numbers = [("CRVAL1", 10.0), ("CRVAL2", 20.0), ("CDELT1", -1e-4), ("CDELT2", 1e-4)];
    let header = header(&cards("RA---TAN DEC--TAN", &numbers));
    let wcs = Wcs::of(&header).expect("read").expect("there");
    let behind = Position::new(Degrees(190.0), Degrees(-20.0)).expect("a position");
    assert_eq!(wcs.pixel(&behind), None);
}

proptest! {
    #[test]
    fn there_and_back(
        ra in 0.0..360.0_f64, dec in -90.0..=90.0_f64, pole in 0.0..360.0_f64, case in 0..CASES.len(),
        x in -500.0..500.0_f64, y in -500.0..500.0_f64,
    ) {
        let (kinds, numbers, _) = CASES[case];
        let mut words: Vec<(&str, f64)> = numbers.to_vec();
        words.retain(|(word, _)| !["CRVAL1", "CRVAL2", "LONPOLE"].contains(word));
        let swapped = kinds.starts_with("DEC");
        words.push(("CRVAL1", if swapped { dec } else { ra }));
        words.push(("CRVAL2", if swapped { ra } else { dec }));
        words.push(("LONPOLE", pole));
        let wcs = Wcs::of(&header(&cards(kinds, &words))).expect("read").expect("there");
        let position = wcs.position([x, y]).expect("on the sky");
        let [column, row] = wcs.pixel(&position).expect("in the plane");
        // 1e-13 degrees of rounding in ra near a pole, over 7e-5 degrees a pixel.
        prop_assert!((column - x).hypot(row - y) < 1e-5, "{column} {row} for {x} {y}");
    }
}
