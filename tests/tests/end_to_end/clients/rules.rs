//! What a client repeats.

/// What a client repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rules {
    /// POST enabled, 5xx and 429, five tries; otherwise the library's defaults.
    Usual,
    /// The page's lines.
    Page,
}

impl Rules {
    pub(crate) const ALL: [Self; 2] = [Self::Usual, Self::Page];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Page => "page",
        }
    }
}
