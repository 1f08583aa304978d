//! Compiles the protocol (pure Rust, no `protoc`) and the C++ shim over FAISS, and tells the encoder program
//! where libtorch lies.

use std::path::{Path, PathBuf};

const PROTOS: [&str; 6] = [
    "sidereus/v1/objects.proto",
    "sidereus/v1/collection_service.proto",
    "sidereus/v1/object_service.proto",
    "sidereus/v1/search_service.proto",
    "sidereus/v1/maintenance_service.proto",
    "sidereus/internal/v1/encoder.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    compile_protocol()?;
    link_libtorch();
    Ok(())
}

fn compile_protocol() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), protox::prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

fn link_libtorch() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        let folder = Path::new(&libtorch).join("lib");
        println!("cargo:rustc-link-arg-bin=sidereus-encoder=-Wl,-rpath,{}", folder.display());
        println!("cargo:rustc-link-arg-bin=sidereus-encoder=-Wl,--disable-new-dtags");
    }
}
