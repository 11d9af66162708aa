//! TLS, listening and dialling: the only crate that opens a socket.
