use ripstop_types::MspId;

use crate::push;

/// Who may get a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Peers of the own organization.
    Own,
    /// Those whom an alive message of a peer of this organization concerns: everybody if it is the own one; else peers of
    /// that organization and of the own one.
    Origin(MspId),
}

/// A message that waits to be pushed.
pub(crate) type Pending = push::Pending<Audience>;

/// Messages that wait to be pushed.
pub(crate) type Push = push::Push<Audience>;
