//! What goes through whole trees: walking and copying.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use super::Files;
use crate::location::Location;
use crate::protocol::files::{WalkEntry, WalkError, WalkKind, WalkOptions, Walked};

/// Levels below the first that are walked or copied.
const DEPTH_MAX: usize = 64;
/// Things that are walked or copied.
const ENTRIES_MAX: usize = 100_000;

/// Lists what is below a directory, level by level, as far as `options` and our own limits go.
pub(super) fn walk(files: &Files, root: &Path, options: WalkOptions) -> io::Result<Walked> {
    let (depth_max, entries_max) = (options.max_depth.min(DEPTH_MAX), options.max_entries.min(ENTRIES_MAX));
    let mut walked = Walked::default();
    let mut open: VecDeque<(PathBuf, usize)> = VecDeque::from([(root.to_owned(), 0)]);
    let mut directories = 0;
    while let Some((directory, depth)) = open.pop_front() {
        directories += 1;
        if directories > options.max_directories {
            walked.truncated = true;
            break;
        }
        let entries = match files.entries(&directory) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            Err(error) => {
                walked.errors.extend(wrong(&directory, &error.to_string()));
                continue;
            }
        };
        for (name, found) in entries {
            let path = directory.join(name);
            let Some(found) = found else {
                walked.errors.extend(wrong(&path, "cannot be looked at"));
                continue;
            };
            let kind = match (found.is_directory, found.is_file) {
                (true, _) => WalkKind::Directory,
                (false, true) => WalkKind::File,
                (false, false) => continue,
            };
            if walked.entries.len() == entries_max {
                walked.truncated = true;
                return Ok(walked);
            }
            if kind == WalkKind::Directory && (!found.is_symlink || options.follow_directory_symlinks) {
                if depth < depth_max {
                    open.push_back((path.clone(), depth + 1));
                } else {
                    walked.truncated = true;
                }
            }
            if let Ok(path) = Location::from_path(&path) {
                walked.entries.push(WalkEntry { path, kind });
            }
        }
    }
    Ok(walked)
}

fn wrong(path: &Path, message: &str) -> Option<WalkError> {
    Some(WalkError { path: Location::from_path(path).ok()?, message: message.to_owned() })
}

/// Copies a file, or a directory and what is below. Links are copied as what they lead to.
pub(super) fn copy(files: &Files, from: &Path, to: &Path, recursive: bool) -> io::Result<()> {
    if !files.found(from)?.is_directory {
        return copy_file(files, from, to);
    }
    let invalid = |message| io::Error::new(io::ErrorKind::InvalidInput, message);
    if !recursive {
        return Err(invalid("it is a directory; copy it with `recursive`"));
    }
    if files
        .resolve(to.parent().unwrap_or(to))
        .is_ok_and(|parent| files.resolve(from).is_ok_and(|from| parent.starts_with(from)))
    {
        return Err(invalid("a directory cannot be copied into itself"));
    }
    let (mut open, mut entries) = (vec![(from.to_owned(), to.to_owned(), 0)], 0);
    while let Some((from, to, depth)) = open.pop() {
        files.make_directory(&to, true)?;
        for (name, found) in files.entries(&from)? {
            entries += 1;
            if entries > ENTRIES_MAX || depth > DEPTH_MAX {
                return Err(invalid("there is too much below it"));
            }
            let (from, to) = (from.join(&name), to.join(&name));
            match found {
                Some(found) if found.is_directory => open.push((from, to, depth + 1)),
                Some(found) if found.is_file => copy_file(files, &from, &to)?,
                // Pipes, sockets and links to nowhere have nothing to copy.
                Some(_) | None => {}
            }
        }
    }
    Ok(())
}

fn copy_file(files: &Files, from: &Path, to: &Path) -> io::Result<()> {
    let mut source = files.open(from)?;
    let permissions = source.metadata()?.permissions();
    let mut target = files.create(to)?;
    io::copy(&mut source, &mut target)?;
    target.set_permissions(permissions)
}
