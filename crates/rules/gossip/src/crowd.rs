/// How many peers are many. Up to so many everything is done as often as in Fabric. Of more, what lists all of them is asked for
/// less often, in proportion, and is not made anew with each change: what one peer sends and gets in a time shall not grow with
/// the network.
pub(crate) const MANY: usize = 128;

/// How many times longer the intervals are in which lists of so many peers are asked for.
pub(crate) fn stretch(peers: usize) -> u32 {
    u32::try_from(peers.div_ceil(MANY).max(1)).unwrap_or(u32::MAX)
}
