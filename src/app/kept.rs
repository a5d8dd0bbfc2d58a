//! The drawing that is kept: in the window, and in the settings folder. It may be a large picture, so a thread of its own
//! reads and writes it there.

use std::sync::Arc;
use std::time::Duration;

use super::field::Drawing;
use super::post::Post;
use super::remember::Memory;

/// How long the window waits for a drawing that is recalled before it has been read.
const PATIENCE: Duration = Duration::from_secs(4);

struct Mail {
    /// What is to be saved; only the newest counts.
    wanted: Option<Drawing>,
    over: bool,
    // And back:
    loaded: Option<Drawing>,
    problem: Option<String>,
    /// Whether something is being read, or not all is saved yet.
    is_busy: bool,
}

pub struct Kept {
    post: Arc<Post<Mail>>,
    drawing: Option<Drawing>,
}

impl Kept {
    /// Begins to read what was kept last; `wake` is called when that is done, and whenever something is saved.
    pub fn start(memory: Memory, wake: impl Fn() + Send + 'static) -> Kept {
        let mail = Mail { wanted: None, over: false, loaded: None, problem: None, is_busy: true };
        let post = Arc::new(Post::new(mail));
        let theirs = Arc::clone(&post);
        let started = std::thread::Builder::new().name("kept".into()).spawn(move || serve(&theirs, &memory, &wake));
        if let Err(error) = started {
            let problem = format!("no thread to save it: {error}. Close other programs, and this one, and start again");
            post.send(|mail| (mail.problem, mail.is_busy) = (Some(problem), false));
        }
        Kept { post, drawing: None }
    }

    /// The kept drawing; `None` if there is none, or it has not been read yet.
    pub fn drawing(&mut self) -> Option<&Drawing> {
        if self.drawing.is_none() {
            self.drawing = self.post.mail().loaded.take();
        }
        self.drawing.as_ref()
    }

    /// The kept drawing, which is waited for if it has not been read yet.
    pub fn recall(&mut self) -> Option<Drawing> {
        if self.drawing.is_none() {
            self.post.wait_while(PATIENCE, |mail| mail.is_busy);
        }
        self.drawing().cloned()
    }

    /// Keeps a drawing, and begins to save it.
    pub fn keep(&mut self, drawing: Drawing) {
        self.drawing = Some(drawing.clone());
        self.post.send(|mail| (mail.wanted, mail.is_busy) = (Some(drawing), true));
    }

    /// Why the drawing is not saved; once.
    pub fn problem(&mut self) -> Option<String> {
        self.post.mail().problem.take()
    }

    /// Waits until what is kept is saved, but no longer than `patience`; returns why it is not.
    pub fn finish(&mut self, patience: Duration) -> Option<String> {
        self.post.wait_while(patience, |mail| mail.is_busy);
        let seconds = patience.as_secs();
        let late = || format!("that took longer than {seconds} seconds. Keep it again");
        let is_late = self.drawing.is_some() && self.post.mail().is_busy;
        let problem = self.problem().or_else(|| is_late.then(late))?;
        Some(format!("the kept drawing is not saved: {problem}"))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.post.send(|mail| mail.over = true);
    }
}

fn serve(post: &Post<Mail>, memory: &Memory, wake: &impl Fn()) {
    let loaded = memory.load_drawing();
    post.send(|mail| (mail.loaded, mail.is_busy) = (loaded, mail.wanted.is_some()));
    wake();
    loop {
        let mut mail = post.mail();
        while !mail.over && mail.wanted.is_none() {
            mail = post.wait(mail);
        }
        let Some(drawing) = mail.wanted.take() else { return };
        drop(mail);
        let saved = memory.save_drawing(&drawing);
        post.send(|mail| (mail.problem, mail.is_busy) = (saved.err(), mail.wanted.is_some()));
        wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::look::FIELD;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_newest_of_what_is_kept_is_saved_and_recalled_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory { folder: Some(folder.path().to_owned()) };
        let mut kept = Kept::start(memory.clone(), || {});
        assert!(kept.recall().is_none());
        let drawings = [50, 100, 150].map(|grey| Drawing::of_pixels(vec![grey; FIELD * FIELD]));
        drawings.iter().for_each(|drawing| kept.keep(drawing.clone()));
        assert!(kept.drawing().is_some_and(|kept| kept.image() == drawings[2].image()));
        assert_eq!(kept.finish(LONG), None);
        drop(kept);
        let recalled = Kept::start(memory, || {}).recall();
        assert!(recalled.is_some_and(|recalled| recalled.image() == drawings[2].image()));
    }

    #[test]
    fn a_drawing_that_cannot_be_saved_is_kept_and_that_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let mut kept = Kept::start(Memory { folder: Some(file) }, || {});
        kept.keep(Drawing::of_pixels(vec![100; FIELD * FIELD]));
        assert!(kept.finish(LONG).is_some_and(|problem| problem.contains("the kept drawing is not saved")));
        assert!(kept.recall().is_some());
    }
}
