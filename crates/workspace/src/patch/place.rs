//! Finding where hunks belong, and making the new text.

use std::fmt;

use super::parse::{Hunk, Line, shorten};

/// A hunk that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HunkError {
    /// Which hunk of the file, counted from 1.
    pub hunk: usize,
    /// What was looked for: the first line that is not where it should be, or a line after `@@`.
    pub expected: String,
    /// The line of the file from which it was looked for, counted from 1.
    pub from: usize,
    /// Where most lines of the hunk are as expected: the number of the line that is not, and what it is.
    /// Nothing if no line fits anywhere.
    pub nearest: Option<(usize, Option<String>)>,
    /// Whether the place is there, but not at the end of the file, or only above the hunk before.
    pub elsewhere: Option<usize>,
}

impl fmt::Display for HunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hunk {}: `{}` was not found", self.hunk, shorten(&self.expected))?;
        if self.from > 1 {
            write!(f, " from line {} on", self.from)?;
        }
        if let Some(line) = self.elsewhere {
            return write!(
                f,
                "; the hunk fits at line {line}, but hunks go from the top down and `*** End of File` means the end"
            );
        }
        match &self.nearest {
            Some((line, Some(found))) => {
                write!(f, "; the nearest match has `{}` at line {line}", shorten(found))
            }
            Some((line, None)) => write!(f, "; the nearest match ends with the file before line {line}"),
            None => f.write_str("; no line of the hunk is in the file"),
        }
    }
}

impl std::error::Error for HunkError {}

/// The text with all hunks applied, from the top down.
///
/// Lines that come get the line end that most lines of the text have; lines that stay are as they were, and
/// so is the end of the text, with or without a line feed, where no hunk touches it.
///
/// # Errors
/// The first hunk that does not fit.
pub fn apply_hunks(text: &str, hunks: &[Hunk]) -> Result<String, HunkError> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let bare: Vec<&str> = lines.iter().map(|line| bare(line)).collect();
    let crlf = lines.iter().filter(|line| line.ends_with("\r\n")).count() * 2 > lines.len();
    let end = if crlf { "\r\n" } else { "\n" };
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (index, hunk) in hunks.iter().enumerate() {
        let start = place(&bare, at, hunk).map_err(|error| HunkError { hunk: index + 1, ..error })?;
        out.extend(lines[at..start].iter().copied());
        at = start;
        for line in &hunk.lines {
            match line {
                Line::Keep(_) => {
                    out.extend(lines.get(at).copied());
                    at += 1;
                }
                Line::Remove(_) => at += 1,
                Line::Add(line) => {
                    if !out.is_empty() && !out.ends_with('\n') {
                        out.push_str(end);
                    }
                    out.push_str(line);
                    out.push_str(end);
                }
            }
        }
        at = at.min(lines.len());
    }
    out.extend(lines[at..].iter().copied());
    Ok(out)
}

/// The line at which `hunk` begins, at or after `from`.
fn place(lines: &[&str], from: usize, hunk: &Hunk) -> Result<usize, HunkError> {
    let mut at = from;
    for under in &hunk.under {
        let found = find(lines, at, &[under], false).ok_or_else(|| miss(lines, at, &[under]))?;
        at = found + 1;
    }
    let mut old: Vec<&str> = hunk
        .lines
        .iter()
        .filter_map(|line| match line {
            Line::Keep(line) | Line::Remove(line) => Some(line.as_str()),
            Line::Add(_) => None,
        })
        .collect();
    if old.is_empty() {
        // Nothing to find it by but the lines above it, or the end of the file.
        return Ok(if hunk.ends_file || hunk.under.is_empty() { lines.len() } else { at });
    }
    // The line above may itself be the first of the hunk: models repeat it.
    let starts = [at, if hunk.under.is_empty() { at } else { at - 1 }];
    for start in starts {
        if let Some(found) = find(lines, start, &old, hunk.ends_file) {
            return Ok(found);
        }
    }
    // A model counts the end of the last line as a line of its own.
    if old.len() > 1 && old.last() == Some(&"") && matches!(hunk.lines.last(), Some(Line::Keep(_))) {
        old.pop();
        if let Some(found) = find(lines, at, &old, true) {
            return Ok(found);
        }
    }
    Err(miss(lines, at, &old))
}

/// How lines are compared, from the strictest.
const COMPARISONS: [fn(&str, &str) -> bool; 4] = [
    |one, other| one == other,
    |one, other| one.trim_end() == other.trim_end(),
    |one, other| one.trim() == other.trim(),
    |one, other| plain(one.trim()).eq(plain(other.trim())),
];

/// The first place at or after `from` where `wanted` is.
fn find(lines: &[&str], from: usize, wanted: &[&str], at_end: bool) -> Option<usize> {
    let last = lines.len().checked_sub(wanted.len())?;
    let first = if at_end { last.max(from) } else { from };
    COMPARISONS.iter().find_map(|same| {
        (first..=last).find(|start| lines[*start..].iter().zip(wanted).all(|(one, other)| same(one, other)))
    })
}

/// Why `wanted` is nowhere, with the place that comes nearest.
fn miss(lines: &[&str], from: usize, wanted: &[&str]) -> HunkError {
    let [_, _, trimmed, _] = COMPARISONS;
    let elsewhere = find(lines, 0, wanted, false).map(|start| start + 1);
    // By the first line of `wanted` that is anywhere, count how many are in their places around it.
    let mut best: Option<(usize, usize)> = None;
    let anchors = wanted.iter().enumerate().filter(|(_, line)| !line.trim().is_empty()).take(ANCHORS_MAX);
    for (offset, anchor) in anchors {
        let starts = (offset..lines.len()).filter(|at| trimmed(lines[*at], anchor)).map(|at| at - offset);
        for start in starts.take(ANCHORS_MAX) {
            let same = lines[start..].iter().zip(wanted).filter(|(one, other)| trimmed(one, other)).count();
            if best.is_none_or(|(most, _)| same > most) {
                best = Some((same, start));
            }
        }
    }
    let start = best.map(|(_, start)| start);
    let differs = start.and_then(|start| {
        let line = |index: usize| lines.get(start + index);
        (0..wanted.len()).find(|index| line(*index).is_none_or(|line| !trimmed(line, wanted[*index])))
    });
    let nearest = start
        .zip(differs)
        .map(|(start, index)| (start + index + 1, lines.get(start + index).map(|line| (*line).to_owned())));
    HunkError {
        hunk: 0,
        expected: wanted[differs.unwrap_or(0)].to_owned(),
        from: from + 1,
        nearest,
        elsewhere,
    }
}

/// Places that are tried for the sake of an error message.
const ANCHORS_MAX: usize = 50;

/// A line without its end.
fn bare(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// A line with the typographic variants that models write, or leave out, in their plain form.
fn plain(line: &str) -> impl Iterator<Item = char> + '_ {
    line.chars().map(|char| match char {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        '\u{a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        other => other,
    })
}
