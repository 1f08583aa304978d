//! Rows under headings.

use comfy_table::{CellAlignment, ContentArrangement, TableComponent, presets};

use super::Json;
use super::cell::{Cell, quoted};

/// Blanks between two columns of a printed table.
const GAP: usize = 2;

/// Width that a text may have in a table without leave, in characters; beyond, it takes what the terminal has left.
const TEXT_WIDTH: usize = 48;

/// What a column takes beside its text: the gap, and the place of a border that is not drawn.
const BESIDE: usize = GAP + 1;

/// Rows under headings, printable in every format.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<H: Into<String>>(headings: impl IntoIterator<Item = H>) -> Self {
        Self { headings: headings.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row, one cell for each heading.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.headings.len(), "a cell for each heading");
        self.rows.push(row);
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Drops every column after the first `keep` whose cells are all empty: they tell a reader nothing.
    pub(crate) fn without_silent_columns(mut self, keep: usize) -> Self {
        let speaks = |place: usize| {
            place < keep
                || self.rows.is_empty()
                || self.rows.iter().any(|row| row.get(place).is_some_and(|cell| !cell.is_silent()))
        };
        let kept: Vec<bool> = (0..self.headings.len()).map(speaks).collect();
        let mut place = kept.iter();
        self.headings.retain(|_| place.next().copied().unwrap_or(true));
        for row in &mut self.rows {
            let mut place = kept.iter();
            row.retain(|_| place.next().copied().unwrap_or(true));
        }
        self
    }

    /// For people: as many whole columns as fit into a width, texts cut to what it has room for; the other columns are named
    /// below the table. Without a width everything is whole.
    pub(crate) fn to_text(&self, width: Option<usize>) -> String {
        let mut texts: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::to_text).collect()).collect();
        let (mut shown, mut arrangement) = (self.headings.len(), ContentArrangement::Disabled);
        if let Some(width) = width {
            self.cut(&mut texts, width);
            shown = self.columns_that_fit(&texts, width);
            arrangement = ContentArrangement::Dynamic;
        }
        let mut table = comfy_table::Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_style(TableComponent::HeaderLines, '─')
            .set_style(TableComponent::MiddleHeaderIntersections, '─')
            .set_content_arrangement(arrangement)
            .set_width(width.and_then(|width| u16::try_from(width).ok()).unwrap_or(u16::MAX))
            .set_header(self.headings.iter().take(shown));
        for row in &texts {
            table.add_row(row.iter().take(shown));
        }
        for (place, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, GAP as u16));
            if self.rows.iter().any(|row| row.get(place).is_some_and(Cell::is_number)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if shown < self.headings.len() {
            let hidden = self.headings[shown..].join(", ");
            text.push_str(&format!(
                "(too wide for this terminal, and not shown: {hidden}; --format json shows all)\n"
            ));
        }
        text
    }

    /// Cuts long texts: what a narrow terminal has no room for, and no more of it.
    fn cut(&self, texts: &mut [Vec<String>], width: usize) {
        let widths: Vec<usize> =
            (0..self.headings.len()).map(|place| self.widest(texts, place)).collect();
        let is_text = |place: usize| {
            self.rows.iter().any(|row| matches!(row.get(place), Some(Cell::Text(_))))
        };
        let mut caps: Vec<usize> = (widths.iter().enumerate())
            .map(|(place, widest)| if is_text(place) { (*widest).min(TEXT_WIDTH) } else { *widest })
            .collect();
        let used: usize = caps.iter().map(|cap| cap + BESIDE).sum();
        let mut spare = width.saturating_sub(used);
        for (cap, widest) in caps.iter_mut().zip(&widths) {
            let more = spare.min(widest.saturating_sub(*cap));
            *cap += more;
            spare -= more;
        }
        for (texts, row) in texts.iter_mut().zip(&self.rows) {
            for ((text, cell), cap) in texts.iter_mut().zip(row).zip(&caps) {
                if matches!(cell, Cell::Text(_)) {
                    *text = console::truncate_str(text, *cap, "…").into_owned();
                }
            }
        }
    }

    fn widest(&self, texts: &[Vec<String>], place: usize) -> usize {
        let cells = texts.iter().filter_map(|row| row.get(place));
        let heading = self.headings.get(place);
        cells.chain(heading).map(|text| console::measure_text_width(text)).max().unwrap_or(0)
    }

    fn columns_that_fit(&self, texts: &[Vec<String>], width: usize) -> usize {
        let mut used = 0;
        for place in 0..self.headings.len() {
            used += self.widest(texts, place) + BESIDE;
            // The first columns stay whatever the width: a row without its id is no use.
            if used > width && place >= 2 {
                return place;
            }
        }
        self.headings.len()
    }

    /// A list of objects, one for each row, members named by the headings.
    pub(crate) fn to_json(&self) -> Json {
        let object = |row: &Vec<Cell>| {
            Json::object(self.headings.iter().cloned().zip(row.iter().map(Cell::to_json)))
        };
        Json::List(self.rows.iter().map(object).collect())
    }

    /// A line of headings, a line for each row.
    pub(crate) fn to_csv(&self) -> String {
        let headings: Vec<String> = self.headings.iter().map(|heading| quoted(heading)).collect();
        let mut text = headings.join(",") + "\n";
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(Cell::to_csv).collect();
            text.push_str(&(cells.join(",") + "\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["object_id", "ra", "name", "note"]);
        table.push(vec![
            Cell::Id("7".to_owned()),
            Cell::Degrees(10.25),
            Cell::text("a, b"),
            Cell::Null,
        ]);
        table
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let text = table().to_text(Some(24));
        assert!(text.contains("10.250000"), "{text}");
        assert!(text.contains("not shown"), "{text}");
        assert!(text.contains("note"), "{text}");
        assert!(!table().to_text(Some(80)).contains("not shown"));
    }

    #[test]
    fn texts_are_cut_to_the_width_and_nothing_is_without_one() {
        let long = "x".repeat(100);
        let mut table = Table::new(["object_id", "hash", "text"]);
        table.push(vec![Cell::Id("7".to_owned()), Cell::Id("f".repeat(64)), Cell::text(&long)]);
        assert!(table.to_text(None).contains(&long));
        let cut = |width| table.to_text(Some(width));
        assert!(cut(300).contains(&long));
        let narrow = cut(140);
        assert!(narrow.contains(&"f".repeat(64)) && narrow.contains("x…"), "{narrow}");
        assert!(!narrow.contains("not shown") && narrow.contains(&"x".repeat(50)), "{narrow}");
    }

    #[test]
    fn silent_columns_are_dropped_after_the_kept_ones() {
        let text = table().without_silent_columns(1).to_csv();
        assert_eq!(text, "object_id,ra,name\n7,10.25,\"a, b\"\n");
    }

    #[test]
    fn json_has_one_object_for_each_row() {
        assert_eq!(
            table().to_json().to_line().expect("json"),
            r#"[{"object_id":"7","ra":10.25,"name":"a, b","note":null}]"#
        );
    }
}
