//! The clients.

/// A client.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    /// The package that repeats requests.
    pub(crate) name: &'static str,
    /// Its heading on the page.
    pub(super) heading: &'static str,
    pub(super) language: Language,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    JavaScript,
    Shell,
}

pub(crate) const CLIENTS: [Client; 11] = [
    Client { name: "requests", heading: "### requests with urllib3's `Retry`", language: Language::Python },
    Client { name: "httpx-retries", heading: "### HTTPX with httpx-retries", language: Language::Python },
    Client { name: "tenacity", heading: "### tenacity", language: Language::Python },
    Client { name: "backoff", heading: "### backoff", language: Language::Python },
    Client { name: "aiohttp-retry", heading: "### aiohttp-retry", language: Language::Python },
    Client { name: "axios-retry", heading: "### axios-retry", language: Language::JavaScript },
    Client { name: "got", heading: "### got", language: Language::JavaScript },
    Client { name: "ky", heading: "### ky", language: Language::JavaScript },
    Client { name: "fetch-retry", heading: "### fetch-retry", language: Language::JavaScript },
    Client { name: "undici", heading: "### undici's `RetryAgent`", language: Language::JavaScript },
    Client { name: "curl", heading: "## curl", language: Language::Shell },
];
