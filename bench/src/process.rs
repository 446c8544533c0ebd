//! What the system knows of a process (proc(5)).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

/// A process by its folder in `/proc`.
pub struct Process(PathBuf);

impl Process {
    pub(crate) fn of(id: u32) -> Self {
        Self(PathBuf::from(format!("/proc/{id}")))
    }

    /// Time on a processor, in user and in kernel mode, of all its threads.
    ///
    /// Counted in ticks, so let it work for a second or more between two looks.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(self.0.join("stat"))?;
        // The name of the program is in brackets and may hold anything; 14 and 15 are `utime` and `stime`.
        let (_, fields) = stat.rsplit_once(") ").context("/proc/[pid]/stat has no name")?;
        let field = |number: usize| fields.split(' ').nth(number - 3).and_then(|ticks| ticks.parse::<f64>().ok());
        let ticks =
            field(14).zip(field(15)).map(|(user, system)| user + system).context("/proc/[pid]/stat is short")?;
        Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
    }

    /// The memory that it has now, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most memory that it ever had, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn peak_bytes(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(self.0.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }
}

/// `sysconf(_SC_CLK_TCK)`: 100 on every Linux, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_time_and_memory_of_this_process_are_told() {
        let process = Process::of(std::process::id());
        let before = process.cpu().expect("alive");
        let started = Instant::now();
        while process.cpu().expect("alive") == before {
            assert!(started.elapsed() < Duration::from_secs(60), "no tick in a minute of work");
        }
        let (now, peak) = (process.resident_bytes().expect("alive"), process.peak_bytes().expect("alive"));
        assert!(now > 1024 * 1024 && peak >= now / 2, "{now} {peak}");
    }
}
