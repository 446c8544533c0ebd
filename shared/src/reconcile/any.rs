//! A type-erased resolver, so that layers and queues need no type parameter for it.

use std::sync::Arc;

use derive_where::derive_where;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Evidence, Resolver};
use crate::engine::Attempt;
use crate::protocol::Record;
use crate::store::TransactionalEffect;

#[derive_where(Clone, Debug)]
pub(crate) struct AnyResolver<E: TransactionalEffect, T>(#[derive_where(skip)] Arc<dyn Boxed<E, T>>);

impl<E: TransactionalEffect, T: 'static> AnyResolver<E, T> {
    pub(crate) fn new(resolver: impl Resolver<E, T> + 'static) -> Self {
        Self(Arc::new(resolver))
    }
}

impl<E: TransactionalEffect, T: 'static> Resolver<E, T> for AnyResolver<E, T> {
    async fn resolve(&self, record: &Record, attempt: Attempt<E>) -> Evidence<T> {
        self.0.resolve_boxed(record, attempt).await
    }
}

trait Boxed<E: TransactionalEffect, T>: Send + Sync {
    fn resolve_boxed<'a>(&'a self, record: &'a Record, attempt: Attempt<E>) -> BoxFuture<'a, Evidence<T>>;
}

impl<E: TransactionalEffect, T: 'static, R: Resolver<E, T>> Boxed<E, T> for R {
    fn resolve_boxed<'a>(&'a self, record: &'a Record, attempt: Attempt<E>) -> BoxFuture<'a, Evidence<T>> {
        self.resolve(record, attempt).boxed()
    }
}
