//! Cutouts and spectra against the libraries that wrote them, and against formulas.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sidereus::files::{
    Observation, ObservationOptions, Observed, read_observation, read_observations, read_together,
};
use sidereus::sky::{Degrees, Position};
use sidereus::wire::v1::payload::Content;

use super::support::fixture;
use crate::support::npy;

/// A fixture by name; `make_observations.py` writes them all.
pub(super) fn observed(name: &str) -> PathBuf {
    fixture("observations").join(name)
}

fn expected() -> Value {
    let text = std::fs::read_to_string(observed("expected.json")).expect("fixture");
    serde_json::from_str(&text).expect("JSON")
}

fn at(ra: f64, dec: f64, size: usize) -> ObservationOptions {
    let center = Position::new(Degrees(ra), Degrees(dec)).expect("a position");
    ObservationOptions { center: Some(center), size: Some(size), ..ObservationOptions::default() }
}

fn whole() -> ObservationOptions {
    ObservationOptions::default()
}

fn bands(names: &[&str]) -> ObservationOptions {
    let bands = names.iter().map(|name| (*name).to_owned()).collect();
    ObservationOptions { bands, ..whole() }
}

/// Compares an array with singles of JSON, to a part in a million (sums in another order); null is NaN.
fn assert_array(observation: &Observation, name: &str, wanted: &Value) {
    let found = &observation.array(name).unwrap_or_else(|| panic!("no {name}")).values;
    let wanted = wanted.as_array().expect("values");
    assert_eq!(found.len(), wanted.len(), "{name}");
    for (place, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        match wanted.as_f64() {
            None => assert!(found.is_nan(), "{name}[{place}]: {found}"),
            Some(wanted) => {
                let apart = (f64::from(*found) - wanted).abs();
                assert!(apart <= 1e-6 * wanted.abs(), "{name}[{place}]: {found} is not {wanted}");
            }
        }
    }
}

fn error_of(path: &Path, options: &ObservationOptions) -> String {
    let error = read_observation(path, options).expect_err("refused").to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn squares_are_those_of_cutout2d() {
    let wanted = &expected()["shorts"];
    let path = observed("shorts.fits");
    let image = read_observation(&path, &whole()).expect("an image");
    assert_array(&image, "image", &wanted["values"]);
    let array = image.array("image").expect("an image");
    assert_eq!(
        (array.shape.as_slice(), array.bands.as_slice()),
        (&[1, 24, 30][..], &["DES-R".to_owned()][..])
    );
    // The header's OBJECT is no id.
    assert_eq!(image.object, None);
    for cut in wanted["cuts"].as_array().expect("cuts") {
        let number = |name: &str| cut[name].as_f64().expect("a number");
        let size = cut["size"].as_u64().expect("a size") as usize;
        let image = read_observation(&path, &at(number("ra"), number("dec"), size)).expect("a cut");
        assert_eq!(image.array("image").expect("an image").shape, [1, size, size]);
        assert_array(&image, "image", &cut["values"]);
    }
}

#[test]
fn squares_that_the_image_does_not_have_are_refused() {
    let path = observed("shorts.fits");
    let cut = &expected()["shorts"]["cuts"][4];
    let (ra, dec) = (cut["ra"].as_f64().expect("ra"), cut["dec"].as_f64().expect("dec"));
    let error = error_of(&path, &at(ra, dec, 9));
    assert!(error.contains("hangs over the edge of the 30 x 24 pixels"), "{error}");
    let error = error_of(&path, &at(ra + 1.0, dec, 3));
    assert!(error.contains("outside of the image, at pixel"), "{error}");
    let error = error_of(&path, &at(ra + 180.0, -dec, 3));
    assert!(error.contains("outside of the image"), "{error}");
    let error = error_of(&path, &ObservationOptions { size: None, ..at(ra, dec, 3) });
    assert!(error.contains("pixels of the side"), "{error}");
    let error = error_of(&path, &at(ra, dec, 0));
    assert!(error.contains("0 pixels"), "{error}");
    for name in ["coadd.fits", "spec.fits", "objects.h5"] {
        let error = error_of(&observed(name), &at(ra, dec, 3));
        assert!(error.contains("nothing can be cut out"), "{error}");
    }
}

#[test]
fn cubes_extensions_and_files_are_bands() {
    let wanted = expected();
    let cube = read_observation(&observed("cube.fits"), &whole()).expect("a cube");
    assert_array(&cube, "image", &wanted["cube"]["values"]);
    let array = cube.array("image").expect("an image");
    assert_eq!(array.bands, ["DES-G", "DES-R", "DES-Z"]);
    let position = cube.position.expect("a position");
    let middle = wanted["cube"]["middle"].as_array().expect("ra and dec");
    assert!((position.ra().0 - middle[0].as_f64().expect("ra")).abs() < 1e-12);
    assert!((position.dec().0 - middle[1].as_f64().expect("dec")).abs() < 1e-12);

    let path = observed("extensions.fits");
    let parts = read_observation(&path, &whole()).expect("extensions");
    assert_array(&parts, "image", &wanted["extensions"]["values"]);
    assert_eq!(parts.array("image").expect("an image").bands, ["HSC-G", "HSC-R"]);
    let one = |name: &str| PathBuf::from(format!("{}[{name}]", path.display()));
    let joined = read_together(&[one("HSC-G"), one("HSC-R")], &whole()).expect("two");
    assert_eq!(joined, parts);
    let turned = read_together(&[one("HSC-G"), one("HSC-R")], &bands(&["r", "G"])).expect("two");
    let array = turned.array("image").expect("an image");
    assert_eq!(array.bands, ["HSC-R", "HSC-G"]);
    assert_eq!(array.values[..81], parts.array("image").expect("an image").values[81..]);
    let named = read_observation(&path, &bands(&["u", "w"])).expect("names");
    assert_eq!(named.array("image").expect("an image").bands, ["u", "w"]);
    let error = error_of(&path, &bands(&["g", "r", "z"]));
    assert!(error.contains("bands g,r,z were asked for, and it has 2"), "{error}");
    let error = error_of(&observed("tiles.fits"), &whole());
    assert!(error.contains("funpack"), "{error}");
}

#[test]
fn desi_cameras_become_one_spectrum() {
    let wanted = expected();
    let wanted = wanted["coadd"].as_array().expect("spectra");
    let mut spectra = read_observations(&observed("coadd.fits"), &whole()).expect("a coadd");
    assert_eq!((spectra.count_known(), spectra.skipped()), (Some(3), 2));
    for wanted in wanted {
        let (object, spectrum) = spectra.next().expect("a fibre");
        let spectrum = spectrum.expect("a spectrum");
        assert_eq!(object.as_deref(), wanted["object"].as_str());
        assert_eq!(spectrum.object, object);
        assert_eq!(spectrum.position.map(|position| position.ra().0), wanted["ra"].as_f64());
        for name in ["flux", "ivar", "mask", "wavelength"] {
            assert_array(&spectrum, name, &wanted[name]);
        }
        assert_eq!(spectrum.modality(), "spectrum");
    }
    assert!(spectra.next().is_none());
    let error = error_of(&observed("coadd.fits"), &whole());
    assert!(error.contains("has not one but 3 observations"), "{error}");
    let row = ObservationOptions { row: Some(7), ..whole() };
    let error = error_of(&observed("coadd.fits"), &row);
    assert!(error.contains("has no number 7 among its 3"), "{error}");
    let row = ObservationOptions { row: Some(2), ..whole() };
    let last = read_observation(&observed("coadd.fits"), &row).expect("the last");
    assert_array(&last, "flux", &wanted[2]["flux"]);
}

#[test]
fn an_sdss_file_is_a_spectrum_of_its_object() {
    let wanted = &expected()["spec"];
    let spectrum = read_observation(&observed("spec.fits"), &whole()).expect("a spectrum");
    for name in ["flux", "ivar", "mask", "wavelength"] {
        assert_array(&spectrum, name, &wanted[name]);
    }
    assert_eq!(spectrum.object.as_deref(), Some("4106439822"));
    let position = spectrum.position.expect("of the fibre, not of the telescope");
    assert_eq!((position.ra().0, position.dec().0), (110.25, 40.5));
}

#[test]
fn tables_and_hdf5_give_spectrum_and_cutout() {
    let expected = expected();
    let wanted = expected["objects"].as_array().expect("objects");
    for name in ["parts.parquet", "bands.parquet", "objects.h5"] {
        let rows = read_observations(&observed(name), &whole()).expect(name);
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows.len(), wanted.len(), "{name}");
        for ((object, read), wanted) in rows.into_iter().zip(wanted) {
            let read = read.expect(name);
            assert_eq!(object.as_deref(), wanted["object"].as_str(), "{name}");
            assert_eq!(read.position.map(|position| position.ra().0), wanted["ra"].as_f64());
            for array in ["flux", "ivar", "mask", "wavelength", "image"] {
                assert_array(&read, array, &wanted[array]);
            }
            let image = read.array("image").expect("an image");
            assert_eq!((image.shape.as_slice(), read.modality()), (&[2, 6, 6][..], "image"));
            assert_eq!(image.bands, ["DES-G", "DES-R"], "{name}");
        }
        // Backwards too, in formats that are read in sequence.
        let row = ObservationOptions { row: Some(1), ..whole() };
        let second = read_observation(&observed(name), &row).expect(name);
        assert_array(&second, "flux", &wanted[1]["flux"]);
    }
}

#[test]
fn shared_wavelengths_and_bands_in_datasets_are_joined() {
    let expected = expected();
    let wanted = &expected["shared"];
    let rows = read_observations(&observed("shared.h5"), &whole()).expect("HDF5");
    for (row, (object, read)) in rows.enumerate() {
        let read = read.expect("a row");
        assert_eq!(object.as_deref(), expected["objects"][row]["object"].as_str());
        assert_array(&read, "wavelength", &wanted["wavelength"]);
        assert_array(&read, "flux", &wanted["flux"][row]);
        assert_array(&read, "image", &wanted["image"][row]);
        assert_eq!(read.array("image").expect("an image").bands, ["F606W", "F814W"]);
    }
    let rows = read_observations(&observed("last.parquet"), &whole()).expect("Parquet");
    for (row, (_, read)) in rows.enumerate() {
        let read = read.expect("a row");
        assert_array(&read, "image", &expected["last"][row]);
        assert_array(&read, "flux", &wanted["flux"][row]);
    }
    let cut = ObservationOptions { size: Some(2), row: Some(0), ..bands(&["F814W"]) };
    let cut = read_observation(&observed("shared.h5"), &cut).expect("a cut");
    let image = cut.array("image").expect("an image");
    assert_eq!((image.shape.as_slice(), image.bands.len()), (&[1, 2, 2][..], 1));
    let all = wanted["image"][0].as_array().expect("values");
    let place =
        |row: usize, column: usize| all[36 + row * 6 + column].as_f64().map(|value| value as f32);
    let middle = [place(2, 2), place(2, 3), place(3, 2), place(3, 3)];
    assert_eq!(image.values.iter().copied().map(Some).collect::<Vec<_>>(), middle);
}

/// A FITS file of an array of one axis.
fn line(cards: &[&str], values: &[f32]) -> Vec<u8> {
    let axis = format!("NAXIS1  = {}", values.len());
    let head = ["SIMPLE  =                    T", "BITPIX  = -32", "NAXIS   = 1", &axis];
    let cards = head.iter().chain(cards).chain([&"END"]);
    let mut bytes: Vec<u8> = cards.flat_map(|card| format!("{card:<80}").into_bytes()).collect();
    bytes.resize(bytes.len().next_multiple_of(2_880), b' ');
    bytes.extend(values.iter().flat_map(|value| value.to_be_bytes()));
    bytes.resize(bytes.len().next_multiple_of(2_880), 0);
    bytes
}

#[test]
fn wavelengths_of_headers_are_in_angstrom() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("line.fits");
    let wavelengths = |cards: &[&str]| {
        std::fs::write(&path, line(cards, &[1.0, 2.0, 3.0])).expect("written");
        let spectrum = read_observation(&path, &whole()).expect("a spectrum");
        assert_eq!(spectrum.array("flux").expect("a flux").shape, [3]);
        spectrum.array("wavelength").map(|array| array.values.clone())
    };
    let linear = ["CRVAL1  = 500.0", "CDELT1  = 0.5", "CRPIX1  = 2", "CUNIT1  = 'nm'"];
    assert_eq!(wavelengths(&linear), Some(vec![4_995.0, 5_000.0, 5_005.0]));
    let logarithms = ["CRVAL1  = 3.5", "CD1_1   = 0.1", "DC-FLAG = 1"];
    let powers: Vec<f32> = [3.5, 3.6, 3.7].map(|each| 10_f64.powf(each) as f32).to_vec();
    assert_eq!(wavelengths(&logarithms), Some(powers.clone()));
    assert_eq!(wavelengths(&["COEFF0  = 3.5", "COEFF1  = 0.1"]), Some(powers));
    let natural = ["CTYPE1  = 'WAVE-LOG'", "CRVAL1  = 5E-7", "CDELT1  = 1E-9", "CUNIT1  = 'm'"];
    let wanted: Vec<f32> =
        [0.0, 1e-9, 2e-9].map(|step: f64| (5e3 * (step / 5e-7).exp()) as f32).to_vec();
    assert_eq!(wavelengths(&natural), Some(wanted));
    assert_eq!(wavelengths(&[]), None);
}

#[test]
fn the_axes_of_numpy_arrays_tell_what_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.npy");
    let values: Vec<f32> = (0..48).map(|value| value as f32).collect();
    let shapes = |shape: &str, options: &ObservationOptions| {
        std::fs::write(&path, npy(shape, &values)).expect("written");
        let rows = read_observations(&path, options).expect(shape);
        let kind = |(_, read): (_, Result<Observation, _>)| {
            let Observed::Arrays(arrays) = read.expect(shape).content else { panic!("a picture") };
            (arrays[0].name.clone(), arrays[0].shape.clone(), arrays[0].values[0])
        };
        rows.map(kind).collect::<Vec<_>>()
    };
    let flux = |shape: &[usize], first| ("flux".to_owned(), shape.to_vec(), first);
    let image = |shape: &[usize], first| ("image".to_owned(), shape.to_vec(), first);
    assert_eq!(shapes("48,", &whole()), [flux(&[48], 0.0)]);
    assert_eq!(shapes("2, 24", &whole()), [flux(&[24], 0.0), flux(&[24], 24.0)]);
    assert_eq!(shapes("6, 8", &bands(&["g"])), [image(&[1, 6, 8], 0.0)]);
    assert_eq!(shapes("3, 4, 4", &whole()), [image(&[3, 4, 4], 0.0)]);
    let many = [image(&[3, 4, 2], 0.0), image(&[3, 4, 2], 24.0)];
    assert_eq!(shapes("2, 3, 4, 2", &whole()), many);
    let middle = ObservationOptions { size: Some(2), ..whole() };
    assert_eq!(shapes("3, 4, 4", &middle), [image(&[3, 2, 2], 5.0)]);
}

#[test]
fn a_payload_has_the_numbers_as_they_travel() {
    let cube = read_observation(&observed("cube.fits"), &whole()).expect("a cube");
    let values = cube.array("image").expect("an image").values.clone();
    let payload = cube.into_payload(None);
    assert_eq!(payload.modality, "image");
    let Some(Content::Arrays(arrays)) = payload.content else { panic!("no arrays") };
    let image = &arrays.arrays["image"];
    assert_eq!((image.shape.as_slice(), image.bands.len()), (&[3_u32, 24, 30][..], 3));
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(image.float32, bytes);
    let picture = read_observation(&observed("spec.fits"), &whole()).expect("a spectrum");
    assert_eq!(picture.into_payload(Some("sdss")).modality, "sdss");
}

#[test]
fn the_program_shows_what_it_reads() {
    let inspect = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidereus"));
        let output = command
            .args(["encoder", "inspect"])
            .args(words)
            .current_dir(fixture("observations"))
            .output()
            .expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let words = ["coadd.fits", "cube.fits", "objects.h5", "--limit", "2", "--format", "json"];
    let (is_well, table, notes) = inspect(&words);
    assert!(is_well, "{notes}");
    let rows: Value = serde_json::from_str(&table).expect("JSON");
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 2 + 1 + 4, "{table}");
    assert_eq!(rows[0]["object"], "39627733200143");
    assert_eq!(rows[0]["wavelength"], "3600..3631.2 Å");
    assert_eq!(rows[2]["bands"], "DES-G DES-R DES-Z");
    assert!((rows[2]["finite"].as_f64().expect("a share") - 2_159.0 / 2_160.0).abs() < 1e-9);
    assert!(notes.contains("coadd.fits: 1 more") && notes.contains("2 fibres on sky"), "{notes}");
    let (is_well, _, complaint) = inspect(&["tiles.fits", "cube.fits", "--bands", "z,g"]);
    assert!(!is_well && complaint.contains("funpack"), "{complaint}");
}
