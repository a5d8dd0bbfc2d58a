//! The guide, `docs/guide`, as pages for the browser: they travel with the program.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};
use pulldown_latex::{RenderConfig, Storage, config::DisplayMode, mathml::push_mathml};

use super::Panel;
use crate::files::write_whole;

/// With what its pages link to.
static DOCS: Dir = include_dir!("$CARGO_MANIFEST_DIR/docs");

/// The page for what a panel shows.
pub fn page(panel: Panel) -> &'static str {
    match panel {
        Panel::Draw => "07-convolution",
        Panel::Inside => "10-inside",
        Panel::Dream => "09-gan",
        Panel::Train => "03-learning",
    }
}

/// Writes the guide into a folder as HTML, and says where the page is.
///
/// # Errors
/// What the system says, with the path.
pub fn write(folder: &Path, page: &str) -> Result<PathBuf, String> {
    write_dir(&DOCS, folder)?;
    Ok(folder.join("guide").join(page).with_extension("html"))
}

fn write_dir(dir: &Dir, folder: &Path) -> Result<(), String> {
    for file in dir.files() {
        let path = folder.join(file.path());
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
        match (file.path().extension().and_then(|ending| ending.to_str()), file.contents_utf8()) {
            (Some("md"), Some(text)) => {
                let html = page_of(text);
                write_whole(&path.with_extension("html"), html.as_bytes()).map_err(failed)?;
            }
            _ => write_whole(&path, file.contents()).map_err(failed)?,
        }
    }
    dir.dirs().try_for_each(|dir| write_dir(dir, folder))
}

const STYLE: &str = "body{max-width:46rem;margin:2rem auto;padding:0 1rem;font:17px/1.55 system-ui,sans-serif;\
    color:#222;background:#fff}img{max-width:100%}pre{background:#8881;padding:.7rem;overflow-x:auto;border-radius:4px}\
    code{font-size:.92em}table{border-collapse:collapse}td,th{border:1px solid #8886;padding:.25rem .6rem}\
    math[display=block]{margin:1rem 0;font-size:1.1em}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}a{color:#8bf}}";

/// A page of Markdown with formulas as HTML with MathML.
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
            // What the formulas' parser does not know it says in the page.
            assert!(!html.contains("merror"), "{name}");
            for picture in html.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(guide.join(picture).is_file(), "{name}: {picture}");
            }
        }
        assert!(formulas > 10, "{formulas}");
    }

    #[test]
    fn every_panel_has_its_page() {
        for panel in [Panel::Draw, Panel::Inside, Panel::Dream, Panel::Train] {
            assert!(DOCS.get_file(format!("guide/{}.md", page(panel))).is_some(), "{panel:?}");
        }
    }
}
