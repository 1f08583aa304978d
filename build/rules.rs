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

/// A message type: the number and, for messages, the type of each field by name.
type Fields = BTreeMap<String, (u32, String)>;

struct Method {
    path: String,
    input: String,
    client_streaming: bool,
    server_streaming: bool,
    needs: Option<Vec<u8>>,
}

/// Writes the table for an encoded `FileDescriptorSet`: an expression of the type `&[Rule]`, sorted by path.
///
/// # Errors
/// A method of the package without a rule, and a rule that names a field that is not there.
pub fn table(descriptors: &[u8]) -> Result<String, String> {
    let (mut messages, mut methods) = (BTreeMap::new(), Vec::new());
    for (number, file) in fields(descriptors)? {
        if let (1, Value::Bytes(file)) = (number, file) {
            read_file(file, &mut messages, &mut methods)?;
        }
    }
    methods.retain(|method| format!(".{}", &method.path[1..]).starts_with(PACKAGE));
    methods.sort_by(|a, b| a.path.cmp(&b.path));
    if methods.is_empty() {
        return Err(format!("no method of {PACKAGE} is in the descriptors"));
    }
    let mut text = String::from("&[\n");
    for method in &methods {
        let rule = rule(method, &messages).map_err(|why| format!("{}: {why}", method.path))?;
        text.push_str(&rule);
    }
    text.push_str("]\n");
    Ok(text)
}

fn rule(method: &Method, messages: &BTreeMap<String, Fields>) -> Result<String, String> {
    let needs = method.needs.as_deref().ok_or(
        "it does not say what it needs; give it `option (sidereus.options.v1.needs) = { ... };`",
    )?;
    let (mut role, mut scope, mut empty, mut raises) = (0, None, 0, String::new());
    for (number, value) in fields(needs)? {
        match (number, value) {
            (1, Value::Number(number)) => role = number,
            (2, Value::Bytes(path)) => {
                let path = path_to(&method.input, &words(path)?, messages)?;
                scope = Some(format!("Scope::Collection {{ path: &{path:?}, empty: EMPTY }}"));
            }
            (3, Value::Number(1)) => scope = Some("Scope::Server".to_owned()),
            (4, Value::Number(1)) => scope = Some("Scope::Listing".to_owned()),
            (5, Value::Number(1)) => scope = Some("Scope::Anybody".to_owned()),
            (6, Value::Number(number)) => empty = number,
            (7, Value::Bytes(raise)) => raises.push_str(&raised(&method.input, raise, messages)?),
            _ => return Err("its rule has a field that is not known".to_owned()),
        }
    }
    let scope = scope.ok_or("its rule has no scope")?;
    let empty = if empty == 1 { "Empty::Listing" } else { "Empty::Refused" };
    let scope = scope.replace("EMPTY", empty);
    let role = if scope == "Scope::Anybody" { "Read" } else { role_name(role)? };
    let release = messages.get(&method.input).and_then(|fields| {
        fields.values().any(|(number, _)| *number == RELEASE).then_some(RELEASE)
    });
    let mut text = String::new();
    let Method { path, client_streaming, server_streaming, .. } = method;
    let _ = writeln!(
        text,
        "    Rule {{ path: {path:?}, role: Role::{role}, scope: {scope}, raises: &[{raises}], release: {release:?}, \
         client_streaming: {client_streaming}, server_streaming: {server_streaming} }},"
    );
    Ok(text)
}

/// One field that asks for more.
fn raised(
    input: &str,
    raise: &[u8],
    messages: &BTreeMap<String, Fields>,
) -> Result<String, String> {
    let (mut field, mut role) = (String::new(), 0);
    for (number, value) in fields(raise)? {
        match (number, value) {
            (1, Value::Bytes(name)) => field = words(name)?,
            (2, Value::Number(number)) => role = number,
            _ => return Err("its rule has a field that is not known".to_owned()),
        }
    }
    let path = path_to(input, &field, messages)?;
    let [number] = path[..] else {
        return Err(format!("`{field}` must be a field of the message itself"));
    };
    Ok(format!("({number}, Role::{}), ", role_name(role)?))
}

fn role_name(role: u64) -> Result<&'static str, String> {
    match ROLES.get(role as usize) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err("its rule names no role".to_owned()),
    }
}

/// The numbers of the fields on a dotted path, the outermost first.
fn path_to(
    input: &str,
    dotted: &str,
    messages: &BTreeMap<String, Fields>,
) -> Result<Vec<u32>, String> {
    let (mut message, mut numbers) = (input.to_owned(), Vec::new());
    for name in dotted.split('.') {
        let known = messages.get(&message).and_then(|fields| fields.get(name));
        let (number, inner) =
            known.ok_or_else(|| format!("{message} has no field `{name}` of `{dotted}`"))?;
        numbers.push(*number);
        message.clone_from(inner);
    }
    if message.is_empty() { Ok(numbers) } else { Err(format!("`{dotted}` is no text")) }
}

fn read_file(
    file: &[u8],
    messages: &mut BTreeMap<String, Fields>,
    methods: &mut Vec<Method>,
) -> Result<(), String> {
    let mut package = String::new();
    for (number, value) in fields(file)? {
        if let (2, Value::Bytes(name)) = (number, value) {
            package = words(name)?;
        }
    }
    for (number, value) in fields(file)? {
        match (number, value) {
            (4, Value::Bytes(message)) => read_message(&format!(".{package}"), message, messages)?,
            (6, Value::Bytes(service)) => read_service(&package, service, methods)?,
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
    let (mut name, mut found) = (String::new(), Fields::new());
    for (number, value) in fields(message)? {
        match (number, value) {
            (1, Value::Bytes(text)) => name = words(text)?,
            (2, Value::Bytes(field)) => {
                let (mut called, mut at, mut inner) = (String::new(), 0, String::new());
                for (number, value) in fields(field)? {
                    match (number, value) {
                        (1, Value::Bytes(text)) => called = words(text)?,
                        (3, Value::Number(number)) => at = number as u32,
                        (6, Value::Bytes(text)) => inner = words(text)?,
                        _ => {}
                    }
                }
                found.insert(called, (at, inner));
            }
            _ => {}
        }
    }
    messages.insert(format!("{outer}.{name}"), found);
    Ok(())
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
        let (mut called, mut input, mut needs) = (String::new(), String::new(), None);
        let (mut client_streaming, mut server_streaming) = (false, false);
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
                (5, Value::Number(flag)) => client_streaming = flag == 1,
                (6, Value::Number(flag)) => server_streaming = flag == 1,
                _ => {}
            }
        }
        let path = format!("/{package}.{name}/{called}");
        methods.push(Method { path, input, client_streaming, server_streaming, needs });
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
