//! Checks a proposal, simulates it and signs the result.
