// Makes the stub out of the proto at every build. PROTOC names the compiler, and PROTOS_GOOGLE where google/rpc lies.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let google = std::env::var("PROTOS_GOOGLE")?;
    tonic_prost_build::configure()
        .build_server(false)
        .include_file("protos.rs")
        .compile_protos(&["../../protos/lockservice/v1/lockservice.proto"], &["../../protos", &google])?;
    Ok(())
}
