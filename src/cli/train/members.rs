//! The networks that `inkgrad train` trains one after another for an ensemble, and whether they can be joined.

use super::{Args, Named, check};
use crate::data::DataSet;
use crate::graph::Store;
use crate::models::{self, Architecture, ModelError, ModelFile, Normalization};
use crate::train::{Folder, Settings};
use crate::words::shell;

/// How many of `best` are in the ensemble.
pub(super) const OF_BEST: usize = 2;
/// The networks that join them: those of another kind err on other digits, more so than those of another seed.
const OTHERS: [&str; 5] = ["avgpool", "avgpool", "maxpool", "maxpool", "maxpool"];

/// One of several networks that are trained one after another.
pub(super) struct Member {
    pub architecture: Architecture,
    pub settings: Settings,
}

impl Args {
    /// The networks that join the one being trained, each by its own recipe.
    pub(super) fn others(&self) -> &'static [&'static str] {
        if self.recipe == Some(Named::Ensemble) { &OTHERS } else { &[] }
    }

    /// The ensemble's recipe names its own networks: any other that is named would be trained instead of them.
    pub(super) fn check_recipe(&self) -> anyhow::Result<()> {
        let own = Named::Ensemble;
        if self.recipe != Some(own) {
            return Ok(());
        }
        let names = "--recipe ensemble names its own networks: best, avgpool and maxpool";
        if let Some(other) = self.model.as_deref().filter(|model| *model != own.network()) {
            let other = shell(other);
            anyhow::bail!(
                "{names}. `inkgrad train --recipe ensemble` trains them, `inkgrad train {other} --members N` several \
                 of {other}"
            );
        }
        let given =
            [("--from", self.from.is_some()), ("--front", self.front.is_some()), ("--members", self.members.is_some())];
        for (flag, given) in given {
            anyhow::ensure!(!given, "{names}. Leave out {flag}, or take --members N instead of the recipe");
        }
        Ok(())
    }

    /// The members of a run of several; each network's members have consecutive seeds from the first on. `settings` are
    /// already checked; those of other networks are checked here.
    pub(super) fn members(
        &self,
        architecture: &Architecture,
        settings: &Settings,
        data: &DataSet,
    ) -> anyhow::Result<Vec<Member>> {
        let own = settings.members - self.others().len();
        let mut members: Vec<Member> = (0..own)
            .map(|_| Member {
                architecture: architecture.clone(),
                settings: Settings { members: 1, ..settings.clone() },
            })
            .collect();
        for name in self.others() {
            let architecture = models::builtin(name)?;
            let mut settings = self.over(architecture.recipe.clone(), name);
            self.fit(&mut settings, &data.train);
            check(&architecture, &settings, data, None)?;
            members.push(Member { architecture, settings });
        }
        for i in 0..members.len() {
            let before = members[..i].iter().filter(|other| other.settings.model == members[i].settings.model).count();
            members[i].settings.seed = settings.seed.wrapping_add(before as u32);
        }
        Ok(members)
    }
}

/// How often an ensemble contains its network, and which others it contains, according to their folders.
pub(super) fn times(settings: &Settings, folder: &Folder) -> anyhow::Result<String> {
    if settings.members == 1 {
        return Ok(String::new());
    }
    let (mut own, mut others) = (0, String::new());
    for i in 0..settings.members {
        match Folder::open(&folder.member(i))?.settings::<Settings>()?.model {
            model if model == settings.model => own += 1,
            other => others += &format!(" and {other}"),
        }
    }
    Ok(format!(" {own} times{others}"))
}

/// Refuses members that cannot be joined, before they are trained.
pub(super) fn check_joined(members: &[Member], data: &DataSet) -> anyhow::Result<()> {
    let set = &data.train;
    let untrained = members.iter().map(|Member { architecture, settings }| {
        let mut store = Store::default();
        let image = [set.height, set.width, set.channels];
        let (network, parameters) = architecture.declare(image, set.classes, &mut store, "classifier")?;
        let mut file = ModelFile::new(&network, &parameters, &parameters.zeros());
        file.set_class_names(&data.class_names);
        // All members have the same values, from the same training images.
        Normalization::UNIT.store(&mut file);
        Ok(ModelFile { name: (&settings.model).into(), ..file })
    });
    ModelFile::ensemble(&untrained.collect::<Result<Vec<_>, ModelError>>()?)?;
    Ok(())
}
