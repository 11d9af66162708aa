//! Processes of `ripstop up` end with it, even when it is killed.

/// Makes the kernel stop this process when the one that started it ends, if that one has asked for it.
#[cfg(target_os = "linux")]
pub(crate) fn end_with_supervisor() {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
    let Some(supervisor) = std::env::var(ripstop_network::SUPERVISOR_VARIABLE).ok() else { return };
    let Some(supervisor) = supervisor.parse().ok().and_then(Pid::from_raw) else { return };
    if set_parent_process_death_signal(Some(Signal::TERM)).is_ok() && getppid() != Some(supervisor) {
        // It ended before it could be watched.
        std::process::exit(1);
    }
}

/// Elsewhere there is no such promise of the kernel; `ripstop up` stops its processes itself.
#[cfg(not(target_os = "linux"))]
pub(crate) fn end_with_supervisor() {}
