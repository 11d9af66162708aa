//! `ripstop up`: a whole network on one machine from one command.
