//! Read/write sets: what a transaction read and wrote, in the bytes every endorser must agree on.
