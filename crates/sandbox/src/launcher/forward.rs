//! The one way out of a restricted sandbox: connections to its proxy port go to a Unix socket of the host.
//!
//! The supervisor carries them, outside, from a listener that init opened inside. So the command needs no
//! right to the socket, and there is nothing of the host's inside to connect to.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Connections at once. What is beyond is closed, as a proxy does that is full.
const CONNECTIONS_MAX: usize = 128;

/// Forwards until the process ends.
pub(crate) fn serve(listener: OwnedFd, socket: PathBuf) {
    let listener = TcpListener::from(listener);
    let open = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for inside in listener.incoming().flatten() {
            if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
                open.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (open, socket) = (Arc::clone(&open), socket.clone());
            thread::spawn(move || {
                // Either side's failure closes both, which is all there is to say to them.
                let _ = carry(&inside, &socket);
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
}

fn carry(inside: &TcpStream, socket: &Path) -> io::Result<()> {
    let outside = UnixStream::connect(socket)?;
    let (mut from_inside, mut to_outside) = (inside.try_clone()?, outside.try_clone()?);
    let out = thread::spawn(move || {
        let _ = io::copy(&mut from_inside, &mut to_outside);
        let _ = to_outside.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut &outside, &mut &*inside);
    let _ = inside.shutdown(Shutdown::Write);
    let _ = out.join();
    Ok(())
}
