use std::fmt::Write as _;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Rows as aligned text that fits a terminal: numbers to the right, NULL visible, long texts cut with `…`.
///
/// ```text
///  sku      │ on_hand │ counted
/// ──────────┼─────────┼────────────
///  FA-10007 │     214 │ 2026-02-11
///  PT-10021 │       0 │ NULL
/// ```
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: usize,
    /// Widths of the pages before; none at the first page, which has the head.
    widths: Vec<usize>,
    /// Rows of the pages before.
    shown: usize,
    /// Decided with the first page: a record below the other, since side by side the columns do not fit.
    records: bool,
}

#[derive(Debug)]
struct Column {
    name: String,
    right: bool,
    /// Half a number, date or boolean says nothing: it is not cut.
    whole: bool,
    cells: Vec<Cell>,
}

/// A value's text, or NULL.
type Cell = Option<String>;

/// How a table is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Columns of the terminal; None: as wide as it gets.
    pub width: Option<usize>,
    /// Whether NULL and the frame are dimmed.
    pub color: bool,
}

const NULL: &str = "NULL";
/// A text is not cut below this width: where that does not suffice, records are shown.
const NARROWEST: usize = 8;
/// A cell's text is not formatted further than this, whatever the width.
const LONGEST: usize = 2_000;

impl Table {
    pub fn new(schema: &Schema) -> Self {
        let column = |field: &arrow::datatypes::FieldRef| Column {
            name: one_line(field.name()),
            right: is_number(field.data_type()),
            whole: is_number(field.data_type())
                || field.data_type().is_temporal()
                || *field.data_type() == DataType::Boolean,
            cells: Vec::new(),
        };
        Self {
            columns: schema.fields().iter().map(column).collect(),
            rows: 0,
            widths: Vec::new(),
            shown: 0,
            records: false,
        }
    }

    /// Add the first `count` rows of a batch.
    pub fn add(&mut self, batch: &RecordBatch, count: usize) -> Result<(), ArrowError> {
        let options = FormatOptions::default().with_display_error(false);
        let count = count.min(batch.num_rows());
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
            for row in 0..count {
                column.cells.push(match array.is_null(row) {
                    true => None,
                    false => Some(one_line(&formatter.value(row).try_to_string()?)),
                });
            }
        }
        self.rows += count;
        Ok(())
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values of the first column.
    pub fn first_column(&self) -> impl Iterator<Item = &str> {
        let cells = self
            .columns
            .first()
            .into_iter()
            .flat_map(|column| &column.cells);
        cells.map(|cell| cell.as_deref().unwrap_or(NULL))
    }

    /// Forget the rows, to go on below them: the head is not shown again.
    pub fn next_page(&mut self) {
        for column in &mut self.columns {
            column.cells.clear();
        }
        self.shown += self.rows;
        self.rows = 0;
    }

    /// The rows as lines, each with its line break.
    pub fn render(&mut self, look: Look) -> String {
        let first = self.widths.is_empty();
        self.widths = self.fitting(look.width);
        if first {
            self.records =
                self.rows > 0 && look.width.is_some_and(|width| total(&self.widths) > width);
        }
        if self.records {
            return self.as_records(look);
        }
        let widths = &self.widths;
        let mut text = String::new();
        let paint = |text: &mut String, what: &str| paint(text, what, look);
        if first {
            for (at, (column, width)) in self.columns.iter().zip(widths).enumerate() {
                if at > 0 {
                    paint(&mut text, "│");
                }
                let _ = write!(text, " {} ", fit(&column.name, *width, column.right));
            }
            end_line(&mut text);
            let rules: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
            paint(&mut text, &rules.join("┼"));
            text.push('\n');
        }
        for row in 0..self.rows {
            for (at, (column, width)) in self.columns.iter().zip(widths).enumerate() {
                if at > 0 {
                    paint(&mut text, "│");
                }
                match &column.cells[row] {
                    Some(value) => {
                        let _ = write!(text, " {} ", fit(value, *width, column.right));
                    }
                    None => {
                        text.push(' ');
                        paint(&mut text, &fit(NULL, *width, column.right));
                        text.push(' ');
                    }
                }
            }
            end_line(&mut text);
        }
        text
    }

    /// A line for each value, with its column's name.
    fn as_records(&self, look: Look) -> String {
        let names = self
            .columns
            .iter()
            .map(|column| width_of(&column.name))
            .max()
            .unwrap_or(0);
        let names = names.min(look.width.unwrap_or(names) / 2).max(NARROWEST);
        let room = look.width.map_or(LONGEST, |width| {
            width.saturating_sub(names + 5).max(NARROWEST)
        });
        let mut text = String::new();
        for row in 0..self.rows {
            let title = format!("── row {} ", self.shown + row + 1);
            let rule = "─".repeat((names + 2).saturating_sub(width_of(&title)));
            paint(&mut text, &format!("{title}{rule}┬──"), look);
            text.push('\n');
            for column in &self.columns {
                let _ = write!(text, " {} ", fit(&column.name, names, false));
                paint(&mut text, "│", look);
                text.push(' ');
                match &column.cells[row] {
                    Some(value) => text.push_str(&fit(value, room.min(width_of(value)), false)),
                    None => paint(&mut text, NULL, look),
                }
                end_line(&mut text);
            }
        }
        text
    }

    /// Widths that fit: as long as the lines are too wide, the widest texts get narrower.
    fn fitting(&self, available: Option<usize>) -> Vec<usize> {
        let longest = |column: &Column| {
            let cells = column
                .cells
                .iter()
                .map(|cell| cell.as_deref().map_or(NULL.len(), width_of));
            cells.chain([width_of(&column.name)]).max().unwrap_or(0)
        };
        let before = self.widths.iter().copied().chain(std::iter::repeat(0));
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .zip(before)
            .map(|(column, before)| longest(column).max(before))
            .collect();
        let Some(available) = available else {
            return widths;
        };
        let least = |at: usize| {
            let column = &self.columns[at];
            match column.whole {
                true => column
                    .cells
                    .iter()
                    .flatten()
                    .map(|cell| width_of(cell))
                    .max()
                    .unwrap_or(0),
                false => 0,
            }
            .max(NARROWEST)
        };
        while total(&widths) > available {
            let shrinkable = (0..widths.len()).filter(|at| widths[*at] > least(*at));
            let Some(widest) = shrinkable.max_by_key(|at| widths[*at]) else {
                break;
            };
            widths[widest] -= 1;
        }
        widths
    }
}

/// Columns a table takes.
fn total(widths: &[usize]) -> usize {
    widths
        .iter()
        .map(|width| width + 3)
        .sum::<usize>()
        .saturating_sub(1)
}

fn paint(text: &mut String, what: &str, look: Look) {
    match look.color {
        true => {
            let _ = write!(text, "\x1b[2m{what}\x1b[0m");
        }
        false => text.push_str(what),
    }
}

/// Columns a text takes in a terminal.
pub fn width_of(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
        || matches!(data_type, DataType::Dictionary(_, value) if value.is_numeric())
}

fn end_line(text: &mut String) {
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

/// Without line breaks and control characters, which would break the table (or, from a source, the terminal).
fn one_line(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => '⏎',
        c if c.is_control() => '·',
        c => c,
    };
    text.chars().take(LONGEST).map(shown).collect()
}

/// With its line breaks, and without the control characters by which a source could write to the terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && !matches!(c, '\n' | '\t') {
                '·'
            } else {
                c
            }
        })
        .collect()
}

/// Padded or cut to a width.
fn fit(text: &str, width: usize, right: bool) -> String {
    let taken = width_of(text);
    if taken <= width {
        let space = " ".repeat(width - taken);
        return if right {
            space + text
        } else {
            text.to_string() + &space
        };
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        let next = used + c.width().unwrap_or(0);
        if next + 1 > width {
            break;
        }
        cut.push(c);
        used = next;
    }
    cut.push('…');
    cut + &" ".repeat(width.saturating_sub(used + 1))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Int64Array, StringArray};

    use super::*;

    const PLAIN: Look = Look {
        width: None,
        color: false,
    };

    fn table(columns: Vec<(&str, ArrayRef)>) -> Table {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        let mut table = Table::new(&batch.schema());
        table.add(&batch, usize::MAX).unwrap();
        table
    }

    fn example() -> Table {
        let price = Decimal128Array::from(vec![Some(123_456), None])
            .with_precision_and_scale(12, 2)
            .unwrap();
        table(vec![
            (
                "name",
                Arc::new(StringArray::from(vec![Some("Köhler"), None])),
            ),
            ("id", Arc::new(Int64Array::from(vec![7, 10_000]))),
            ("price", Arc::new(price)),
        ])
    }

    #[test]
    fn aligned() {
        assert_eq!(
            example().render(PLAIN),
            " name   │    id │   price\n\
             ────────┼───────┼─────────\n Köhler │     7 │ 1234.56\n NULL   │ 10000 │    NULL\n"
        );
    }

    #[test]
    fn no_rows_still_have_a_head() {
        assert_eq!(
            table(vec![("a", Arc::new(Int64Array::from(vec![0_i64; 0])))]).render(PLAIN),
            " a\n───\n"
        );
        assert_eq!(Table::new(&Schema::empty()).render(PLAIN), "\n\n");
    }

    #[test]
    fn long_texts_are_cut_and_numbers_are_not() {
        let long = "a text that is much longer than the terminal is wide";
        let mut table = table(vec![
            ("text", Arc::new(StringArray::from(vec![long]))),
            (
                "number",
                Arc::new(Int64Array::from(vec![1_234_567_890_123_456])),
            ),
        ]);
        let rendered = table.render(Look {
            width: Some(40),
            color: false,
        });
        for line in rendered.lines() {
            assert!(width_of(line) <= 40, "{line}");
        }
        assert!(rendered.contains("1234567890123456"), "{rendered}");
        assert!(rendered.contains('…'), "{rendered}");
    }

    #[test]
    fn what_does_not_fit_side_by_side_is_shown_as_records() {
        let number =
            || Arc::new(Int64Array::from(vec![Some(1_234_567_890_123_456), None])) as ArrayRef;
        let text = Arc::new(StringArray::from(vec![
            "größer als breit, und das um einiges",
            "東京都",
        ])) as ArrayRef;
        let mut table = table(vec![
            ("a", number()),
            ("long name", number()),
            ("text", text),
        ]);
        let look = Look {
            width: Some(34),
            color: false,
        };
        assert_eq!(
            table.render(look),
            "── row 1 ──┬──\n a         │ 1234567890123456\n long name │ 1234567890123456\n \
             text      │ größer als breit, u…\n\
             ── row 2 ──┬──\n a         │ NULL\n long name │ NULL\n text      │ 東京都\n"
        );
        for line in table.render(look).lines() {
            assert!(width_of(line) <= 34, "{line}");
        }
        table.next_page();
        assert_eq!(table.render(look), "");
    }

    #[test]
    fn wide_characters_and_line_breaks_keep_the_columns() {
        let texts = StringArray::from(vec!["東京都", "a\nb\x1b[31m"]);
        let mut table = table(vec![
            ("t", Arc::new(texts)),
            ("u", Arc::new(StringArray::from(vec!["x", "y"]))),
        ]);
        let rendered = table.render(PLAIN);
        let bars: Vec<_> = rendered
            .lines()
            .map(|line| width_of(line.split(['│', '┼']).next().unwrap()))
            .collect();
        assert_eq!(bars, [bars[0]; 4]);
        assert!(!rendered.contains('\x1b'));
        assert_eq!(fit("東京都", 4, false), "東… ");
    }

    #[test]
    fn a_page_goes_on_below_the_one_before() {
        let mut table = example();
        let head = table.render(PLAIN);
        table.next_page();
        let price = Decimal128Array::from(vec![1])
            .with_precision_and_scale(12, 2)
            .unwrap();
        let batch = RecordBatch::try_from_iter([
            ("name", Arc::new(StringArray::from(vec!["Ü"])) as ArrayRef),
            ("id", Arc::new(Int64Array::from(vec![1]))),
            ("price", Arc::new(price)),
        ]);
        table.add(&batch.unwrap(), 1).unwrap();
        assert_eq!(table.render(PLAIN), " Ü      │     1 │    0.01\n");
        assert_eq!(head.lines().count(), 4);
    }

    #[test]
    fn only_as_many_rows_as_asked() {
        let batch = RecordBatch::try_from_iter([(
            "a",
            Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef,
        )])
        .unwrap();
        let mut table = Table::new(&batch.schema());
        table.add(&batch, 2).unwrap();
        assert_eq!(table.rows(), 2);
        assert_eq!(table.render(PLAIN).lines().count(), 4);
    }
}
