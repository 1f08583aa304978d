//! Messages by their descriptors: made from JSON, their texts found, and one text replaced in the bytes.

use serde_json::Value;

use super::super::rules::{Field, Protocol, TEXT};

/// Types of fields, as descriptors number them.
pub(super) const MESSAGE: u64 = 11;
pub(super) const BYTES: u64 = 12;
const DOUBLE: u64 = 1;
const FLOAT: u64 = 2;
const SINT32: u64 = 17;
const SINT64: u64 = 18;

/// Stands for a number of its own in every text and number of a request.
const OWN: &str = "$N";

/// What stands for something else in a request: `$N`, and whole texts that begin with `$`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    /// The number that `$N` is.
    pub(super) own: u64,
    /// Whole texts, and the bytes that they are.
    pub(super) words: &'a [(&'static str, Vec<u8>)],
}

/// Where a text is in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Numbers of the fields that lead to it, the outermost first.
    pub(super) numbers: Vec<u32>,
    /// The same in names, with dots between.
    pub(super) name: String,
}

/// Every text and every bytes of a message type, through messages within it, lists and maps.
pub(super) fn places(protocol: &Protocol, message: &str) -> Vec<Place> {
    let (mut found, mut around) = (Vec::new(), Vec::new());
    let top = Place { numbers: Vec::new(), name: String::new() };
    walk(protocol, message, &top, &mut around, &mut found);
    found
}

fn walk(
    protocol: &Protocol,
    message: &str,
    at: &Place,
    around: &mut Vec<String>,
    found: &mut Vec<Place>,
) {
    assert!(protocol.messages.contains_key(message), "{message} is described");
    for (name, field) in &protocol.messages[message] {
        let numbers = [&at.numbers[..], &[field.number]].concat();
        let name = if at.name.is_empty() { name.clone() } else { format!("{}.{name}", at.name) };
        let place = Place { numbers, name };
        match field.kind {
            TEXT | BYTES => found.push(place),
            // A type within itself adds no text that is not found once.
            MESSAGE if !around.contains(&field.message) => {
                around.push(field.message.clone());
                walk(protocol, &field.message, &place, around, found);
                around.pop();
            }
            _ => {}
        }
    }
}

/// Encodes what JSON says of a message type; an object stands for a map too. Every field that is named is written, even an
/// empty one.
pub(super) fn encode(protocol: &Protocol, message: &str, value: &Value, given: Given) -> Vec<u8> {
    let fields = &protocol.messages[message];
    let mut bytes = Vec::new();
    for (name, value) in value.as_object().expect("an object") {
        let known = fields.get(name).unwrap_or_else(|| panic!("{message} has no `{name}`"));
        match value {
            Value::Array(values) => {
                values.iter().for_each(|value| one(protocol, known, value, given, &mut bytes));
            }
            Value::Object(entries) if known.repeated => {
                for (key, value) in entries {
                    let entry = serde_json::json!({ "key": key, "value": value });
                    one(protocol, known, &entry, given, &mut bytes);
                }
            }
            value => one(protocol, known, value, given, &mut bytes),
        }
    }
    bytes
}

fn one(protocol: &Protocol, known: &Field, value: &Value, given: Given, bytes: &mut Vec<u8>) {
    let key = u64::from(known.number) << 3;
    let number =
        || if value.is_string() { given.own as f64 } else { value.as_f64().expect("a number") };
    let whole = || match value {
        Value::String(_) => given.own as i64,
        Value::Bool(flag) => i64::from(*flag),
        other => other.as_i64().expect("a whole number"),
    };
    match known.kind {
        TEXT | BYTES => {
            let text = value.as_str().expect("a text");
            match given.words.iter().find(|(word, _)| *word == text) {
                Some((_, bytes_of_it)) => bytes.extend(field(known.number, bytes_of_it)),
                None => {
                    let text = text.replace(OWN, &given.own.to_string());
                    bytes.extend(field(known.number, text.as_bytes()));
                }
            }
        }
        MESSAGE => {
            bytes.extend(field(known.number, &encode(protocol, &known.message, value, given)));
        }
        DOUBLE => {
            bytes.extend(varint(key | 1));
            bytes.extend(number().to_le_bytes());
        }
        FLOAT => {
            bytes.extend(varint(key | 5));
            bytes.extend((number() as f32).to_le_bytes());
        }
        kind => {
            bytes.extend(varint(key));
            let whole = whole();
            let folded = ((whole << 1) ^ (whole >> 63)) as u64;
            let is_folded = matches!(kind, SINT32 | SINT64);
            bytes.extend(varint(if is_folded { folded } else { whole as u64 }));
        }
    }
}

/// How many fields on the way to a place are in a message.
pub(super) fn depth(message: &[u8], numbers: &[u32]) -> usize {
    let Some((number, inner)) = numbers.split_first() else { return 0 };
    match spans(message).iter().rfind(|span| span.number == *number) {
        Some(span) => 1 + depth(&message[span.content.clone()], inner),
        None => 0,
    }
}

/// The message with other bytes at a place: in the last of several, in the message around it where that is there.
pub(super) fn put(message: &[u8], numbers: &[u32], payload: &[u8]) -> Vec<u8> {
    let Some((number, inner)) = numbers.split_first() else { return payload.to_vec() };
    let spans = spans(message);
    let (whole, content) = match spans.iter().rfind(|span| span.number == *number) {
        Some(span) => (span.whole.clone(), &message[span.content.clone()]),
        None => (message.len()..message.len(), &[][..]),
    };
    let new = field(*number, &put(content, inner, payload));
    [&message[..whole.start], &new, &message[whole.end..]].concat()
}

/// Where a field is in an encoded message.
struct Span {
    number: u32,
    whole: std::ops::Range<usize>,
    content: std::ops::Range<usize>,
}

fn spans(message: &[u8]) -> Vec<Span> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < message.len() {
        let start = at;
        let key = read_varint(message, &mut at);
        let length = match key & 7 {
            0 => {
                let before = at;
                read_varint(message, &mut at);
                let length = at - before;
                at = before;
                length
            }
            1 => 8,
            5 => 4,
            _ => read_varint(message, &mut at) as usize,
        };
        let content = at..at + length;
        at = content.end;
        found.push(Span { number: (key >> 3) as u32, whole: start..at, content });
    }
    found
}

fn read_varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// A field that is a text, bytes or a message.
pub(crate) fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut field = varint(u64::from(number) << 3 | 2);
    field.extend(varint(bytes.len() as u64));
    field.extend(bytes);
    field
}

/// A number in groups of seven bits, the lowest first.
pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
