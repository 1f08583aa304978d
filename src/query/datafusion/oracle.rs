//! A plain evaluator of conditions, one row at a time, to hold the real one to.

use proptest::prelude::*;

/// One row of the test table; `None` is null.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) z: Option<f64>,
    pub(super) mag: Option<f32>,
    pub(super) count: Option<i64>,
    pub(super) class: Option<String>,
    pub(super) flag: Option<bool>,
}

/// A number computed from a row.
#[derive(Debug, Clone)]
pub(super) enum Number {
    Z,
    Mag,
    Count,
    Literal(f64),
    Sum(Box<Number>, Box<Number>),
    Product(Box<Number>, Box<Number>),
    Negative(Box<Number>),
}

/// A condition on a row.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Flag,
    Compare(Number, &'static str, Number),
    Between(Number, f64, f64),
    OneOf(Number, Vec<f64>, bool),
    ClassIs(&'static str, String),
    ClassOneOf(Vec<String>),
    ClassBegins(String),
    IsNull(Number),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

impl Number {
    pub(super) fn sql(&self) -> String {
        match self {
            Self::Z => "Z".to_owned(),
            Self::Mag => "mag_G".to_owned(),
            Self::Count => "\"Count\"".to_owned(),
            Self::Literal(value) => format!("{value:?}"),
            Self::Sum(a, b) => format!("({} + {})", a.sql(), b.sql()),
            // Without parentheses SQL multiplies from the left, and rounds so.
            Self::Product(a, b) => match &**b {
                Self::Product(..) => format!("{} * ({})", a.sql(), b.sql()),
                _ => format!("{} * {}", a.sql(), b.sql()),
            },
            Self::Negative(a) => format!("(- {})", a.sql()),
        }
    }

    pub(super) fn value(&self, row: &Row) -> Option<f64> {
        match self {
            Self::Z => row.z,
            Self::Mag => row.mag.map(f64::from),
            Self::Count => row.count.map(|count| count as f64),
            Self::Literal(value) => Some(*value),
            Self::Sum(a, b) => Some(self.rounded(a.value(row)? + b.value(row)?)),
            Self::Product(a, b) => Some(self.rounded(a.value(row)? * b.value(row)?)),
            Self::Negative(a) => Some(-a.value(row)?),
        }
    }

    /// As wide as the widest operand, reals before integers: what SQL makes of them.
    fn width(&self) -> Width {
        match self {
            Self::Count => Width::Integer,
            Self::Mag => Width::Single,
            Self::Z | Self::Literal(_) => Width::Double,
            Self::Sum(a, b) | Self::Product(a, b) => a.width().max(b.width()),
            Self::Negative(a) => a.width(),
        }
    }

    /// A sum or product of singles, or of singles and small integers, is exact in doubles and then rounded once.
    fn rounded(&self, exact: f64) -> f64 {
        match self.width() {
            Width::Single => f64::from(exact as f32),
            Width::Integer | Width::Double => exact,
        }
    }
}

/// How a number is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    Integer,
    Single,
    Double,
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn listed(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

impl Condition {
    pub(super) fn sql(&self) -> String {
        match self {
            Self::Flag => "flag".to_owned(),
            Self::Compare(a, operator, b) => format!("{} {operator} {}", a.sql(), b.sql()),
            Self::Between(a, low, high) => format!("{} BETWEEN {low:?} AND {high:?}", a.sql()),
            Self::OneOf(a, values, among) => {
                let not = if *among { "" } else { "NOT " };
                format!("{} {not}IN ({})", a.sql(), listed(values.iter().map(|v| format!("{v:?}"))))
            }
            Self::ClassIs(operator, text) => format!("class {operator} {}", quoted(text)),
            Self::ClassOneOf(texts) => {
                format!("Class in ({})", listed(texts.iter().map(|t| quoted(t))))
            }
            Self::ClassBegins(text) => format!("CLASS LIKE {}", quoted(&format!("{text}%"))),
            Self::IsNull(a) => format!("{} IS NULL", a.sql()),
            Self::Not(a) => format!("NOT ({})", a.sql()),
            Self::And(a, b) => format!("({}) AND ({})", a.sql(), b.sql()),
            Self::Or(a, b) => format!("(({}) or {})", a.sql(), b.sql()),
        }
    }

    /// Three-valued: `None` is unknown.
    pub(super) fn holds(&self, row: &Row) -> Option<bool> {
        match self {
            Self::Flag => row.flag,
            Self::Compare(a, operator, b) => {
                let (a, b) = (a.value(row)?, b.value(row)?);
                Some(match *operator {
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    ">=" => a >= b,
                    "=" => a == b,
                    _ => a != b,
                })
            }
            Self::Between(a, low, high) => a.value(row).map(|a| *low <= a && a <= *high),
            Self::OneOf(a, values, among) => a.value(row).map(|a| values.contains(&a) == *among),
            Self::ClassIs(operator, text) => {
                let class = row.class.as_ref()?;
                Some(match *operator {
                    "=" => class == text,
                    "<" => class < text,
                    _ => class != text,
                })
            }
            Self::ClassOneOf(texts) => row.class.as_ref().map(|class| texts.contains(class)),
            Self::ClassBegins(text) => row.class.as_ref().map(|class| class.starts_with(text)),
            Self::IsNull(a) => Some(a.value(row).is_none()),
            Self::Not(a) => a.holds(row).map(|a| !a),
            Self::And(a, b) => match (a.holds(row), b.holds(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(a, b) => match (a.holds(row), b.holds(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }
}

fn nice() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (-8_i32..=8).prop_map(|step| f64::from(step) * 0.25),
        1 => -3.0..3.0_f64,
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["GALAXY", "STAR", "QSO", "GAL", "", "O'Neil", "Ωmega"])
        .prop_map(str::to_owned)
}

fn rare<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.85, value)
}

/// Rows with nulls, NaN of both signs, infinities and both zeros.
pub(super) fn row() -> impl Strategy<Value = Row> {
    let special = prop::sample::select(vec![
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        0.0,
    ]);
    let real = prop_oneof![4 => nice(), 1 => special];
    let single = real.clone().prop_map(|value| value as f32);
    (rare(real), rare(single), rare(-4_i64..=4), rare(text()), rare(any::<bool>()))
        .prop_map(|(z, mag, count, class, flag)| Row { z, mag, count, class, flag })
}

fn number() -> impl Strategy<Value = Number> {
    let leaf = prop_oneof![
        3 => Just(Number::Z),
        2 => Just(Number::Mag),
        2 => Just(Number::Count),
        2 => nice().prop_map(Number::Literal),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            pair.clone().prop_map(|(a, b)| Number::Sum(Box::new(a), Box::new(b))),
            pair.prop_map(|(a, b)| Number::Product(Box::new(a), Box::new(b))),
            inner.prop_map(|a| Number::Negative(Box::new(a))),
        ]
    })
    // Compared as doubles, as the oracle does; inside, singles and integers are computed as such.
    .prop_map(|number| Number::Sum(Box::new(Number::Literal(0.0)), Box::new(number)))
}

/// Conditions of every form, nested up to four deep.
pub(super) fn condition() -> impl Strategy<Value = Condition> {
    let operator = prop::sample::select(vec!["<", "<=", ">", ">=", "=", "<>", "!="]);
    let bare = prop::sample::select(vec![Number::Z, Number::Mag, Number::Count]);
    let some = prop_oneof![number(), bare.clone()];
    let leaf = prop_oneof![
        1 => Just(Condition::Flag),
        4 => (some.clone(), operator, prop_oneof![number(), nice().prop_map(Number::Literal)])
            .prop_map(|(a, operator, b)| Condition::Compare(a, operator, b)),
        2 => (some.clone(), nice(), nice()).prop_map(|(a, low, high)| Condition::Between(a, low, high)),
        2 => (some.clone(), prop::collection::vec(nice(), 1..6), any::<bool>())
            .prop_map(|(a, values, among)| Condition::OneOf(a, values, among)),
        1 => (prop::sample::select(vec!["=", "<>", "<"]), text())
            .prop_map(|(operator, text)| Condition::ClassIs(operator, text)),
        1 => prop::collection::vec(text(), 1..4).prop_map(Condition::ClassOneOf),
        1 => text().prop_map(Condition::ClassBegins),
        1 => bare.prop_map(Condition::IsNull),
    ];
    leaf.prop_recursive(4, 12, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|a| Condition::Not(Box::new(a))),
            pair.clone().prop_map(|(a, b)| Condition::And(Box::new(a), Box::new(b))),
            pair.prop_map(|(a, b)| Condition::Or(Box::new(a), Box::new(b))),
        ]
    })
}
