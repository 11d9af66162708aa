//! Who is this? Membership service providers: chains, node OUs, revocation, principals.
