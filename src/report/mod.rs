//! Text tables and PNG pictures of a training run: confusion, curves, contact sheets.
//!
//! Pure data in, text or picture out: nothing here knows the engine. Every function is
//! total; what cannot be drawn comes back as a [`ReportError`].

mod axis;
mod canvas;
mod colours;
mod confusion;
mod curves;
mod error;
pub mod gif;
pub mod grid;
mod heat;
mod palette;
mod plot;
pub mod png;
mod save;
mod series;
mod sheet;
mod table;
mod text;

pub use colours::{Colour, Colours};
pub use confusion::{ClassStats, Confused, Confusion, MAX_CLASSES, MacroMeans};
pub use curves::curves_picture;
pub use error::{MAX_SIDE, ReportError};
pub use heat::confusion_picture;
pub use save::save_png;
pub use series::{Panel, Series, Style, smooth};
pub(crate) use sheet::mistake_caption;
pub use sheet::{SheetItem, sheet_room, titled_sheet};
pub(crate) use table::{aligned, class_name, clipped, percent};
