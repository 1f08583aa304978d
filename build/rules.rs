//! Makes the table of rules out of the compiled protocol: which role every method needs, and where its first message names
//! the collection. It reads the encoded descriptors itself, as the option is an extension that generated types do not keep,
//! and needs nothing but the standard library, so that the build and the tests use the same code.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Number of the method option `sidereus.options.v1.needs`.
const NEEDS: u32 = 51_001;

/// The package whose methods must all have a rule.
const PACKAGE: &str = ".sidereus.v1.";

/// Number of the field that names a release, in every message that has one.
const RELEASE: u32 = 100;

const ROLES: [&str; 6] = ["", "Read", "Annotate", "Ingest", "Curate", "Administer"];

/// A field of an encoded message: its number, and its bytes or its number.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// A field of a message type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Field {
    /// Its number.
    pub(crate) number: u32,
    /// Its type, as descriptors number them.
    pub(crate) kind: u64,
    /// Whether there may be several.
    pub(crate) repeated: bool,
    /// Name of its message type, such as `.sidereus.v1.Region`; empty for others.
    pub(crate) message: String,
}

/// The fields of a message type by name.
pub(crate) type Fields = BTreeMap<String, Field>;

/// The type of texts.
pub(crate) const TEXT: u64 = 9;

/// A method.
#[derive(Debug, Clone)]
pub(crate) struct Method {
    /// Its path, `/package.Service/Method`.
    pub(crate) path: String,
    /// Name of the message type that it takes.
    pub(crate) input: String,
    server_streaming: bool,
    needs: Option<Vec<u8>>,
}

/// What a method needs.
#[derive(Debug, Clone)]
pub(crate) struct Needs {
    /// Number of the role.
    pub(crate) role: u64,
    /// On what.
    pub(crate) scope: Scope,
    /// Fields that ask for more, and the role that they ask for.
    pub(crate) raises: Vec<(u32, u64)>,
    /// Whether it changes something although its role is a low one.
    pub(crate) writes: bool,
}

/// On what a caller must have a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The collection that is named at these numbers of fields, the outermost first, and whether it may be empty for a listing.
    Collection(Vec<u32>, bool),
    /// The server.
    Server,
    /// Nothing.
    Listing,
    /// Nothing, and nobody is asked who he is.
    Anybody,
}

/// The compiled protocol.
#[derive(Debug, Clone, Default)]
pub(crate) struct Protocol {
    /// Message types by their full names.
    pub(crate) messages: BTreeMap<String, Fields>,
    /// Methods of the package, sorted by path.
    pub(crate) methods: Vec<Method>,
}

/// Reads an encoded `FileDescriptorSet`.
///
/// # Errors
/// Bytes that are none.
pub(crate) fn read(descriptors: &[u8]) -> Result<Protocol, String> {
    let mut protocol = Protocol::default();
    for (number, file) in fields(descriptors)? {
        if let (1, Value::Bytes(file)) = (number, file) {
            read_file(file, &mut protocol)?;
        }
    }
    protocol.methods.retain(|method| format!(".{}", &method.path[1..]).starts_with(PACKAGE));
    protocol.methods.sort_by(|a, b| a.path.cmp(&b.path));
    if protocol.methods.is_empty() {
        return Err(format!("no method of {PACKAGE} is in the descriptors"));
    }
    Ok(protocol)
}

/// Writes the table for an encoded `FileDescriptorSet`: an expression of the type `&[Rule]`, sorted by path.
///
/// # Errors
/// A method of the package without a rule, and a rule that names a field that is not there.
pub(crate) fn table(descriptors: &[u8]) -> Result<String, String> {
    let protocol = read(descriptors)?;
    let mut text = String::from("&[\n");
    for method in &protocol.methods {
        let needs = protocol.needs(method).map_err(|why| format!("{}: {why}", method.path))?;
        let scope = match &needs.scope {
            Scope::Collection(path, lists) => {
                let empty = if *lists { "Listing" } else { "Refused" };
                format!("Scope::Collection {{ path: &{path:?}, empty: Empty::{empty} }}")
            }
            other => format!("Scope::{other:?}"),
        };
        let mut raises = String::new();
        for (field, role) in &needs.raises {
            let _ = write!(raises, "({field}, Role::{}), ", role_name(*role)?);
        }
        let known = protocol.messages.get(&method.input);
        let release = known.is_some_and(|input| input.values().any(|at| at.number == RELEASE));
        let release = release.then_some(RELEASE);
        let role = role_name(needs.role)?;
        let Method { path, server_streaming, .. } = method;
        let writes = needs.writes;
        let _ = writeln!(
            text,
            "    Rule {{ path: {path:?}, role: Role::{role}, scope: {scope}, raises: &[{raises}], \
             release: {release:?}, server_streaming: {server_streaming}, writes: {writes} }},"
        );
    }
    text.push_str("]\n");
    Ok(text)
}

impl Protocol {
    /// What a method needs.
    ///
    /// # Errors
    /// A method that does not say it, or names a field that is not there.
    pub(crate) fn needs(&self, method: &Method) -> Result<Needs, String> {
        let needs = method.needs.as_deref().ok_or(
            "it does not say what it needs; give it `option (sidereus.options.v1.needs) = { ... };`",
        )?;
        let (mut role, mut path, mut scope, mut empty) = (0, None, None, 0);
        let (mut raises, mut writes) = (Vec::new(), false);
        for (number, value) in fields(needs)? {
            match (number, value) {
                (1, Value::Number(number)) => role = number,
                (2, Value::Bytes(dotted)) => {
                    path = Some(self.path(&method.input, &words(dotted)?)?);
                }
                (3, Value::Number(1)) => scope = Some(Scope::Server),
                (4, Value::Number(1)) => scope = Some(Scope::Listing),
                (5, Value::Number(1)) => scope = Some(Scope::Anybody),
                (6, Value::Number(number)) => empty = number,
                (7, Value::Bytes(raise)) => raises.push(self.raised(&method.input, raise)?),
                (8, Value::Number(flag)) => writes = flag == 1,
                _ => return Err("its rule has a field that is not known".to_owned()),
            }
        }
        let scope = match (path, scope) {
            (Some(path), None) => Scope::Collection(path, empty == 1),
            (None, Some(scope)) => scope,
            _ => return Err("its rule must have one scope".to_owned()),
        };
        if scope == Scope::Anybody {
            role = 1;
        }
        role_name(role)?;
        Ok(Needs { role, scope, raises, writes })
    }

    /// One field that asks for more.
    fn raised(&self, input: &str, raise: &[u8]) -> Result<(u32, u64), String> {
        let (mut field, mut role) = (String::new(), 0);
        for (number, value) in fields(raise)? {
            match (number, value) {
                (1, Value::Bytes(name)) => field = words(name)?,
                (2, Value::Number(number)) => role = number,
                _ => return Err("its rule has a field that is not known".to_owned()),
            }
        }
        role_name(role)?;
        let known = self.messages.get(input).and_then(|fields| fields.get(&field));
        let known = known.ok_or_else(|| format!("{input} has no field `{field}`"))?;
        Ok((known.number, role))
    }

    /// The numbers of the fields on a dotted path to a text, the outermost first.
    fn path(&self, input: &str, dotted: &str) -> Result<Vec<u32>, String> {
        let (mut message, mut numbers, mut kind) = (input, Vec::new(), 0);
        for name in dotted.split('.') {
            let known = self.messages.get(message).and_then(|fields| fields.get(name));
            let field =
                known.ok_or_else(|| format!("{message} has no field `{name}` of `{dotted}`"))?;
            if field.repeated {
                return Err(format!("`{name}` of `{dotted}` may be there several times"));
            }
            numbers.push(field.number);
            (message, kind) = (&field.message, field.kind);
        }
        if kind == TEXT { Ok(numbers) } else { Err(format!("`{dotted}` is no text")) }
    }
}

fn role_name(role: u64) -> Result<&'static str, String> {
    match ROLES.get(role as usize) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err("its rule names no role".to_owned()),
    }
}

fn read_file(file: &[u8], protocol: &mut Protocol) -> Result<(), String> {
    let mut package = String::new();
    for (number, value) in fields(file)? {
        if let (2, Value::Bytes(name)) = (number, value) {
            package = words(name)?;
        }
    }
    for (number, value) in fields(file)? {
        match (number, value) {
            (4, Value::Bytes(message)) => {
                read_message(&format!(".{package}"), message, &mut protocol.messages)?;
            }
            (6, Value::Bytes(service)) => {
                read_service(&package, service, &mut protocol.methods)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_message(
    outer: &str,
    message: &[u8],
    messages: &mut BTreeMap<String, Fields>,
) -> Result<(), String> {
    let (mut name, mut found, mut inner) = (String::new(), Fields::new(), Vec::new());
    for (number, value) in fields(message)? {
        match (number, value) {
            (1, Value::Bytes(text)) => name = words(text)?,
            (2, Value::Bytes(field)) => {
                let (called, field) = read_field(field)?;
                found.insert(called, field);
            }
            (3, Value::Bytes(message)) => inner.push(message),
            _ => {}
        }
    }
    let name = format!("{outer}.{name}");
    for message in inner {
        read_message(&name, message, messages)?;
    }
    messages.insert(name, found);
    Ok(())
}

fn read_field(field: &[u8]) -> Result<(String, Field), String> {
    const REPEATED: u64 = 3;
    let (mut name, mut read) = (String::new(), Field::default());
    for (number, value) in fields(field)? {
        match (number, value) {
            (1, Value::Bytes(text)) => name = words(text)?,
            (3, Value::Number(number)) => read.number = number as u32,
            (4, Value::Number(label)) => read.repeated = label == REPEATED,
            (5, Value::Number(kind)) => read.kind = kind,
            (6, Value::Bytes(text)) => read.message = words(text)?,
            _ => {}
        }
    }
    Ok((name, read))
}

fn read_service(package: &str, service: &[u8], methods: &mut Vec<Method>) -> Result<(), String> {
    let mut name = String::new();
    for (number, value) in fields(service)? {
        if let (1, Value::Bytes(text)) = (number, value) {
            name = words(text)?;
        }
    }
    for (number, value) in fields(service)? {
        let (2, Value::Bytes(method)) = (number, value) else { continue };
        let (mut called, mut input) = (String::new(), String::new());
        let (mut server_streaming, mut needs) = (false, None);
        for (number, value) in fields(method)? {
            match (number, value) {
                (1, Value::Bytes(text)) => called = words(text)?,
                (2, Value::Bytes(text)) => input = words(text)?,
                (4, Value::Bytes(options)) => {
                    for (number, value) in fields(options)? {
                        if let (NEEDS, Value::Bytes(rule)) = (number, value) {
                            needs = Some(rule.to_vec());
                        }
                    }
                }
                (6, Value::Number(flag)) => server_streaming = flag == 1,
                _ => {}
            }
        }
        let path = format!("/{package}.{name}/{called}");
        methods.push(Method { path, input, server_streaming, needs });
    }
    Ok(())
}

fn words(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a name is not UTF-8".to_owned())
}

/// The fields of an encoded message, in their order.
fn fields(mut rest: &[u8]) -> Result<Vec<(u32, Value<'_>)>, String> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => Value::Bytes(take(&mut rest, 8)?),
            2 => {
                let length = varint(&mut rest)?;
                Value::Bytes(take(&mut rest, length as usize)?)
            }
            5 => Value::Bytes(take(&mut rest, 4)?),
            other => return Err(format!("the descriptors have wire type {other}")),
        };
        found.push(((key >> 3) as u32, value));
    }
    Ok(found)
}

fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("the descriptors have a number that does not end".to_owned())
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], String> {
    let (taken, left) =
        rest.split_at_checked(bytes).ok_or("the descriptors end in the middle of a field")?;
    *rest = left;
    Ok(taken)
}
