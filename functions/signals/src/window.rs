//! Windows of time.

/// The seconds of a day.
pub(crate) const DAY_S: u64 = 86_400;

/// A window of time. Windows follow each other from the Unix epoch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowTime {
    /// Its start, in seconds since the Unix epoch.
    pub start_s: u64,
    /// Its length in seconds.
    pub length_s: u32,
}

impl WindowTime {
    /// The window of that length in which a time lies. A length of zero is taken as one second.
    #[must_use]
    pub fn containing(epoch_s: u64, length_s: u32) -> Self {
        let length_s = length_s.max(1);
        Self { start_s: epoch_s - epoch_s % u64::from(length_s), length_s }
    }

    /// Its end, in seconds since the Unix epoch: the start of the next one.
    #[must_use]
    pub fn end_s(self) -> u64 {
        self.start_s + u64::from(self.length_s)
    }

    /// The day in which it starts, counted from the Unix epoch in UTC.
    #[must_use]
    pub fn day(self) -> u32 {
        u32::try_from(self.start_s / DAY_S).unwrap_or(u32::MAX)
    }
}
