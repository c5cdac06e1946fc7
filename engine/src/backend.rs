//! What differs from backend to backend: a pure function to a desired set, and data for the lease.
