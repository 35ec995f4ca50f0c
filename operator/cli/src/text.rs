//! Text for terminals and scripts: tables with fixed columns, colour where it is wanted. Words in, text out; no I/O.

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

/// A table: a line of headings, then the rows, columns apart by two blanks or more. Nothing is cut off or wrapped.
#[must_use]
pub fn table(headings: &[&str], rows: &[Vec<Cell>], palette: Palette) -> String {
    let headings: Vec<Cell> = headings
        .iter()
        .map(|heading| Cell::from(*heading))
        .collect();
    let mut widths = vec![0; headings.len()];
    for row in std::iter::once(&headings).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        for (index, cell) in row.iter().enumerate() {
            text.push_str(&palette.paint(cell.tone, &cell.text));
            if index + 1 < row.len() {
                let width = widths.get(index).copied().unwrap_or_default();
                let blanks = width.saturating_sub(cell.text.chars().count()) + 2;
                text.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        text.push('\n');
    }
    text
}
