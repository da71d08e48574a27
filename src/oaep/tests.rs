//! Vectors and differential tests.
