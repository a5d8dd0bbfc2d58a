//! An architecture as text: a short TOML file of layers in order, and the recipe it is trained by.
//!
//! Reading checks everything that needs no data: words, sizes, names. Whatever depends on the image and on the number
//! of classes is checked by [`Architecture::declare`](super::Architecture::declare).

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{At, ModelError};
use super::layer::{Kind, Layer, Units};
use super::reader::{Fields, MAX_NAME, Source};
use super::recipe::Recipe;
use crate::words::quoted;

pub const MAX_LAYERS: usize = 1_000;
/// A longer text is not read.
pub const MAX_TEXT: usize = 1 << 20;

#[derive(Clone, PartialEq, Debug)]
pub struct Architecture {
    pub name: String,
    /// One line on what it is; may be empty.
    pub about: String,
    /// Height, width and channels of the images it is for; `None` takes what the data has.
    pub input: Option<[usize; 3]>,
    pub layers: Vec<Layer>,
    pub recipe: Recipe,
    /// Whether it is one of a GAN's networks, whose layers may take the label.
    pub conditional: bool,
    pub(super) input_at: At,
    pub(super) text: String,
    pub(super) file: String,
}

impl Architecture {
    /// Reads an architecture; errors refer to it as `file`.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] with the line, for TOML that does not parse, unknown keys, values out of
    /// range, layers that name what is not there, and layers that nothing uses.
    pub fn parse(text: &str, file: &str) -> Result<Architecture, ModelError> {
        Architecture::parse_named(text, file, file)
    }

    /// The same; if the text gives no name, it is made of `name` as it otherwise is of the file's.
    pub(super) fn parse_named(text: &str, file: &str, name: &str) -> Result<Architecture, ModelError> {
        let source = Source { file, text };
        if text.len() > MAX_TEXT {
            let problem = format!("is too long for an architecture, which has at most {MAX_TEXT} bytes");
            return Err(source.error(None, None, problem));
        }
        let table = source.parse()?;
        if let Some((part, value)) = find_gan(&table) {
            let line = Some(source.line(value.span()));
            let problem = "is a GAN, where a network with `layers` of its own is expected";
            return Err(source.error(line, Some(format!("[{part}]")), problem));
        }
        let sub_table = |key: &'static str| sub_table(source, &table, key);

        let mut fields = Fields::new(source, None, 1, &table);
        let name = fields.name("name")?.unwrap_or_else(|| name_of(name));
        let about = fields.text("about")?.unwrap_or_default();
        fields.known(&["input", "layers", "recipe"]);
        fields.finish()?;

        let mut input = None;
        let mut input_at = At { file: file.into(), ..At::default() };
        if let Some(mut fields) = sub_table("input")? {
            input_at = At { line: Some(fields.line), part: Some("[input]".into()), ..input_at };
            let sizes = [fields.size("height")?, fields.size("width")?, fields.size("channels")?];
            let [Some(height), Some(width), channels] = sizes else {
                return Err(fields.error("needs `height` and `width` (and `channels`, else 1)"));
            };
            fields.finish()?;
            input = Some([height, width, channels.unwrap_or(1)]);
        }
        let recipe = sub_table("recipe")?.map(Recipe::read).transpose()?.unwrap_or_default();

        let layers = find(&table, "layers").ok_or_else(|| {
            source.error(None, None, "there is no `layers = [ ... ]`; it must stand above [input] and [recipe]")
        })?;
        let layers = read_layers(source, layers)?;
        check_names(&layers, &[INPUT])?;
        let (text, file) = (text.into(), file.into());
        Ok(Architecture { name, about, input, layers, recipe, conditional: false, input_at, text, file })
    }

    /// Drops the line numbers: for a built-in architecture, which was parsed under its name.
    pub(super) fn without_lines(mut self) -> Architecture {
        let places = self.layers.iter_mut().map(|layer| &mut layer.at);
        places.chain([&mut self.input_at]).for_each(|at| at.line = None);
        self
    }

    /// An architecture of layers that do not come from a text. A text is written for them and read back, so that
    /// everything that [`Architecture::parse`] checks holds here too.
    ///
    /// # Errors
    /// Those of [`Architecture::parse`].
    pub fn from_layers(name: &str, about: &str, layers: Vec<Layer>) -> Result<Architecture, ModelError> {
        let written = Architecture {
            name: name_of(name),
            about: about.into(),
            input: None,
            layers,
            recipe: Recipe::default(),
            conditional: false,
            input_at: At::default(),
            text: String::new(),
            file: name.into(),
        };
        Architecture::parse(&written.to_toml(), name)
    }

    /// One of a GAN's two networks, from its table: reads `layers` alone, since the other keys are read elsewhere.
    pub(super) fn part(source: Source, name: &str, fields: &Fields) -> Result<Architecture, ModelError> {
        let layers = find(fields.table(), "layers")
            .ok_or_else(|| fields.error("there is no `layers = [ ... ]`; it must stand above the next table"))?;
        let layers = read_layers(source, layers)?;
        check_names(&layers, &[INPUT, LABEL])?;
        let file = source.file.to_string();
        Ok(Architecture {
            name: name.into(),
            about: String::new(),
            input: None,
            layers,
            recipe: Recipe::default(),
            conditional: true,
            input_at: At { file: file.clone(), ..At::default() },
            text: String::new(),
            file,
        })
    }

    /// The text it was read from, or an equivalent one; what model files store.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a layer asks for as many units as there are classes, so that it cannot be declared without a number of
    /// classes.
    pub fn is_classifier(&self) -> bool {
        self.layers.iter().any(|layer| matches!(layer.kind, Kind::Dense { units: Units::Classes, .. }))
    }

    /// This architecture behind `front`: the front's layers come first and decide the input, the rest stays.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] if both give a layer the same name, or have too many layers together.
    pub fn with_front(&self, front: &Architecture) -> Result<Architecture, ModelError> {
        let mut layers = front.layers.clone();
        let mut rest = self.layers.clone();
        // What this architecture calls its input is now the front's last layer.
        if rest.iter().any(|layer| layer.sources().contains(&INPUT)) {
            let free = |name: &String| !layers.iter().chain(&rest).any(|layer| layer.name.as_ref() == Some(name));
            let unused = (0..).map(|i| format!("front{i}")).find(free);
            let last = layers.last_mut().and_then(|last| {
                last.name = last.name.take().or(unused);
                last.name.clone()
            });
            let renamed = |name: &mut String| match &last {
                Some(last) if name == INPUT => name.clone_from(last),
                _ => {}
            };
            rest.iter_mut().for_each(|layer| layer.sources_mut().for_each(renamed));
        }
        layers.extend(rest);
        if layers.len() > MAX_LAYERS {
            let at = At { file: self.file.clone(), ..At::default() };
            let problem = format!("behind {} it has {} layers; {MAX_LAYERS} is the most", front.file, layers.len());
            return Err(ModelError::Architecture { at, problem });
        }
        check_names(&layers, &[INPUT])?;
        let joined = Architecture {
            name: format!("{}-{}", front.name, self.name).chars().take(MAX_NAME).collect(),
            about: format!("{} behind {}", self.name, front.name),
            input: front.input,
            layers,
            recipe: self.recipe.clone(),
            conditional: false,
            input_at: front.input_at.clone(),
            text: String::new(),
            file: self.file.clone(),
        };
        Ok(Architecture { text: joined.to_toml(), ..joined })
    }

    pub(super) fn layers_toml(&self) -> String {
        let lines: String = self.layers.iter().map(|layer| format!("  {},\n", layer.to_toml())).collect();
        format!("layers = [\n{lines}]\n")
    }

    fn to_toml(&self) -> String {
        let about = toml::Value::from(self.about.as_str());
        let mut text = format!("name = \"{}\"\nabout = {about}\n\n{}", self.name, self.layers_toml());
        if let Some([height, width, channels]) = self.input {
            text += &format!("\n[input]\nheight = {height}\nwidth = {width}\nchannels = {channels}\n");
        }
        let recipe = self.recipe.to_string();
        if !recipe.is_empty() {
            text += &format!("\n[recipe]\n{recipe}");
        }
        text
    }
}

/// A name for an architecture that has none: that of its file, without characters that a name may not have.
pub(super) fn name_of(file: &str) -> String {
    let stem = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
    let letter = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || *c == '-';
    let name: String = stem.chars().filter(letter).take(MAX_NAME).collect();
    if name.is_empty() { "model".into() } else { name }
}

/// The name by which layers take the network's input.
pub const INPUT: &str = "input";
/// The name by which a GAN's layers take the label: one number per class, 1 for the label's own class and 0 for the
/// others.
pub const LABEL: &str = "label";
/// The tables either of which makes a text a GAN.
pub(super) const GENERATOR: &str = "generator";
pub(super) const DISCRIMINATOR: &str = "discriminator";

fn find<'a>(table: &'a DeTable<'a>, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
}

/// The table that makes a text a GAN, and its name.
pub(super) fn find_gan<'a>(table: &'a DeTable<'a>) -> Option<(&'static str, &'a Spanned<DeValue<'a>>)> {
    [GENERATOR, DISCRIMINATOR].into_iter().find_map(|part| Some((part, find(table, part)?)))
}

pub(super) fn sub_table<'a>(
    source: Source<'a>,
    table: &'a DeTable<'a>,
    key: &'static str,
) -> Result<Option<Fields<'a>>, ModelError> {
    let Some(value) = find(table, key) else { return Ok(None) };
    let line = source.line(value.span());
    match value.get_ref() {
        DeValue::Table(table) => Ok(Some(Fields::new(source, Some(format!("[{key}]")), line, table))),
        _ => Err(source.error(Some(line), None, format!("`{key}` must be a table: [{key}]"))),
    }
}

fn read_layers<'a>(source: Source<'a>, value: &'a Spanned<DeValue<'a>>) -> Result<Vec<Layer>, ModelError> {
    match value.get_ref() {
        DeValue::Array(list) if !list.is_empty() && list.len() <= MAX_LAYERS => {
            list.iter().enumerate().map(|(i, value)| Layer::read(source, i + 1, value)).collect()
        }
        found => {
            let count = found.as_array().map(|list| format!(", not {}", list.len())).unwrap_or_default();
            let problem = format!("`layers` must be a list of 1 to {MAX_LAYERS} layers{count}");
            Err(source.error(Some(source.line(value.span())), None, problem))
        }
    }
}

/// Checks that every name is given once and above its users, and that every layer but the last has a user.
fn check_names(layers: &[Layer], inputs: &[&'static str]) -> Result<(), ModelError> {
    let mut known: Vec<&str> = inputs.to_vec();
    let mut used = vec![false; layers.len() + 1];
    for (i, layer) in layers.iter().enumerate() {
        let sources = layer.sources();
        for source in &sources {
            if !known.contains(source) {
                if layer.name.as_deref() == Some(source) {
                    let problem = "which is the layer itself; a layer takes what stands above it";
                    return Err(layer.error(format!("takes \"{source}\", {problem}")));
                }
                let later = layers[i..].iter().any(|layer| layer.name.as_deref() == Some(source));
                let remedy = if later { "it stands below; move it up" } else { "there are" };
                let names = if later { String::new() } else { format!(" {}", quoted(&known)) };
                return Err(
                    layer.error(format!("takes \"{source}\", but no layer above has that name; {remedy}{names}"))
                );
            }
            if let Some(at) = layers[..i].iter().position(|layer| layer.name.as_deref() == Some(source)) {
                used[at] = true;
            }
        }
        if sources.is_empty() && i > 0 {
            used[i - 1] = true;
        }
        if let Some(name) = &layer.name {
            if inputs.contains(&name.as_str()) {
                return Err(
                    layer.error(format!("\"{name}\" is reserved for the network's {name}; choose another name"))
                );
            }
            if let Some(first) = layers[..i].iter().find(|other| other.name.as_ref() == Some(name)) {
                return Err(layer.error(format!("the name \"{name}\" is taken by {}; choose another", first.at)));
            }
            known.push(name);
        }
    }
    match layers.iter().zip(&used).take(layers.len().saturating_sub(1)).find(|(_, used)| !**used) {
        Some((layer, _)) => {
            let way = if layer.name.is_some() { "use" } else { "name it and use" };
            Err(layer.error(format!("nothing uses its output; {way} it below, or remove it")))
        }
        None => Ok(()),
    }
}
