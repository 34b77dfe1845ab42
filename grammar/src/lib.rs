//! Text to syntax tree and back: the grammar of `dl`, its tree with spans, the printer, and diagnostics.
