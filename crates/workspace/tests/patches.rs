//! Patches as tables: a file and a patch in, the new file or the message out.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use common::Workspace;
use proptest::prelude::*;
use tenure_workspace::patch::{self, FileChange, Hunk, Line, apply_hunks, parse};

/// Applies the hunks of an update of `f` to `text`.
fn updated(text: &str, body: &str) -> String {
    let patch = format!("*** Begin Patch\n*** Update File: f\n{body}\n*** End Patch\n");
    let patch = match parse(&patch) {
        Ok(patch) => patch,
        Err(error) => return error.to_string(),
    };
    let [FileChange::Update { hunks, .. }] = &patch.changes[..] else { panic!("one update") };
    apply_hunks(text, hunks).unwrap_or_else(|error| error.to_string())
}

#[test]
fn where_hunks_go_and_what_comes_of_them() {
    let cases: &[(&str, &str, &str, &str)] = &[
        ("plain", "a\nb\nc\n", "@@\n a\n-b\n+B\n c", "a\nB\nc\n"),
        ("without @@", "a\nb\n", "-b\n+B", "a\nB\n"),
        ("two hunks", "a\nb\nc\nd\n", "@@\n-a\n+A\n@@\n-d\n+D", "A\nb\nc\nD\n"),
        ("under a line", "f\n x\ng\n x\n", "@@ g\n- x\n+ y", "f\n x\ng\n y\n"),
        (
            "under two lines",
            "c\n f\n  x\nd\n f\n  x\n",
            "@@ d\n@@  f\n-  x\n+  y",
            "c\n f\n  x\nd\n f\n  y\n",
        ),
        ("the line above is repeated", "f\nx\n", "@@ f\n f\n-x\n+y", "f\ny\n"),
        ("numbers are ignored", "a\n", "@@ -1,1 +1,1 @@\n-a\n+b", "b\n"),
        ("end of file", "x\ny\nx\n", "@@\n-x\n+z\n*** End of File", "x\ny\nz\n"),
        ("insertion alone goes to the end", "a\n", "@@\n+b", "a\nb\n"),
        ("insertion under a line", "a\nb\n", "@@ a\n+x", "a\nx\nb\n"),
        ("into an empty file", "", "@@\n+a", "a\n"),
        ("trailing space in the file", "a  \nb\n", "@@\n a\n-b\n+c", "a  \nc\n"),
        ("other indentation", "\ta\n\tb\n", "@@\n  a\n-  b\n+\tc", "\ta\n\tc\n"),
        ("typographic", "say \u{201c}hi\u{201d} \u{2014} ok\n", "@@\n-say \"hi\" - ok\n+done", "done\n"),
        ("exact before fuzzy", " a\na\n", "@@\n-a\n+b", " a\nb\n"),
        ("carriage returns stay", "a\r\nb\r\nc\r\n", "@@\n a\n-b\n+B", "a\r\nB\r\nc\r\n"),
        ("no line feed at the end stays", "a\nb", "@@\n-a\n+A\n b", "A\nb"),
        ("after a last line without line feed", "a", "@@\n a\n+b", "a\nb\n"),
        ("an empty context line without its space", "a\n\nb\n", "@@\n a\n\n-b\n+c", "a\n\nc\n"),
        ("context line for the end", "a\nb\n", "@@\n-b\n+c\n ", "a\nc\n"),
        ("everything goes", "a\nb\n", "@@\n-a\n-b", ""),
        (
            "nothing fits",
            "a\n",
            "@@\n-x\n+y",
            "hunk 1: `x` was not found; no line of the hunk is in the file",
        ),
        (
            "nearly",
            "one\ntwo\nthree\nfour\n",
            "@@\n two\n-drei\n+3\n four",
            "hunk 1: `drei` was not found; the nearest match has `three` at line 3",
        ),
        (
            "beyond the end",
            "a\nb\n",
            "@@\n a\n b\n-c\n+d",
            "hunk 1: `c` was not found; the nearest match ends with the file before line 3",
        ),
        (
            "backwards",
            "a\nb\nc\n",
            "@@\n-c\n+C\n@@\n-a\n+A",
            "hunk 2: `a` was not found from line 4 on; the hunk fits at line 1, but hunks go from the top down \
             and `*** End of File` means the end",
        ),
        (
            "no such line above",
            "a\n",
            "@@ fn main\n-a\n+b",
            "hunk 1: `fn main` was not found; no line of the hunk is in the file",
        ),
    ];
    for (case, text, body, expected) in cases {
        assert_eq!(updated(text, body), *expected, "{case}");
    }
}

#[test]
fn what_is_no_patch() {
    let cases: &[(&str, &str)] = &[
        ("", "line 1 of the patch: expected `*** Begin Patch`, but the patch ends"),
        ("diff --git", "line 1 of the patch: expected `*** Begin Patch`, but found `diff --git`"),
        ("*** Begin Patch\n*** End Patch", "line 1 of the patch: the patch changes no file"),
        (
            "*** Begin Patch\n*** Delete File: a",
            "line 3 of the patch: the patch ends without `*** End Patch`",
        ),
        (
            "*** Begin Patch\n*** Add File: a\nx\n*** End Patch",
            "line 3 of the patch: every line of an added file begins with `+`, but found `x`",
        ),
        (
            "*** Begin Patch\n*** Add File: ../a\n+x\n*** End Patch",
            "line 2 of the patch: `../a`: a path with `..`",
        ),
        (
            "*** Begin Patch\n*** Add File: /etc/passwd\n+x\n*** End Patch",
            "line 2 of the patch: `/etc/passwd`: an absolute path; paths are relative to the workspace",
        ),
        ("*** Begin Patch\n*** Delete File:\n*** End Patch", "line 2 of the patch: the path is missing"),
        (
            "*** Begin Patch\n*** Update File: a\n*** End Patch",
            "line 3 of the patch: `a` is updated without a change; expected `@@`, but found `*** End Patch`",
        ),
        (
            "*** Begin Patch\n*** Update File: a\n@@\n*** End Patch",
            "line 4 of the patch: the hunk has no lines, but found `*** End Patch`",
        ),
        (
            "*** Begin Patch\n*** Update File: a\n@@\n-x\ny\n*** End Patch",
            "line 5 of the patch: a line of a hunk begins with ` `, `-` or `+`, but found `y`",
        ),
        (
            "*** Begin Patch\n*** Delete File: a\n*** Update File: ./a\n@@\n-x\n*** End Patch",
            "line 3 of the patch: `a` is named twice; put all its changes under one header",
        ),
        (
            "*** Begin Patch\n*** Delete File: a\n*** End Patch\nmore",
            "line 4 of the patch: nothing may follow `*** End Patch`, but found `more`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).expect_err(text).to_string(), *expected);
    }
}

const WHOLE: &str = "
*** Begin Patch
*** Add File: new/file
+hello
*** Delete File: old
*** Update File: run
*** Move to: bin/run
@@
-echo one
+echo two
*** Update File: kept
@@
-a
+b

*** End Patch
";

#[test]
fn a_patch_is_applied_whole() {
    let workspace = Workspace::new();
    let root = workspace.plain();
    fs::write(root.join("old"), "x").expect("written");
    fs::write(root.join("kept"), "a\n").expect("written");
    fs::write(root.join("run"), "#!/bin/sh\necho one\n").expect("written");
    fs::set_permissions(root.join("run"), fs::Permissions::from_mode(0o755)).expect("set");
    let applied = patch::apply(&parse(WHOLE).expect("a patch"), &workspace.files()).expect("applies");
    assert_eq!(
        format!("{applied:?}"),
        "Applied { added: [`new/file`], updated: [`kept`], moved: [(`run`, `bin/run`)], deleted: [`old`] }"
    );
    let paths: Vec<String> = workspace.tree().keys().map(|path| path.escape_ascii().to_string()).collect();
    assert_eq!(paths, ["bin", "bin/run", "kept", "new", "new/file"]);
    assert_eq!(fs::read_to_string(root.join("bin/run")).expect("read"), "#!/bin/sh\necho two\n");
    assert_eq!(fs::metadata(root.join("bin/run")).expect("there").permissions().mode() & 0o777, 0o755);
}

#[test]
fn a_patch_that_does_not_fit_changes_nothing() {
    type Prepare = fn(&std::path::Path);
    let cases: &[(&str, Prepare, &str)] = &[
        (
            "missing",
            |root| fs::remove_file(root.join("old")).expect("gone"),
            "`old`: no such file or directory",
        ),
        (
            "there",
            |root| fs::create_dir_all(root.join("new/file")).expect("made"),
            "`new/file`: something of that name exists",
        ),
        (
            "hunk",
            |root| fs::write(root.join("kept"), "z").expect("written"),
            "`kept`, hunk 1: `a` was not found; no line of the hunk is in the file",
        ),
        (
            "bytes",
            |root| fs::write(root.join("kept"), b"\xff").expect("written"),
            "`kept`: not a text file in UTF-8",
        ),
        (
            "link",
            |root| symlink("/etc", root.join("new")).expect("made"),
            "`new`: a symbolic link, which is not followed",
        ),
        ("folder", |root| fs::write(root.join("bin"), "").expect("written"), "`bin`: not a directory"),
    ];
    for (case, prepare, expected) in cases {
        let workspace = Workspace::new();
        let root = workspace.plain();
        fs::write(root.join("old"), "x").expect("written");
        fs::write(root.join("kept"), "a\n").expect("written");
        fs::write(root.join("run"), "echo one\n").expect("written");
        prepare(&root);
        let before = workspace.tree();
        let error = patch::apply(&parse(WHOLE).expect("a patch"), &workspace.files()).expect_err(case);
        assert_eq!(error.to_string(), *expected, "{case}");
        assert_eq!(workspace.tree(), before, "{case}");
    }
}

/// What the host refuses in the middle is taken back: two files that cannot both be, which no look at the
/// workspace before shows.
#[test]
fn what_was_written_is_taken_back() {
    let workspace = Workspace::new();
    fs::write(workspace.plain().join("kept"), "a\n").expect("written");
    let before = workspace.tree();
    let text = "*** Begin Patch\n*** Update File: kept\n@@\n-a\n+b\n*** Add File: x\n+1\n*** Add File: x/y\n+1\n*** End Patch";
    let error = patch::apply(&parse(text).expect("a patch"), &workspace.files()).expect_err("x is a file");
    assert_eq!(error.to_string(), "`x`: not a directory");
    let timeless = |tree: &common::Tree| {
        tree.iter().map(|(path, what)| (path.clone(), what[..20].to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(timeless(&workspace.tree()), timeless(&before));
}

/// A patch that was made by comparing two texts brings the one to the other.
fn between(old: &[String], new: &[String]) -> Vec<Hunk> {
    let start = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let most = old.len().min(new.len()) - start;
    let end =
        old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(one, other)| one == other).count();
    let keep = |lines: &[String]| lines.iter().cloned().map(Line::Keep).collect::<Vec<_>>();
    let mut lines = keep(&old[..start]);
    lines.extend(old[start..old.len() - end].iter().cloned().map(Line::Remove));
    lines.extend(new[start..new.len() - end].iter().cloned().map(Line::Add));
    lines.extend(keep(&old[old.len() - end..]));
    vec![Hunk { under: Vec::new(), lines, ends_file: true }]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_made_patch_makes_the_new_text(
        old in proptest::collection::vec("[ab +@*-]{0,3}", 0..12),
        new in proptest::collection::vec("[ab +@*-]{0,3}", 0..12),
    ) {
        prop_assume!(old != new);
        let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let hunks = between(&old, &new);
        prop_assert_eq!(apply_hunks(&text(&old), &hunks).expect("fits"), text(&new));
        // And through the text of a patch.
        let sign = |line: &Line| match line {
            Line::Keep(line) => format!(" {line}\n"),
            Line::Remove(line) => format!("-{line}\n"),
            Line::Add(line) => format!("+{line}\n"),
        };
        let body: String = hunks[0].lines.iter().map(sign).collect();
        let written = format!("*** Begin Patch\n*** Update File: f\n@@\n{body}*** End of File\n*** End Patch");
        let read = parse(&written).expect("a patch");
        let [FileChange::Update { hunks: read, .. }] = &read.changes[..] else { panic!("one update") };
        prop_assert_eq!(read, &hunks);
    }
}
