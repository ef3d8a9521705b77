//! Everything a program can do to its files to stop, mislead or lead out the host.

mod common;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Workspace, path, tree};
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};
use tenure_workspace::{Error, ErrorKind, FilePath, FoundKind, Limit, Limits, Why};

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a fifo");
}

#[test]
fn strange_names_and_kinds() {
    let mut workspace = Workspace::new();
    let root = workspace.plain();
    let longest = [b'x'; 255];
    for name in [&longest[..], b"\xff\xfe\x80", b"a\nb", b"-rf", b"...", b"*", b"\x1b[31m", b" "] {
        fs::write(root.join(std::ffi::OsStr::from_bytes(name)), name).expect("written");
    }
    symlink("loop", root.join("loop")).expect("a loop");
    symlink("b", root.join("ring-a")).expect("a link");
    symlink("/proc/1/root", root.join("out")).expect("a link");
    let before = workspace.tree();
    fifo(&root.join("fifo"));
    let _listener = UnixListener::bind(root.join("socket")).expect("a socket");

    let taken = workspace.snapshot();
    assert_eq!(taken.entries, 11);
    let skipped: Vec<String> = taken.skipped.iter().map(|it| format!("{} {:?}", it.path, it.why)).collect();
    assert_eq!(skipped, ["fifo Special", "socket Special"]);
    let page = workspace.files().list(&FilePath::root(), None, 100).expect("listed");
    assert_eq!(page.found.len(), 13);
    assert_eq!(workspace.files().walk(&FilePath::root(), &Limits::default()).expect("walked").len(), 13);

    workspace.restore(&taken.root);
    assert_eq!(workspace.tree(), before);
    for found in page.found {
        if found.kind != FoundKind::Special {
            workspace.files().remove(&found.path).expect("removed");
        }
    }
    assert!(workspace.tree().is_empty());
}

#[test]
fn the_host_follows_no_link_and_opens_nothing_strange() {
    let workspace = Workspace::new();
    let outside = workspace.outside();
    let root = workspace.plain();
    fs::create_dir(root.join("real")).expect("created");
    symlink(&outside, root.join("folder")).expect("a link");
    symlink(outside.join("secret"), root.join("file")).expect("a link");
    symlink("../../outside", root.join("real/up")).expect("a link");
    symlink("real", root.join("inside")).expect("a link");
    fifo(&root.join("fifo"));
    let files = workspace.files();
    let kind = |result: Result<(), Error>| match result {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    };
    let read = |at: &str| kind(files.read(&path(at), 1000).map(drop));
    for (at, expected) in [
        ("file", "Link"),
        ("folder", "Link"),
        ("folder/secret", "Link"),
        ("real/up/secret", "Link"),
        ("inside/x", "Link"),
        ("fifo", "NotAFile"),
        ("real", "NotAFile"),
        ("none", "NotFound"),
        ("fifo/x", "NotADirectory"),
    ] {
        assert_eq!(read(at), expected, "{at}");
    }
    assert_eq!(kind(files.write(&path("folder/new"), b"x")), "Link");
    assert_eq!(kind(files.list(&path("folder"), None, 10).map(drop)), "Link");
    assert_eq!(kind(files.remove(&path("folder/secret"))), "Link");
    assert_eq!(kind(files.make_directory(&path("folder/new"))), "Link");
    assert_eq!(kind(files.rename(&path("real"), &path("folder/real"))), "Link");
    assert_eq!(kind(files.write(&path("real"), b"x")), "NotAFile");
    // A link in the last place is replaced or removed itself.
    assert_eq!(kind(files.write(&path("file"), b"mine")), "done");
    assert_eq!(kind(files.remove(&path("folder"))), "done");
    assert_eq!(fs::read(root.join("file")).expect("read"), b"mine");
    assert_eq!(tree(&outside).len(), 1);
    assert_eq!(fs::read(outside.join("secret")).expect("read"), b"do not touch");
}

/// Whoever changes a file and sets its time back still changes the time at which that was done.
#[test]
fn a_time_that_is_set_back_hides_no_change() {
    let mut workspace = Workspace::new();
    let file = workspace.plain().join("file");
    fs::write(&file, "one").expect("written");
    let time = fs::metadata(&file).expect("there").modified().expect("a time");
    // Until the cache believes the file.
    let first = loop {
        let taken = workspace.snapshot();
        if workspace.try_snapshot().expect("a snapshot").read == 0 {
            break taken;
        }
    };
    fs::write(&file, "two").expect("written");
    fs::File::options().write(true).open(&file).and_then(|file| file.set_modified(time)).expect("set back");
    let second = workspace.snapshot();
    assert_ne!(first.root, second.root);
    workspace.restore(&second.root);
    assert_eq!(fs::read_to_string(&file).expect("read"), "two");
}

/// A tree whose paths are ten times as long as a path may be.
fn deep(at: &Path, levels: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory: OwnedFd = openat(CWD, at, flags, Mode::empty()).expect("opened");
    let name = "d".repeat(200);
    for _ in 0..levels {
        mkdirat(&directory, &name, Mode::RWXU).expect("created");
        directory = openat(&directory, &name, flags, Mode::empty()).expect("opened");
    }
    let file = openat(&directory, "end", OFlags::WRONLY | OFlags::CREATE, Mode::RWXU).expect("created");
    rustix::io::write(&file, b"here").expect("written");
}

#[test]
fn two_hundred_levels_of_two_hundred_characters() {
    let mut workspace = Workspace::new();
    deep(&workspace.plain(), 200);
    let taken = workspace.snapshot();
    assert_eq!(taken.entries, 201);
    assert_eq!(workspace.files().walk(&FilePath::root(), &Limits::default()).expect("walked").len(), 201);
    let end = FilePath::parse(format!("{}end", format!("{}/", "d".repeat(200)).repeat(200)).as_bytes())
        .expect("a path");
    assert_eq!(workspace.files().read(&end, 10).expect("read"), b"here");
    workspace.files().remove(&path(&"d".repeat(200))).expect("removed");
    assert_eq!(workspace.snapshot().entries, 0);
    workspace.restore(&taken.root);
    assert_eq!(workspace.files().read(&end, 10).expect("read"), b"here");
    assert_eq!(workspace.snapshot().root, taken.root);
}

/// Beyond the limit a snapshot is refused, and removing works all the same.
#[test]
fn any_depth_can_be_removed() {
    let mut workspace = Workspace::new();
    deep(&workspace.plain(), 1000);
    let error = workspace.try_snapshot().expect_err("too deep");
    assert_eq!(*error.kind(), ErrorKind::Limit(Limit::Depth(256)));
    workspace.files().remove(&path(&"d".repeat(200))).expect("removed");
    assert!(workspace.tree().is_empty());
    deep(&workspace.plain(), 1000);
    let empty = {
        let hold = tenure_workspace::Chunks::hold(&workspace.chunks).expect("a hold");
        let other = Workspace::new();
        tenure_workspace::snapshot(
            &other.files(),
            &workspace.chunks,
            &hold,
            None,
            &mut Default::default(),
            &Limits::default(),
        )
        .expect("a snapshot")
        .root
    };
    workspace.restore(&empty);
    assert!(workspace.tree().is_empty());
    assert_eq!(fs::read_dir(workspace.temp.path().join("place/aside")).expect("read").count(), 0);
}

#[test]
fn what_is_too_large_is_refused_and_named() {
    let mut workspace = Workspace::new();
    fs::create_dir(workspace.plain().join("d")).expect("created");
    fs::write(workspace.plain().join("d/a"), vec![0; 3000]).expect("written");
    fs::write(workspace.plain().join("d/b"), vec![1; 3000]).expect("written");
    let check = |workspace: &mut Workspace, limits: Limits, expected: &str| {
        workspace.limits = limits;
        assert_eq!(workspace.try_snapshot().expect_err("beyond the limit").to_string(), expected);
        workspace.limits = Limits::default();
        let root = workspace.snapshot().root;
        workspace.limits = limits;
        let before = workspace.tree();
        let error = workspace.try_restore(&root).expect_err("beyond the limit");
        assert!(matches!(error.kind(), ErrorKind::Limit(_)), "{error}");
        assert_eq!(workspace.tree(), before);
    };
    let most = Limits::default();
    check(
        &mut workspace,
        Limits { entries_max: 2, ..most },
        "`d/b`: more than 2 files, links and directories",
    );
    check(&mut workspace, Limits { bytes_max: 5999, ..most }, "`d/b`: more than 5999 bytes together");
    check(&mut workspace, Limits { file_bytes_max: 2999, ..most }, "`d/a`: larger than 2999 bytes");
    check(&mut workspace, Limits { depth_max: 0, ..most }, "`d`: deeper than 0 directories");
    let error = workspace.files().read(&path("d/a"), 2999).expect_err("too large");
    assert_eq!(error.to_string(), "`d/a`: larger than 2999 bytes");
}

/// What the owner may not read is still ours: run as an ordinary user, because root may read everything.
#[test]
fn folders_and_files_that_nobody_may_open() {
    const INNER: &str = "TENURE_TEST_LOCKED";
    if std::env::var_os(INNER).is_none() && rustix::process::geteuid().is_root() {
        let exe = std::env::current_exe().expect("this test");
        // Where an ordinary user can reach it.
        let shared = tempfile::tempdir_in("/tmp").expect("a directory");
        fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o777)).expect("opened to all");
        let copy = shared.path().join("test");
        fs::copy(exe, &copy).expect("copied");
        let mut command = Command::new(copy);
        command.args(["--exact", "folders_and_files_that_nobody_may_open"]).env(INNER, "1");
        let status = command.env("TMPDIR", shared.path()).uid(65534).gid(65534).status().expect("it runs");
        assert!(status.success());
        return;
    }
    let mut workspace = Workspace::new();
    let root = workspace.plain();
    fs::create_dir_all(root.join("locked/inner")).expect("created");
    fs::write(root.join("locked/inner/file"), "hidden").expect("written");
    let lock =
        |at: &str| fs::set_permissions(root.join(at), fs::Permissions::from_mode(0o000)).expect("locked");
    lock("locked/inner/file");
    lock("locked/inner");
    lock("locked");
    assert!(fs::read_dir(root.join("locked")).is_err(), "this user may open everything");

    let taken = workspace.snapshot();
    assert_eq!((taken.entries, taken.skipped_count), (3, 0));
    workspace.files().remove(&path("locked")).expect("removed");
    assert_eq!(workspace.snapshot().entries, 0);
    workspace.restore(&taken.root);
    assert_eq!(fs::metadata(root.join("locked")).expect("there").permissions().mode() & 0o777, 0);
    assert_eq!(workspace.files().read(&path("locked/inner/file"), 10).expect("read"), b"hidden");
    assert_eq!(workspace.snapshot().root, taken.root);
    // And replaced, which removes it once more.
    let root = workspace.base.expect("taken");
    workspace.restore(&root);
    workspace.files().remove(&path("locked")).expect("removed");
}

/// Stops the other thread also when this one fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A thread plays the sandboxed program: it swaps a folder for a link to the outside and back, as fast as it
/// can, while the host does everything it can do.
#[test]
fn a_folder_that_becomes_a_link_leads_nowhere() {
    let mut workspace = Workspace::new();
    let outside = workspace.outside();
    fs::create_dir(outside.join("deep")).expect("created");
    fs::write(outside.join("deep/secret"), "do not touch").expect("written");
    let before = tree(&outside);
    let fill = |root: &Path| {
        let _ = fs::create_dir_all(root.join("folder/deep"));
        let _ = fs::write(root.join("folder/secret"), "inside");
        let _ = fs::write(root.join("folder/deep/secret"), "inside");
    };
    fill(&workspace.plain());
    let clean = workspace.snapshot().root;
    let stop = AtomicBool::new(false);
    let root = workspace.plain();
    let secret = tenure_workspace::Digest::of(b"do not touch");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = fs::rename(root.join("folder"), root.join("hidden"));
                let _ = symlink(&outside, root.join("folder"));
                let _ = fs::remove_file(root.join("folder"));
                let _ = fs::rename(root.join("hidden"), root.join("folder"));
                fill(&root);
            }
        });
        let _stop = StopAtEnd(&stop);
        for round in 0..300 {
            let files = workspace.files();
            for at in ["folder/secret", "folder/deep/secret"] {
                if let Ok(bytes) = files.read(&path(at), 100) {
                    assert_ne!(bytes, b"do not touch");
                }
                let _ = files.write(&path(at), b"inside");
            }
            let _ = files.list(&path("folder"), None, 10);
            let _ = files.walk(&FilePath::root(), &Limits::default());
            let taken = workspace.try_snapshot().expect("a snapshot");
            assert!(taken.skipped.iter().all(|it| matches!(it.why, Why::Unsettled | Why::Torn)));
            if round % 3 == 0 {
                let _ = files.remove(&path("folder"));
                let _ = files.remove(&path("hidden"));
            }
            if round % 10 == 0 {
                workspace.restore(&clean);
            }
        }
    });
    assert_eq!(tree(&outside), before, "the host left the workspace");
    assert_eq!(workspace.chunks.remove(&secret), None, "the host read outside");
}
