//! The service that applications use: evaluate, endorse, submit, commit status, events.
