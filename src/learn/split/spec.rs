//! The words that name a split, and the side that it gives an object.

use std::fmt;
use std::str::FromStr;

use super::super::LearnError;
use super::Side;
use super::hash::{Draw, SplitId, below, bits, unit};

/// The order of HEALPix cells that objects are given by.
const CELL_ORDER: u8 = 29;

/// The finest order at which cells are a split.
const ORDER_MAX: u8 = 12;

/// Folds beyond this are no folds any more.
const FOLDS_MAX: u32 = 1_000;

const WORDS: &str = "write random:TEST_FRACTION:SEED (random:0.2:42), healpix:ORDER:TEST_FRACTION:SEED \
                     (healpix:4:0.2:42), kfold:K:SEED (kfold:5:42), column:NAME (values train, test, val) or \
                     survey:COLUMN=TRAIN>TEST (survey:survey=sdss>desi)";
const FRACTION: &str = "write a number between 0 and 1, such as 0.2";
const SEED: &str = "write a whole number from 0 up";
const ORDER: &str = "write a HEALPix order from 0 to 12; at order 4 a cell is 3.7 degrees wide";
const FOLDS: &str = "write a number of folds from 2 to 1000";
const NAME: &str = "write the name of a column";
const SURVEY: &str = "write survey:COLUMN=TRAIN>TEST with two different values of the column, such as \
                      survey:survey=sdss>desi";
const VALUES: &str =
    "the column of a split holds train, test or val; objects without a value have no part";

/// How objects are split.
#[derive(Debug, Clone, PartialEq)]
pub enum SplitSpec {
    /// Each object by itself.
    Random {
        /// The share of the test set.
        test: f64,
        /// Seed.
        seed: u64,
    },
    /// All objects of a cell together, so that no test object has a neighbour on the sky to copy from.
    Healpix {
        /// Order of the cells.
        order: u8,
        /// The share of the cells that test.
        test: f64,
        /// Seed.
        seed: u64,
    },
    /// Each object tests once.
    KFold {
        /// How many folds.
        folds: u32,
        /// Seed.
        seed: u64,
    },
    /// A column says so: train, test or val.
    Column {
        /// Its name.
        name: String,
    },
    /// One survey teaches, another tests.
    Survey {
        /// The column that names the survey.
        column: String,
        /// Its value for those that teach.
        train: String,
        /// Its value for those that test.
        test: String,
    },
}

/// What a split needs to know of an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitSubject<'a> {
    /// Its id.
    pub id: SplitId<'a>,
    /// Its HEALPix cell, NESTED, at order 29. Only splits by cell look at it.
    pub cell: u64,
    /// The value of [`SplitSpec::column`] as a text; `None` for a null, or where the split has no column.
    pub value: Option<&'a str>,
}

impl SplitSpec {
    /// Reads the words of a split.
    ///
    /// # Errors
    /// [`LearnError::BadSetting`], which says what to write.
    pub fn parse(text: &str) -> Result<Self, LearnError> {
        let text = text.trim();
        let bad = || bad("the split", text, WORDS);
        let (kind, rest) = text.split_once(':').ok_or_else(bad)?;
        let parts: Vec<&str> = rest.split(':').collect();
        match (kind.trim().to_ascii_lowercase().as_str(), parts.as_slice()) {
            ("random", [test, seed]) => {
                Ok(Self::Random { test: fraction(test)?, seed: number("the seed", seed, SEED)? })
            }
            ("healpix", [order, test, seed]) => {
                let given: u8 = number("the order of the split", order, ORDER)?;
                if given > ORDER_MAX {
                    return Err(self::bad("the order of the split", order, ORDER));
                }
                let seed = number("the seed", seed, SEED)?;
                Ok(Self::Healpix { order: given, test: fraction(test)?, seed })
            }
            ("kfold", [folds, seed]) => {
                let given: u32 = number("the number of folds", folds, FOLDS)?;
                if !(2..=FOLDS_MAX).contains(&given) {
                    return Err(self::bad("the number of folds", folds, FOLDS));
                }
                Ok(Self::KFold { folds: given, seed: number("the seed", seed, SEED)? })
            }
            // Names and values may hold colons.
            ("column", _) => Ok(Self::Column { name: name(rest)? }),
            ("survey", _) => survey(rest),
            _ => Err(bad()),
        }
    }

    /// The column that decides, if one does.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Column { name } => Some(name),
            Self::Survey { column, .. } => Some(column),
            Self::Random { .. } | Self::Healpix { .. } | Self::KFold { .. } => None,
        }
    }

    /// The side of an object.
    ///
    /// # Errors
    /// [`LearnError::BadSetting`] for a value of the column that names no side.
    pub fn side(&self, subject: &SplitSubject<'_>) -> Result<Side, LearnError> {
        let drawn = |bits: u64, test: f64| if unit(bits) < test { Side::Test } else { Side::Train };
        Ok(match self {
            Self::Random { test, seed } => drawn(bits(Draw::Side, *seed, subject.id), *test),
            Self::Healpix { order, test, seed } => {
                let cell = subject.cell >> (2 * (CELL_ORDER - order));
                drawn(bits(Draw::Cell, *seed, SplitId::Number(cell as i64)), *test)
            }
            Self::KFold { folds, seed } => {
                Side::Fold(below(bits(Draw::Side, *seed, subject.id), *folds))
            }
            Self::Column { .. } => match subject.value.map(str::trim) {
                None | Some("") => Side::Out,
                Some(value) => side_named(value)?,
            },
            Self::Survey { train, test, .. } => match subject.value {
                Some(value) if value == train => Side::Train,
                Some(value) if value == test => Side::Test,
                Some(_) | None => Side::Out,
            },
        })
    }
}

impl FromStr for SplitSpec {
    type Err = LearnError;

    fn from_str(text: &str) -> Result<Self, LearnError> {
        Self::parse(text)
    }
}

/// The words that [`SplitSpec::parse`] reads.
impl fmt::Display for SplitSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random { test, seed } => write!(formatter, "random:{test}:{seed}"),
            Self::Healpix { order, test, seed } => {
                write!(formatter, "healpix:{order}:{test}:{seed}")
            }
            Self::KFold { folds, seed } => write!(formatter, "kfold:{folds}:{seed}"),
            Self::Column { name } => write!(formatter, "column:{name}"),
            Self::Survey { column, train, test } => {
                write!(formatter, "survey:{column}={train}>{test}")
            }
        }
    }
}

fn side_named(value: &str) -> Result<Side, LearnError> {
    match value.to_ascii_lowercase().as_str() {
        "train" | "training" => Ok(Side::Train),
        "test" => Ok(Side::Test),
        "val" | "valid" | "validation" => Ok(Side::Validation),
        _ => Err(bad("a value of the split's column", value, VALUES)),
    }
}

fn survey(text: &str) -> Result<SplitSpec, LearnError> {
    let wrong = || bad("the split", &format!("survey:{text}"), SURVEY);
    let (column, values) = text.split_once('=').ok_or_else(wrong)?;
    let (train, test) = values.split_once('>').ok_or_else(wrong)?;
    let (train, test) = (train.trim().to_owned(), test.trim().to_owned());
    if train.is_empty() || test.is_empty() || train == test {
        return Err(wrong());
    }
    Ok(SplitSpec::Survey { column: name(column)?, train, test })
}

fn name(text: &str) -> Result<String, LearnError> {
    match text.trim() {
        "" => Err(bad("the column of the split", text, NAME)),
        name => Ok(name.to_owned()),
    }
}

fn fraction(text: &str) -> Result<f64, LearnError> {
    let given: f64 = number("the fraction that tests", text, FRACTION)?;
    if given > 0.0 && given < 1.0 {
        Ok(given)
    } else {
        Err(bad("the fraction that tests", text, FRACTION))
    }
}

fn number<N: FromStr>(what: &'static str, text: &str, hint: &'static str) -> Result<N, LearnError> {
    text.trim().parse().map_err(|_| bad(what, text, hint))
}

fn bad(what: &'static str, value: &str, hint: &'static str) -> LearnError {
    LearnError::BadSetting { what, value: format!("`{value}`"), hint }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> SplitSpec {
        SplitSpec::parse(text).expect(text)
    }

    fn side(spec: &SplitSpec, id: SplitId<'_>, cell: u64, value: Option<&str>) -> Side {
        spec.side(&SplitSubject { id, cell, value }).expect("a side")
    }

    #[test]
    fn words_are_read_and_written() {
        for text in [
            "random:0.2:42",
            "healpix:4:0.25:0",
            "kfold:5:18446744073709551615",
            "column:fold name:2",
            "survey:survey=sdss dr17>desi:edr",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert_eq!(parse(" Random : 0.20 : 7 ").to_string(), "random:0.2:7");
        assert_eq!(parse("column:side").column(), Some("side"));
    }

    #[test]
    fn wrong_words_are_answered_with_right_ones() {
        for (text, wanted) in [
            ("", "random:TEST_FRACTION:SEED"),
            ("random", "random:TEST_FRACTION:SEED"),
            ("random:0.2", "random:TEST_FRACTION:SEED"),
            ("half:0.5:1", "kfold:K:SEED"),
            ("random:0:1", "between 0 and 1"),
            ("random:1.0:1", "between 0 and 1"),
            ("random:NaN:1", "between 0 and 1"),
            ("random:0.2:-1", "whole number from 0 up"),
            ("healpix:13:0.2:1", "order from 0 to 12"),
            ("kfold:1:1", "from 2 to 1000"),
            ("kfold:0.5:1", "from 2 to 1000"),
            ("column: ", "name of a column"),
            ("survey:s=a", "survey:COLUMN=TRAIN>TEST"),
            ("survey:s=a>a", "two different values"),
        ] {
            let error = SplitSpec::parse(text).expect_err(text).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    /// Written down once, from another implementation of BLAKE3: a change of the hash would move objects from the test set
    /// into the training set.
    #[test]
    fn sides_never_change() {
        let random = parse("random:0.5:42");
        let sides: String = (0..16)
            .map(|id| match side(&random, SplitId::Number(id), 0, None) {
                Side::Test => 'T',
                _ => '.',
            })
            .collect();
        assert_eq!(sides, SIDES_OF_NUMBERS);
        let folds: Vec<Side> = ["NGC 224", "NGC 598", "M 87", "Sgr A*"]
            .iter()
            .map(|name| side(&parse("kfold:10:1"), SplitId::Text(name), 0, None))
            .collect();
        assert_eq!(folds, FOLDS_OF_TEXTS.map(Side::Fold));
    }

    const SIDES_OF_NUMBERS: &str = "T..T.TT....TTT.T";
    const FOLDS_OF_TEXTS: [u32; 4] = [3, 8, 0, 5];

    #[test]
    fn a_cell_is_on_one_side_whole() {
        let spec = parse("healpix:3:0.5:1");
        let inside = 1_u64 << (2 * (29 - 3));
        let mut tests = 0;
        for cell in 0..768 {
            let of = |place: u64| {
                side(&spec, SplitId::Number(place as i64), cell * inside + place, None)
            };
            assert_eq!(of(0), of(inside - 1));
            assert_eq!(of(0), of(inside / 3));
            tests += usize::from(of(0) == Side::Test);
        }
        assert!((300..470).contains(&tests), "{tests}");
    }

    #[test]
    fn shares_are_about_what_was_asked_for() {
        let ids = || (0..20_000).map(SplitId::Number);
        let random = parse("random:0.2:1");
        let tests = ids().filter(|id| side(&random, *id, 0, None) == Side::Test).count();
        assert!((3_800..4_200).contains(&tests), "{tests}");
        let folds = parse("kfold:7:1");
        let mut counts = [0; 7];
        for id in ids() {
            match side(&folds, id, 0, None) {
                Side::Fold(fold) => counts[fold as usize] += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(counts.iter().all(|count| (2_650..3_070).contains(count)), "{counts:?}");
    }

    #[test]
    fn columns_name_sides() {
        let column = parse("column:side");
        let of = |value| side(&column, SplitId::Number(1), 0, value);
        assert_eq!(of(Some("Train")), Side::Train);
        assert_eq!(of(Some("test")), Side::Test);
        assert_eq!(of(Some(" val ")), Side::Validation);
        assert_eq!(of(None), Side::Out);
        let subject = SplitSubject { id: SplitId::Number(1), cell: 0, value: Some("left") };
        assert!(
            column.side(&subject).expect_err("no side").to_string().contains("train, test or val")
        );

        let survey = parse("survey:s=sdss>desi");
        let of = |value| side(&survey, SplitId::Number(1), 0, value);
        assert_eq!(of(Some("sdss")), Side::Train);
        assert_eq!(of(Some("desi")), Side::Test);
        assert_eq!(of(Some("gama")), Side::Out);
        assert_eq!(of(None), Side::Out);
    }

    proptest! {
        /// A larger test set holds every smaller one of its seed, and seeds are independent of each other.
        #[test]
        fn test_sets_are_nested(id in any::<i64>(), seed in any::<u64>(), small in 0.01..0.99_f64) {
            let of = |test| side(&SplitSpec::Random { test, seed }, SplitId::Number(id), 0, None);
            if of(small) == Side::Test {
                prop_assert_eq!(of(f64::midpoint(small, 1.0)), Side::Test);
            }
            prop_assert_eq!(of(small), of(small));
        }

        #[test]
        fn any_split_is_read_as_it_was_written(text in "(random|healpix|kfold|column|survey)(:|=|>|[0-9a.]){0,12}") {
            if let Ok(spec) = SplitSpec::parse(&text) {
                prop_assert_eq!(SplitSpec::parse(&spec.to_string()), Ok(spec));
            }
        }
    }
}
