//! Rows under headings.

use comfy_table::{CellAlignment, ContentArrangement, TableComponent, presets};

use super::Json;
use super::cell::{Cell, quoted};

/// Blanks between two columns of a printed table.
const GAP: usize = 2;

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

    /// For people: as many whole columns as fit; the others are named below the table.
    pub(crate) fn to_text(&self, width: usize) -> String {
        let texts: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::to_text).collect()).collect();
        let shown = self.columns_that_fit(&texts, width);
        let mut table = comfy_table::Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_style(TableComponent::HeaderLines, '─')
            .set_style(TableComponent::MiddleHeaderIntersections, '─')
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(width).unwrap_or(u16::MAX))
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
        let mut text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        if shown < self.headings.len() {
            let hidden = self.headings[shown..].join(", ");
            text.push_str(&format!(
                "(too wide for this terminal, and not shown: {hidden}; --format json shows all)\n"
            ));
        }
        text
    }

    fn columns_that_fit(&self, texts: &[Vec<String>], width: usize) -> usize {
        let mut used = 0;
        for (place, heading) in self.headings.iter().enumerate() {
            let cells = texts.iter().filter_map(|row| row.get(place));
            let widest = cells
                .map(|text| console::measure_text_width(text))
                .chain([console::measure_text_width(heading)])
                .max()
                .unwrap_or(0);
            used += widest + BESIDE;
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
        let text = table().to_text(24);
        assert!(text.contains("10.250000"), "{text}");
        assert!(text.contains("not shown"), "{text}");
        assert!(text.contains("note"), "{text}");
        assert!(!table().to_text(80).contains("not shown"));
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
