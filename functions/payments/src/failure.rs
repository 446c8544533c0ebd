use std::any::Any;
use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{CatchUnwind, Either, Map};
use lambda_http::Service;
use lambda_http::lambda_runtime::Diagnostic;

/// Why an invocation failed: what Lambda reports as `errorType` and `errorMessage`.
///
/// Without it `errorType` would be the path of a Rust type, which changes with the code and tells an operator nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    name: &'static str,
    message: String,
}

impl Failure {
    fn of_error(error: impl ToString) -> Self {
        Self { name: "InvocationFailed", message: error.to_string() }
    }

    fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Self { name: "Panic", message: message.unwrap_or_else(|| "the function panicked".to_owned()) }
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: failure.name.to_owned(), error_message: failure.message }
    }
}

/// A function's service whose errors and panics are [`Failure`]s.
#[derive(Debug, Clone)]
pub struct Named<S>(S);

/// The service of a function, for `lambda_runtime::run`; see [`Failure`].
pub const fn named<S>(service: S) -> Named<S> {
    Named(service)
}

type Caught<T, E> = Result<Result<T, E>, Box<dyn Any + Send>>;
type Outcome<T> = Result<T, Failure>;

impl<S, Event> Service<Event> for Named<S>
where
    S: Service<Event>,
    S::Error: ToString,
{
    type Response = S::Response;
    type Error = Failure;
    type Future = Either<
        Map<CatchUnwind<AssertUnwindSafe<S::Future>>, fn(Caught<S::Response, S::Error>) -> Outcome<S::Response>>,
        Ready<Outcome<S::Response>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Outcome<()>> {
        self.0.poll_ready(context).map_err(Failure::of_error)
    }

    fn call(&mut self, event: Event) -> Self::Future {
        match catch_unwind(AssertUnwindSafe(|| self.0.call(event))) {
            Ok(future) => Either::Left(AssertUnwindSafe(future).catch_unwind().map(outcome)),
            Err(panic) => Either::Right(ready(Err(Failure::of_panic(&*panic)))),
        }
    }
}

fn outcome<T, E: ToString>(caught: Caught<T, E>) -> Outcome<T> {
    match caught {
        Ok(result) => result.map_err(Failure::of_error),
        Err(panic) => Err(Failure::of_panic(&*panic)),
    }
}

#[cfg(test)]
mod tests {
    use lambda_http::tower::service_fn;

    use super::*;

    async fn diagnostic<F>(run: impl Fn() -> F) -> Diagnostic
    where
        F: Future<Output = Result<(), String>>,
    {
        let mut service = named(service_fn(|()| run()));
        service.call(()).await.unwrap_err().into()
    }

    #[tokio::test]
    async fn an_error_and_a_panic_have_names_that_are_not_types() {
        let failed = diagnostic(|| async { Err("the table does not answer".to_owned()) }).await;
        assert_eq!((&*failed.error_type, &*failed.error_message), ("InvocationFailed", "the table does not answer"));
        let panicked = diagnostic(|| async { panic!("at {}", 3) }).await;
        assert_eq!((&*panicked.error_type, &*panicked.error_message), ("Panic", "at 3"));
        let early: fn() -> Ready<Result<(), String>> = || panic!("before the future");
        let panicked = diagnostic(early).await;
        assert_eq!((&*panicked.error_type, &*panicked.error_message), ("Panic", "before the future"));
    }
}
