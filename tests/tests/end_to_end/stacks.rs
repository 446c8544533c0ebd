//! Stacks that tests of several modules use.

use local::template::Document;
use tests::local_stack::{Setup, Shared, Stack};
use tests::workspace;

/// The application, for all tests that do not disturb each other.
pub(crate) static SHARED: Shared = Shared::new(Setup::brief);

/// Starts a stack of the application with a template that differs in more than its parameters.
pub(crate) async fn changed(setup: Setup, change: impl FnOnce(&mut Document)) -> Stack {
    let mut document = Document::load(&workspace().join("template.yaml")).expect("readable");
    change(&mut document);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("template.yaml");
    document.write(&file).expect("writable");
    setup.template(&file).start().await
}
