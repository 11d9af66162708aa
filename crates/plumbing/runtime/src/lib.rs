//! Tasks that form a tree, and one written order of shutdown.
