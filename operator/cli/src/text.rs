//! Text for terminals and scripts: tables with fixed columns, colour where it is wanted. Words in, text out; no I/O.

use comfy_table::ContentArrangement;
use comfy_table::presets::NOTHING;

/// How well something is, as a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Not wrong, but worth a look.
    Notice,
    /// Wrong.
    Bad,
    /// Nothing to say.
    Plain,
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// For a terminal.
    Colour,
    /// For everything else.
    Plain,
}

impl Palette {
    /// `text` in the colour of `tone`.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match (self, tone) {
            (Self::Plain, _) | (_, Tone::Plain) => return text.to_owned(),
            (_, Tone::Good) => "32",
            (_, Tone::Notice) => "33",
            (_, Tone::Bad) => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// A text that somebody wrote into a cluster, as one line that a terminal takes no orders from: control characters and
/// runs of blanks become one blank, and what is empty becomes `-`. Two blanks therefore always end a column.
#[must_use]
pub fn one_line(text: &str) -> String {
    let line = text
        .split(|character: char| character.is_whitespace() || is_unprintable(character))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if line.is_empty() {
        "-".to_owned()
    } else {
        line
    }
}

/// Control characters, and those that change the direction of what follows.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in a colour.
    #[must_use]
    pub fn new(text: &str, tone: Tone) -> Self {
        Self {
            text: one_line(text),
            tone,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text, Tone::Plain)
    }
}

/// A table: a line of headings, then the rows, columns apart by two blanks or more. Nothing is cut off or wrapped, however
/// wide the terminal is: a row is a line.
#[must_use]
pub fn table(headings: &[&str], rows: &[Vec<Cell>], palette: Palette) -> String {
    let mut table = comfy_table::Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headings)
        .add_rows(
            rows.iter()
                .map(|row| row.iter().map(|cell| cell.text.as_str())),
        );
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    let plain = table.trim_fmt();
    for (index, line) in plain.lines().enumerate() {
        match index.checked_sub(1).and_then(|index| rows.get(index)) {
            Some(row) => text.push_str(&painted(line, row, palette)),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// The line of a row with its cells in their colours: widths are counted without them.
fn painted(line: &str, row: &[Cell], palette: Palette) -> String {
    let (mut text, mut rest) = (String::new(), line);
    for cell in row {
        // Between two cells are blanks alone, and no cell begins with one.
        let Some((blanks, behind)) = rest.split_once(&cell.text) else {
            continue;
        };
        text.push_str(blanks);
        text.push_str(&palette.paint(cell.tone, &cell.text));
        rest = behind;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        let row = |name: &str, state, tone, detail: &str| {
            vec![name.into(), Cell::new(state, tone), detail.into()]
        };
        vec![
            row("Ok", "Ok", Tone::Good, "Ok"),
            // Each of these signs takes two columns of a terminal.
            row("東京", "Open", Tone::Bad, &"evidence ".repeat(60)),
            row("\u{1b}[31mtr", "", Tone::Notice, "a\tb\n\nc"),
        ]
    }

    #[test]
    fn a_row_is_a_line_however_long_it_is() {
        let long = ["evidence"; 60].join(" ");
        assert_eq!(
            table(&["NAME", "STATE", "DETAIL"], &rows(), Palette::Plain),
            format!(
                "NAME    STATE  DETAIL\nOk      Ok     Ok\n東京    Open   {long}\n[31mtr  -      a b c\n"
            )
        );
        assert_eq!(table(&["NAME"], &[], Palette::Colour), "NAME\n");
    }

    #[test]
    fn colour_is_of_a_cell_alone_and_moves_no_column() {
        let headings = ["NAME", "STATE", "DETAIL"];
        let coloured = table(&headings, &rows(), Palette::Colour);
        let lines: Vec<&str> = coloured.lines().collect();
        assert_eq!(lines[1], "Ok      \u{1b}[32mOk\u{1b}[0m     Ok");
        assert!(lines[2].starts_with("東京    \u{1b}[31mOpen\u{1b}[0m   evidence"));
        assert_eq!(lines[3], "[31mtr  \u{1b}[33m-\u{1b}[0m      a b c");
        let mut plain = coloured;
        for code in ["32", "31", "33", "0"] {
            plain = plain.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(plain, table(&headings, &rows(), Palette::Plain));
    }
}
