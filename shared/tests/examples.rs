//! The examples run, each as its `main` does: they assert what they show. One program, so that they link once.

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
    alb "../examples/alb.rs"
    axum "../examples/axum.rs"
    external_records "../examples/external_records.rs"
    fifo "../examples/fifo.rs"
    follow_up "../examples/follow_up.rs"
    function "../examples/function.rs"
    function_url "../examples/function_url.rs"
    http "../examples/http.rs"
    kinesis "../examples/kinesis.rs"
    powertools "../examples/powertools.rs"
    resolver "../examples/resolver.rs"
    rest_api "../examples/rest_api.rs"
    sns_typed "../examples/sns_typed.rs"
    sqs "../examples/sqs.rs"
    streams "../examples/streams.rs"
    table_stream "../examples/table_stream.rs"
    webhooks "../examples/webhooks.rs"
}
