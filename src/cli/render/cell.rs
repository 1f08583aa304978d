//! One printed value, and its three forms.

use serde_json::{Number, Value};

use super::{Json, base64, bytes, significant, thousands};
use crate::wire;

/// Significant digits of a real number in a table.
const TABLE_DIGITS: usize = 6;

/// A value that is going to be printed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// Missing.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer column's value.
    Integer(i64),
    /// How many.
    Count(u64),
    /// A size.
    Bytes(u64),
    /// A real number.
    Real(f64),
    /// An angle on the sky, in degrees: six decimals (4 milliarcseconds) in a table.
    Degrees(f64),
    /// Text.
    Text(String),
    /// An object's id: text in every format, so that no program rounds it.
    Id(String),
    /// Bytes, for example an image.
    Binary(Vec<u8>),
    /// Several real numbers.
    Reals(Vec<f64>),
}

impl Cell {
    /// Text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A real number that may be missing.
    pub(crate) fn optional_real(value: Option<f64>) -> Self {
        value.map_or(Self::Null, Self::Real)
    }

    /// A column's value as the server sent it.
    pub(crate) fn of_wire(value: Option<&wire::v1::Value>) -> Self {
        use wire::v1::value::Kind;
        match value.and_then(|value| value.kind.as_ref()) {
            None => Self::Null,
            Some(Kind::Boolean(value)) => Self::Boolean(*value),
            Some(Kind::Integer(value)) => Self::Integer(*value),
            Some(Kind::Real(value)) => Self::Real(*value),
            Some(Kind::Text(value)) => Self::Text(value.clone()),
            Some(Kind::Binary(value)) => Self::Binary(value.clone()),
            Some(Kind::Floats(list)) => Self::Reals(list.values.clone()),
        }
    }

    /// Whether the value is missing or an empty text.
    pub(crate) fn is_silent(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty(),
            Self::Boolean(_)
            | Self::Integer(_)
            | Self::Count(_)
            | Self::Bytes(_)
            | Self::Real(_)
            | Self::Degrees(_)
            | Self::Id(_)
            | Self::Binary(_)
            | Self::Reals(_) => false,
        }
    }

    /// Whether a table aligns the value to the right.
    pub(crate) fn is_number(&self) -> bool {
        match self {
            Self::Integer(_)
            | Self::Count(_)
            | Self::Bytes(_)
            | Self::Real(_)
            | Self::Degrees(_) => true,
            Self::Id(text) => text.parse::<i64>().is_ok(),
            Self::Null | Self::Boolean(_) | Self::Text(_) | Self::Binary(_) | Self::Reals(_) => {
                false
            }
        }
    }

    /// For people; whole, however long.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Null => "-".to_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Count(value) => thousands(*value),
            Self::Bytes(value) => bytes(*value),
            Self::Real(value) => significant(*value, TABLE_DIGITS),
            Self::Degrees(value) => format!("{value:.6}"),
            Self::Text(value) => printable(value),
            Self::Id(value) => value.clone(),
            Self::Binary(value) => format!("<binary {}>", bytes(value.len() as u64)),
            Self::Reals(values) => reals_text(values),
        }
    }

    /// For programs: full precision; NaN and the infinities, which JSON has not, are null.
    pub(crate) fn to_json(&self) -> Json {
        Json::Plain(self.to_value())
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Bool(*value),
            Self::Integer(value) => Value::from(*value),
            Self::Count(value) | Self::Bytes(value) => Value::from(*value),
            Self::Real(value) | Self::Degrees(value) => real_json(*value),
            Self::Text(value) | Self::Id(value) => Value::String(value.clone()),
            Self::Binary(value) => Value::String(base64::encode(value)),
            Self::Reals(values) => values.iter().copied().map(real_json).collect(),
        }
    }

    /// For spreadsheets: full precision, empty for what is missing, quoted where RFC 4180 says so.
    pub(crate) fn to_csv(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Count(value) | Self::Bytes(value) => value.to_string(),
            Self::Real(value) | Self::Degrees(value) => {
                if value.is_nan() {
                    String::new()
                } else {
                    value.to_string()
                }
            }
            Self::Text(value) | Self::Id(value) => quoted(value),
            Self::Binary(value) => base64::encode(value),
            Self::Reals(_) => quoted(&self.to_value().to_string()),
        }
    }
}

fn real_json(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn reals_text(values: &[f64]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> =
        values.iter().take(SHOWN).map(|value| significant(*value, 4)).collect();
    if values.len() > SHOWN {
        format!("[{}, ... {} in all]", shown.join(", "), values.len())
    } else {
        format!("[{}]", shown.join(", "))
    }
}

/// Text on one line.
fn printable(text: &str) -> String {
    text.chars().map(|each| if each.is_control() { ' ' } else { each }).collect()
}

/// A CSV field, in quotes when it needs them.
pub(crate) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_every_bit_and_has_no_nan() {
        let value = 0.1_f64 + 0.2;
        let json = Cell::Real(value).to_value().to_string();
        assert_eq!(json.parse::<f64>().expect("a number").to_bits(), value.to_bits());
        assert_eq!(Cell::Real(f64::NAN).to_value(), Value::Null);
        assert_eq!(
            Cell::Id("9223372036854775807".to_owned()).to_value().to_string(),
            "\"9223372036854775807\""
        );
    }

    #[test]
    fn csv_quotes_what_it_must() {
        assert_eq!(Cell::text("a,\"b\"").to_csv(), "\"a,\"\"b\"\"\"");
        assert_eq!(Cell::Null.to_csv(), "");
        assert_eq!(Cell::Reals(vec![1.0, 2.5]).to_csv(), "\"[1.0,2.5]\"");
    }

    #[test]
    fn tables_are_for_reading() {
        assert_eq!(Cell::Degrees(150.116_321).to_text(), "150.116321");
        assert_eq!(Cell::Binary(vec![0; 340_000]).to_text(), "<binary 340 kB>");
        assert_eq!(Cell::Reals(vec![1.0, 2.0, 3.0, 4.0]).to_text(), "[1, 2, 3, ... 4 in all]");
    }
}
