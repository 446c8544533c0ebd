//! The end-to-end tests, as one program that links once: the library on an embedded DynamoDB, the application on the
//! local stack.

mod stacks;

// The library, over real sockets and the real SDK.
mod contention;
mod dynamodb_store;
mod examples;
mod locks;
mod records_elsewhere;
mod rotation;
mod sequences;
mod streams;
mod unsettled;
mod valkey;
mod zookeeper;

// The HTTP contract.
mod http_conformance;
mod payload_formats;

// The pages that are read first.
mod comparison;
mod readme;

// The application's API, its worker and its reconciler.
mod accounts;
mod audit_on_valkey;
mod bad_input;
mod client_examples;
mod clients;
mod events;
mod follow_up;
mod hostile;
mod kafka;
mod messages;
mod monitoring;
mod openapi;
mod payments;
mod peers_on_valkey;
mod permissions;
mod powertools;
mod proofs_on_valkey;
mod rebalance;
mod records_on_valkey;
mod shared_table;
mod signals;
mod units;
mod unknown;

// The operators' console.
mod browser;
mod console;
mod console_bulk;
mod console_evidence;
mod console_finding;
mod console_home;
mod firefox;
mod sign_in;

// The local stack itself.
mod life_cycle;
mod live_page;
mod stripe_sdks;
