//! Is this block right? From received bytes to validated transactions.
