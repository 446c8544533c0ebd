/// The function of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    PaymentsApi,
    LedgerWorker,
    Reconciler,
}
