use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files may be open where the system names no limit, or an endless one.
const PLENTY: u64 = 1 << 20;

/// Lets this process have as many open files, connections among them, as the system lets it have, as Go's programs do at their
/// start. Its children are given limits of their own.
pub fn raise_limit_of_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(target: "comm.tls", "no more than {:?} files can be open at once: {error}", limit.current);
    }
}

/// How many files this process may have open.
pub(crate) fn limit_of_open_files() -> usize {
    usize::try_from(getrlimit(Resource::Nofile).current.unwrap_or(PLENTY).min(PLENTY)).unwrap_or(usize::MAX)
}
