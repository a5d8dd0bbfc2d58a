//! The system's fonts, for characters that the program's own lack: classes may be called 零 or あ.

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use ab_glyph::{Font, FontRef, GlyphId, VariableFont};
use fontique::{
    Collection, CollectionOptions, FallbackKey, GenericFamily, Language, QueryFamily, QueryFont, QueryStatus, Script,
    SourceCache,
};
use unicode_script::UnicodeScript;

/// One of a font's faces. It stays loaded: a system has few that a program needs.
pub(crate) struct SystemFont {
    pub face: FontRef<'static>,
    /// Its file, where it is in there, and its weight if the file has all weights.
    #[cfg(feature = "app")]
    pub source: QueryFont,
}

/// Languages to look for a character in, after the system's own choice: a Japanese font may lack Chinese characters, which
/// are of the same script.
const LANGUAGES: [&str; 4] = ["zh-SG", "zh-TW", "ja", "ko"];
/// Where letters are looked for before their script's own fonts.
const OF_LETTERS: [GenericFamily; 2] = [GenericFamily::SansSerif, GenericFamily::SystemUi];
/// Arrows and other signs that scripts share are in no script's own fonts.
const OF_SIGNS: [GenericFamily; 6] = [
    GenericFamily::SansSerif,
    GenericFamily::SystemUi,
    GenericFamily::Math,
    GenericFamily::Serif,
    GenericFamily::Monospace,
    GenericFamily::Emoji,
];

struct System {
    fonts: Collection,
    files: SourceCache,
    /// By the file's identity and the face's index in it.
    faces: HashMap<(u64, u32), Option<&'static SystemFont>>,
}

/// The system is asked for its fonts, which takes some ten milliseconds, when the first character is looked for.
static SYSTEM: LazyLock<Mutex<System>> =
    LazyLock::new(|| Mutex::new(System::new(Collection::new(CollectionOptions { shared: false, system_fonts: true }))));
/// Apart from the system, so that what is known never waits for a search.
static KNOWN: Mutex<BTreeMap<char, Option<&'static SystemFont>>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A font of the system that draws a character, if there is one.
pub(crate) fn with_character(c: char) -> Option<&'static SystemFont> {
    if let Some(font) = known(c) {
        return font;
    }
    let font = lock(&SYSTEM).find(c);
    lock(&KNOWN).insert(c, font);
    font
}

/// What [`with_character`] has answered, if it was asked before.
pub(crate) fn known(c: char) -> Option<Option<&'static SystemFont>> {
    lock(&KNOWN).get(&c).copied()
}

impl System {
    fn new(fonts: Collection) -> System {
        System { fonts, files: SourceCache::default(), faces: HashMap::new() }
    }

    fn find(&mut self, c: char) -> Option<&'static SystemFont> {
        use unicode_script::Script::{Common, Inherited, Unknown};
        let System { fonts, files, faces } = self;
        let families = if matches!(c.script(), Common | Inherited | Unknown) { &OF_SIGNS[..] } else { &OF_LETTERS };
        let script = c.script().short_name().as_bytes().try_into().ok().map(Script::from_bytes)?;
        let languages = LANGUAGES.iter().filter_map(|language| Language::parse(language).ok()).map(Some);
        [None].into_iter().chain(languages).find_map(|language| {
            let mut query = fonts.query(files);
            query.set_families(families.iter().copied().map(QueryFamily::Generic));
            query.set_fallbacks(FallbackKey::new(script, language.as_ref()));
            let mut found = None;
            query.matches_with(|font| {
                found = *faces.entry((font.blob.id(), font.index)).or_insert_with(|| opened(font));
                found = found.filter(|font| draws(&font.face, c));
                if found.is_some() { QueryStatus::Stop } else { QueryStatus::Continue }
            });
            found
        })
    }
}

fn opened(font: &QueryFont) -> Option<&'static SystemFont> {
    let file = &*Box::leak(Box::new(font.blob.clone()));
    let mut face = FontRef::try_from_slice_and_index(file.as_ref(), font.index).ok()?;
    // A file of all weights is as thin as can be where none is chosen.
    for (axis, value) in font.synthesis.variation_settings() {
        face.set_variation(&axis.to_be_bytes(), *value);
    }
    Some(Box::leak(Box::new(SystemFont {
        face,
        #[cfg(feature = "app")]
        source: font.clone(),
    })))
}

/// Whether a face has a character's outline. Those of emoji may have a coloured picture instead.
fn draws(face: &FontRef, c: char) -> bool {
    let id = face.glyph_id(c);
    id != GlyphId(0) && (c.is_whitespace() || face.outline(id).is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fontique::Blob;

    use super::*;

    /// A system with some files as its fonts.
    fn system(files: &[&'static [u8]]) -> System {
        let mut fonts = Collection::new(CollectionOptions { shared: false, system_fonts: false });
        for file in files {
            let families = fonts.register_fonts(Blob::new(Arc::new(*file)), None);
            fonts.append_generic_families(GenericFamily::SansSerif, families.into_iter().map(|(family, _)| family));
        }
        System::new(fonts)
    }

    const FILE: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/DejaVuSans-subset.ttf"));

    #[test]
    fn a_font_is_found_for_the_characters_that_it_draws_and_for_no_others() {
        let mut system = system(&[FILE]);
        for c in ['a', '7', 'é', '…'] {
            let font = system.find(c).unwrap_or_else(|| panic!("{c} was not found"));
            assert!(draws(&font.face, c), "{c}");
        }
        for c in ['零', 'あ', '\u{10fffd}'] {
            assert!(system.find(c).is_none(), "{c}");
        }
    }

    #[test]
    fn a_font_is_opened_once_for_all_its_characters() {
        let mut system = system(&[FILE]);
        let [a, b] = ['a', 'b'].map(|c| system.find(c).unwrap());
        assert!(std::ptr::eq(a, b));
    }

    #[test]
    fn a_system_without_fonts_draws_no_character() {
        let mut system = system(&[]);
        assert!(['a', '零', '→'].into_iter().all(|c| system.find(c).is_none()));
    }

    #[test]
    fn what_was_looked_for_is_known_afterwards_also_if_it_was_not_found() {
        // The first of the last plane's characters, which mean nothing.
        let c = '\u{100000}';
        assert!(known(c).is_none());
        let found = with_character(c).is_some();
        assert_eq!(known(c).map(|font| font.is_some()), Some(found));
    }
}
