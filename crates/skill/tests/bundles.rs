//! Archives and folders that are sent: what becomes of them, and what is refused.

use proptest::prelude::*;
use tenure_skill::{Bundle, Error, ErrorKind, FILE_BYTES_MAX, FILES_MAX, Kind};
use tenure_workspace::archive::{self, EntryKind, Format};
use tenure_workspace::{Directory, Limits, Place};

const SKILL: &str = "---\nname: sum\ndescription: Adds.\n---\nAdd them.\n";
const PLUGIN: &str = r#"{"name": "maths", "description": "Counts."}"#;

/// A zip with these entries, as any program may make one: a name, its Unix mode, its bytes.
fn zip(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (name, mode, bytes) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for value in [crc.sum(), bytes.len() as u32, bytes.len() as u32] {
            common.extend(value.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        central.extend(b"PK\x01\x02\x14\x03");
        central.extend(&common);
        central.extend([0; 6]);
        central.extend((mode << 16).to_le_bytes());
        central.extend((out.len() as u32).to_le_bytes());
        central.extend(name.as_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(*bytes);
    }
    let start = out.len() as u32;
    out.extend(&central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((central.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// What is in a bundle's own zip, one line for each file.
fn listed(bundle: &Bundle) -> String {
    let mut lines = format!("{}: {}\n", bundle.manifest().name(), bundle.manifest().description());
    let zip = bundle.to_zip();
    archive::read(Format::Zip, &zip, &Limits::default(), &mut |entry, reader| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        assert_eq!(entry.kind, EntryKind::File { size: bytes.len() as u64 });
        lines += &format!("{} {:o} {}\n", entry.path, entry.mode, bytes.len());
        Ok(())
    })
    .expect("what we wrote can be read");
    lines
}

fn told(result: Result<Bundle, Error>) -> String {
    match result {
        Ok(bundle) => listed(&bundle),
        Err(error) => format!("{:?}: {error}", error.kind()),
    }
}

#[track_caller]
fn zipped(kind: Kind, entries: &[(&str, u32, &[u8])], expected: &str) {
    assert_eq!(told(Bundle::from_zip(kind, &zip(entries))), expected);
}

#[track_caller]
fn folder(entries: &[(&str, &str)], expected: &str) {
    let files = entries.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    assert_eq!(told(Bundle::from_files(Kind::Skill, files)), expected);
}

#[test]
fn a_folder_is_named_like_its_skill_whatever_it_was_named() {
    let sum = "sum: Adds.\nsum/SKILL.md 644 47\nsum/scripts/add.sh 755 10\n";
    let add = b"#!/bin/sh\n";
    zipped(Kind::Skill, &[("x/SKILL.md", FILE, SKILL.as_bytes()), ("x/scripts/add.sh", PROGRAM, add)], sum);
    zipped(Kind::Skill, &[("SKILL.md", FILE, SKILL.as_bytes()), ("scripts/add.sh", PROGRAM, add)], sum);
    zipped(
        Kind::Skill,
        &[
            ("x/", 0o040_755, b""),
            ("x/scripts/", 0o040_755, b""),
            ("x/scripts/add.sh", PROGRAM, add),
            ("x/SKILL.md", FILE, SKILL.as_bytes()),
            ("x/.DS_Store", FILE, b"x"),
            ("__MACOSX/x/._SKILL.md", FILE, b"x"),
        ],
        sum,
    );
    // A form carries no modes; a script says itself that it is one.
    folder(&[("x/scripts/add.sh", "#!/bin/sh\n"), ("x/SKILL.md", SKILL)], sum);
    folder(&[("SKILL.md", SKILL), ("./scripts//add.sh", "#!/bin/sh\n")], sum);
}

#[test]
fn a_plugin_is_found_by_its_own_manifest() {
    let entries: &[(&str, u32, &[u8])] = &[
        ("p/.codex-plugin/plugin.json", FILE, PLUGIN.as_bytes()),
        ("p/skills/sum/SKILL.md", FILE, SKILL.as_bytes()),
    ];
    let maths = "maths: Counts.\nmaths/.codex-plugin/plugin.json 644 43\nmaths/skills/sum/SKILL.md 644 47\n";
    zipped(Kind::Plugin, entries, maths);
    let none =
        "Manifest: a plugin is one folder that holds `.codex-plugin/plugin.json`, and there is none here";
    zipped(Kind::Plugin, &[("p/SKILL.md", FILE, SKILL.as_bytes())], none);
}

#[test]
fn what_is_no_folder_with_a_manifest_is_refused() {
    let none = "Manifest: a skill is one folder that holds `SKILL.md`, and there is none here";
    folder(&[], none);
    folder(&[("x/y/SKILL.md", SKILL)], none);
    folder(&[("x/SKILL.md", SKILL), ("y/a", "")], none);
    folder(&[("x/SKILL.md", SKILL), ("a", "")], none);
    folder(&[("x/skill.md", SKILL)], none);
    zipped(Kind::Skill, &[], none);
    let front = "Manifest: `SKILL.md` must begin with front matter: a line `---`, then `name` and `description`, then a \
                 line `---`";
    folder(&[("x/SKILL.md", "# Sum")], front);
}

#[test]
fn what_leads_out_is_refused() {
    let skill = ("x/SKILL.md", FILE, SKILL.as_bytes());
    for (hostile, expected) in [
        (("../evil", FILE, &b"x"[..]), "Archive: in the zip: a path with `..`"),
        (("x/../../evil", FILE, b"x"), "Archive: in the zip: a path with `..`"),
        (
            ("/etc/evil", FILE, b"x"),
            "Archive: in the zip: an absolute path; paths are relative to the workspace",
        ),
        (("x/a", 0o120_777, b"SKILL.md"), "Archive: `x/a` is a link; put the file itself into the archive"),
        (
            ("x/a", 0o120_777, b"/etc/passwd"),
            "Archive: in the zip: `x/a`: the archive is refused: a link that leads out of it",
        ),
        (
            ("x/SKILL.md", FILE, b"again"),
            "Archive: in the zip: `x/SKILL.md`: the archive is refused: it has two entries of this name",
        ),
        (
            ("x/SKILL.md/a", FILE, b"x"),
            "Archive: in the zip: `x/SKILL.md/a`: the archive is refused: it has this entry beneath a \
             file or a link",
        ),
        (
            ("x/null", 0o020_666, b""),
            "Archive: in the zip: `x/null`: the archive is refused: it has a device, a fifo or a socket",
        ),
    ] {
        zipped(Kind::Skill, &[skill, hostile], expected);
    }
    folder(&[("x/SKILL.md", SKILL), ("../evil", "")], "Archive: `../evil`: a path with `..`");
    folder(
        &[("x/SKILL.md", SKILL), ("/evil", "")],
        "Archive: `/evil`: an absolute path; paths are relative to the workspace",
    );
    folder(&[("x/SKILL.md", SKILL), ("x/a", ""), ("x/a/b", "")], "Archive: `a/b` is beneath a file");
    folder(
        &[("x/SKILL.md", SKILL), ("x/./SKILL.md", "")],
        "Archive: `x/./SKILL.md`: two files have this name",
    );
    folder(&[("x/SKILL.md", SKILL), ("", "")], "Archive: ``: a file needs a name");
}

#[test]
fn what_is_too_large_is_refused() {
    let many: Vec<(String, Vec<u8>)> = (0..FILES_MAX)
        .map(|number| (format!("x/{number}"), Vec::new()))
        .chain([("x/SKILL.md".to_owned(), SKILL.as_bytes().to_vec())])
        .collect();
    assert_eq!(told(Bundle::from_files(Kind::Skill, many)), "TooLarge: more than 500 files");
    let skill = || ("x/SKILL.md".to_owned(), SKILL.as_bytes().to_vec());
    let big = |name: &str, more: usize| (name.to_owned(), vec![0; FILE_BYTES_MAX + more]);
    let refused = Bundle::from_files(Kind::Skill, vec![skill(), big("x/a", 1)]);
    assert_eq!(told(refused), "TooLarge: `a` is larger than 26214400 bytes");
    let refused = Bundle::from_files(Kind::Skill, vec![skill(), big("x/a", 0), big("x/b", 0)]);
    assert_eq!(told(refused), "TooLarge: more than 52428800 bytes");
    let deep = format!("x/{}", "d/".repeat(16) + "a");
    folder(
        &[("x/SKILL.md", SKILL), (&deep, "")],
        &format!("TooLarge: `{}` is deeper than 16 directories", &deep[2..]),
    );
    let long = format!("x/{}a", format!("{}/", "d".repeat(255)).repeat(16));
    folder(&[("x/SKILL.md", SKILL), (&long[..4_010], "")], "TooLarge: a path has more than 4000 bytes");
    // What fits fits in the form we keep, too, where the folder is one directory more.
    let many = (0..FILES_MAX - 1).map(|number| (format!("{number}/{}a", "d/".repeat(14)), Vec::new()));
    let widest =
        Bundle::from_files(Kind::Skill, many.chain([("SKILL.md".to_owned(), SKILL.into())]).collect());
    let widest = widest.expect("within the limits");
    assert_eq!(Bundle::from_zip(Kind::Skill, &widest.to_zip()).as_ref(), Ok(&widest));
    // A megabyte that unpacks to a gigabyte is found out by what it announces and by what it holds.
    let bomb = Bundle::from_files(Kind::Skill, vec![skill(), ("x/a".into(), vec![0; FILE_BYTES_MAX])]);
    let bomb = bomb.expect("within the limits").to_zip();
    assert!(bomb.len() < 64 * 1024);
    let refused = Bundle::from_zip(Kind::Skill, &bomb).expect_err("a bomb");
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
}

#[test]
fn what_is_damaged_is_refused() {
    for bytes in [&b""[..], b"PK", b"no zip at all, but a text that somebody uploaded by mistake"] {
        let error = Bundle::from_zip(Kind::Skill, bytes).expect_err("no zip");
        assert_eq!(error.kind(), ErrorKind::Archive, "{error}");
    }
    let good = zip(&[("x/SKILL.md", FILE, SKILL.as_bytes())]);
    for cut in [1, 10, 22, 60, good.len() - 1] {
        let error = Bundle::from_zip(Kind::Skill, &good[..good.len() - cut]).expect_err("cut off");
        assert_eq!(error.kind(), ErrorKind::Archive, "{error}");
    }
    let mut changed = good;
    let at = changed.windows(5).position(|window| window == b"Adds.").expect("it is stored");
    changed[at] = b'a';
    let error = Bundle::from_zip(Kind::Skill, &changed).expect_err("changed");
    assert_eq!(error.kind(), ErrorKind::Archive, "{error}");
}

#[test]
fn skills_are_found_where_they_are_looked_for() {
    let home = tempfile::tempdir().expect("a directory");
    let place = Place::open(&home.path().join("env")).expect("a place");
    let files: Directory = place.files().expect("files");
    let path = |text: &str| tenure_workspace::FilePath::parse(text.as_bytes()).expect("a path");
    let write = |at: &str, text: &str| files.write(&path(at), text.as_bytes()).expect("written");
    let named = |name: &str| format!("---\nname: {name}\ndescription: Is {name}.\n---\n");
    write("a/two/SKILL.md", &named("two"));
    write("a/one/SKILL.md", &named("one"));
    write("a/one/inner/SKILL.md", &named("inner"));
    write("a/bad/SKILL.md", "no front matter");
    write("a/bad/inner/SKILL.md", &named("below-bad"));
    write("a/p/.codex-plugin/plugin.json", PLUGIN);
    write("a/p/skills/three/SKILL.md", &named("three"));
    write("a/1/2/3/4/5/6/deep/SKILL.md", &named("deep"));
    write("b/SKILL.md", &named("itself"));
    write("elsewhere/SKILL.md", &named("elsewhere"));
    std::os::unix::fs::symlink("../../elsewhere", home.path().join("env/files/a/link")).expect("a link");
    std::os::unix::fs::symlink("../elsewhere/SKILL.md", home.path().join("env/files/a/SKILL.md"))
        .expect("a link");
    let found = |roots: &[&str], most| {
        let roots: Vec<_> = roots.iter().map(|root| path(root)).collect();
        let found = tenure_skill::find(&files, "/w", &roots, most).expect("searched").skills;
        found.iter().map(|found| format!("{} {}", found.manifest.name(), found.path)).collect::<Vec<_>>()
    };
    assert_eq!(
        found(&["b", "none", "a", "a/one"], 9),
        ["itself b/SKILL.md", "one a/one/SKILL.md", "three a/p/skills/three/SKILL.md", "two a/two/SKILL.md"]
    );
    assert_eq!(found(&["a"], 2), ["one a/one/SKILL.md", "three a/p/skills/three/SKILL.md"]);
}

proptest! {
    #[test]
    fn equal_folders_make_equal_zips_and_come_back(
        names in proptest::collection::btree_map("([a-z]{9,12}/){0,3}[a-zé]{1,8}", proptest::collection::vec(any::<u8>(), 0..200), 0..12)
    ) {
        let mut files: Vec<(String, Vec<u8>)> = names.into_iter().map(|(name, bytes)| (format!("x/{name}"), bytes)).collect();
        files.push(("x/SKILL.md".into(), SKILL.as_bytes().to_vec()));
        let bundle = Bundle::from_files(Kind::Skill, files.clone()).expect("a bundle");
        files.reverse();
        let zip = Bundle::from_files(Kind::Skill, files).expect("a bundle").to_zip();
        prop_assert_eq!(&zip, &bundle.to_zip());
        prop_assert_eq!(Bundle::from_zip(Kind::Skill, &zip).expect("its own zip"), bundle);
    }
}
