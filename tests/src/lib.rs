//! The shared code of the tests: an embedded DynamoDB, the local stack as a process, the output of its functions, and
//! the template's monitoring.

use std::path::PathBuf;

pub mod browser;
pub mod chaos;
pub mod console;
pub mod dynamodb;
mod json;
pub mod kafka;
pub mod local_stack;
pub mod log;
pub mod monitoring;
pub mod packages;
pub mod process;
pub mod sizes;
pub mod soak;
pub mod valkey;
pub mod wait;
pub mod world;
pub mod zookeeper;

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder
}

/// Checks that the examples of the README and the guides compile, and that those that need no AWS run. This is not in
/// the library, because its package does not contain these files.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/guides/api.md")]
#[doc = include_str!("../../docs/guides/own-function.md")]
#[doc = include_str!("../../docs/guides/queue.md")]
#[doc = include_str!("../../docs/guides/stream.md")]
struct Readme;

/// Checks that the examples of the page about testing compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/testing.md")]
struct Testing;
