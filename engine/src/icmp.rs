//! ICMP errors about packets that are not forwarded (RFC 792, RFC 1122 3.2.2, RFC 1812 4.3.2).
