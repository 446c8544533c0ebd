//! The number by which a guarded resource refuses a late holder of a lock.

use std::fmt;

/// A fencing token: it is higher with every acquisition of a lock.
///
/// Only fences of one lock are comparable. Another lock, or a lock of another kind under the same name, has an
/// independent sequence of fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(u64);

impl Fence {
    /// Creates a fence with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A held lock that has a fence, so that the protected resource can refuse a late holder.
///
/// A lock without an authority that counts its acquisitions, such as Redlock, cannot implement it: a majority of
/// servers that can lose their memory has no number that only grows.
pub trait Fenced {
    /// The attribute in which a guarded item keeps the highest fence seen. Each kind of lock has its own: after a
    /// change from one kind to another, the numbers of the old kind would refuse all holders of the new one.
    const ATTRIBUTE: &'static str;

    /// The fence of this acquisition.
    fn fence(&self) -> Fence;
}
