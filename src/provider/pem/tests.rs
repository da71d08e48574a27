//! Which PEM files give a key, and why others don't.
