//! A type-erased resolver, so that the layer needs no type parameter for it.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::HttpAnswer;
use crate::engine::Attempt;
use crate::protocol::Record;
use crate::reconcile::{Evidence, Resolver};
use crate::store::TransactionalEffect;

pub(super) struct AnyResolver<E: TransactionalEffect>(Arc<dyn Boxed<E>>);

impl<E: TransactionalEffect> AnyResolver<E> {
    pub(super) fn new(resolver: impl Resolver<E, HttpAnswer> + 'static) -> Self {
        Self(Arc::new(resolver))
    }
}

impl<E: TransactionalEffect> Clone for AnyResolver<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: TransactionalEffect> Resolver<E, HttpAnswer> for AnyResolver<E> {
    async fn resolve(&self, record: &Record, attempt: Attempt<E>) -> Evidence<HttpAnswer> {
        self.0.resolve_boxed(record, attempt).await
    }
}

trait Boxed<E: TransactionalEffect>: Send + Sync {
    fn resolve_boxed<'a>(&'a self, record: &'a Record, attempt: Attempt<E>) -> BoxFuture<'a, Evidence<HttpAnswer>>;
}

impl<E: TransactionalEffect, R: Resolver<E, HttpAnswer>> Boxed<E> for R {
    fn resolve_boxed<'a>(&'a self, record: &'a Record, attempt: Attempt<E>) -> BoxFuture<'a, Evidence<HttpAnswer>> {
        self.resolve(record, attempt).boxed()
    }
}
