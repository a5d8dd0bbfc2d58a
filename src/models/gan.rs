//! A conditional GAN as text: a generator and a discriminator, each a list of layers that may take the label.
//!
//! ```toml
//! [generator]
//! noise = 64
//! noise_width = 64
//! label_width = 64
//! layers = [
//!   { dense = "noise_width", activation = "relu", name = "noise" },
//!   { dense = "label_width", activation = "relu", from = "label", name = "class" },
//!   { concat = ["class", "noise"] },
//!   { dense = 784, activation = "sigmoid" },
//!   { reshape = [28, 28, 1] },
//! ]
//!
//! [discriminator]
//! layers = [
//!   { flatten = true, name = "pixels" },
//!   { concat = ["pixels", "label"] },
//!   { dense = 64, activation = "relu" },
//!   { dense = 1 },
//! ]
//! ```

use std::fmt;

use super::build::Network;
use super::error::{At, ModelError};
use super::layer::{Kind, Layer, Nonlinearity, Units, Width, by};
use super::parameters::Parameters;
use super::reader::{Fields, Source};
use super::recipe::{GanLoss, SHARE, ScheduleName, is_share};
use super::spec::{Architecture, DISCRIMINATOR, GENERATOR, LABEL, MAX_TEXT, find_gan, name_of, sub_table};
use crate::graph::Store;

#[derive(Clone, PartialEq, Debug)]
pub struct Gan {
    pub name: String,
    /// One line on what it is; may be empty.
    pub about: String,
    /// How many numbers a latent, the generator's input, has.
    pub noise: usize,
    /// Widths of what is made of the noise and of the label where they are joined; 0 if the layers do not ask for one.
    pub noise_width: usize,
    pub label_width: usize,
    pub recipe: GanRecipe,
    /// Its layers may ask for the widths by name.
    generator: Architecture,
    discriminator: Architecture,
    text: String,
}

/// How a GAN is trained unless told otherwise; whatever is absent is the trainer's to choose.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct GanRecipe {
    pub epochs: Option<usize>,
    /// Real images in a step of the discriminator, and generated ones in every step.
    pub batch: Option<usize>,
    pub loss: Option<GanLoss>,
    /// The highest learning rates that the schedule reaches, one per network: two time scales.
    pub generator_rate: Option<f32>,
    pub discriminator_rate: Option<f32>,
    /// Decay of Adam's first and second moments, for both networks.
    pub momentum: Option<f32>,
    pub beta2: Option<f32>,
    pub schedule: Option<ScheduleName>,
    /// Steps of the discriminator for each one of the generator.
    pub discriminator_steps: Option<usize>,
    /// Pictures of one class that the discriminator is shown at a time, as the channels of one picture (Lin et al.
    /// 2018, "PacGAN", arXiv 1712.04086): it then sees whether they are all alike.
    pub pack: Option<usize>,
    /// Share of the discriminator's targets that are flipped at random.
    pub label_noise: Option<f32>,
    /// Whether the discriminator's weights are divided by their largest singular value.
    pub spectral_norm: Option<bool>,
    /// Decay of the averaged generator, which is the one that draws; 0 for none.
    pub average: Option<f32>,
}

impl GanRecipe {
    fn read(mut fields: Fields) -> Result<GanRecipe, ModelError> {
        let rate = "a number above 0, like 2e-4";
        let recipe = GanRecipe {
            epochs: fields.size("epochs")?,
            batch: fields.size("batch")?,
            loss: fields.choice("loss", GanLoss::ALL)?,
            generator_rate: fields.number("generator_rate", rate, |x| x > 0.0)?,
            discriminator_rate: fields.number("discriminator_rate", rate, |x| x > 0.0)?,
            momentum: fields.number("momentum", SHARE, is_share)?,
            beta2: fields.number("beta2", SHARE, is_share)?,
            schedule: fields.choice("schedule", ScheduleName::ALL)?,
            discriminator_steps: fields.size("discriminator_steps")?,
            pack: fields.size("pack")?,
            label_noise: fields.number("label_noise", SHARE, is_share)?,
            spectral_norm: fields.flag("spectral_norm")?,
            average: fields.number("average", SHARE, is_share)?,
        };
        fields.finish()?;
        Ok(recipe)
    }
}

/// The lines of its table, without the heading; empty if nothing is set.
impl fmt::Display for GanRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |key: &str, value: Option<String>| match value {
            Some(value) => writeln!(f, "{key} = {value}"),
            None => Ok(()),
        };
        let number = |x: Option<f32>| x.map(|x| x.to_string());
        let count = |x: Option<usize>| x.map(|x| x.to_string());
        line("epochs", count(self.epochs))?;
        line("batch", count(self.batch))?;
        line("loss", self.loss.map(|x| format!("\"{x}\"")))?;
        line("generator_rate", number(self.generator_rate))?;
        line("discriminator_rate", number(self.discriminator_rate))?;
        line("momentum", number(self.momentum))?;
        line("beta2", number(self.beta2))?;
        line("schedule", self.schedule.map(|x| format!("\"{x}\"")))?;
        line("discriminator_steps", count(self.discriminator_steps))?;
        line("pack", count(self.pack))?;
        line("label_noise", number(self.label_noise))?;
        line("spectral_norm", self.spectral_norm.map(|x| x.to_string()))?;
        line("average", number(self.average))
    }
}

impl Gan {
    /// Whether a text is a GAN's and not a classifier's.
    pub fn is_meant(text: &str) -> bool {
        let source = Source { file: "", text };
        text.len() <= MAX_TEXT && source.parse().is_ok_and(|table| find_gan(&table).is_some())
    }

    /// Reads a GAN; errors refer to it as `file`.
    ///
    /// # Errors
    /// Those of [`Architecture::parse`] for either network.
    pub fn parse(text: &str, file: &str) -> Result<Gan, ModelError> {
        let source = Source { file, text };
        if text.len() > MAX_TEXT {
            let problem = format!("is too long for an architecture, which has at most {MAX_TEXT} bytes");
            return Err(source.error(None, None, problem));
        }
        let table = source.parse()?;
        let missing = |key: &str| source.error(None, None, format!("there is no [{key}] with `layers`"));

        let mut fields = Fields::new(source, None, 1, &table);
        let name = fields.name("name")?.unwrap_or_else(|| name_of(file));
        let about = fields.text("about")?.unwrap_or_default();
        fields.known(&[GENERATOR, DISCRIMINATOR, "recipe"]);
        fields.finish()?;

        let mut fields = sub_table(source, &table, GENERATOR)?.ok_or_else(|| missing(GENERATOR))?;
        let noise = fields.size("noise")?;
        let [noise_width, label_width] = [Width::Noise, Width::Label].map(|width| fields.size(width.word()));
        let given = [(Width::Noise, noise_width?), (Width::Label, label_width?)];
        fields.known(&["layers"]);
        fields.finish()?;
        let generator = Architecture::part(source, GENERATOR, &fields)?;
        let noise = noise.ok_or_else(|| fields.error("needs `noise`, the numbers in a latent"))?;
        let [noise_width, label_width] = given.map(|(width, given)| -> Result<usize, ModelError> {
            let asks = |layer: &Layer| matches!(layer.kind, Kind::Dense { units: Units::Width(w), .. } if w == width);
            match (given, generator.layers.iter().any(asks)) {
                (None, true) => Err(fields.error(format!("needs `{}`, which a layer asks for", width.word()))),
                (Some(_), false) => Err(fields.error(format!("has `{}`, which no layer asks for", width.word()))),
                (given, _) => Ok(given.unwrap_or(0)),
            }
        });
        let (noise_width, label_width) = (noise_width?, label_width?);

        let mut fields = sub_table(source, &table, DISCRIMINATOR)?.ok_or_else(|| missing(DISCRIMINATOR))?;
        fields.known(&["layers"]);
        fields.finish()?;
        let discriminator = Architecture::part(source, DISCRIMINATOR, &fields)?;

        let recipe = sub_table(source, &table, "recipe")?.map(GanRecipe::read).transpose()?.unwrap_or_default();
        let text = text.into();
        Ok(Gan { name, about, noise, noise_width, label_width, recipe, generator, discriminator, text })
    }

    /// Drops the line numbers: for a built-in GAN, which was parsed under its name.
    pub(super) fn without_lines(self) -> Gan {
        let (generator, discriminator) = (self.generator.without_lines(), self.discriminator.without_lines());
        Gan { generator, discriminator, ..self }
    }

    /// Checks that both networks take the label; otherwise a conditional GAN learns nothing about it. A generator that
    /// does not take it has nothing to go by; with a discriminator that does not, it has no reason to use it. Only
    /// training needs this.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] for a network that does not take it, with what to write.
    pub(crate) fn check_labels(&self) -> Result<(), ModelError> {
        for (network, part, what) in [
            (&self.generator, GENERATOR, "it would draw one class like another"),
            (&self.discriminator, DISCRIMINATOR, "the generator would not learn to draw what it is asked for"),
        ] {
            if !network.layers.iter().any(|layer| layer.sources().contains(&LABEL)) {
                let at = At { file: network.file.clone(), line: None, part: Some(format!("[{part}]")) };
                let problem = format!(
                    "no layer takes the label, so {what}. Let one take it, like `{{ dense = 64, from = \"label\", \
                     name = \"class\" }}`, and another join it to the rest: `{{ concat = [\"class\", ...] }}`"
                );
                return Err(ModelError::Architecture { at, problem });
            }
        }
        Ok(())
    }

    /// The text it was read from, or an equivalent one; what model files store.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same GAN with other widths of the first joint layer.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] if its layers ask for no such widths.
    pub fn with_widths(&self, noise_width: usize, label_width: usize) -> Result<Gan, ModelError> {
        for (own, width) in [(self.noise_width, Width::Noise), (self.label_width, Width::Label)] {
            if own == 0 {
                let at = At { file: self.name.clone(), line: None, part: Some(format!("[{GENERATOR}]")) };
                let word = width.word();
                let problem = format!("no layer has `dense = \"{word}\"`, so that `{word}` cannot be changed");
                return Err(ModelError::Architecture { at, problem });
            }
        }
        let changed = Gan { noise_width, label_width, ..self.clone() };
        Ok(Gan { text: changed.to_toml(), ..changed })
    }

    fn to_toml(&self) -> String {
        let about = toml::Value::from(self.about.as_str());
        let mut text = format!("name = \"{}\"\nabout = {about}\n\n[{GENERATOR}]\nnoise = {}\n", self.name, self.noise);
        for (own, width) in [(self.noise_width, Width::Noise), (self.label_width, Width::Label)] {
            if own > 0 {
                text += &format!("{} = {own}\n", width.word());
            }
        }
        text += &self.generator.layers_toml();
        text += &format!("\n[{DISCRIMINATOR}]\n{}", self.discriminator.layers_toml());
        let recipe = self.recipe.to_string();
        if !recipe.is_empty() {
            text += &format!("\n[recipe]\n{recipe}");
        }
        text
    }

    /// The generator with numbers for the widths that its layers ask for by name.
    fn resolved(&self) -> Architecture {
        let mut resolved = self.generator.clone();
        for layer in &mut resolved.layers {
            if let Kind::Dense { units, .. } = &mut layer.kind {
                match units {
                    Units::Width(Width::Noise) => *units = Units::Count(self.noise_width),
                    Units::Width(Width::Label) => *units = Units::Count(self.label_width),
                    _ => {}
                }
            }
        }
        resolved
    }

    /// The generator's last layer.
    fn last(&self) -> &Layer {
        &self.generator.layers[self.generator.layers.len() - 1]
    }

    /// Height, width and channels of what the generator draws for so many classes.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] for anything that does not fit, and for an output that is no image.
    pub fn image(&self, classes: usize) -> Result<[usize; 3], ModelError> {
        let (network, _) = self.resolved().declare([self.noise], classes, &mut Store::default(), GENERATOR)?;
        let own = network.output();
        own.try_into().map_err(|_| {
            let remedy = "end it with one, like `{ reshape = [28, 28, 1] }`";
            self.last().error(format!("the generator gives {}, which is no image; {remedy}", by(own)))
        })
    }

    /// Declares the generator in `store`: from noise and label to an image of size `image` (height, width, channels).
    ///
    /// # Errors
    /// [`ModelError::Architecture`] for anything that does not fit, and for an output that is not such an image or can
    /// leave the range from 0 to 1 or from -1 to 1.
    pub fn declare_generator(
        &self,
        image: [usize; 3],
        classes: usize,
        store: &mut Store,
    ) -> Result<(Network, Parameters), ModelError> {
        let (network, parameters) = self.resolved().declare([self.noise], classes, store, GENERATOR)?;
        if network.output() != image {
            let last = self.last();
            let own = by(network.output());
            let remedy = match last.at.is_built_in() {
                true => format!("; --image-size {own} resizes pictures to that"),
                false => String::new(),
            };
            return Err(last.error(format!("the generator gives {own} but the images are {}{remedy}", by(&image))));
        }
        self.range()?;
        Ok((network, parameters))
    }

    /// Declares the discriminator in `store`: from an image and its label to one number.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] for anything that does not fit, and for any other output.
    pub fn declare_discriminator(
        &self,
        image: [usize; 3],
        classes: usize,
        store: &mut Store,
    ) -> Result<(Network, Parameters), ModelError> {
        let (network, parameters) = self.discriminator.declare(image, classes, store, DISCRIMINATOR)?;
        let last = &self.discriminator.layers[self.discriminator.layers.len() - 1];
        if network.output() != [1] {
            let problem = format!("the discriminator gives {}; it must end in one number", by(network.output()));
            return Err(last.error(problem));
        }
        if last.activation.is_some() {
            return Err(last.error("the loss needs the bare number; remove the discriminator's last activation"));
        }
        Ok((network, parameters))
    }

    /// The mean and scale that bring real images, from 0 to 1, into the generator's range: `(x - mean) / scale`.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] if the generator ends in an activation other than sigmoid or tanh.
    pub fn range(&self) -> Result<(f32, f32), ModelError> {
        let layers = &self.generator.layers;
        // A reshape at the end leaves the numbers as they are.
        let shaping = |kind: &Kind| matches!(kind, Kind::Reshape { .. } | Kind::Flatten);
        let last = layers.iter().rev().find(|layer| !shaping(&layer.kind)).unwrap_or(&layers[0]);
        match last.activation {
            Some(Nonlinearity::Sigmoid) => Ok((0.0, 1.0)),
            Some(Nonlinearity::Tanh) => Ok((0.5, 0.5)),
            _ => Err(last.error("the generator must end in \"sigmoid\" or \"tanh\", so that pictures have a range")),
        }
    }
}
