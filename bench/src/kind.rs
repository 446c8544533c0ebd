//! The kinds of subjects, and their places of installation.

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::peers;
use crate::subject::{self, Subject};

/// A kind of subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// An empty handler.
    None,
    /// The DynamoDB calls by hand, without a library.
    Floor,
    /// The same, for batches, with records that have as many attributes as this library's.
    FloorEqual,
    /// This library.
    Ours,
    /// Powertools for AWS Lambda (Python).
    Python,
    /// Powertools for AWS Lambda (TypeScript).
    Typescript,
}

impl Kind {
    /// The subject, if it is installed.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn subject(self) -> Result<Option<Subject>> {
        match self {
            Self::None => rust("none", false).map(Some),
            Self::Floor => rust("floor", false).map(Some),
            Self::FloorEqual => rust("floor-equal", false).map(Some),
            Self::Ours => rust("ours", true).map(Some),
            Self::Python => peers::python(),
            Self::Typescript => peers::typescript(),
        }
    }
}

fn rust(name: &str, is_ours: bool) -> Result<Subject> {
    let folder = std::env::current_exe()?.parent().context("a program without a folder")?.to_owned();
    subject::at(&folder.join(name), is_ours)
}
