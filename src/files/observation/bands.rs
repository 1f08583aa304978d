//! Names of bands: as models know them where the survey is known, and as the file has them otherwise.

use super::payload::NamedArray;

/// Names that models know, by survey.
const KNOWN: [&str; 9] =
    ["DES-G", "DES-R", "DES-I", "DES-Z", "HSC-G", "HSC-R", "HSC-I", "HSC-Z", "HSC-Y"];

/// Most bands of an image; longer cubes are spectral.
pub(super) const BANDS_MAX: usize = 64;

/// A survey with names of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survey {
    /// DECam, and the Legacy Surveys that are calibrated to it.
    Des,
    /// Hyper Suprime-Cam.
    Hsc,
}

impl Survey {
    /// The survey that words of a header name.
    pub(super) fn of(words: &str) -> Option<Self> {
        let words = words.to_lowercase();
        let names = |known: &[&str]| known.iter().any(|name| words.contains(name));
        if names(&["legacy", "decam", "decals", "ls-dr"]) {
            return Some(Self::Des);
        }
        if words.split_whitespace().any(|word| word == "des") {
            return Some(Self::Des);
        }
        names(&["hsc", "hyper suprime", "hypersuprime"]).then_some(Self::Hsc)
    }
}

/// The name that models know a band by, or the band's own. `g DECam SDSS c0001 4720.0 1520.0` is `DES-G`.
pub(super) fn canonical(name: &str, survey: Option<Survey>) -> String {
    let name = name.trim();
    let upper = name.to_uppercase();
    if KNOWN.contains(&upper.as_str()) {
        return upper;
    }
    // The second generation of HSC's r and i filters.
    if let Some(first) = upper.strip_suffix('2').filter(|first| KNOWN.contains(first)) {
        return first.to_owned();
    }
    let word = upper.split_whitespace().next().unwrap_or("");
    let is_described = upper.split_whitespace().count() > 1;
    let survey = if is_described { Survey::of(name).or(survey) } else { survey };
    let prefix = match survey {
        Some(Survey::Des) => "DES",
        Some(Survey::Hsc) => "HSC",
        None => return name.to_owned(),
    };
    let letter = word.strip_suffix('2').unwrap_or(word);
    let candidate = format!("{prefix}-{letter}");
    if KNOWN.contains(&candidate.as_str()) { candidate } else { name.to_owned() }
}

/// The bands that a header word lists: `grz`, `g,r,z` or `g r z`.
pub(super) fn listed(word: &str, count: usize) -> Option<Vec<String>> {
    let parts: Vec<String> = word
        .split([',', ' ', ';'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    if parts.len() == count {
        return Some(parts);
    }
    let letters: Vec<String> = word.trim().chars().map(String::from).collect();
    (letters.len() == count).then_some(letters)
}

/// Names the bands of an image, or, where it has all of these names, chooses and orders its bands by them.
pub(super) fn choose(image: &mut NamedArray, names: &[String]) -> Result<(), String> {
    let count = image.shape.first().copied().unwrap_or(0);
    if names.is_empty() {
        return Ok(());
    }
    let place = |wanted: &String| {
        let wanted = wanted.trim();
        let fits = |own: &String| {
            own.eq_ignore_ascii_case(wanted)
                // `g` means DES-G in an image that has one g.
                || own.rsplit_once('-').is_some_and(|(_, letter)| letter.eq_ignore_ascii_case(wanted))
        };
        image.bands.iter().position(fits)
    };
    let places: Vec<Option<usize>> = names.iter().map(place).collect();
    let is_any = places.iter().any(Option::is_some);
    let places: Option<Vec<usize>> = places.into_iter().collect();
    let Some(places) = places else {
        // Where some of the names are the file's own, the others are bands that it lacks, not new names.
        if names.len() != count || is_any {
            let own = match image.bands.as_slice() {
                [] => "which the file does not name".to_owned(),
                own => own.join(", "),
            };
            return Err(format!(
                "bands {} were asked for, and it has {count}: {own}",
                names.join(",")
            ));
        }
        image.bands = names.iter().map(|name| canonical(name, None)).collect();
        return Ok(());
    };
    let plane = image.values.len().checked_div(count).unwrap_or(0);
    let values =
        places.iter().filter_map(|place| image.values.get(place * plane..(place + 1) * plane));
    image.values = values.collect::<Vec<_>>().concat();
    image.bands = places.iter().map(|place| image.bands[*place].clone()).collect();
    if let Some(bands) = image.shape.first_mut() {
        *bands = places.len();
    }
    Ok(())
}

/// Cuts the middle square out of every band.
pub(super) fn cut_middle(image: &mut NamedArray, side: usize) -> Result<(), String> {
    let [bands, rows, columns] = image.shape[..] else {
        return Err("only an image of bands, rows and columns can be cut".to_owned());
    };
    let (top, left) = match (rows.checked_sub(side), columns.checked_sub(side)) {
        (Some(above), Some(beside)) if side > 0 => (above / 2, beside / 2),
        _ => {
            return Err(format!(
                "it has {columns} x {rows} pixels, and {side} x {side} are wanted"
            ));
        }
    };
    let mut values = Vec::with_capacity(bands * side * side);
    for band in 0..bands {
        for row in top..top + side {
            let start = (band * rows + row) * columns + left;
            values.extend(image.values.get(start..start + side).unwrap_or(&[]));
        }
    }
    image.values = values;
    image.shape = vec![bands, side, side];
    Ok(())
}
