//! Queries and what was found for them, side by side.

use std::fmt::Write;

use super::page::escaped;
use crate::cli::render::base64_text;

/// A query and what it found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Example {
    pub(crate) heading: String,
    pub(crate) query: Tile,
    pub(crate) found: Vec<Tile>,
}

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tile {
    pub(crate) id: String,
    /// Address of a picture.
    pub(crate) image: Option<String>,
    pub(crate) lines: Vec<String>,
    /// Whether it is what was looked for.
    pub(crate) is_relevant: Option<bool>,
}

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ImageSource {
    /// An address with `{ra}`, `{dec}` and `{object_id}` in it.
    Address(String),
    /// A column of PNG or JPEG files.
    Column(String),
}

impl ImageSource {
    /// The address of an object's picture; the bytes are those of the column. `None` where there is no picture.
    pub(crate) fn image(
        &self,
        id: &str,
        position: Option<(f64, f64)>,
        bytes: Option<&[u8]>,
    ) -> Option<String> {
        match self {
            Self::Address(template) => {
                let (ra, dec) = position?;
                let address = template
                    .replace("{ra}", &format!("{ra:.6}"))
                    .replace("{dec}", &format!("{dec:.6}"))
                    .replace("{object_id}", &percent_encoded(id));
                Some(address)
            }
            Self::Column(_) => bytes.and_then(embedded),
        }
    }
}

/// A picture inside of its own address; `None` for what a browser would not show.
fn embedded(bytes: &[u8]) -> Option<String> {
    let kind = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        "image/png"
    } else if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        "image/jpeg"
    } else {
        return None;
    };
    Some(format!("data:{kind};base64,{}", base64_text(bytes)))
}

/// Text as a part of an address (RFC 3986, section 2.3).
fn percent_encoded(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            safe.push(char::from(byte));
        } else {
            // Writing to a string cannot fail, here and below.
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    safe
}

impl Example {
    pub(super) fn write(&self, html: &mut String) {
        let _ = writeln!(html, "<div class=\"example\"><h3>{}</h3>", escaped(&self.heading));
        self.query.write("query", html);
        for tile in &self.found {
            let class = match tile.is_relevant {
                Some(true) => "good",
                Some(false) => "bad",
                None => "",
            };
            tile.write(class, html);
        }
        html.push_str("</div>\n");
    }
}

impl Tile {
    fn write(&self, class: &str, html: &mut String) {
        let id = escaped(&self.id);
        let _ = write!(html, "<div class=\"tile {class}\">");
        let _ = match &self.image {
            Some(address) => write!(html, "<img src=\"{}\" alt=\"{id}\">", escaped(address)),
            None => write!(html, "<div class=\"blank\">{id}</div>"),
        };
        let _ = write!(html, "<b>{id}</b>");
        for line in &self.lines {
            let _ = write!(html, "<span>{}</span>", escaped(line));
        }
        html.push_str("</div>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_an_address_are_filled() {
        let source = ImageSource::Address("https://h/?ra={ra}&dec={dec}&id={object_id}".to_owned());
        let address = source.image("a b/ü", Some((10.5, -3.25)), None);
        let wanted = "https://h/?ra=10.500000&dec=-3.250000&id=a%20b%2F%C3%BC";
        assert_eq!(address.as_deref(), Some(wanted));
        assert_eq!(source.image("a", None, None), None);
    }

    #[test]
    fn pictures_are_embedded_and_other_bytes_are_not() {
        let source = ImageSource::Column("cutout".to_owned());
        let image = |bytes: &[u8]| source.image("a", None, Some(bytes));
        assert!(image(b"\x89PNG\r\n\x1a\nabc").is_some_and(|at| at.starts_with("data:image/png;")));
        assert!(image(b"\xff\xd8\xff").is_some_and(|at| at.starts_with("data:image/jpeg;")));
        assert_eq!(image(b"<svg onload=alert(1)>"), None);
        assert_eq!(source.image("a", None, None), None);
    }

    #[test]
    fn nothing_of_an_object_is_markup() {
        let tile = Tile {
            id: "<b>".to_owned(),
            image: Some("x\" onerror=\"alert(1)".to_owned()),
            lines: vec!["<i>".to_owned()],
            is_relevant: None,
        };
        let mut html = String::new();
        tile.write("", &mut html);
        assert!(!html.contains("\" onerror") && !html.contains("<i>"), "{html}");
    }
}
