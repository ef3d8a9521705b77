//! Payload: tables for people, JSON, YAML and names for programs.

use serde_json::Value;

use super::error::CliError;
use super::world::{Output, Tone, brief};

/// How payload is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, for people; may change between versions.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
    /// One YAML document.
    Yaml,
    /// The id or name of each thing, one a line.
    Name,
}

/// A column of a table: its title and how a row shows in it.
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) cell: Box<dyn Fn(&Value) -> String>,
}

impl Column {
    pub(crate) fn new(title: &'static str, cell: impl Fn(&Value) -> String + 'static) -> Self {
        Self { title, cell: Box::new(cell) }
    }

    /// A column that shows the text at `pointer` (RFC 6901).
    pub(crate) fn at(title: &'static str, pointer: &'static str) -> Self {
        Self::new(title, move |row| text(row, pointer).to_owned())
    }
}

/// The text at `pointer`, or nothing.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Characters of one cell.
const CELL_CHARS_MAX: usize = 80;

/// Writes a list of things. Each row has its id or name under `/id`.
pub(crate) fn list(
    out: &mut Output,
    format: Format,
    columns: &[Column],
    rows: &[Value],
) -> Result<(), CliError> {
    match format {
        Format::Table => table(out, columns, rows)?,
        Format::Json => out.line(&pretty(&Value::Array(rows.to_vec())))?,
        Format::Jsonl => rows.iter().try_for_each(|row| out.line(&row.to_string()))?,
        Format::Yaml => out.write(&yaml(&Value::Array(rows.to_vec()))?)?,
        Format::Name => rows.iter().try_for_each(|row| out.line(&brief(text(row, "/id"), usize::MAX)))?,
    }
    Ok(())
}

/// Writes one thing; `shown` is what a person sees of it.
pub(crate) fn one(out: &mut Output, format: Format, shown: &str, value: &Value) -> Result<(), CliError> {
    match format {
        Format::Table => out.line(shown)?,
        Format::Json => out.line(&pretty(value))?,
        Format::Jsonl => out.line(&value.to_string())?,
        Format::Yaml => out.write(&yaml(value)?)?,
        Format::Name => out.line(&brief(text(value, "/id"), usize::MAX))?,
    }
    Ok(())
}

/// Columns two spaces apart; an empty list prints nothing.
fn table(out: &mut Output, columns: &[Column], rows: &[Value]) -> std::io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let titles = columns.iter().map(|column| column.title.to_owned()).collect();
    let cells: Vec<Vec<String>> = std::iter::once(titles)
        .chain(
            rows.iter()
                .map(|row| columns.iter().map(|column| brief(&(column.cell)(row), CELL_CHARS_MAX)).collect()),
        )
        .collect();
    let width =
        |index: usize| cells.iter().map(|row: &Vec<String>| row[index].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for (number, row) in cells.iter().enumerate() {
        let padded: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        let line = padded.join("  ").trim_end().to_owned();
        let line = if number == 0 { out.tone(Tone::Dim, &line) } else { line };
        out.line(&line)?;
    }
    Ok(())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

fn yaml(value: &Value) -> Result<String, CliError> {
    serde_saphyr::to_string(value)
        .map_err(|error| CliError::failed("yaml", "the answer has no YAML form").cause(error.to_string()))
}

/// How long ago `then` was at `now`, in the largest whole unit. Both in Unix seconds.
pub(crate) fn age(now: i64, then: i64) -> String {
    let seconds = now.saturating_sub(then).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    /// A stream that remembers.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn output(&self) -> Output {
            Output::new(false, true, Box::new(self.clone()))
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no writer panicked").clone()).expect("UTF-8")
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no writer panicked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[track_caller]
    fn check(format: Format, rows: &[Value], expected: &str) {
        let captured = Captured::default();
        let columns = [Column::at("NAME", "/id"), Column::at("STATUS", "/status")];
        list(&mut captured.output(), format, &columns, rows).expect("written");
        assert_eq!(captured.text(), expected);
    }

    #[test]
    fn writes_lists_in_every_format() {
        let rows = [json!({"id": "a", "status": "idle"}), json!({"id": "longer", "status": "x\u{1b}[2J\ny"})];
        check(Format::Table, &rows, "NAME    STATUS\na       idle\nlonger  x [2J y\n");
        check(Format::Json, &rows[..1], "[\n  {\n    \"id\": \"a\",\n    \"status\": \"idle\"\n  }\n]\n");
        check(Format::Jsonl, &rows[..1], "{\"id\":\"a\",\"status\":\"idle\"}\n");
        check(Format::Yaml, &rows[..1], "- id: a\n  status: idle\n");
        check(Format::Name, &rows, "a\nlonger\n");
    }

    #[test]
    fn empty_lists_are_empty() {
        check(Format::Table, &[], "");
        check(Format::Json, &[], "[]\n");
        check(Format::Jsonl, &[], "");
        check(Format::Yaml, &[], "[]\n");
        check(Format::Name, &[], "");
    }

    #[test]
    fn tells_ages_in_one_unit() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (7_199, "1h"), (200_000, "2d"), (-5, "0s")]
        {
            assert_eq!(age(1_000_000, 1_000_000 - seconds), expected);
        }
    }
}
