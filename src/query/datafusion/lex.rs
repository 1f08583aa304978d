//! Words of a predicate: limits that keep the parser within its stack, and names of columns.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use super::PredicateError;
use super::names::Names;
use crate::query::day::Day;

/// Longest predicate, in bytes.
pub const LENGTH_MAX: usize = 64 * 1024;

/// Deepest nesting of parentheses and prefix operators.
pub const NESTING_MAX: usize = 40;

/// Most names, words and operators; the numbers, texts and commas of lists are not counted.
///
/// Chains such as `a AND b AND c` become trees as deep as they are long, which recursive code walks.
pub const WORDS_MAX: usize = 1000;

/// Most numbers and texts: elements of lists.
pub const VALUES_MAX: usize = 10_000;

/// Names of the day of a call: as a text and as a number.
const TODAY: &str = "today";
const MJD_TODAY: &str = "mjd_today";

/// Whether a predicate may name the day of the call.
pub(in crate::query) fn may_name_day(sql: &str) -> bool {
    sql.to_ascii_lowercase().contains(TODAY)
}

/// Cuts a predicate into words, with the names of columns as the schema writes them, and a day, where one is given, in place
/// of its names.
pub(super) fn words(
    sql: &str,
    names: &Names<'_>,
    day: Option<Day>,
) -> Result<Vec<TokenWithSpan>, PredicateError> {
    if sql.len() > LENGTH_MAX {
        return Err(PredicateError::TooLong { length: sql.len() });
    }
    let mut words =
        Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(|error| {
            let (line, column) = (error.location.line, error.location.column);
            PredicateError::Syntax { message: error.message, line, column }
        })?;
    words.retain(|word| !matches!(word.token, Token::Whitespace(_)));
    check_limits(&words)?;
    if words.is_empty() {
        let message = "the predicate is empty".to_owned();
        return Err(PredicateError::Syntax { message, line: 1, column: 1 });
    }
    if let Some(day) = day {
        name_day(&mut words, names, day)?;
    }
    let words = with_dotted_names(&words, names);
    Ok(with_canonical_names(words, names))
}

/// Puts a day in the place of its names. In double quotes they are columns; a column of such a name must be quoted.
fn name_day(
    words: &mut [TokenWithSpan],
    names: &Names<'_>,
    day: Day,
) -> Result<(), PredicateError> {
    for place in 0..words.len() {
        let token = |place: usize| words.get(place).map(|word| &word.token);
        // Part of a longer name, or the name of a function.
        let is_part = place.checked_sub(1).and_then(token) == Some(&Token::Period)
            || matches!(token(place + 1), Some(Token::Period | Token::LParen));
        let Some(Token::Word(word)) = token(place) else { continue };
        if is_part || word.quote_style.is_some() {
            continue;
        }
        let value = if word.value.eq_ignore_ascii_case(TODAY) {
            Token::SingleQuotedString(day.to_string())
        } else if word.value.eq_ignore_ascii_case(MJD_TODAY) {
            Token::Number(day.mjd().to_string(), false)
        } else {
            continue;
        };
        if let Some(field) = names.find(&word.value) {
            return Err(PredicateError::AmbiguousDay { name: field.name().clone() });
        }
        if let Some(found) = words.get_mut(place) {
            found.token = value;
        }
    }
    Ok(())
}

fn check_limits(words: &[TokenWithSpan]) -> Result<(), PredicateError> {
    let (mut depth, mut count, mut values) = (0_usize, 0, 0);
    let mut after_separator = true;
    for word in words {
        let mut separator = false;
        match word.token {
            Token::LParen => {
                depth += 1;
                separator = true;
            }
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Comma => separator = true,
            Token::Number(..) | Token::SingleQuotedString(_) => values += 1,
            // The sign of a list's element.
            Token::Minus | Token::Plus if after_separator => {}
            _ => count += 1,
        }
        if depth > NESTING_MAX {
            return Err(PredicateError::TooDeep);
        }
        after_separator = separator;
    }
    match () {
        () if count > WORDS_MAX => Err(PredicateError::TooManyWords { count }),
        () if values > VALUES_MAX => Err(PredicateError::TooManyValues { count: values }),
        () => Ok(()),
    }
}

/// Names that are joined by dots at most.
const DOTTED_MAX: usize = 8;

/// Joins `flux.r` and `probe.lens.p` into one name where the collection has a column of that name; the longest that it has.
fn with_dotted_names(words: &[TokenWithSpan], names: &Names<'_>) -> Vec<TokenWithSpan> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(words.len());
    let mut rest = words;
    while let Some((first, others)) = rest.split_first() {
        match dotted_name(rest, names) {
            Some((name, taken)) => {
                joined.push(TokenWithSpan { token: quoted(name), span: first.span });
                rest = rest.get(taken..).unwrap_or_default();
            }
            None => {
                joined.push(first.clone());
                rest = others;
            }
        }
    }
    joined
}

/// The longest dotted name of a column that words begin with, and how many words it is.
fn dotted_name<'n>(words: &[TokenWithSpan], names: &Names<'n>) -> Option<(&'n str, usize)> {
    let Token::Word(first) = &words.first()?.token else { return None };
    let mut name = first.value.clone();
    let mut longest = None;
    let pairs = words.get(1..)?.chunks_exact(2).take(DOTTED_MAX - 1);
    for (place, pair) in pairs.enumerate() {
        let [
            TokenWithSpan { token: Token::Period, .. },
            TokenWithSpan { token: Token::Word(next), .. },
        ] = pair
        else {
            break;
        };
        name.push('.');
        name.push_str(&next.value);
        if let Some(field) = names.find(&name) {
            longest = Some((field.name().as_str(), 3 + 2 * place));
        }
    }
    longest
}

/// Puts the names of columns into quotes, so that `date` or `Z` is a column and nothing else.
fn with_canonical_names(mut words: Vec<TokenWithSpan>, names: &Names<'_>) -> Vec<TokenWithSpan> {
    for place in 0..words.len() {
        let before =
            place.checked_sub(1).and_then(|before| words.get(before)).map(|word| &word.token);
        let after = words.get(place + 1).map(|word| &word.token);
        let Some(Token::Word(word)) = words.get(place).map(|word| &word.token) else { continue };
        let is_type = before.is_some_and(|token| {
            *token == Token::DoubleColon
                || matches!(token, Token::Word(word) if word.keyword == Keyword::AS)
        });
        let is_call =
            after == Some(&Token::LParen) || matches!(after, Some(Token::SingleQuotedString(_)));
        if word.quote_style.is_none() && (is_type || is_call || is_reserved(word.keyword)) {
            continue;
        }
        if let Some(field) = names.find(&word.value)
            && let Some(found) = words.get_mut(place)
        {
            found.token = quoted(field.name());
        }
    }
    words
}

fn quoted(name: &str) -> Token {
    Token::Word(Word {
        value: name.to_owned(),
        quote_style: Some('"'),
        keyword: Keyword::NoKeyword,
    })
}

/// Words that conditions are made of: a column of such a name must be quoted.
fn is_reserved(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::AND
            | Keyword::OR
            | Keyword::NOT
            | Keyword::IN
            | Keyword::IS
            | Keyword::NULL
            | Keyword::BETWEEN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::ESCAPE
            | Keyword::CASE
            | Keyword::WHEN
            | Keyword::THEN
            | Keyword::ELSE
            | Keyword::END
            | Keyword::TRUE
            | Keyword::FALSE
            | Keyword::CAST
            | Keyword::AS
            | Keyword::DISTINCT
            | Keyword::FROM
            | Keyword::SELECT
    )
}
