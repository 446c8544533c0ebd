#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| idempotency::store::dynamodb::fuzz::cancellation(bytes));
