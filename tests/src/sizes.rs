//! The sizes of tests. The defaults are small enough to wait for; the gate and the soak raise them by environment
//! variables.

use std::env::var;
use std::str::FromStr;

/// The number in an environment variable.
///
/// # Panics
/// If it is not a number.
pub fn number<N: FromStr>(name: &str, default: N) -> N {
    var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}
