//! The fuzz targets, run over their seeds: `make fuzz` goes on from there.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use weirgate_tests::environment::workspace;

#[test]
fn every_target_accepts_its_seeds_and_holds_for_them() {
    for (name, target) in targets::TARGETS {
        let folder = workspace().join("tests/fuzz/seeds").join(name);
        let seeds = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for seed in seeds {
            let path = seed.expect("the folder can be read").path();
            println!("{}", path.display());
            let bytes = std::fs::read(&path).expect("a seed can be read");
            assert!(target(&bytes), "{} is refused", path.display());
            // Cut off and spoilt, it is as good a call to refuse.
            target(&bytes[..bytes.len() / 2]);
            target(&bytes.iter().map(|byte| byte ^ 0x20).collect::<Vec<_>>());
            count += 1;
        }
        assert!(count > 1, "{name} has {count} seeds");
    }
}
