//! Reads the few fields of an encoded message that a decision needs, without decoding the message.
//!
//! It accepts less than the decoder that comes after it: a field that leads to the collection may be there once, since of two
//! one could be decided on and the other be served, and what is not well formed is refused.

use super::rule::{Empty, Rule, Scope};
use crate::access::Role;

/// Why a message is refused before it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) enum Malformed {
    /// It ends in the middle of a field.
    Truncated,
    /// A number that does not end, or is too large.
    Number,
    /// A field that nothing can be told about.
    WireType(u8),
    /// The field that names the collection, or one around it, is there twice.
    Twice(u32),
    /// The field that names the collection, or one around it, is of another type.
    OtherType(u32),
    /// The name is not UTF-8.
    Text,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => out.write_str("it ends in the middle of a field"),
            Self::Number => out.write_str("a number in it does not end"),
            Self::WireType(kind) => write!(out, "a field in it has wire type {kind}"),
            Self::Twice(field) => {
                write!(out, "field {field} is there twice, and must be there once")
            }
            Self::OtherType(field) => write!(out, "field {field} has another type"),
            Self::Text => out.write_str("the name of the collection is not UTF-8"),
        }
    }
}

/// What a first message says that a decision needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peeked<'a> {
    /// The collection; `None` where it names none.
    pub(super) collection: Option<&'a str>,
    /// The release of it; `None` where it names none.
    pub(super) release: Option<&'a str>,
    /// The role that is needed.
    pub(super) role: Role,
}

impl Peeked<'_> {
    /// What a call that sends nothing says.
    pub(super) fn nothing(rule: &Rule) -> Self {
        Self { collection: None, release: None, role: rule.role }
    }

    /// Whether an empty name makes the call a listing.
    pub(super) fn lists(&self, rule: &Rule) -> bool {
        match rule.scope {
            Scope::Collection { empty, .. } => empty == Empty::Listing && self.collection.is_none(),
            _ => false,
        }
    }
}

/// Reads what a rule needs out of a first message.
pub(super) fn peek<'a>(rule: &Rule, message: &'a [u8]) -> Result<Peeked<'a>, Malformed> {
    match rule.scope {
        Scope::Collection { path, .. } => follow(rule, path, message),
        Scope::Descriptor { command, path } => match follow(rule, command, message)? {
            // A path names no release, whatever else is in the message.
            Peeked { collection: None, .. } => {
                Ok(Peeked { release: None, ..follow(rule, path, message)? })
            }
            peeked => Ok(peeked),
        },
        Scope::Server | Scope::Listing | Scope::Anybody => follow(rule, &[], message),
    }
}

/// The same, where the fields that lead to the collection are known.
fn follow<'a>(rule: &Rule, path: &[u32], message: &'a [u8]) -> Result<Peeked<'a>, Malformed> {
    let mut peeked = Peeked::nothing(rule);
    let (first, inner) = path.split_first().map_or((0, path), |(first, inner)| (*first, inner));
    let (mut named, mut release) = (None, None);
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        if number == first {
            once(&mut named, number, value)?;
        } else if inner.is_empty() && rule.release == Some(number) {
            once(&mut release, number, value)?;
        } else if let Some((_, role)) = rule.raises.iter().find(|(field, _)| *field == number)
            && value.is_set()
        {
            peeked.role = peeked.role.max(*role);
        }
    }
    for (place, number) in inner.iter().enumerate() {
        let Some(message) = named.take() else { break };
        // The release is named beside the collection.
        let is_last = place + 1 == inner.len();
        let mut fields = Fields(message);
        while let Some((found, value)) = fields.next()? {
            if found == *number {
                once(&mut named, found, value)?;
            } else if is_last && rule.release == Some(found) {
                once(&mut release, found, value)?;
            }
        }
    }
    peeked.collection = text(named)?;
    peeked.release = text(release)?;
    Ok(peeked)
}

/// Keeps the bytes of a field that may be there once.
fn once<'a>(kept: &mut Option<&'a [u8]>, number: u32, value: Value<'a>) -> Result<(), Malformed> {
    let Value::Bytes(bytes) = value else { return Err(Malformed::OtherType(number)) };
    if kept.replace(bytes).is_some() { Err(Malformed::Twice(number)) } else { Ok(()) }
}

/// A text that is not empty.
fn text(bytes: Option<&[u8]>) -> Result<Option<&str>, Malformed> {
    match bytes {
        None | Some([]) => Ok(None),
        Some(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| Malformed::Text),
    }
}

/// A field, as far as its wire type tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    /// Eight or four bytes.
    Fixed(&'a [u8]),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// Whether it is not the default of its type.
    fn is_set(self) -> bool {
        match self {
            Self::Number(number) => number != 0,
            Self::Fixed(bytes) => bytes.iter().any(|byte| *byte != 0),
            Self::Bytes(bytes) => !bytes.is_empty(),
        }
    }
}

/// The rest of an encoded message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next field and its number.
    fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed::Number)?;
        let number = key >> 3;
        if number == 0 {
            return Err(Malformed::Number);
        }
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Number)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed(self.take(4)?),
            other => return Err(Malformed::WireType(other as u8)),
        };
        Ok(Some((number, value)))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            // The tenth byte holds one bit.
            if shift == 63 && byte > 1 {
                return Err(Malformed::Number);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Number)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::super::rule::find;
    use super::*;
    use crate::wire::v1;

    fn rule(method: &str) -> &'static Rule {
        find(&format!("/sidereus.v1.{method}")).expect("a rule")
    }

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    #[test]
    fn names_are_found_where_the_rule_says() {
        let search = v1::SearchRequest {
            collection: "des".to_owned(),
            predicate: "z > 1".to_owned(),
            within: Some(0.5),
            ..v1::SearchRequest::default()
        };
        let bytes = search.encode_to_vec();
        let peeked = peek(rule("SearchService/Search"), &bytes).expect("well formed");
        assert_eq!((peeked.collection, peeked.role), (Some("des"), Role::Read));
        let schema = v1::CollectionSchema { name: "ska".to_owned(), ..Default::default() };
        let bytes = v1::CreateCollectionRequest { schema: Some(schema) }.encode_to_vec();
        let peeked = peek(rule("CollectionService/CreateCollection"), &bytes).expect("well formed");
        assert_eq!((peeked.collection, peeked.role), (Some("ska"), Role::Administer));
        let nothing = peek(rule("DiscoveryService/ListSessions"), &[]).expect("well formed");
        assert!(
            nothing.collection.is_none() && nothing.lists(rule("DiscoveryService/ListSessions"))
        );
        assert!(!nothing.lists(rule("DiscoveryService/GetSession")));
    }

    #[test]
    fn some_fields_ask_for_more() {
        let apply = |column: &str| v1::ApplyProbeRequest {
            collection: "des".to_owned(),
            column: column.to_owned(),
            ..Default::default()
        };
        let role = |column| {
            let bytes = apply(column).encode_to_vec();
            peek(rule("ProbeService/ApplyProbe"), &bytes).expect("well formed").role
        };
        assert_eq!((role(""), role("p_lens")), (Role::Read, Role::Curate));
        let fit = v1::FitProbeRequest { name: "lens".to_owned(), ..Default::default() };
        let bytes = fit.encode_to_vec();
        let peeked = peek(rule("ProbeService/FitProbe"), &bytes).expect("well formed");
        assert_eq!(peeked.role, Role::Annotate);
    }

    #[test]
    fn flight_names_a_collection_in_its_tickets_and_descriptors() {
        let flight = |method: &str| {
            find(&format!("/arrow.flight.protocol.FlightService/{method}")).expect("a rule")
        };
        let name = |method: &str, message: &[u8]| {
            let peeked = peek(flight(method), message).expect("well formed");
            peeked.collection.map(str::to_owned)
        };
        let export = field(1, &field(1, b"des"));
        let ingest = field(2, &field(1, b"des"));
        let des = Some("des".to_owned());
        assert_eq!(name("DoGet", &field(1, &export)), des);
        assert_eq!(name("DoGet", &field(1, &ingest)), None);
        assert_eq!(name("DoPut", &field(1, &field(2, &ingest))), des);
        assert_eq!(name("DoPut", &field(1, &field(2, &export))), None);
        let released = v1::FlightExport {
            collection: "des".to_owned(),
            release: "dr1".to_owned(),
            ..Default::default()
        };
        let released = field(1, &released.encode_to_vec());
        let ticket = field(1, &released);
        assert_eq!(peek(flight("DoGet"), &ticket).expect("well formed").release, Some("dr1"));
        for method in ["GetFlightInfo", "GetSchema"] {
            let command = field(2, &released);
            assert_eq!(peek(flight(method), &command).expect("well formed").release, Some("dr1"));
            assert_eq!(name(method, &field(2, &export)), des);
            assert_eq!(name(method, &field(3, b"des")), des);
            let two = [field(3, b"des"), field(3, b"ska")].concat();
            assert_eq!(peek(flight(method), &two), Err(Malformed::Twice(3)));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let search = rule("SearchService/Search");
        let twice = [field(1, b"mine"), field(1, b"theirs")].concat();
        assert_eq!(peek(search, &twice), Err(Malformed::Twice(1)));
        let ingest = rule("ObjectService/Ingest");
        let open = [field(1, &field(1, b"mine")), field(1, &field(1, b"theirs"))].concat();
        assert_eq!(peek(ingest, &open), Err(Malformed::Twice(1)));
        let inner = field(1, &[field(1, b"mine"), field(1, b"theirs")].concat());
        assert_eq!(peek(ingest, &inner), Err(Malformed::Twice(1)));
        assert_eq!(peek(search, &[0x08, 1]), Err(Malformed::OtherType(1)));
        assert_eq!(peek(search, &field(1, &[0xff, 0xfe])), Err(Malformed::Text));
        assert_eq!(peek(search, &[0x0a, 5, b'a']), Err(Malformed::Truncated));
        assert_eq!(peek(search, &[0x0b]), Err(Malformed::WireType(3)));
        assert_eq!(peek(search, &[0x00, 0x00]), Err(Malformed::Number));
        assert_eq!(peek(search, &[0xff; 12]), Err(Malformed::Number));
    }

    proptest! {
        /// Whatever the decoder takes too, it takes with the same collection.
        #[test]
        fn the_decoder_reads_the_same_name(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let peeked = peek(rule("SearchService/Search"), &bytes);
            let decoded = v1::SearchRequest::decode(&*bytes);
            if let (Ok(peeked), Ok(decoded)) = (peeked, decoded) {
                prop_assert_eq!(peeked.collection.unwrap_or_default(), decoded.collection);
            }
        }

        /// Messages with a field moved, doubled or cut are read as the decoder reads them, or refused.
        #[test]
        fn changed_messages_are_read_alike_or_refused(
            name in "[a-z]{0,9}", other in "[a-z]{0,9}", at in 0usize..64, flip in any::<u8>(), twice in any::<bool>(),
        ) {
            let mut bytes = v1::FitProbeRequest {
                collection: name, name: other.clone(), overwrite: true, ..Default::default()
            }.encode_to_vec();
            if twice { bytes.extend(field(1, other.as_bytes())); }
            let length = bytes.len();
            bytes[at % length] ^= flip;
            let peeked = peek(rule("ProbeService/FitProbe"), &bytes);
            if let (Ok(peeked), Ok(decoded)) = (peeked, v1::FitProbeRequest::decode(&*bytes)) {
                prop_assert_eq!(peeked.collection.unwrap_or_default(), decoded.collection);
                prop_assert!(!decoded.overwrite || peeked.role >= Role::Curate);
                prop_assert!(decoded.name.is_empty() || peeked.role >= Role::Annotate);
            }
        }
    }
}
