//! The examples run, each as its `main` does: they assert what they show.

/// A module and a test for each example.
macro_rules! examples {
    ($($name:ident $path:literal)*) => {
        $(
            #[path = $path]
            mod $name;
        )*

        mod runs {
            $(
                #[test]
                fn $name() {
                    super::$name::main().expect("the example runs");
                }
            )*
        }
    };
}

examples! {
    alb "../../../shared/examples/alb.rs"
    axum "../../../shared/examples/axum.rs"
    external_records "../../../shared/examples/external_records.rs"
    fifo "../../../shared/examples/fifo.rs"
    follow_up "../../../shared/examples/follow_up.rs"
    function "../../../shared/examples/function.rs"
    function_url "../../../shared/examples/function_url.rs"
    http "../../../shared/examples/http.rs"
    kinesis "../../../shared/examples/kinesis.rs"
    powertools "../../../shared/examples/powertools.rs"
    resolver "../../../shared/examples/resolver.rs"
    rest_api "../../../shared/examples/rest_api.rs"
    sns_typed "../../../shared/examples/sns_typed.rs"
    sqs "../../../shared/examples/sqs.rs"
    streams "../../../shared/examples/streams.rs"
    table_stream "../../../shared/examples/table_stream.rs"
    webhooks "../../../shared/examples/webhooks.rs"
}
