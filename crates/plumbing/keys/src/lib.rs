//! Signers and MSP folders: the only place where private keys live.
