//! What must hold of a network, each in a module of its own that looks at it from outside.
//!
//! Some of it must never be otherwise (`inspect`): it is looked at when something happens, or each second. The rest
//! (`holds`) must come about within a `bound` from the moment at which the network is calm, and stay so.

pub(crate) mod acknowledged;
pub(crate) mod belief;
pub(crate) mod configuration;
pub(crate) mod heights;
pub(crate) mod leaders;
pub(crate) mod load;
pub(crate) mod membership;
pub(crate) mod private;
pub(crate) mod reach;

use std::time::Duration;

use crate::story::Story;
use crate::world::World;

/// Something that must come about.
pub(crate) struct Goal {
    /// What, for people.
    pub(crate) name: &'static str,
    /// Within which time.
    pub(crate) bound: fn(&Story) -> Duration,
    /// Whether it is so; if not, why.
    pub(crate) holds: fn(&mut World) -> Result<(), String>,
}

/// Before anything else is asked.
pub(crate) const FIRST: [Goal; 1] =
    [Goal { name: "configuration", bound: configuration::bound, holds: configuration::holds }];

/// Whatever is done, but that clients have everything ordered.
pub(crate) const ALWAYS: [Goal; 2] = [
    Goal { name: "membership", bound: membership::bound, holds: membership::holds },
    Goal { name: "leaders", bound: leaders::bound, holds: leaders::holds },
];

/// In a network that is whole.
pub(crate) const WHOLE: [Goal; 4] = [
    Goal { name: "membership", bound: membership::bound, holds: membership::holds },
    Goal { name: "leaders", bound: leaders::bound, holds: leaders::holds },
    Goal { name: "ordering", bound: acknowledged::bound, holds: acknowledged::goes_on },
    Goal { name: "heights", bound: heights::bound, holds: heights::follow },
];

/// In a network that is whole, and in which nothing new is wanted.
pub(crate) const END: [Goal; 5] = [
    Goal { name: "membership", bound: membership::bound, holds: membership::holds },
    Goal { name: "leaders", bound: leaders::bound, holds: leaders::holds },
    Goal { name: "acknowledged", bound: acknowledged::bound, holds: acknowledged::holds },
    Goal { name: "heights", bound: heights::bound, holds: heights::holds },
    Goal { name: "private values", bound: private::bound, holds: private::holds },
];
