//! The body of a handler's response, as the layer records it.

use lambda_http::Body;

use crate::store::BoxError;

/// A body that can be collected as a whole. The layer records responses, so it cannot stream them.
pub trait ResponseBody: Send + 'static {
    /// Waits for the whole body.
    ///
    /// # Errors
    /// The error that cut the body off. The outcome of the request is then unknown.
    fn whole(self) -> impl Future<Output = Result<Body, BoxError>> + Send;
}

impl ResponseBody for Body {
    async fn whole(self) -> Result<Body, BoxError> {
        Ok(self)
    }
}
