//! What goes into a block? Message filters, block cutter, block assembly.
