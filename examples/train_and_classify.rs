//! From images to a model file, and from there to answers: trains `fast` for an epoch on the digits of MNIST, and
//! reads some that it has not seen.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use inkgrad::check;
use inkgrad::data::mnist;
use inkgrad::infer::{Classifier, Scores};
use inkgrad::models::{ModelFile, builtin};
use inkgrad::train::{Event, Folder, Run, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    let data = mnist::embedded()?;
    let unseen = data.test.select(&(0..1000).collect::<Vec<_>>());
    // Chosen as the program does: a GPU that computes correctly, or else the CPU.
    let mut device = check::open("auto")?;
    println!("trains on {}", device.name());

    // The folder belongs to the run from its beginning, so that `inkgrad train --resume` can continue it.
    let architecture = builtin("fast")?;
    let settings = Settings { epochs: 1, ..Settings::from_recipe("fast", &architecture.recipe) };
    let folder = Folder::create(Path::new("runs"), "fast")?;
    folder.begin(architecture.text(), None, &settings)?;
    let stop = AtomicBool::new(false);
    let report = &mut |event: Event| {
        if let Event::Trained { epoch, loss, accuracy, .. } = event {
            println!("epoch {epoch:.2}: loss {loss:.4}, accuracy {:.2} %", accuracy * 100.0);
        }
    };
    let best = folder.best();
    Run { settings, architecture, data, folder, device: device.as_mut(), stop: &stop, report }.train()?;

    // A classifier takes at most as many images at once as it was opened for; this one looks at each unchanged.
    let mut classifier = Classifier::open(device.as_mut(), &ModelFile::load(&best)?, 100, 1)?;
    let mut logits = Vec::new();
    for images in unseen.images.chunks(100 * unseen.image_len()) {
        logits.extend(classifier.logits(device.as_mut(), images)?);
    }
    let scores = Scores::new(&logits, &unseen.labels);
    println!("{} of {} right, by {}", scores.correct, unseen.len(), best.display());
    Ok(())
}
