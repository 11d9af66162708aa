//! Versioned world state and history.
