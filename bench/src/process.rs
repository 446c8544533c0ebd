//! The operating system's figures for a process.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// A process, by its CPU clock and its folder in `/proc`.
pub struct Process {
    clock: ClockId,
    folder: PathBuf,
}

impl Process {
    pub(crate) fn of(id: u32) -> Result<Self> {
        let clock = clock_getcpuclockid(Pid::from_raw(id.try_into()?))?;
        Ok(Self { clock, folder: PathBuf::from(format!("/proc/{id}")) })
    }

    /// The CPU time of all its threads, in user and in kernel mode, with a precision of a nanosecond:
    /// `/proc/[pid]/stat` counts ticks of 10 ms, which is a few percent of a turn.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> Result<Duration> {
        Ok(self.clock.now()?.into())
    }

    /// The current memory of the process, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The peak memory of the process, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn peak_bytes(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(self.folder.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_and_memory_of_this_process_are_told() {
        let process = Process::of(std::process::id()).expect("alive");
        let before = process.cpu().expect("alive");
        assert!(process.cpu().expect("alive") > before, "the call itself takes time");
        let (now, peak) = (process.resident_bytes().expect("alive"), process.peak_bytes().expect("alive"));
        assert!(now > 1024 * 1024 && peak >= now / 2, "{now} {peak}");
    }
}
