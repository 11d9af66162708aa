mod channels;
mod hostile;
mod members;
mod network;
