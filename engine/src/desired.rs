//! The full set of objects that ought to exist, and the way there.
