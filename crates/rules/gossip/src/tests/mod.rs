mod hostile;
mod members;
mod network;
