//! The system's fonts, for characters that the font in `assets/` lacks: classes may be called 零 or あ.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use ab_glyph::{Font, FontRef, GlyphId};
use fontique::{
    Collection, CollectionOptions, FallbackKey, GenericFamily, Language, QueryFamily, QueryFont, QueryStatus, Script,
    SourceCache,
};
use unicode_script::UnicodeScript;

/// One of a font's faces. It stays loaded: a system has few that a program needs.
pub(super) type Face = &'static FontRef<'static>;

/// Languages to look for a character in, after the system's own choice: a Japanese font may lack Chinese characters, which
/// are of the same script.
const LANGUAGES: [&str; 4] = ["zh-SG", "zh-TW", "ja", "ko"];

struct System {
    fonts: Collection,
    files: SourceCache,
    /// By the file's identity and the face's index in it.
    faces: HashMap<(u64, u32), Option<Face>>,
    by_character: HashMap<char, Option<Face>>,
}

/// The system is asked for its fonts, which takes some ten milliseconds, when the first character is looked for.
static SYSTEM: LazyLock<Mutex<System>> = LazyLock::new(|| {
    let fonts = Collection::new(CollectionOptions { shared: false, system_fonts: true });
    Mutex::new(System { fonts, files: SourceCache::default(), faces: HashMap::new(), by_character: HashMap::new() })
});

/// A face of the system that draws a character, if there is one.
pub(super) fn face_with(c: char) -> Option<Face> {
    let mut system = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = system.by_character.get(&c) {
        return *known;
    }
    let face = system.find(c);
    system.by_character.insert(c, face);
    face
}

impl System {
    fn find(&mut self, c: char) -> Option<Face> {
        let System { fonts, files, faces, .. } = self;
        let script = c.script().short_name().as_bytes().try_into().ok().map(Script::from_bytes)?;
        let languages = LANGUAGES.iter().filter_map(|language| Language::parse(language).ok()).map(Some);
        [None].into_iter().chain(languages).find_map(|language| {
            let mut query = fonts.query(files);
            query.set_families([GenericFamily::SansSerif, GenericFamily::SystemUi].map(QueryFamily::Generic));
            query.set_fallbacks(FallbackKey::new(script, language.as_ref()));
            let mut found = None;
            query.matches_with(|font| {
                found = *faces.entry((font.blob.id(), font.index)).or_insert_with(|| opened(font));
                found = found.filter(|face| draws(face, c));
                if found.is_some() { QueryStatus::Stop } else { QueryStatus::Continue }
            });
            found
        })
    }
}

fn opened(font: &QueryFont) -> Option<Face> {
    let file = &*Box::leak(Box::new(font.blob.clone()));
    FontRef::try_from_slice_and_index(file.as_ref(), font.index).ok().map(|face| &*Box::leak(Box::new(face)))
}

/// Whether a face has a character's outline. Those of emoji may have a coloured picture instead.
fn draws(face: &FontRef, c: char) -> bool {
    let id = face.glyph_id(c);
    id != GlyphId(0) && (c.is_whitespace() || face.outline(id).is_some())
}
