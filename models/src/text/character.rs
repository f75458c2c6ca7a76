//! Classes of characters, as the patterns of pre-tokenizers name them.

use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};

/// What a pattern sees in a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// `\p{L}`
    Letter,
    /// `\p{N}`
    Number,
    /// `\s`
    Space,
    /// `[^\s\p{L}\p{N}]`
    Other,
}

pub(super) fn class(character: char) -> Class {
    match character {
        'a'..='z' | 'A'..='Z' => Class::Letter,
        '0'..='9' => Class::Number,
        '\0'..='\x7f' => {
            if character.is_whitespace() {
                Class::Space
            } else {
                Class::Other
            }
        }
        _ if character.is_whitespace() => Class::Space,
        _ => {
            let category = category(character);
            if GeneralCategoryGroup::Letter.contains(category) {
                Class::Letter
            } else if GeneralCategoryGroup::Number.contains(category) {
                Class::Number
            } else {
                Class::Other
            }
        }
    }
}

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
pub(super) fn may_begin_word(character: char) -> bool {
    use GeneralCategory::{ModifierLetter, OtherLetter, TitlecaseLetter, UppercaseLetter};
    let category = category(character);
    matches!(category, UppercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter) || is_mark(category)
}

/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
pub(super) fn may_end_word(character: char) -> bool {
    use GeneralCategory::{LowercaseLetter, ModifierLetter, OtherLetter};
    let category = category(character);
    matches!(category, LowercaseLetter | ModifierLetter | OtherLetter) || is_mark(category)
}

fn is_mark(category: GeneralCategory) -> bool {
    GeneralCategoryGroup::Mark.contains(category)
}

fn category(character: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(character)
}
