//! The CPU share that Lambda gives to a function of some memory size, by a control group.
//!
//! Lambda gives one processor to a function with 1,769 MB, and proportionally less to smaller ones (AWS, "Configure
//! Lambda function memory"): a process of a smaller function runs for a part of each 20 ms and then pauses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::subject::Subject;

/// The size in MB with one processor.
const ONE_PROCESSOR_MB: u32 = 1_769;

/// The period in microseconds, of which a process gets its share.
const PERIOD_US: u32 = 20_000;

/// A control group. Dropping it removes it; its processes must have ended.
#[derive(Debug)]
pub struct Share {
    folder: PathBuf,
}

impl Share {
    /// Creates a group with the share of this memory size.
    ///
    /// # Errors
    /// When this system has no control groups for processors, or does not allow creating them.
    pub fn of_mb(megabytes: u32) -> Result<Self> {
        let name = format!("bench-{}-{megabytes}", std::process::id());
        let quota = PERIOD_US * megabytes / ONE_PROCESSOR_MB;
        let (folder, limits) = match Path::new("/sys/fs/cgroup/cpu").is_dir() {
            true => (
                Path::new("/sys/fs/cgroup/cpu").join(name),
                vec![("cpu.cfs_period_us", PERIOD_US.to_string()), ("cpu.cfs_quota_us", quota.to_string())],
            ),
            false => (Path::new("/sys/fs/cgroup").join(name), vec![("cpu.max", format!("{quota} {PERIOD_US}"))]),
        };
        fs::create_dir(&folder).with_context(|| format!("cannot create the control group {}", folder.display()))?;
        let share = Self { folder };
        for (file, value) in limits {
            let file = share.folder.join(file);
            fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(share)
    }

    /// The subject, started inside the group. A shell enters it first, and then becomes the program.
    #[must_use]
    pub fn of(&self, subject: &Subject) -> Subject {
        let entered = format!("echo $$ >'{}/cgroup.procs' && exec \"$@\"", self.folder.display());
        let mut command = vec!["/bin/sh".to_owned(), "-c".to_owned(), entered, "sh".to_owned()];
        command.extend(subject.command.iter().cloned());
        Subject { command, ..subject.clone() }
    }

    /// Fails unless processes of the group were really throttled.
    ///
    /// # Errors
    /// When they were not, so that the figures would be those of a whole processor.
    pub fn expect_throttled(&self) -> Result<()> {
        let file = self.folder.join("cpu.stat");
        let figures = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let throttled = figures.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok());
        ensure!(throttled.is_some_and(|times| times > 0), "{} did not throttle any process", self.folder.display());
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // If this fails, the group is gone with the machine.
        let _ = fs::remove_dir(&self.folder);
    }
}
