//! The network, and sockets of the host.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixStream};
use std::time::Duration;

use crate::{answer, said};

/// Longer than any answer from a machine that is near, and shorter than a test's patience.
const CONNECT: Duration = Duration::from_secs(2);

fn connect(address: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    said(TcpStream::connect_timeout(&address, CONNECT))
}

fn datagram(address: &str) -> String {
    said(UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", address)))
}

/// Metadata services, the internet, a name server.
pub(crate) fn outside() -> String {
    let addresses = ["169.254.169.254:80", "1.1.1.1:443", "[2606:4700::1111]:443", "10.0.0.1:80"];
    let reached = addresses.map(connect);
    crate::distinct(reached.into_iter().chain([datagram("1.1.1.1:53"), datagram("8.8.8.8:53")]))
}

/// A port of the host's loopback, in both families.
pub(crate) fn tcp(port: u16) -> String {
    format!("{} {}", connect(&format!("127.0.0.1:{port}")), connect(&format!("[::1]:{port}")))
}

/// Unix sockets of the host: by stream, by datagram with and without a connection, from an end of a pair by
/// `sendto` and by `sendmsg`, and by abstract name.
pub(crate) fn unix(stream: &str, datagram: &str, name: &str) -> String {
    let by_stream = said(UnixStream::connect(stream));
    let by_datagram = said(UnixDatagram::unbound().and_then(|socket| socket.send_to(b"x", datagram)));
    let by_pair = said(UnixDatagram::pair().and_then(|(end, _)| end.send_to(b"x", datagram)));
    let by_message = said(UnixDatagram::pair().and_then(|(end, _)| message(&end, datagram)));
    let abstract_name = UnixAddress::from_abstract_name(name).unwrap();
    let by_name = said(UnixStream::connect_addr(&abstract_name));
    format!("{by_stream} {by_datagram} {by_pair} {by_message} {by_name}")
}

fn message(from: &UnixDatagram, path: &str) -> io::Result<()> {
    // SAFETY: zero bytes are a valid value of these plain structures, which outlive the call; the path fits.
    let sent = unsafe {
        let mut address: libc::sockaddr_un = std::mem::zeroed();
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        assert!(path.len() < address.sun_path.len());
        for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
            *to = from as libc::c_char;
        }
        let mut byte = b'x';
        let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_name = (&raw mut address).cast();
        message.msg_namelen = size_of::<libc::sockaddr_un>() as u32;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        libc::sendmsg(from.as_raw_fd(), &raw const message, 0)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Families and types that lead into the kernel.
pub(crate) fn families() -> String {
    let families = [
        (libc::AF_NETLINK, libc::SOCK_RAW, 0),
        (libc::AF_PACKET, libc::SOCK_RAW, 0),
        (libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        (libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        (libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        (libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
        (libc::AF_BLUETOOTH, libc::SOCK_RAW, 0),
        (libc::AF_TIPC, libc::SOCK_STREAM, 0),
        (libc::AF_XDP, libc::SOCK_RAW, 0),
    ];
    // SAFETY: takes numbers.
    crate::distinct(
        families
            .map(|(family, kind, protocol)| answer(unsafe { libc::socket(family, kind, protocol) }.into())),
    )
}

pub(crate) fn bind(port: u16) -> String {
    said(TcpListener::bind(("127.0.0.1", port)))
}

/// Sends a line to the proxy and gives what comes back.
pub(crate) fn proxy(text: &str) -> String {
    let talk = || -> io::Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", 3128))?;
        socket.write_all(text.as_bytes())?;
        socket.shutdown(std::net::Shutdown::Write)?;
        let mut back = String::new();
        socket.read_to_string(&mut back)?;
        Ok(back)
    };
    talk().unwrap_or_else(|error| said::<()>(Err(error)))
}
