//! The proxy on real sockets.

mod proxy;
mod secrets;
mod support;
