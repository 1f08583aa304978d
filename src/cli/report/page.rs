//! The page itself: headings, tables, figures, and at the foot where all of it comes from.

use std::fmt::Write;

use super::examples::Example;
use super::words::ends;
use crate::cli::render::significant;
use crate::learn::metrics::Measured;

const STYLE: &str = include_str!("page.css");

/// Where a report comes from: names and what they are.
pub(crate) type Provenance = Vec<(String, String)>;

/// A whole page.
pub(super) struct Page {
    pub(super) title: String,
    pub(super) lead: String,
    pub(super) sections: Vec<Section>,
    pub(super) provenance: Provenance,
}

/// A part with a heading.
pub(super) struct Section {
    pub(super) heading: String,
    pub(super) blocks: Vec<Block>,
}

/// What a part is made of.
pub(super) enum Block {
    Words(String),
    Warning(String),
    Table(Table),
    Figures(Vec<Figure>),
    Examples(Vec<Example>),
}

/// A drawn figure.
pub(super) struct Figure {
    pub(super) svg: String,
    pub(super) caption: String,
}

/// Rows under headings.
#[derive(Default)]
pub(super) struct Table {
    pub(super) headings: Vec<String>,
    pub(super) rows: Vec<Vec<Item>>,
}

/// What is in a place of a table.
pub(super) enum Item {
    Words(String),
    Number(String),
    /// A value with its interval, and whether it is the best of its column.
    Measured(Option<Measured>, bool),
}

/// Text without meaning for a browser.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for each in text.chars() {
        match each {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            each => safe.push(each),
        }
    }
    safe
}

impl Page {
    /// The page as HTML.
    pub(super) fn to_html(&self) -> String {
        let title = escaped(&self.title);
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <header>\n<h1>{title}</h1>\n<p class=\"lead\">{}</p>\n</header>\n",
            escaped(&self.lead)
        );
        for section in &self.sections {
            section.write(&mut html);
        }
        html.push_str("<footer>\n<h2>Provenance</h2>\n<dl>\n");
        for (name, value) in &self.provenance {
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
        }
        html.push_str("</dl>\n</footer>\n</main>\n</body>\n</html>\n");
        html
    }
}

impl Section {
    fn write(&self, html: &mut String) {
        let _ = writeln!(html, "<section>\n<h2>{}</h2>", escaped(&self.heading));
        for block in &self.blocks {
            match block {
                Block::Words(text) => {
                    let _ = writeln!(html, "<p>{}</p>", escaped(text));
                }
                Block::Warning(text) => {
                    let _ = writeln!(html, "<p class=\"warning\">{}</p>", escaped(text));
                }
                Block::Table(table) => table.write(html),
                Block::Figures(figures) => write_figures(figures, html),
                Block::Examples(examples) => {
                    for example in examples {
                        example.write(html);
                    }
                }
            }
        }
        html.push_str("</section>\n");
    }
}

fn write_figures(figures: &[Figure], html: &mut String) {
    html.push_str("<div class=\"figures\">\n");
    for Figure { svg, caption } in figures {
        let caption = escaped(caption);
        let _ = write!(
            html,
            "<figure style=\"width:{}px\">\n{svg}<figcaption>{caption}</figcaption>\n</figure>\n",
            shown_width(svg)
        );
    }
    html.push_str("</div>\n");
}

/// The width in pixels at which a drawing is shown, at most.
fn shown_width(svg: &str) -> u32 {
    let width = svg.split("width=\"").nth(1).and_then(|rest| rest.split('"').next());
    width.and_then(|width| width.parse::<u32>().ok()).unwrap_or(0) / super::figure::SCALE
}

impl Table {
    fn write(&self, html: &mut String) {
        html.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
        let is_number = |place: usize| {
            self.rows.iter().any(|row| !matches!(row.get(place), None | Some(Item::Words(_))))
        };
        for (place, heading) in self.headings.iter().enumerate() {
            let class = if is_number(place) { " class=\"number\"" } else { "" };
            let _ = write!(html, "<th{class}>{}</th>", escaped(heading));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for item in row {
                item.write(html);
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
    }
}

impl Item {
    fn write(&self, html: &mut String) {
        let _ = match self {
            Self::Words(text) => write!(html, "<td>{}</td>", escaped(text)),
            Self::Number(text) => write!(html, "<td class=\"number\">{}</td>", escaped(text)),
            Self::Measured(None, _) => write!(html, "<td class=\"number\">–</td>"),
            Self::Measured(Some(measured), is_best) => {
                let class = if *is_best { "number best" } else { "number" };
                let value = significant(measured.value, 4).replace('-', "−");
                let interval = ends(measured).map_or_else(String::new, |(low, high)| {
                    let (low, high) = (low.replace('-', "−"), high.replace('-', "−"));
                    format!("<span class=\"interval\">{low} to {high}</span>")
                });
                write!(html, "<td class=\"{class}\">{value}{interval}</td>")
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_text() {
        let page = Page {
            title: "<script>alert(1)</script>".to_owned(),
            lead: "a & b".to_owned(),
            sections: vec![Section {
                heading: "\"x\"".to_owned(),
                blocks: vec![Block::Words("<img>".to_owned())],
            }],
            provenance: vec![("command".to_owned(), "a > b".to_owned())],
        };
        let html = page.to_html();
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
        assert!(html.contains("a &amp; b") && html.contains("a &gt; b"));
    }

    #[test]
    fn drawings_are_shown_at_half_their_size() {
        let svg = "<svg width=\"880\" height=\"840\" viewBox=\"0 0 880 840\">x</svg>";
        assert_eq!(shown_width(svg), 440);
    }
}
