//! Randomness as a component, so that tests and simulations are repeatable.

/// A source of random bytes. Two calls must never return the same 16 bytes, in this process or another.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    ///
    /// # Errors
    /// [`NoEntropy`] if there are no random bytes. In that case nothing is claimed.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy>;
}

/// No random bytes are available.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes: {0}")]
pub struct NoEntropy(pub String);

/// The operating system's randomness, read from the kernel each time, so that restored snapshots never repeat it.
#[cfg(feature = "system")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

#[cfg(feature = "system")]
impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        getrandom::fill(buffer).map_err(|error| NoEntropy(error.to_string()))
    }
}
