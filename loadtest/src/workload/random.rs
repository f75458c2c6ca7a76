//! Everything random in a workload: from one seed, so that the same flags give the same requests.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Common English words, each with its space about a token of the usual vocabularies.
const WORDS: &str = "\
    able about above across act add afraid after again against age ago agree air all allow almost alone along already \
    also always among and animal answer any appear apple area arm around arrive art ask away baby back bad ball bank \
    base be beautiful because become bed before begin behind believe below best better between big bird black blue \
    board boat body book both bottom box boy bread break bridge bright bring brother brown build busy but buy by call \
    came can car care carry case cat catch cause center chair chance change check child choose church circle city class \
    clean clear climb clock close cloth cloud coast cold color come common complete consider contain cook cool copy \
    corn corner correct cost could count country course cover cross crowd cry cup current cut dance dark day dead deal \
    dear decide deep degree depend design develop die differ direct divide do doctor dog door double down draw dream \
    dress drink drive drop dry during each early earth ease east eat edge effect egg eight either end energy enough \
    enter equal even evening event ever every exact example eye face fact fair fall family famous far farm fast father \
    favor fear feed feel few field fight fill final find fine finger finish fire first fish five flat floor flow flower \
    fly follow food foot force forest form forward four free fresh friend from front fruit full game garden gather gave \
    general gentle get girl give glad glass go gold good govern grand grass gray great green ground group grow guess \
    guide half hand happen happy hard has hat have he head hear heart heat heavy help here high hill history hold home \
    hope horse hot hour house how huge human hundred hunt hurry ice idea if imagine in inch include industry interest \
    iron island it job join joy jump just keep key kill kind king knew know lady lake land language large last late";

/// What a stream of random numbers is for. Streams of different use never meet.
#[derive(Clone, Copy, Debug)]
pub enum Use {
    Values = 1,
    Prompt,
    Prefix,
    Block,
}

/// The numbers for the request, group or block of this index, in this run. What is the same in all runs is of the first, 0.
pub fn rng(seed: u64, of: Use, run: u64, index: u64) -> StdRng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(of as u64).to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    key[24..].copy_from_slice(&run.to_le_bytes());
    StdRng::from_seed(key)
}

/// Draws words.
#[derive(Clone, Debug)]
pub struct Words {
    all: Vec<&'static str>,
}

impl Words {
    pub fn new() -> Words {
        Words { all: WORDS.split_whitespace().collect() }
    }

    /// Appends `count` words, with a space before each but the first of a text.
    pub fn push(&self, text: &mut String, rng: &mut StdRng, count: usize) {
        for _ in 0..count {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(self.all[rng.random_range(0..self.all.len())]);
        }
    }
}

impl Default for Words {
    fn default() -> Words {
        Words::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(seed: u64, of: Use, run: u64, index: u64, count: usize) -> String {
        let mut text = String::new();
        Words::new().push(&mut text, &mut rng(seed, of, run, index), count);
        text
    }

    #[test]
    fn the_same_seed_gives_the_same_words_and_any_other_gives_others() {
        let text = words(1, Use::Prompt, 0, 0, 40);
        assert_eq!(text.split(' ').count(), 40);
        assert_eq!(text, words(1, Use::Prompt, 0, 0, 40));
        for (seed, of, run, index) in
            [(2, Use::Prompt, 0, 0), (1, Use::Prefix, 0, 0), (1, Use::Prompt, 1, 0), (1, Use::Prompt, 0, 1)]
        {
            assert_ne!(text, words(seed, of, run, index, 40), "{of:?} {run} {index}");
        }
    }

    #[test]
    fn a_longer_draw_begins_as_a_shorter_one() {
        assert!(words(1, Use::Block, 0, 7, 512).starts_with(&words(1, Use::Block, 0, 7, 100)));
    }
}
