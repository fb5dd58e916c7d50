//! later
#[derive(Debug, clap::Args)]
pub struct Args {}
pub fn run(_: &Args, _: &std::path::Path) -> anyhow::Result<std::process::ExitCode> {
    Ok(std::process::ExitCode::SUCCESS)
}
