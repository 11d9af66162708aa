//! Raft consensus as a state machine: inputs in, effects out.
