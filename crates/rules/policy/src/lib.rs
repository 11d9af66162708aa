//! Is this enough? Signature and implicit-meta policies and their language.
