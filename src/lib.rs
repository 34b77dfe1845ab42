//! dlc: a compiler for descriptions of neural networks.
