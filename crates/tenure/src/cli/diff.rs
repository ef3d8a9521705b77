//! Differences between two texts, line by line, for a person.

/// Lines of each side beyond which the two are shown whole: the table of the comparison is quadratic.
const LINES_MAX: usize = 1_500;
/// Equal lines around a difference.
const AROUND: usize = 2;

/// One line of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Same(&'a str),
    Removed(&'a str),
    Added(&'a str),
    /// So many equal lines are left out.
    Skipped(usize),
}

/// The difference between `from` and `to`; equal lines far from any difference are left out.
pub(crate) fn lines<'a>(from: &'a str, to: &'a str) -> Vec<Line<'a>> {
    let (from, to): (Vec<&str>, Vec<&str>) = (from.lines().collect(), to.lines().collect());
    if from.len() > LINES_MAX || to.len() > LINES_MAX {
        let removed = from.into_iter().map(Line::Removed);
        return removed.chain(to.into_iter().map(Line::Added)).collect();
    }
    shorten(&whole(&from, &to))
}

/// Along a longest common subsequence.
fn whole<'a>(from: &[&'a str], to: &[&'a str]) -> Vec<Line<'a>> {
    // common[i][j]: the length for the lines from i and from j on.
    let mut common = vec![vec![0_u16; to.len() + 1]; from.len() + 1];
    for i in (0..from.len()).rev() {
        for j in (0..to.len()).rev() {
            common[i][j] = if from[i] == to[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut found = Vec::new();
    while i < from.len() || j < to.len() {
        if i < from.len() && j < to.len() && from[i] == to[j] {
            found.push(Line::Same(from[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == to.len() || (i < from.len() && common[i + 1][j] >= common[i][j + 1]) {
            found.push(Line::Removed(from[i]));
            i += 1;
        } else {
            found.push(Line::Added(to[j]));
            j += 1;
        }
    }
    found
}

fn shorten<'a>(lines: &[Line<'a>]) -> Vec<Line<'a>> {
    let differs = |line: &Line<'_>| !matches!(line, Line::Same(_));
    let near = |at: usize| {
        let (first, last) = (at.saturating_sub(AROUND), (at + AROUND).min(lines.len() - 1));
        lines[first..=last].iter().any(differs)
    };
    let mut found = Vec::new();
    let mut skipped = 0;
    for (at, line) in lines.iter().enumerate() {
        if near(at) {
            if skipped > 0 {
                found.push(Line::Skipped(std::mem::take(&mut skipped)));
            }
            found.push(*line);
        } else {
            skipped += 1;
        }
    }
    if skipped > 0 {
        found.push(Line::Skipped(skipped));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, to: &str, expected: &str) {
        let shown = lines(from, to).into_iter().map(|line| match line {
            Line::Same(line) => format!(" {line}"),
            Line::Removed(line) => format!("-{line}"),
            Line::Added(line) => format!("+{line}"),
            Line::Skipped(count) => format!("@{count}"),
        });
        assert_eq!(shown.collect::<Vec<_>>().join("|"), expected);
    }

    #[test]
    fn tells_lines_apart() {
        check("", "a", "+a");
        check("a", "", "-a");
        check("a\nb\nc", "a\nx\nc", " a|-b|+x| c");
        check("a\nb", "b\na", "-a| b|+a");
        check("same", "same", "@1");
    }

    #[test]
    fn leaves_out_what_is_far_from_a_difference() {
        check("1\n2\n3\n4\n5\n6\n7", "1\n2\n3\nx\n5\n6\n7", "@1| 2| 3|-4|+x| 5| 6|@1");
    }

    #[test]
    fn long_texts_are_shown_whole() {
        let long = "line\n".repeat(LINES_MAX + 1);
        assert_eq!(lines(&long, "line").len(), LINES_MAX + 2);
    }
}
