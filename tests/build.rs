//! With `SOAK_ALL`, as in the gate, no test is ignored because it takes long for a person who waits.

fn main() {
    println!("cargo:rerun-if-env-changed=SOAK_ALL");
    println!("cargo:rustc-check-cfg=cfg(soak_all)");
    if std::env::var_os("SOAK_ALL").is_some() {
        println!("cargo:rustc-cfg=soak_all");
    }
}
