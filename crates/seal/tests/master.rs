//! Master keys as an operator changes them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tenure_seal::{DataKey, KeyCommand, KeyFile, LocalKey, MasterKeys, Place, SealErrorKind, Wrapped};

fn file(directory: &Path) -> KeyFile {
    KeyFile::open(&directory.join("master.key")).expect("a key file")
}

/// What unwrapping says: whether the key is the same, or why there is none.
async fn unwrapped(
    keys: &MasterKeys,
    owner: &str,
    wrapped: &Wrapped,
    key: &DataKey,
) -> Result<bool, SealErrorKind> {
    let unwrapped = keys.unwrap(owner, wrapped).await.map_err(|error| error.kind().clone())?;
    Ok(unwrapped.as_bytes() == key.as_bytes())
}

#[tokio::test]
async fn a_key_changes_while_nodes_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = file(directory.path());
    // Two nodes that share the file, one of which reads it again only when it has to.
    let [one, two] = [(); 2].map(|()| MasterKeys::of_file(file.clone()).expect("keys"));
    let key = DataKey::generate();
    let old = one.wrap("proj_1", &key).await.expect("wrapped");
    assert_eq!(unwrapped(&two, "proj_1", &old, &key).await, Ok(true));

    let mut keys = file.read().expect("keys");
    keys.push(LocalKey::generate());
    file.write(&keys).expect("written");
    assert_eq!(
        one.wrap("proj_1", &key).await.expect("wrapped").by,
        old.by,
        "a new key is known before it is used"
    );

    keys.reverse();
    file.write(&keys).expect("written");
    let new = one.wrap("proj_1", &key).await.expect("wrapped");
    assert_eq!((new.by == old.by, new.by.as_str()), (false, keys[0].fingerprint()));
    for node in [&one, &two] {
        for wrapped in [&old, &new] {
            assert_eq!(unwrapped(node, "proj_1", wrapped, &key).await, Ok(true));
        }
    }

    keys.pop();
    file.write(&keys).expect("written");
    let late = MasterKeys::of_file(file).expect("keys");
    assert_eq!(unwrapped(&late, "proj_1", &new, &key).await, Ok(true));
    let unknown = SealErrorKind::UnknownKey { fingerprint: old.by.clone() };
    assert_eq!(unwrapped(&late, "proj_1", &old, &key).await, Err(unknown));
}

#[tokio::test]
async fn wrapped_keys_of_two_projects_cannot_be_swapped() {
    let keys = MasterKeys::ephemeral();
    let [one, other] = [(); 2].map(|()| DataKey::generate());
    let wrapped = keys.wrap("proj_1", &one).await.expect("wrapped");
    keys.wrap("proj_2", &other).await.expect("wrapped");
    assert_eq!(unwrapped(&keys, "proj_2", &wrapped, &one).await, Err(SealErrorKind::Refused));
}

#[test]
fn a_key_file_is_its_owners_and_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = file(directory.path());
    let mode = std::fs::metadata(file.path()).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = KeyFile::open(file.path()).expect("opened").read().expect("keys");
    assert_eq!(again[0].fingerprint(), file.read().expect("keys")[0].fingerprint(), "it is made once");

    let set =
        |mode| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("set");
    set(0o640);
    assert!(KeyFile::open(file.path()).is_ok());
    set(0o604);
    let exposed = KeyFile::open(file.path()).expect_err("others read it");
    assert!(matches!(exposed.kind(), SealErrorKind::Exposed { .. }), "{exposed}");
    set(0o600);
    for bytes in [0, 31, 33, 9 * 32] {
        std::fs::write(file.path(), vec![7; bytes]).expect("written");
        let malformed = KeyFile::open(file.path()).expect_err("no keys");
        assert!(matches!(malformed.kind(), SealErrorKind::Malformed { .. }), "{bytes}: {malformed}");
    }
    assert!(KeyFile::existing(&directory.path().join("none")).is_err());
}

#[test]
fn keys_of_a_variable_are_read_and_never_shown() {
    // Bytes 1 to 32 and 2 to 33.
    let one = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
    let two = "AgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICE=";
    for (text, count) in [
        (one.to_owned(), Some(1)),
        (format!("{one},{two}"), Some(2)),
        (format!(" {one}\n{two} "), Some(2)),
        (String::new(), None),
        ("AQID".to_owned(), None),
        (format!("{one},x"), None),
        ([one; 9].join(","), None),
    ] {
        let keys = MasterKeys::of_text(&text, "TENURE_MASTER_KEY");
        assert_eq!(keys.as_ref().ok().map(|keys| keys.local().len()), count, "{text}");
        let shown = format!("{keys:?} {}", keys.as_ref().err().map(ToString::to_string).unwrap_or_default());
        assert!(!shown.contains("AQIDBA") && !shown.contains("1, 2, 3, 4"), "{shown}");
    }
}

/// A key service for tests: it keeps what it wraps under a number and gives back only that.
fn service(directory: &Path, behaviour: &str) -> PathBuf {
    let script = directory.join(format!("service-{behaviour}"));
    let state = directory.join("kept").display().to_string();
    let text = match behaviour {
        "honest" => format!(
            "#!/bin/sh\nread line\nif [ \"$1\" = wrap ]; then printf %s \"$line\" > {state}; echo bnVtYmVyIDE=; \
             else cat {state}; fi\n"
        ),
        "refusing" => "#!/bin/sh\nexit 3\n".to_owned(),
        "chatty" => "#!/bin/sh\nwhile :; do echo AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; done\n".to_owned(),
        "wrong" => "#!/bin/sh\necho '!!!'\n".to_owned(),
        "short" => "#!/bin/sh\necho AAAA\n".to_owned(),
        _ => "#!/bin/sh\nexec tail -f /dev/null\n".to_owned(),
    };
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).expect("set");
    script
}

#[tokio::test]
async fn a_key_service_wraps_and_local_keys_of_before_still_open() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = file(directory.path());
    let key = DataKey::generate();
    let before =
        MasterKeys::of_file(file.clone()).expect("keys").wrap("proj_1", &key).await.expect("wrapped");
    let command = |behaviour| {
        let script = service(directory.path(), behaviour).display().to_string();
        KeyCommand::parse(&format!("{script} --region eu")).expect("a program")
    };
    // `--region` stands before the verb, which is the last word.
    let script = service(directory.path(), "honest").display().to_string();
    let honest = KeyCommand::parse(&script).expect("a program");
    let keys = MasterKeys::of_command(honest, Some(file)).expect("keys");
    let wrapped = keys.wrap("proj_1", &key).await.expect("wrapped");
    assert_eq!((wrapped.by.as_str(), wrapped.key.as_slice()), ("command", b"number 1".as_slice()));
    assert_eq!(unwrapped(&keys, "proj_1", &wrapped, &key).await, Ok(true));
    assert_eq!(unwrapped(&keys, "proj_2", &wrapped, &key).await, Err(SealErrorKind::Refused));
    assert_eq!(unwrapped(&keys, "proj_1", &before, &key).await, Ok(true));

    for (behaviour, what, limit) in [
        ("refusing", "failed", 60),
        ("chatty", "answered with too much", 60),
        ("wrong", "answered with something else than base64", 60),
        ("short", "answered with something that is no key", 60),
        ("hanging", "took too long", 0),
    ] {
        let command = command(behaviour).within(Duration::from_secs(limit));
        let keys = MasterKeys::of_command(command, None).expect("keys");
        let refused = unwrapped(&keys, "proj_1", &wrapped, &key).await;
        assert_eq!(refused, Err(SealErrorKind::Command { what }), "{behaviour}");
    }
    let none = KeyCommand::parse("/nonexistent/service").expect("a program");
    let refused = MasterKeys::of_command(none, None).expect("keys").wrap("proj_1", &key).await;
    let what = "could not be started";
    assert_eq!(*refused.expect_err("nothing there").kind(), SealErrorKind::Command { what });
    assert!(KeyCommand::parse("  ").is_none());
}

#[test]
fn what_earlier_releases_sealed_opens() {
    let keys = MasterKeys::ephemeral();
    let sealed = keys.local()[0].seal_old("proj_1/sec_1", b"token");
    assert_eq!(keys.open_old("proj_1/sec_1", &sealed).expect("opens").as_slice(), b"token");
    assert!(keys.open_old("proj_2/sec_1", &sealed).is_err());
    assert!(keys.open_old("proj_1/sec_1", &[]).is_err());
    let new = DataKey::generate().seal(Place { project: "proj_1", record: "sec_1", version: 1 }, b"token");
    assert!(keys.open_old("proj_1/sec_1", &new).is_err());
}
