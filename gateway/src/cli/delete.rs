//! `weirgate delete`.

use std::path::PathBuf;

use clap::Args;
use weirgate_deploy::control::Named;
use weirgate_deploy_core::load;

use super::args::{NamespaceArgs, ServerArgs};
use super::validate::refused_lines;
use super::{Wrong, files, print};
use crate::admin::wire::service_path;

#[derive(Args, Clone, Debug)]
pub struct Delete {
    /// Name of the service, as NAME or isvc/NAME
    #[arg(value_name = "NAME", required_unless_present = "files", conflicts_with = "files")]
    name: Vec<String>,

    /// Manifest or folder whose services go; may be given several times
    #[arg(short = 'f', long = "file", value_name = "PATH", num_args = 1..)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    namespace: NamespaceArgs,

    #[command(flatten)]
    server: ServerArgs,
}

impl Delete {
    pub fn run(&self) -> Result<(), Wrong> {
        let services =
            if self.files.is_empty() { vec![self.namespace.one(&self.name)?] } else { self.named_in_files()? };
        let client = self.server.client()?;
        let mut failed = Vec::new();
        for named in services {
            match client.delete(&service_path(&named)).map_err(Wrong::from) {
                Ok(_) => print(&format!("inferenceservice.serving.kserve.io \"{}\" deleted\n", named.name)),
                Err(Wrong::Failed(lines)) => failed.extend(lines),
                Err(usage) => return Err(usage),
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(Wrong::Failed(failed)) }
    }

    fn named_in_files(&self) -> Result<Vec<Named>, Wrong> {
        let mut services = Vec::new();
        for document in files::read(&self.files)? {
            let loaded = load(&document.text, &document.origin, &document.base);
            if let Some(lines) = refused_lines(&loaded.problems) {
                return Err(Wrong::Failed(lines));
            }
            services.extend(loaded.services.into_iter().map(|service| {
                let metadata = &service.service.metadata;
                Named { namespace: metadata.namespace().to_owned(), name: metadata.name.clone() }
            }));
        }
        Ok(services)
    }
}
