//! The header of an IPv4 packet (RFC 791): validation, TTL, checksum.
