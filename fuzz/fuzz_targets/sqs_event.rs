#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proof::fuzz::sqs_event(bytes));
