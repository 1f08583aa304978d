//! Compiles the protocol (pure Rust, no `protoc`) with the table of what its methods need, and the C++ shim over FAISS, and
//! tells the encoder program where libtorch lies.

#[path = "build/rules.rs"]
mod rules;

use std::path::{Path, PathBuf};

const PROTOS: [&str; 15] = [
    "sidereus/v1/objects.proto",
    "sidereus/v1/collection_service.proto",
    "sidereus/v1/object_service.proto",
    "sidereus/v1/search_service.proto",
    "sidereus/v1/maintenance_service.proto",
    "sidereus/v1/discovery_service.proto",
    "sidereus/v1/probe_service.proto",
    "sidereus/v1/bridge_service.proto",
    "sidereus/v1/access_service.proto",
    "sidereus/v1/release_service.proto",
    "sidereus/v1/backup_service.proto",
    "sidereus/v1/flight.proto",
    "sidereus/internal/v1/encoder.proto",
    "sidereus/internal/v1/probe_record.proto",
    "sidereus/internal/v1/bridge_record.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    compile_protocol()?;
    compile_faiss_shim()?;
    link_libtorch();
    Ok(())
}

fn compile_protocol() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(PROTOS)?;
    // Encoded by the compiler itself: options of our own are lost in the types that the generator takes.
    let encoded = compiler.encode_file_descriptor_set();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("rules.rs"), rules::table(&encoded)?)?;
    std::fs::write(out.join("descriptors.bin"), encoded)?;
    let descriptors = compiler.file_descriptor_set();
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

/// Compiles `src/index/faiss/shim.cpp` against the headers of the FAISS that faiss-sys has built: its build script tells
/// where it installed them (`cargo:root`), and cargo hands that on as `DEP_FAISS_C_ROOT`.
fn compile_faiss_shim() -> Result<(), Box<dyn std::error::Error>> {
    const FOLDER: &str = "src/index/faiss";
    println!("cargo:rerun-if-changed={FOLDER}/shim.cpp");
    println!("cargo:rerun-if-changed={FOLDER}/shim.h");
    println!("cargo:rerun-if-env-changed=DEP_FAISS_C_ROOT");
    let root = std::env::var("DEP_FAISS_C_ROOT").map_err(
        |_| "faiss-sys did not tell where it installed FAISS; is its feature `static` on?",
    )?;
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .flag("-fopenmp")
        .flag("-isystem")
        .flag(Path::new(&root).join("include"))
        .file(format!("{FOLDER}/shim.cpp"))
        .try_compile("sidereus_faiss_shim")?;
    Ok(())
}

fn link_libtorch() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        let folder = Path::new(&libtorch).join("lib");
        println!("cargo:rustc-link-arg-bin=sidereus-encoder=-Wl,-rpath,{}", folder.display());
        println!("cargo:rustc-link-arg-bin=sidereus-encoder=-Wl,--disable-new-dtags");
        // No symbol of ours is in it, so the linker would leave it out, and then libtorch sees no GPU.
        let cuda = folder.join("libtorch_cuda.so");
        if cuda.exists() {
            for argument in ["-Wl,--no-as-needed", &cuda.to_string_lossy(), "-Wl,--as-needed"] {
                println!("cargo:rustc-link-arg-bin=sidereus-encoder={argument}");
            }
        }
    }
}
