mod channels;
mod handshakes;
mod hostile;
mod members;
mod network;
