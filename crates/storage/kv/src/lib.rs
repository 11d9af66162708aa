//! The embedded ordered key-value engine behind one small trait.
