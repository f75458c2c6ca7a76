//! What the server shares with the test, in a folder.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use weirgate_tests::behaviour::Behaviour;

pub struct Shared {
    folder: PathBuf,
    pub name: String,
}

impl Shared {
    pub fn from_environment() -> Shared {
        let folder = PathBuf::from(std::env::var_os("UPSTREAM_FOLDER").expect("UPSTREAM_FOLDER is set"));
        let name = std::env::var("UPSTREAM_NAME").unwrap_or_else(|_| std::process::id().to_string());
        Shared { folder, name }
    }

    pub fn behaviour(&self) -> Behaviour {
        let read = |name: &str| std::fs::read_to_string(self.folder.join(name)).ok();
        let text = read(&format!("behaviour.{}", self.name)).or_else(|| read("behaviour"));
        text.map_or(Behaviour::Answer, |text| text.parse().unwrap())
    }

    /// Adds a line to a file, with this server's name behind it: one write, which no death of this process cuts in two.
    pub fn note(&self, file: &str, what: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.folder.join(file)).unwrap();
        file.write_all(format!("{what} {}\n", self.name).as_bytes()).unwrap();
    }

    /// Whether a file is there.
    pub fn has(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }
}
