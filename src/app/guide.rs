//! The guide, `docs/guide`, as pages for the browser; it is embedded in the program.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};
use pulldown_latex::{RenderConfig, Storage, config::DisplayMode, mathml::push_mathml};

use super::Panel;
use crate::files::{Existing, Unfinished};

/// The guide, and what its pages link to.
static DOCS: Dir = include_dir!("$CARGO_MANIFEST_DIR/docs");

/// The page on what a panel shows.
pub fn page(panel: Panel) -> &'static str {
    match panel {
        Panel::Draw => "07-convolution",
        Panel::Inside => "10-inside",
        Panel::Dream => "09-gan",
        Panel::Train => "03-learning",
    }
}

/// The file that says which guide a folder holds; it is written once that is complete.
const STAMP: &str = "guide.stamp";

/// Writes the guide into a folder as HTML, unless it is there already, and says where the page is.
///
/// # Errors
/// The system's error, with the path.
pub fn write(folder: &Path, page: &str) -> Result<PathBuf, String> {
    let page = folder.join("guide").join(page).with_extension("html");
    let (stamp, of_folder) = (stamp(), folder.join(STAMP));
    let is_there = std::fs::read_to_string(&of_folder).is_ok_and(|found| found == stamp);
    if !is_there || !page.is_file() {
        write_dir(&DOCS, folder)?;
        write_soon(&of_folder, stamp.as_bytes()).map_err(|error| format!("{}: {error}", of_folder.display()))?;
    }
    Ok(page)
}

/// The program's version, and a hash of the guide.
fn stamp() -> String {
    fn hash(dir: &Dir, hasher: &mut DefaultHasher) {
        for file in dir.files() {
            (file.path(), file.contents()).hash(hasher);
        }
        dir.dirs().for_each(|dir| hash(dir, hasher));
    }
    let mut hasher = DefaultHasher::new();
    hash(&DOCS, &mut hasher);
    format!("{} {:016x}", env!("CARGO_PKG_VERSION"), hasher.finish())
}

/// Does not wait for the disk: what is lost when the machine fails is written again.
fn write_soon(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = Unfinished::create(path)?;
    file.write_all(bytes)?;
    file.finish_soon(Existing::Replace)
}

/// A file's URL for a browser.
pub fn url(page: &Path) -> String {
    let mut url = String::from(if cfg!(windows) { "file:///" } else { "file://" });
    for byte in page.as_os_str().as_encoded_bytes() {
        match byte {
            b'\\' if cfg!(windows) => url.push('/'),
            plain if plain.is_ascii_alphanumeric() || b"-._~/:".contains(plain) => url.push(char::from(*plain)),
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}

fn write_dir(dir: &Dir, folder: &Path) -> Result<(), String> {
    for file in dir.files() {
        let path = folder.join(file.path());
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
        match (file.path().extension().and_then(|ending| ending.to_str()), file.contents_utf8()) {
            (Some("md"), Some(text)) => {
                let html = page_of(text);
                write_soon(&path.with_extension("html"), html.as_bytes()).map_err(failed)?;
            }
            _ => write_soon(&path, file.contents()).map_err(failed)?,
        }
    }
    dir.dirs().try_for_each(|dir| write_dir(dir, folder))
}

const STYLE: &str = "body{max-width:46rem;margin:2rem auto;padding:0 1rem;font:17px/1.55 system-ui,sans-serif;\
    color:#222;background:#fff}img{max-width:100%}pre{background:#8881;padding:.7rem;overflow-x:auto;border-radius:4px}\
    code{font-size:.92em}table{border-collapse:collapse}td,th{border:1px solid #8886;padding:.25rem .6rem}\
    math[display=block]{margin:1rem 0;font-size:1.1em}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}a{color:#8bf}}";

/// Converts a page of Markdown with formulas to HTML with MathML.
fn page_of(markdown: &str) -> String {
    let title = markdown.lines().next().unwrap_or("").trim_start_matches(['#', ' ']);
    let options = Options::ENABLE_TABLES | Options::ENABLE_MATH;
    let events = Parser::new_ext(markdown, options).map(|event| match event {
        Event::InlineMath(formula) => Event::InlineHtml(math(&formula, DisplayMode::Inline).into()),
        Event::DisplayMath(formula) => Event::InlineHtml(math(&formula, DisplayMode::Block).into()),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = CowStr::from(dest_url.replace(".md", ".html"));
            Event::Start(Tag::Link { link_type, dest_url, title, id })
        }
        other => other,
    });
    let mut body = String::new();
    html::push_html(&mut body, events);
    let head = format!("<meta charset=\"utf-8\"><title>{title} - inkgrad</title><style>{STYLE}</style>");
    format!("<!doctype html><html lang=\"en\"><head>{head}</head><body>{body}</body></html>\n")
}

fn math(formula: &str, display_mode: DisplayMode) -> String {
    let (storage, mut out) = (Storage::new(), String::new());
    let parser = pulldown_latex::Parser::new(formula, &storage);
    let config = RenderConfig { display_mode, ..RenderConfig::default() };
    match push_mathml(&mut out, parser, config) {
        Ok(()) => out,
        Err(_) => format!("<code>{}</code>", formula.replace('&', "&amp;").replace('<', "&lt;")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_written_with_its_pictures_and_its_formulas_are_understood() {
        let folder = tempfile::tempdir().unwrap();
        let index = write(folder.path(), "README").unwrap();
        assert!(std::fs::read_to_string(&index).unwrap().contains("01-perceptron.html"));
        let guide = index.parent().unwrap();
        let mut formulas = 0;
        for file in std::fs::read_dir(guide).unwrap().flatten().map(|entry| entry.path()) {
            if file.extension().is_none_or(|ending| ending != "html") {
                continue;
            }
            let html = std::fs::read_to_string(&file).unwrap();
            formulas += html.matches("<math").count();
            let name = file.display();
            assert!(!html.contains("$$"), "{name}");
            // The formula parser reports in the page what it does not know.
            assert!(!html.contains("merror"), "{name}");
            for picture in html.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(guide.join(picture).is_file(), "{name}: {picture}");
            }
        }
        assert!(formulas > 10, "{formulas}");
    }

    #[test]
    fn the_guide_is_written_once_and_again_where_another_one_or_a_part_of_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let index = write(folder.path(), "README").unwrap();
        let whole = std::fs::read(&index).unwrap();
        std::fs::write(&index, "mine").unwrap();
        write(folder.path(), "README").unwrap();
        assert_eq!(std::fs::read(&index).unwrap(), b"mine", "it is there already");
        std::fs::write(folder.path().join(STAMP), "0.0.0").unwrap();
        write(folder.path(), "README").unwrap();
        assert_eq!(std::fs::read(&index).unwrap(), whole);
        std::fs::remove_file(&index).unwrap();
        write(folder.path(), "README").unwrap();
        assert_eq!(std::fs::read(&index).unwrap(), whole);
    }

    #[cfg(unix)]
    #[test]
    fn whatever_a_folder_is_called_the_browser_finds_it() {
        let page = Path::new("/home/me & you/50%/#1/\u{e4}?.html");
        assert_eq!(url(page), "file:///home/me%20%26%20you/50%25/%231/%C3%A4%3F.html");
    }

    #[test]
    fn every_panel_has_its_page() {
        for panel in [Panel::Draw, Panel::Inside, Panel::Dream, Panel::Train] {
            assert!(DOCS.get_file(format!("guide/{}.md", page(panel))).is_some(), "{panel:?}");
        }
    }
}
