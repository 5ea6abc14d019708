//! The bodies of the fuzz targets in `fuzz/`, which replay their corpora here.

pub(crate) mod coalesce;
pub(crate) mod datagrams;
mod flow;
mod input;
pub(crate) mod packets;

#[cfg(test)]
mod replay {
    use std::path::Path;
    use std::{fs, panic};

    /// Runs a target on every file of its corpus, and says which one it fails on.
    fn replay(name: &str, target: impl Fn(&[u8]) + panic::RefUnwindSafe) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        let mut files: Vec<_> = fs::read_dir(corpus.join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "an empty corpus");
        for file in files {
            let data = fs::read(&file).unwrap();
            if let Err(cause) = panic::catch_unwind(|| target(&data)) {
                eprintln!("{} failed", file.display());
                panic::resume_unwind(cause);
            }
        }
    }

    #[test]
    fn datagrams() {
        replay("datagrams", super::datagrams::run);
    }

    #[test]
    fn packets() {
        replay("packets", super::packets::run);
    }

    #[test]
    fn coalesce() {
        replay("coalesce", super::coalesce::run);
    }
}
