//! The DynamoDB calls by hand, with records as long as the library's; see [`Floor`].

use lambda_http::Error;
use subjects::floor::{Floor, Keeps};

/// The same allocator as in the functions of the application.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    Floor::from_environment(Keeps::AsMuch).await.run().await
}
