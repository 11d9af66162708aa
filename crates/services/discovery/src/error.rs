/// Why no peers can be named for an endorsement. Displays in Fabric's words, with the cause behind them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// This peer cannot plan yet.
    #[error("endorsement plans are not available yet: this peer does not keep a view of other peers")]
    NotAvailable,
}
