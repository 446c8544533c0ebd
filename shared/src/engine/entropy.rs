//! Randomness as a component, so that tests and simulations are repeatable.

/// A source of random bytes. Two calls never give the same 16 bytes, in this process or another.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    ///
    /// # Errors
    /// [`NoEntropy`] if there is none to be had; nothing is claimed then.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy>;
}

/// There is no randomness to be had.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes: {0}")]
pub struct NoEntropy(pub String);

/// The system's randomness: the kernel's, asked anew each time, so that a restored snapshot repeats nothing.
#[cfg(feature = "system")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

#[cfg(feature = "system")]
impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        getrandom::fill(buffer).map_err(|error| NoEntropy(error.to_string()))
    }
}
