//! The size of a test. The default suits a person who waits; the gate and the soak raise it by environment variables.

use std::env::var;
use std::str::FromStr;

/// The number in an environment variable.
///
/// # Panics
/// If it is not a number.
pub fn number<N: FromStr>(name: &str, default: N) -> N {
    var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}
