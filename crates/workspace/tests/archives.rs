//! Archives as others write them, and as an attacker does.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;

use common::{Tree, Workspace, path};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use tenure_workspace::archive::{self, EntryKind, Format, extract, write_tar, write_tar_gz};
use tenure_workspace::{Error, FilePath, Limits};

/// One entry a line, with what its bytes are.
fn listed(format: Format, bytes: &[u8]) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    archive::read(format, bytes, &Limits::default(), &mut |entry, reader| {
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        text.truncate(12);
        lines.push(match &entry.kind {
            EntryKind::File { size } => format!("{} {:o} {size} {text:?}", entry.path, entry.mode),
            EntryKind::Directory => format!("{}/", entry.path),
            EntryKind::Link { target } => format!("{} -> {}", entry.path, target.escape_ascii()),
        });
        Ok(())
    })?;
    lines.sort();
    Ok(lines)
}

fn refused(format: Format, bytes: &[u8]) -> String {
    // Whoever extracts it is left with what was there.
    let workspace = Workspace::new();
    let outside = workspace.outside();
    fs::write(workspace.plain().join("mine"), "kept").expect("written");
    let before = (workspace.tree(), common::tree(&outside));
    let error = extract(format, bytes, &workspace.files(), &FilePath::root(), &Limits::default())
        .expect_err("refused");
    assert_eq!((workspace.tree(), common::tree(&outside)), before);
    assert_eq!(fs::read_dir(workspace.temp.path().join("place/aside")).expect("read").count(), 0);
    error.to_string()
}

#[test]
fn what_other_programs_write() {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archives");
    let same = [
        "dir/hello.txt 644 300 \"hello hello \"",
        "dir/link -> hello.txt",
        "dir/run 755 10 \"#!/bin/sh\\n\"",
        "empty/",
    ];
    let long = format!("{}{} 600 4 \"deep\"", "long/".repeat(40), "n".repeat(200));
    let longlink = format!("dir/longlink -> {}", "x".repeat(150));
    for (file, more) in [
        ("python.zip", vec!["dir/wide 644 4 \"wide\""]),
        ("gnu-tar.tar.gz", vec!["dir/"]),
        ("python-pax.tar.gz", vec!["dir/", &long, &longlink]),
        ("python-gnu.tar.gz", vec!["dir/", &long, &longlink]),
    ] {
        let bytes = fs::read(at.join(file)).expect("a file of the tests");
        let format = Format::detect(&bytes).expect("a known format");
        let mut expected: Vec<&str> = same.iter().copied().chain(more).collect();
        expected.sort_unstable();
        assert_eq!(listed(format, &bytes).expect(file), expected, "{file}");
        for cut in (0..bytes.len()).step_by(7) {
            assert!(listed(format, &bytes[..cut]).is_err(), "{file} is read when it is cut at {cut}");
        }
        let workspace = Workspace::new();
        let extracted =
            extract(format, &bytes, &workspace.files(), &path("up/load"), &Limits::default()).expect(file);
        assert_eq!(
            extracted.links + extracted.files,
            expected.iter().filter(|line| !line.ends_with('/')).count() as u64
        );
        assert_eq!(
            fs::read_to_string(workspace.plain().join("up/load/dir/link")).expect("a link inside"),
            "hello ".repeat(50)
        );
    }
}

/// Kind, name, target and bytes.
type Tar<'a> = (u8, &'a [u8], &'a [u8], &'a [u8]);

/// A tar, its headers made by hand.
fn tar(entries: &[Tar<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, name, target, body) in entries {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name);
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[156] = *kind;
        header[157..157 + target.len()].copy_from_slice(target);
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(header);
        out.extend(*body);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend([0; 1024]);
    out
}

#[test]
fn a_hostile_tar() {
    let file = |name: &'static [u8]| (b'0', name, &b""[..], &b"x"[..]);
    let link = |name: &'static [u8], target: &'static [u8]| (b'2', name, target, &b""[..]);
    let deep = "d/".repeat(250) + "f";
    let many = "d/".repeat(300) + "f";
    let record = format!("{} path={many}\n", many.len() + 6 + 4);
    let nul = b"9 path=\0\n";
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("parent", tar(&[file(b"../evil")]), "a path with `..`"),
        ("parent inside", tar(&[file(b"a/../../evil")]), "a path with `..`"),
        ("absolute", tar(&[file(b"/evil")]), "an absolute path; paths are relative to the workspace"),
        ("NUL", tar(&[(b'x', b"p", b"", nul), file(b"f")]), "a path with a NUL byte"),
        (
            "twice",
            tar(&[file(b"a"), file(b"./a")]),
            "`a`: the archive is refused: it has two entries of this name",
        ),
        (
            "file and folder",
            tar(&[file(b"a"), (b'5', b"a/", b"", b"")]),
            "`a`: the archive is refused: it has two entries of this name",
        ),
        (
            "through a link",
            tar(&[link(b"a", b"b"), file(b"a/x")]),
            "`a/x`: the archive is refused: it has this entry beneath a file or a link",
        ),
        (
            "beneath a file",
            tar(&[file(b"a"), file(b"a/x")]),
            "`a/x`: the archive is refused: it has this entry beneath a file or a link",
        ),
        (
            "link to the root",
            tar(&[link(b"a", b"/etc")]),
            "`a`: the archive is refused: a link that leads out of it",
        ),
        (
            "link to above",
            tar(&[link(b"a", b"../outside")]),
            "`a`: the archive is refused: a link that leads out of it",
        ),
        (
            "link through a name",
            tar(&[link(b"d/a", b"x/../../../o")]),
            "`d/a`: the archive is refused: a link that leads out of it",
        ),
        (
            "link two up",
            tar(&[link(b"d/a", b"../../o")]),
            "`d/a`: the archive is refused: a link that leads out of it",
        ),
        (
            "link to nothing",
            tar(&[link(b"a", b"")]),
            "`a`: the archive is refused: a link without a possible target",
        ),
        (
            "hard link",
            tar(&[file(b"a"), (b'1', b"b", b"a", b"")]),
            "`b`: the archive is refused: it has a hard link",
        ),
        ("device", tar(&[(b'3', b"null", b"", b"")]), "`null`: the archive is refused: it has a device"),
        ("fifo", tar(&[(b'6', b"pipe", b"", b"")]), "`pipe`: the archive is refused: it has a fifo"),
        (
            "sparse",
            tar(&[(b'S', b"s", b"", b"")]),
            "`s`: the archive is refused: it has an entry of a kind that is not supported",
        ),
        (
            "file without a name",
            tar(&[file(b".")]),
            "`.`: the archive is refused: it has a file without a name",
        ),
        (
            "bytes of a folder",
            tar(&[(b'5', b"d", b"", b"x")]),
            "`d`: the archive is refused: it has bytes where there can be none",
        ),
        ("too deep", tar(&[(b'x', b"p", b"", record.as_bytes()), file(b"f")]), "deeper than 256 directories"),
        ("nothing", vec![], "the archive is refused: it ends too early"),
    ];
    for (case, bytes, expected) in cases {
        let text = refused(Format::Tar, bytes);
        assert!(text.ends_with(expected), "{case}: {text}");
    }
    let record = format!("{} path={deep}\n", deep.len() + 6 + 4);
    assert_eq!(
        listed(Format::Tar, &tar(&[(b'x', b"p", b"", record.as_bytes()), file(b"f")]))
            .expect("allowed")
            .len(),
        1
    );
    // Flipping any bit of a header is noticed, but for blanks in the field of the sum itself.
    let good = tar(&[file(b"a")]);
    for bit in (0..148 * 8).chain(156 * 8..512 * 8) {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(listed(Format::Tar, &bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn bombs() {
    // Ten gigabytes of zeros in ten megabytes, as a stream that is made while it is read.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let size = 64 << 20;
    let mut header = tar(&[(b'0', b"zeros", b"", b"")]);
    header.truncate(512);
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    gzip.write_all(&header).expect("packed");
    gzip.write_all(&vec![0; size]).expect("packed");
    gzip.write_all(&[0; 1024]).expect("packed");
    let bytes = gzip.finish().expect("packed");
    assert!(bytes.len() < 100_000);
    assert_eq!(
        refused(Format::TarGz, &bytes),
        "`zeros`: an archive that unpacks to more than 200 times its size"
    );

    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&vec![0; size]).expect("packed");
    let packed = packed.finish().expect("packed");
    let bomb = zip(&[Zip { packed: packed.clone(), size: size as u32, ..Zip::file(b"zeros", b"") }]);
    assert_eq!(
        refused(Format::Zip, &bomb),
        "`zeros`: an archive that unpacks to more than 200 times its size"
    );
    // Said to be small.
    let liar = zip(&[Zip { packed, size: 100, ..Zip::file(b"zeros", b"") }]);
    assert_eq!(refused(Format::Zip, &liar), "`zeros`: the archive is refused: it is damaged");

    let headers = |count: u32| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        for index in 0..count {
            let mut entry = tar(&[(b'0', format!("{index:08}").as_bytes(), b"", b"")]);
            entry.truncate(512);
            gzip.write_all(&entry).expect("packed");
        }
        gzip.write_all(&[0; 1024]).expect("packed");
        gzip.finish().expect("packed")
    };
    let limits = Limits { entries_max: 1000, ..Limits::default() };
    let error =
        archive::read(Format::TarGz, &headers(1001), &limits, &mut |_, _| Ok(())).expect_err("too many");
    assert_eq!(error.to_string(), "`00001000`: more than 1000 files, links and directories");
}

/// What an entry of a zip says in each of its two headers.
#[derive(Clone)]
struct Zip {
    name: &'static [u8],
    local_name: &'static [u8],
    packed: Vec<u8>,
    size: u32,
    crc: u32,
    method: u16,
    flags: u16,
    unix_mode: u32,
    /// Instead of where it is.
    offset: Option<u32>,
}

impl Zip {
    fn file(name: &'static [u8], bytes: &[u8]) -> Self {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).expect("packed");
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let packed = packed.finish().expect("packed");
        let (size, crc) = (bytes.len() as u32, crc.sum());
        Self {
            name,
            local_name: name,
            packed,
            size,
            crc,
            method: 8,
            flags: 0,
            unix_mode: 0o100_644,
            offset: None,
        }
    }
}

fn zip(entries: &[Zip]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = entry.offset.unwrap_or(out.len() as u32);
        let common = |name: &[u8]| {
            let mut bytes = vec![20, 0];
            bytes.extend(entry.flags.to_le_bytes());
            bytes.extend(entry.method.to_le_bytes());
            bytes.extend([0; 4]);
            bytes.extend(entry.crc.to_le_bytes());
            bytes.extend((entry.packed.len() as u32).to_le_bytes());
            bytes.extend(entry.size.to_le_bytes());
            bytes.extend((name.len() as u16).to_le_bytes());
            bytes.extend([0; 2]);
            bytes
        };
        if entry.offset.is_none() {
            out.extend(b"PK\x03\x04");
            out.extend(common(entry.local_name));
            out.extend(entry.local_name);
            out.extend(&entry.packed);
        }
        central.extend(b"PK\x01\x02\x14\x03");
        central.extend(common(entry.name));
        central.extend([0; 6]);
        central.extend((entry.unix_mode << 16).to_le_bytes());
        central.extend(offset.to_le_bytes());
        central.extend(entry.name);
    }
    let start = out.len() as u32;
    out.extend(&central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((central.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    out
}

#[test]
fn a_hostile_zip() {
    let file = |name| Zip::file(name, b"x");
    let link = |name, target: &[u8]| Zip { unix_mode: 0o120_777, ..Zip::file(name, target) };
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("parent", zip(&[file(b"../evil")]), "a path with `..`"),
        ("absolute", zip(&[file(b"/evil")]), "an absolute path; paths are relative to the workspace"),
        ("NUL", zip(&[file(b"a\0b")]), "a path with a NUL byte"),
        ("twice", zip(&[file(b"a"), file(b"a")]), "it has two entries of this name"),
        (
            "through a link",
            zip(&[link(b"a", b"b"), file(b"a/x")]),
            "it has this entry beneath a file or a link",
        ),
        ("link out", zip(&[link(b"a", b"../../etc")]), "a link that leads out of it"),
        (
            "device",
            zip(&[Zip { unix_mode: 0o020_644, ..file(b"null") }]),
            "it has a device, a fifo or a socket",
        ),
        ("encrypted", zip(&[Zip { flags: 1, ..file(b"a") }]), "it is encrypted"),
        (
            "method",
            zip(&[Zip { method: 14, ..file(b"a") }]),
            "it is packed by a method that is not supported",
        ),
        ("two names", zip(&[Zip { local_name: b"b", ..file(b"a") }]), "it names an entry in two ways"),
        ("sum", zip(&[Zip { crc: 1, ..file(b"a") }]), "it is damaged"),
        ("too long", zip(&[Zip { size: 2, ..file(b"a") }]), "it is damaged"),
        ("beyond the end", zip(&[Zip { offset: Some(1 << 30), ..file(b"a") }]), "it is damaged"),
        (
            "overlap",
            zip(&[file(b"a"), Zip { offset: Some(0), local_name: b"a", ..file(b"a") }]),
            "it has two entries of this name",
        ),
        ("nothing", vec![], "it has no end, so it was cut off or is no zip"),
    ];
    for (case, bytes, expected) in cases {
        let text = refused(Format::Zip, bytes);
        assert!(text.ends_with(expected), "{case}: {text}");
    }
    // The second entry's header is inside the bytes of the first: what a small archive of petabytes does.
    let inner = {
        let mut inner = zip(&[file(b"b")]);
        let end = inner.windows(4).position(|at| at == b"PK\x01\x02").expect("a central header");
        inner.truncate(end);
        inner
    };
    let outer = Zip { method: 0, packed: inner.clone(), size: inner.len() as u32, ..Zip::file(b"a", &inner) };
    let overlap = zip(&[outer, Zip { offset: Some(31), ..file(b"b") }]);
    assert!(refused(Format::Zip, &overlap).ends_with("it has entries that overlap"));
}

#[test]
fn what_is_there_is_joined_or_in_the_way() {
    let good = zip(&[Zip::file(b"d/a", b"new"), Zip::file(b"d/b", b"new"), Zip::file(b"e/c", b"new")]);
    let unpack = |prepare: &dyn Fn(&Path)| {
        let workspace = Workspace::new();
        prepare(&workspace.plain());
        let before = workspace.tree();
        let result = extract(Format::Zip, &good, &workspace.files(), &FilePath::root(), &Limits::default());
        if result.is_err() {
            assert_eq!(workspace.tree(), before);
        }
        (result.map_err(|error| error.to_string()), workspace)
    };
    let (result, workspace) = unpack(&|root| {
        fs::create_dir(root.join("d")).expect("created");
        fs::write(root.join("d/a"), "old").expect("written");
        fs::write(root.join("d/z"), "old").expect("written");
        std::os::unix::fs::symlink("/etc/passwd", root.join("d/b")).expect("a link");
    });
    assert_eq!(result.expect("unpacked").files, 3);
    let text = |at: &str| fs::read_to_string(workspace.plain().join(at)).expect("read");
    assert_eq!(
        (text("d/a"), text("d/b"), text("d/z"), text("e/c")),
        ("new".into(), "new".into(), "old".into(), "new".into())
    );
    let (result, _) = unpack(&|root| fs::create_dir_all(root.join("e/c")).expect("created"));
    assert_eq!(result.expect_err("in the way"), "`e/c`: something of that name exists");
    let (result, _) = unpack(&|root| fs::write(root.join("d"), "").expect("written"));
    assert_eq!(result.expect_err("in the way"), "`d`: not a directory");
    let (result, _) = unpack(&|root| std::os::unix::fs::symlink("/tmp", root.join("d")).expect("a link"));
    assert_eq!(result.expect_err("in the way"), "`d`: not a directory");
}

#[test]
fn a_snapshot_goes_through_an_archive() {
    let mut workspace = Workspace::new();
    let root = workspace.plain();
    fs::create_dir_all(root.join("a/b")).expect("created");
    fs::write(root.join("a/large"), vec![7; 300_000]).expect("written");
    fs::write(root.join("a/b").join("n".repeat(255)), "long").expect("written");
    fs::write(root.join("new\nline"), "").expect("written");
    std::os::unix::fs::symlink("../a/large", root.join("a/link")).expect("a link");
    let taken = workspace.snapshot();
    let mut tar = Vec::new();
    write_tar(&taken.root, &workspace.chunks, &workspace.limits, &mut tar).expect("written");
    let mut gzip = Vec::new();
    write_tar_gz(&taken.root, &workspace.chunks, &workspace.limits, &mut gzip).expect("written");
    let tree: Tree = workspace.tree();
    for (format, bytes) in [(Format::Tar, tar), (Format::TarGz, gzip)] {
        assert_eq!(Format::detect(&bytes), Some(format));
        let other = Workspace::new();
        extract(format, &bytes, &other.files(), &FilePath::root(), &Limits::default()).expect("unpacked");
        assert_eq!(other.tree(), tree);
    }
}
